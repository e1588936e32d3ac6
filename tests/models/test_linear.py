"""Linear models are River's: the same numbers as a pipeline of River's own parts, and a state that can be stored."""

from __future__ import annotations

import json
import math
import random
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import compose, linear_model, optim, preprocessing

from stream_profiles.errors import DefinitionError
from stream_profiles.features.base import config_as_json
from stream_profiles.models.base import logit
from stream_profiles.models.descent import OPTIMIZERS, InterceptRate
from stream_profiles.models.linear import LinearRegression, LogisticRegression
from tests.models import problems
from tests.models.problems import stored

Example = tuple[dict[str, float], bool]

#: What the first release stored, with the parameters' defaults.
FIRST_RELEASE: list[Any] = [
    4,
    {"a": 4, "b": 3},
    {"a": 1.75, "b": 16.666666666666668},
    {"a": 2.1875, "b": 88.8888888888889},
    {"a": 0.007631867209339047, "b": -0.0014727473706153734},
    -0.00018512860683306612,
    4,
]


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


def pipeline(optimizer: Any, l2: float, l1: float, intercept: Any) -> Any:
    return (
        preprocessing.StandardScaler()
        | compose.FuncTransformer(cut)
        | linear_model.LogisticRegression(optimizer, l2=l2, l1=l1, intercept_lr=intercept)
    )


class FromOne(optim.base.Scheduler):
    """The intercept's step as documented."""

    def get(self, t: int) -> float:
        return max(0.03, 1 / math.sqrt(t + 1))


@pytest.mark.parametrize("learning_rate", [0.01, 0.3])
@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_the_same_as_a_pipeline_of_rivers_own_parts(learning_rate: float, l2: float) -> None:
    ours = LogisticRegression(learning_rate, l2).start("binary")
    theirs = pipeline(optim.SGD(learning_rate), l2, 0.0, FromOne())
    for inputs, label in examples(1, 500):
        assert ours.predict(inputs) == pytest.approx(theirs.predict_proba_one(inputs).get(True, 0.5), rel=1e-12)
        ours.learn(inputs, label)
        theirs.learn_one(inputs, label)
    assert ours.examples == 500


@pytest.mark.parametrize(
    ("declared", "theirs"),
    [
        (LogisticRegression(0.05, intercept_decay=0.0), pipeline(optim.SGD(0.05), 0.0, 0.0, 0.03)),
        (LogisticRegression(0.05, l1=0.01, intercept_decay=0.0), pipeline(optim.SGD(0.05), 0.0, 0.01, 0.03)),
        (
            LogisticRegression(0.05, optimizer="adam", intercept_rate=0.1, intercept_decay=0.0),
            pipeline(optim.Adam(0.05), 0.0, 0.0, 0.1),
        ),
        (LogisticRegression(0.05, intercept_rate=0.0), pipeline(optim.SGD(0.05), 0.0, 0.0, 0.0)),
        (
            LogisticRegression(0.05, 0.3, optimizer="ftrl", l1=0.2, intercept_decay=0.0),
            pipeline(optim.FTRLProximal(0.05, l1=0.2, l2=0.3), 0.0, 0.0, 0.03),
        ),
    ],
    ids=["constant", "l1", "adam", "no intercept", "ftrl"],
)
def test_parameters_are_rivers(declared: LogisticRegression, theirs: Any) -> None:
    ours = declared.start("binary")
    for inputs, label in examples(1, 300):
        assert ours.predict(inputs) == theirs.predict_proba_one(inputs).get(True, 0.5)
        ours.learn(inputs, label)
        theirs.learn_one(inputs, label)


def test_an_input_never_seen_says_nothing() -> None:
    model = LogisticRegression().start("binary")
    for inputs, label in examples(3, 100):
        model.learn(inputs, label)
    inputs = examples(4, 1)[0][0]
    assert model.predict({**inputs, "new": 1e6}) == model.predict(inputs)


def test_an_input_that_hardly_ever_moves_does_not_upset_the_others() -> None:
    """Its first move is a hundred standard deviations; uncut, one lesson would move its weight by 100 and more."""
    model = LogisticRegression().start("binary")
    for inputs, label in examples(5, 2_000):
        model.learn({**inputs, "flag": 0.0}, label)
    calm = {**examples(6, 1)[0][0], "flag": 0.0}
    before = model.predict(calm)
    assert isinstance(before, float)
    model.learn({**calm, "flag": 0.01}, not before >= 0.5)
    assert model.predict(calm) == pytest.approx(before, abs=0.02)
    assert 0.02 < model.predict({**calm, "flag": 0.02}) < 0.98  # type: ignore[operator]


def test_a_rare_label_is_not_overestimated_for_long() -> None:
    """With a step that is small from the start the mean score of these would still be above 0.15."""
    running = LogisticRegression().start("binary")
    random_ = random.Random(1)
    for number in range(300):
        running.learn({"x": random_.gauss(0, 1)}, number % 50 == 49)
    assert 0.01 < running.predict({"x": 0.0}) < 0.06  # type: ignore[operator]
    slow = LogisticRegression(intercept_decay=0.0).start("binary")
    for number in range(300):
        slow.learn({"x": random_.gauss(0, 1)}, number % 50 == 49)
    assert slow.predict({"x": 0.0}) > 0.1  # type: ignore[operator]


def test_what_the_first_release_stored_is_read() -> None:
    running = LogisticRegression().start("binary", FIRST_RELEASE)
    assert running.examples == 4
    assert running.predict({"a": 3.0, "b": 20.0}) == 0.5014360664537795, "as that release predicted"
    assert stored(running) == FIRST_RELEASE
    running.learn({"a": 1.0, "c": 2.0}, True)
    assert running.examples == 5


def test_keys_of_the_first_release_stay() -> None:
    assert json.dumps(LogisticRegression().config) == '{"learning_rate": 0.01, "l2": 0.0}'
    assert LogisticRegression(0.1, 0.2).config == {"learning_rate": 0.1, "l2": 0.2}
    assert LogisticRegression(optimizer="adam").config == {"learning_rate": 0.01, "l2": 0.0, "optimizer": "adam"}
    weighted = LogisticRegression(class_weights={True: 3.0, False: 1.0})
    assert config_as_json(weighted.config)["class_weights"] == {"true": 3.0, "false": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above 0 and l2 at least 0"),
        ({"learning_rate": -0.1}, "learning_rate must be above 0 and l2 at least 0"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0 and l2 at least 0"),
        ({"l2": -1.0}, "learning_rate must be above 0 and l2 at least 0"),
        ({"learning_rate": 0.1, "l2": 20.0}, "weights grow for ever"),
        ({"optimizer": "newton"}, "optimizer must be one of sgd, .*, not 'newton'"),
        ({"l1": -0.1}, "l1 must be at least 0"),
        ({"l1": 0.1, "l2": 0.1}, 'only optimizer="ftrl" takes both'),
        ({"intercept_rate": -0.1}, "intercept_rate and intercept_decay must be at least 0"),
        ({"class_weights": "equal"}, "class_weights takes a dict of label and weight, or 'balanced', not 'equal'"),
        ({"class_weights": {True: -1.0}}, "class_weights must be at least 0"),
    ],
)
def test_what_cannot_learn_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=f"LogisticRegression: .*{message}"):
        LogisticRegression(**arguments)
    if "class_weights" not in arguments:
        with pytest.raises(DefinitionError, match=f"LinearRegression: .*{message}"):
            LinearRegression(**arguments)


def test_class_weights_are_weights() -> None:
    """An example of weight 2 moves the weights as far as two of them."""
    double, single = LogisticRegression(class_weights={True: 2.0}), LogisticRegression()
    weighted, plain = double.start("binary"), single.start("binary")
    for inputs, label in [({"x": 1.0}, False), ({"x": 3.0}, True)]:
        weighted.learn(inputs, label)
        plain.learn(inputs, label)
    assert weighted.state()[5] > plain.state()[5]
    # The first example is at its own mean: it moves the intercept alone. The second one's gradient is twice as large.
    assert weighted.state()[4]["x"] == pytest.approx(2 * plain.state()[4]["x"])


def test_balanced_labels_count_the_same() -> None:
    running = LogisticRegression(0.05, class_weights="balanced").start("binary")
    random_ = random.Random(3)
    for number in range(5_000):
        label = number % 20 == 19
        running.learn({"x": random_.gauss(1.0 if label else 0.0, 1.0)}, label)
    assert running.predict({"x": 0.5}) == pytest.approx(0.5, abs=0.1), "half way between the two"
    again = LogisticRegression(0.05, class_weights="balanced").start("binary", stored(running))
    assert again.state() == running.state()


def test_penalties_do_what_they_are_for() -> None:
    shown = problems.examples("binary", 3_000)

    def weights(**parameters: Any) -> dict[str, float]:
        running = LogisticRegression(0.05, **parameters).start("binary")
        for inputs, label in shown:
            running.learn(inputs, label)
        found: dict[str, float] = running.state()[4]
        return found

    free, ridge, lasso = weights(), weights(l2=0.05), weights(l1=0.05)
    assert abs(ridge["a"]) < 0.7 * abs(free["a"])
    assert free["nothing"] != 0.0 == lasso["nothing"]
    assert lasso["a"] != 0.0


@settings(max_examples=60, deadline=None)
@given(
    inputs=st.dictionaries(st.sampled_from("abcde"), st.floats(-1e9, 1e9), max_size=5),
    lessons=st.lists(
        st.tuples(st.dictionaries(st.sampled_from("abcd"), st.floats(-1e6, 1e6)), st.booleans()), max_size=30
    ),
)
def test_contributions_and_intercept_are_the_log_odds(
    inputs: dict[str, float], lessons: list[tuple[dict[str, float], bool]]
) -> None:
    running = LogisticRegression(0.1).start("binary")
    for each, label in lessons:
        running.learn(each, label)
    contributions = running.contributions(inputs)
    assert contributions is not None
    total = math.fsum(contributions.values()) + running.intercept  # type: ignore[attr-defined]
    assert logit(running.predict(inputs)) == pytest.approx(total, abs=1e-9)  # type: ignore[arg-type]


def test_contributions_are_the_shapley_values_of_a_linear_model() -> None:
    """Against the mean of the inputs, which is 0 once they are standardised."""
    running = LogisticRegression(0.1).start("binary")
    for inputs, label in problems.examples("binary", 500):
        running.learn(inputs, label)
    names = list(problems.examples("binary", 1)[0][0])
    weights = np.array([running.state()[4][name] for name in names])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

        explainer = shap.LinearExplainer((weights, running.intercept), np.zeros((1, len(names))))  # type: ignore[attr-defined]
        for inputs, _ in problems.examples("binary", 20, seed=7):
            deviations, contributions = running.deviations(inputs), running.contributions(inputs)
            assert deviations is not None and contributions is not None
            values = explainer.shap_values(np.array([[deviations[name] for name in names]]))[0]
            assert [contributions[name] for name in names] == pytest.approx(list(values))


def test_classes_that_turn_up_late_are_learned() -> None:
    running = LogisticRegression(0.1).start("multiclass")
    for number in range(300):
        running.learn({"x": float(number % 2)}, "ab"[number % 2])
    before = running.predict({"x": 1.0})
    assert isinstance(before, dict) and list(before) == ["a", "b"] and before["b"] > 0.9
    for number in range(600):
        running.learn({"x": float(number % 3)}, "abc"[number % 3])
    after = running.predict({"x": 2.0})
    assert isinstance(after, dict) and after["c"] > 0.8


def test_a_class_scores_by_its_contributions() -> None:
    running = LogisticRegression(0.1).start("multiclass")
    for inputs, label in problems.examples("multiclass", 500):
        running.learn(inputs, label)
    inputs = {"a": 3.0, "b": 1e3, "c": 0.5, "nothing": 5.0}
    contributions, prediction = running.contributions(inputs), running.predict(inputs)
    assert contributions is not None and isinstance(prediction, dict)
    assert max(prediction, key=prediction.__getitem__) == "high"
    assert max(contributions, key=contributions.__getitem__) == "a"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_regression_does_not_depend_on_the_labels_unit(optimizer: str) -> None:
    dollars, cents = (LinearRegression(0.05, optimizer=optimizer).start("regression") for _ in range(2))
    for inputs, label in problems.examples("regression", 500):
        dollars.learn(inputs, label)
        cents.learn(inputs, 100.0 * label)
    inputs = problems.examples("regression", 1, seed=5)[0][0]
    assert cents.predict(inputs) == pytest.approx(100.0 * dollars.predict(inputs))  # type: ignore[operator]


def test_a_regression_cannot_overshoot() -> None:
    """Two hundred inputs that are all the same: an explicit step of 0.1 would go 40 times too far, and grow."""
    running = LinearRegression(0.1).start("regression")
    random_ = random.Random(1)
    for _ in range(500):
        x = random_.gauss(0, 1)
        running.learn({f"x{number}": x for number in range(200)}, 3.0 * x + 1.0)
    assert running.predict({f"x{number}": 1.0 for number in range(200)}) == pytest.approx(4.0, abs=0.2)


def test_one_wild_label_does_not_ruin_a_regression() -> None:
    """It makes the labels' deviation twenty times as large, and what was learned stands for the same all the same."""
    running = LinearRegression(0.05).start("regression")
    for inputs, label in problems.examples("regression", 1_000):
        running.learn(inputs, label)
    shown = [{"a": a, "b": 1e3, "c": 0.5, "nothing": 5.0} for a in (-2.0, 0.0, 2.0)]
    before: list[Any] = [running.predict(inputs) for inputs in shown]
    running.learn({"a": 0.0, "b": 1e3, "c": 0.5, "nothing": 5.0}, 1e5)
    after: list[Any] = [running.predict(inputs) for inputs in shown]
    assert after[2] - after[0] == pytest.approx(before[2] - before[0], rel=0.1)
    assert after[1] == pytest.approx(before[1], abs=300.0)


def test_the_step_of_the_intercept() -> None:
    step = InterceptRate(0.03, 0.5)
    assert [step.get(t) for t in (0, 3, 99, 10_000)] == [1.0, 0.5, 0.1, 0.03]


def test_an_average_is_that_of_the_weights_so_far_and_then_of_late() -> None:
    plain, mean = LogisticRegression(0.1).start("binary"), LogisticRegression(0.1, average=4).start("binary")
    weights: list[float] = []
    expected = 0.0
    for number in range(1, 40):
        for model in (plain, mean):
            model.learn({"x": float(number % 3)}, number % 3 == 1)
        weights.append(plain._line.weights["x"])  # type: ignore[attr-defined]
        expected += max(1 / number, 1 / 4) * (weights[-1] - expected)
        assert mean._line.weights["x"] == pytest.approx(expected)  # type: ignore[attr-defined]
        if number <= 4:
            assert expected == pytest.approx(sum(weights) / number)
    assert mean.state()[4]["x"] == weights[-1], "what learns is not averaged"
