"""The classifier is River's: the same numbers as a pipeline of River's own parts, and a state that can be stored."""

from __future__ import annotations

import math
import random
from typing import Any

import msgspec
import pytest
from river import compose, linear_model, optim, preprocessing

from stream_profiles.errors import DefinitionError
from stream_profiles.models import LogisticRegression

Example = tuple[dict[str, float], bool]


def examples(seed: int, count: int) -> list[Example]:
    """Inputs of very different scales, one that never moves, one that hardly ever does, one that comes and goes."""
    random_ = random.Random(seed)
    made: list[Example] = []
    for number in range(count):
        inputs = {"a": random_.gauss(0, 1), "b": 1e4 + 1e3 * random_.gauss(0, 1), "same": 3.0}
        inputs["rare"] = 1.0 if number % 97 == 96 else 0.0
        if number % 3:
            inputs["sometimes"] = random_.random()
        log_odds = 2 * inputs["a"] - (inputs["b"] - 1e4) / 1e3 - 0.5
        made.append((inputs, random_.random() < 1 / (1 + math.exp(-log_odds))))
    return made


def cut(inputs: dict[str, float]) -> dict[str, float]:
    return {name: min(max(value, -5.0), 5.0) for name, value in inputs.items()}


def pipeline(learning_rate: float, l2: float) -> Any:
    return (
        preprocessing.StandardScaler()
        | compose.FuncTransformer(cut)
        | linear_model.LogisticRegression(optim.SGD(learning_rate), l2=l2, intercept_lr=0.03)
    )


@pytest.mark.parametrize("learning_rate", [0.01, 0.3])
@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_the_same_as_a_pipeline_of_rivers_own_parts(learning_rate: float, l2: float) -> None:
    ours, theirs = LogisticRegression(learning_rate, l2).start(), pipeline(learning_rate, l2)
    for inputs, label in examples(1, 500):
        assert ours.predict(inputs) == theirs.predict_proba_one(inputs).get(True, 0.5)
        ours.learn(inputs, label)
        theirs.learn_one(inputs, label)
    assert ours.examples == 500


def test_inputs_are_not_changed() -> None:
    model, inputs = LogisticRegression().start(), {"x": 1.0}
    model.learn(inputs, True)
    model.predict(inputs)
    assert inputs == {"x": 1.0}


def test_it_starts_undecided_and_learns() -> None:
    model = LogisticRegression().start()
    assert model.predict({"a": 7.0}) == 0.5
    assert model.predict({}) == 0.5
    made = examples(2, 3_000)
    for inputs, label in made[:2_000]:
        model.learn(inputs, label)
    right = sum((model.predict(inputs) >= 0.5) == label for inputs, label in made[2_000:])
    assert right > 750


def test_an_input_never_seen_says_nothing() -> None:
    model = LogisticRegression().start()
    for inputs, label in examples(3, 100):
        model.learn(inputs, label)
    inputs = examples(4, 1)[0][0]
    assert model.predict({**inputs, "new": 1e6}) == model.predict(inputs)


def test_an_input_that_hardly_ever_moves_does_not_upset_the_others() -> None:
    """Its first move is a hundred standard deviations; uncut, one lesson would move its weight by 100 and more."""
    model = LogisticRegression().start()
    for inputs, label in examples(5, 2_000):
        model.learn({**inputs, "flag": 0.0}, label)
    calm = {**examples(6, 1)[0][0], "flag": 0.0}
    before = model.predict(calm)
    model.learn({**calm, "flag": 0.01}, not before >= 0.5)
    assert model.predict(calm) == pytest.approx(before, abs=0.02)
    assert 0.02 < model.predict({**calm, "flag": 0.02}) < 0.98


def test_a_stored_state_goes_on_bit_for_bit() -> None:
    declared = LogisticRegression(0.05, 0.001)
    kept = declared.start()
    stored = declared.start()
    for number, (inputs, label) in enumerate(examples(7, 400)):
        if number % 50 == 0:
            stored = declared.start(msgspec.msgpack.decode(msgspec.msgpack.encode(stored.state())))
        assert stored.predict(inputs) == kept.predict(inputs)
        kept.learn(inputs, label)
        stored.learn(inputs, label)
    assert stored.state() == kept.state()
    assert stored.examples == kept.examples == 400


@pytest.mark.parametrize(("learning_rate", "l2"), [(0.0, 0.0), (-0.1, 0.0), (float("nan"), 0.0), (0.1, -1.0)])
def test_what_cannot_learn_is_refused(learning_rate: float, l2: float) -> None:
    with pytest.raises(DefinitionError, match="learning_rate must be above 0 and l2 at least 0"):
        LogisticRegression(learning_rate, l2)


def test_its_configuration_is_its_parameters() -> None:
    assert LogisticRegression(0.1, 0.2).config == {"learning_rate": 0.1, "l2": 0.2}
