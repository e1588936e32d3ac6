"""Factorization machines are River's, only faster; they learn what a pair of inputs says together."""

from __future__ import annotations

import random
from typing import Any

import pytest
from river import facto, optim

from stream_profiles.errors import DefinitionError
from stream_profiles.models.descent import InterceptRate
from stream_profiles.models.factorization import FactorizationMachine, _Classifier, _Regressor
from stream_profiles.models.linear import LogisticRegression
from tests.models.problems import stored


def vectors(count: int, seed: int = 1) -> list[dict[str, float]]:
    random_ = random.Random(seed)
    return [{name: random_.gauss(0, 1) for name in "abcde" if random_.random() < 0.9} for _ in range(count)]


@pytest.mark.parametrize(("fast", "river"), [(_Classifier, facto.FMClassifier), (_Regressor, facto.FMRegressor)])
def test_the_fast_way_gives_the_same(fast: Any, river: Any) -> None:
    ours, theirs = (
        made(
            n_factors=4,
            weight_optimizer=optim.SGD(0.02),
            latent_optimizer=optim.SGD(0.01),
            l2_weight=0.01,
            l2_latent=0.02,
            intercept_lr=InterceptRate(0.03, 0.5),
            seed=3,
        )
        for made in (fast, river)
    )
    for inputs in vectors(200):
        label = inputs.get("a", 0.0) * inputs.get("b", 0.0) > 0
        assert ours._raw_dot(inputs) == pytest.approx(float(theirs._raw_dot(inputs)), abs=1e-9)
        for each in (ours, theirs):
            each.learn_one(inputs, label)
    for name in "abcde":
        assert list(ours.latents[name]) == pytest.approx(list(theirs.latents[name]))


def test_pairs_are_learned() -> None:
    """The sign of a product: neither input says anything by itself."""
    running, line = FactorizationMachine().start("binary"), LogisticRegression().start("binary")
    random_ = random.Random(1)

    def example() -> tuple[dict[str, float], bool]:
        inputs = {"a": random_.gauss(0, 1), "b": random_.gauss(0, 1)}
        return inputs, inputs["a"] * inputs["b"] > 0

    for _ in range(2_000):
        inputs, label = example()
        running.learn(inputs, label)
        line.learn(inputs, label)
    shown = [example() for _ in range(500)]
    assert sum((running.predict(inputs) > 0.5) == label for inputs, label in shown) > 450  # type: ignore[operator]
    assert sum((line.predict(inputs) > 0.5) == label for inputs, label in shown) < 300  # type: ignore[operator]


def test_factors_of_inputs_that_turn_up_after_a_restart_are_drawn_as_without_one() -> None:
    declared = FactorizationMachine()
    kept = declared.start("binary")
    kept.learn({"a": 1.0, "b": 2.0}, True)
    other = declared.start("binary", stored(kept))
    for running in (kept, other):
        running.learn({"a": 2.0, "b": 1.0, "late": 3.0}, False)
    assert other.state() == kept.state()
    assert len(set(map(tuple, kept.state()[6].values()))) == 3


def test_penalties_keep_weights_and_factors_small() -> None:
    sizes = []
    for penalty in (0.0, 0.1):
        running = FactorizationMachine(l2=penalty, l2_factors=penalty).start("binary")
        for inputs in vectors(1_000):
            running.learn(inputs, inputs.get("a", 0.0) + inputs.get("b", 0.0) * inputs.get("c", 0.0) > 0)
        weights, factors = running.state()[5], running.state()[6]
        sizes.append((abs(weights["a"]), max(abs(x) for x in factors["b"])))
    (free_weight, free_factor), (weight, factor) = sizes
    assert weight < 0.5 * free_weight
    assert factor < 0.5 * free_factor


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factors": 0}, "factors must be from 1 to 100"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"l2": -1.0}, "l2 and l2_factors must be at least 0"),
        ({"l2_factors": 20.0}, "learning_rate times a penalty must be below 1"),
        ({"intercept_decay": -1.0}, "intercept_rate and intercept_decay must be at least 0"),
    ],
)
def test_what_cannot_learn_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=f"FactorizationMachine: {message}"):
        FactorizationMachine(**arguments)
