"""Learners: which of several models is asked, when another takes its place, and that all of it can be restored."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_profiles.errors import DefinitionError, StateError
from stream_profiles.models.base import Model
from stream_profiles.models.drift import ADWIN, PageHinkley
from stream_profiles.models.learners import Learner, Rules, check_models
from stream_profiles.models.linear import LinearRegression, LogisticRegression
from stream_profiles.models.losses import loss
from stream_profiles.models.metrics import Evaluation, RegressionValues
from stream_profiles.models.search import Search
from tests.models.pretenders import Says, Stumbles

NAMES = ("x", "y")


def rules(*models: Model, task: str = "binary", **options: Any) -> Rules:
    return Rules(task, models, names=NAMES, **options)


def stored(state: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state))


def teach(learner: Learner, labels: Sequence[Any], delay: int = 0, seed: int = 0) -> list[Any]:
    """Predict and learn, each prediction's label being known `delay` predictions later; what was published."""
    random_ = random.Random(seed)
    waiting, published = [], []
    for label in labels:
        inputs = {"x": random_.gauss(0, 1), "y": 3.0}
        predictions = learner.predict(inputs)
        published.append(predictions[1])
        waiting.append((predictions, inputs, label))
        if len(waiting) > delay:
            learner.learn(*waiting.pop(0), None, 0)
    for each in waiting:
        learner.learn(*each, None, 0)
    return published


def mostly(share: float, count: int, seed: int = 0) -> list[bool]:
    random_ = random.Random(seed)
    return [random_.random() < share for _ in range(count)]


def asked(learner: Learner) -> int:
    """Which of the declared models is."""
    return learner.champion.declared


def test_a_model_alone() -> None:
    learner = Learner(rules(LogisticRegression()))
    published = teach(learner, mostly(0.8, 200))
    scored = Evaluation("binary")
    for prediction, label in zip(published, mostly(0.8, 200), strict=True):
        scored.update(prediction, label, None)
    assert learner.evaluation.state() == scored.state()
    assert learner.examples == learner.champion.running.examples == 200
    [contender] = learner.report()["contenders"]
    assert contender == {"model": 0, "examples": 200, "loss": pytest.approx(0.52, abs=0.05), "behind": None}
    assert learner.compact


def test_the_score_that_counts_is_the_one_that_was_given() -> None:
    learner = Learner(rules(LogisticRegression(1.0)))
    teach(learner, mostly(0.5, 20))
    learner.evaluation = Evaluation("binary")
    inputs = {"x": 5.0, "y": 3.0}
    predictions = learner.predict(inputs)
    learner.champion.running.learn(inputs, False)
    assert learner.predict(inputs) != predictions
    learner.learn(predictions, inputs, True, None, 0)
    scored = Evaluation("binary")
    scored.update(predictions[1], True, None)
    assert learner.evaluation.state() == scored.state()


def test_each_example_is_told_to_an_observer() -> None:
    learner = Learner(rules(Says(0.3), Says(0.6)))
    seen: list[Any] = []
    learner.observer = lambda *told: seen.append(told)
    learner.learn(learner.predict({"x": 1.0, "y": 2.0}), {"x": 1.0, "y": 2.0}, True, False, 77)
    assert seen == [(0.3, True, False, 77)]


def test_challengers_predict_and_learn_beside_the_one_that_is_asked() -> None:
    learner = Learner(rules(Says(0.3), Says(0.6)))
    assert learner.predict({"x": 1.0, "y": 2.0}) == [0, 0.3, 1, 0.6]
    teach(learner, mostly(0.5, 50))
    assert [contender.running.examples for contender in learner.contenders] == [50, 50]
    first, second = learner.report()["contenders"]
    assert first["loss"] == pytest.approx(learner.contenders[0].loss.mean)
    assert (first["behind"], second["behind"]) == (None, pytest.approx(second["loss"] - first["loss"]))


@pytest.mark.parametrize("delay", [0, 40])
def test_a_better_challenger_takes_the_place(delay: int) -> None:
    learner = Learner(rules(Says(0.5), Says(0.55), Says(0.8), promote_after=300))
    published = teach(learner, mostly(0.8, 1_500), delay)
    assert asked(learner) == 2
    assert published[-1] == 0.8
    assert learner.promotions == 1
    first = published.index(0.8)
    assert 300 + delay <= first < 500 + delay, "it must have been compared so often before"
    assert sorted(contender.declared for contender in learner.contenders) == [0, 1, 2], "the others go on"


def test_the_best_of_several_is_found_by_and_by() -> None:
    learner = Learner(rules(Says(0.5), Says(0.6), Says(0.8), promote_after=100))
    teach(learner, mostly(0.8, 6_000))
    assert asked(learner) == 2
    assert 1 <= learner.promotions <= 2


def test_a_worse_challenger_stays_where_it_is() -> None:
    for seed in range(10):
        learner = Learner(rules(Says(0.8), Says(0.7), Says(0.99), promote_after=200))
        teach(learner, mostly(0.8, 1_500, seed))
        assert (asked(learner), learner.promotions) == (0, 0)


def test_an_equal_challenger_stays_where_it_is() -> None:
    """Both are as wrong as each other, each by noise of its own: 3,000 looks, 60 times over."""
    promotions = 0
    for seed in range(60):
        noisy = [Says(0.5, noise=0.3, seed=2 * seed), Says(0.5, noise=0.3, seed=2 * seed + 1)]
        learner = Learner(rules(*noisy, promote_after=50))
        teach(learner, mostly(0.5, 3_000, seed))
        promotions += learner.promotions
    assert promotions <= 1


def test_the_same_model_twice_is_no_better() -> None:
    learner = Learner(rules(LogisticRegression(), LogisticRegression(), promote_after=10))
    teach(learner, mostly(0.7, 500))
    assert learner.promotions == 0
    assert learner.contenders[1].behind.mean == 0.0


def test_one_surprise_does_not_decide() -> None:
    """Of certainty that was wrong only so much counts where models are compared."""
    learner = Learner(rules(Says(1.0), Says(0.9), promote_after=10))
    teach(learner, [True] * 400 + [False] + [True] * 400)
    assert asked(learner) == 0


def test_the_mean_of_late_is_what_counts() -> None:
    """A challenger that was worse for long takes the place soon after it is better."""
    learner = Learner(rules(Says(0.8), Says(0.2), promote_after=100))
    teach(learner, mostly(0.8, 5_000))
    assert asked(learner) == 0
    teach(learner, mostly(0.2, 1_500, seed=1))
    assert asked(learner) == 1


def test_what_was_compared_with_another_one_no_longer_counts() -> None:
    learner = Learner(rules(Says(0.5), Says(0.8), Says(0.7), promote_after=200))
    labels = [True, True, False, True, True] * 100
    published = teach(learner, labels)
    promoted = published.index(0.8)
    again = Learner(rules(Says(0.5), Says(0.8), Says(0.7), promote_after=200))
    teach(again, labels[:promoted])
    assert again.promotions == 1
    assert all(contender.behind.examples == 0 for contender in again.contenders)
    assert all(contender.loss.examples == promoted for contender in again.contenders)


def test_a_search_halves_down_to_the_best() -> None:
    values = [0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95]
    search = Search(Says, {"what": values}, rung=200)
    learner = Learner(rules(*search.contenders(), rung=search.rung, promote_after=10_000))
    sizes = []
    labels = mostly(0.8, 1_200)
    for start in range(0, 1_200, 200):
        teach(learner, labels[start : start + 200])
        sizes.append(len(learner.contenders))
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert asked(learner) == values.index(0.8)
    assert learner.predict({"x": 1.0, "y": 1.0}) == [values.index(0.8), 0.8]


def test_predictions_of_those_that_were_dropped_still_count_for_the_metrics() -> None:
    learner = Learner(rules(Says(0.2), Says(0.8), rung=10, promote_after=1_000))
    inputs = {"x": 1.0, "y": 1.0}
    before = learner.predict(inputs)
    teach(learner, [True] * 10)
    assert [contender.declared for contender in learner.contenders] == [1]
    scored = Evaluation("binary", learner.evaluation.state())
    learner.learn(before, inputs, True, None, 0)
    scored.update(0.2, True, None)
    assert learner.evaluation.state() == scored.state()


@pytest.mark.parametrize("detector", [ADWIN(reaction="reset"), PageHinkley(threshold=20.0, reaction="reset")])
def test_a_drift_starts_the_model_anew(detector: Any) -> None:
    model = LogisticRegression(0.01)
    learner, stubborn = Learner(rules(model, drift=detector)), Learner(rules(model))
    for each in (learner, stubborn):
        teach(each, mostly(0.9, 2_000), delay=20)
        assert each.drifts == 0
        teach(each, mostly(0.1, 600, seed=1), delay=20)
    assert learner.drifts == 1
    assert learner.champion.running.examples < 600 < stubborn.champion.running.examples
    assert learner.examples == 2_600
    assert learner.champion.number == 1, "it is another one than that whose predictions still wait"
    assert learner.promotions == 0


def test_a_model_that_gets_better_is_no_drift() -> None:
    learner = Learner(rules(LogisticRegression(0.1), drift=ADWIN(reaction="reset")))
    labels = mostly(0.5, 200) + mostly(0.97, 2_000)
    teach(learner, labels)
    assert learner.drifts == 0


def test_a_drift_may_be_counted_only() -> None:
    learner = Learner(rules(LogisticRegression(0.01), drift=ADWIN(reaction="none")))
    teach(learner, mostly(0.9, 2_000) + mostly(0.1, 600, seed=1))
    assert learner.drifts >= 1
    assert learner.champion.running.examples == 2_600


def test_a_drift_may_swap_in_the_best_challenger() -> None:
    models = [Says(0.9), Says(0.5), Says(0.15), Says(0.4)]
    learner = Learner(rules(*models, promote_after=10_000, drift=ADWIN(reaction="swap")))
    teach(learner, mostly(0.9, 2_000))
    assert (asked(learner), learner.drifts) == (0, 0)
    teach(learner, mostly(0.1, 200, seed=1))
    assert learner.drifts == learner.promotions == 1
    assert learner.champion.loss.mean == min(contender.loss.mean or 9.0 for contender in learner.contenders[:-1])
    assert [contender.declared for contender in learner.contenders[1:]].count(0) == 1, "it goes on as one that is new"
    assert learner.contenders[-1].declared == 0
    assert learner.contenders[-1].running.examples < 200


def test_without_a_challenger_there_is_nothing_to_swap_in() -> None:
    learner = Learner(rules(Says(0.9), drift=ADWIN(reaction="swap")))
    teach(learner, mostly(0.9, 2_000) + mostly(0.1, 600, seed=1))
    assert learner.drifts >= 1
    assert (learner.promotions, learner.champion.number) == (0, 0)


def test_one_that_starts_anew_is_not_judged_by_predictions_it_did_not_make() -> None:
    models = [Says(0.9), Says(0.5)]
    learner = Learner(rules(*models, promote_after=10_000, drift=ADWIN(reaction="reset")))
    teach(learner, mostly(0.9, 1_000))
    waiting = [(learner.predict({"x": 1.0, "y": 1.0}), {"x": 1.0, "y": 1.0}) for _ in range(400)]
    while not learner.drifts:
        predictions, inputs = waiting.pop(0)
        learner.learn(predictions, inputs, False, None, 0)
    examples = learner.champion.running.examples
    for predictions, inputs in waiting[:50]:
        learner.learn(predictions, inputs, False, None, 0)
    assert learner.champion.loss.examples == 0
    assert learner.contenders[1].behind.examples == 0
    assert learner.champion.running.examples == examples + 50, "it learns from their labels all the same"


def test_inputs_are_standardised_where_asked_for() -> None:
    seen: list[dict[str, float]] = []

    class Watches(Says):
        def _start(self, task: str, state: Any) -> Any:
            running = super()._start(task, state)
            learn = running.learn
            running.learn = lambda inputs, label: (seen.append(inputs), learn(inputs, label))  # type: ignore[assignment,func-returns-value]
            return running

    learner = Learner(rules(Watches(0.5), standardised=("x",)))
    random_ = random.Random(1)
    for _ in range(2_000):
        inputs = {"x": random_.gauss(100.0, 7.0), "y": random_.gauss(100.0, 7.0)}
        learner.learn(learner.predict(inputs), inputs, True, None, 0)
    late = [each["x"] for each in seen[1_000:]]
    assert abs(sum(late) / 1_000) < 0.15
    assert abs(sum(x * x for x in late) / 1_000 - 1.0) < 0.15
    assert min(each["y"] for each in seen) > 50, "only those"
    assert list(seen[-1]) == ["x", "y"]


def test_reasons_are_those_of_the_one_that_is_asked() -> None:
    learner = Learner(rules(LogisticRegression(0.1), Says(0.5)))
    random_ = random.Random(1)
    for _ in range(300):
        inputs = {"x": random_.gauss(0, 1), "y": 3.0}
        learner.learn(learner.predict(inputs), inputs, inputs["x"] > 0, None, 0)
    [[name, added, words]] = learner.reasons({"x": 2.0, "y": 3.0}, 3) or []
    assert (name, added > 0, words) == ("x", True, "higher x than usual")
    assert learner.importances() is not None
    assert Learner(rules(Says(0.5))).reasons({"x": 1.0, "y": 1.0}, 3) is None
    assert Learner(rules(Says(0.5))).importances() is None


def test_a_model_that_fails_leaves_the_others_alone() -> None:
    learner = Learner(rules(Says(0.5), Stumbles(), Says(0.6)))
    inputs = {"x": 1.0, "y": 1.0}
    for number in range(1, 10):
        predictions = learner.predict(inputs)
        if number % 3:
            learner.learn(predictions, inputs, True, None, 0)
        else:
            with pytest.raises(ValueError, match="out of luck"):
                learner.learn(predictions, inputs, True, None, 0)
    assert learner.examples == 9
    assert [contender.running.examples for contender in learner.contenders] == [9, 9, 9]
    assert learner.contenders[1].behind.examples == 9


LEARNERS: dict[str, Callable[[], Rules]] = {
    "alone": lambda: rules(LogisticRegression(0.1)),
    "challenged": lambda: rules(Says(0.5), LogisticRegression(0.1), Says(0.8, noise=0.1), promote_after=20),
    "searching": lambda: rules(
        *Search(Says, {"what": [0.1, 0.3, 0.5, 0.7, 0.9], "noise": [0.05]}).contenders(), rung=25, promote_after=20
    ),
    "drifting": lambda: rules(
        LogisticRegression(0.5),
        Says(0.3, noise=0.2),
        Says(0.6, noise=0.2),
        promote_after=40,
        drift=ADWIN(delta=0.3, clock=1, grace_period=2, reaction="swap"),
        standardised=("x",),
    ),
    "on a scale": lambda: rules(
        LinearRegression(0.1), Says(0.5, noise=0.4), task="regression", scale="log", promote_after=20
    ),
    "reset": lambda: rules(
        LogisticRegression(0.5), drift=PageHinkley(threshold=1.0, min_examples=5), standardised=("x", "y")
    ),
}


@pytest.mark.parametrize("kind", LEARNERS)
@settings(max_examples=25)
@given(
    labels=st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=12),
    cuts=st.sets(st.integers(0, 200)),
    delay=st.sampled_from([0, 3, 30]),
)
def test_a_restored_learner_goes_on_bit_for_bit(
    kind: str, labels: list[tuple[int, bool]], cuts: set[int], delay: int
) -> None:
    kept = again = Learner(LEARNERS[kind]())
    again = Learner(LEARNERS[kind]())
    waiting: list[Any] = []
    for number, label in enumerate(label for times, label in labels for _ in range(times)):
        inputs = {"x": float(number % 7), "y": float(number % 3 + 2 * label)}
        if number in cuts:
            again = Learner(LEARNERS[kind](), stored(again.state()))
            waiting = stored(waiting)
        predictions = kept.predict(inputs)
        assert again.predict(inputs) == predictions
        waiting.append([predictions, inputs, label, None, number])
        if len(waiting) > delay:
            lesson = waiting.pop(0)
            kept.learn(*lesson)
            again.learn(*lesson)
        assert again.report() == kept.report()
    assert stored(again.state()) == stored(kept.state())


def test_the_state_of_the_first_release() -> None:
    """One model and the metrics of its predictions; challengers that the definition has since begin now."""
    model = LogisticRegression().start("binary")
    metrics = Evaluation("binary").model
    for label in mostly(0.7, 50):
        metrics.update(model.predict({"x": 1.0, "y": 2.0}), label)
        model.learn({"x": 1.0, "y": 2.0}, label)
    learner = Learner(rules(LogisticRegression()), stored([model.state(), metrics.state()]))
    assert learner.examples == 50
    assert learner.predict({"x": 1.0, "y": 2.0}) == [0, model.predict({"x": 1.0, "y": 2.0})]
    assert learner.evaluation.model.state() == metrics.state()
    assert learner.evaluation.values().prevalence.examples == 0
    with_more = Learner(rules(LogisticRegression(), Says(0.5)), stored([model.state(), metrics.state()]))
    assert [contender.running.examples for contender in with_more.contenders] == [50, 0]
    assert Learner(rules(LogisticRegression()), stored(learner.state())).examples == 50


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_state_that_cannot_be_read_is_said(kind: str) -> None:
    learner = Learner(LEARNERS[kind]())
    teach(learner, mostly(0.5, 60))
    state = stored(learner.state())
    for name in state.keys() - {name for name in ("drift", "scaler") if state[name] is None}:
        broken = {key: value for key, value in state.items() if key != name}
        with pytest.raises(StateError):
            Learner(LEARNERS[kind](), broken)
    strange: list[Any] = [7, "state", [1, 2, 3], {**state, "contenders": [[0, 99, None, None, None]]}]
    strange += [{**state, "contenders": 7}, {**state, "evaluation": [1]}, [None, None, None]]
    for each in strange:
        with pytest.raises(StateError):
            Learner(LEARNERS[kind](), each)


def test_one_heavy_contender_makes_a_heavy_learner() -> None:
    heavy = rules(Says(0.2), Says(0.8, compact=False), rung=10, promote_after=1_000)
    learner = Learner(heavy)
    assert not learner.compact
    teach(learner, [False] * 10)
    assert learner.compact, "only the light one is left"


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks(task: str) -> None:
    random_ = random.Random(3)
    good: Any = {"a": 0.7, "b": 0.3} if task == "multiclass" else 10.0
    bad: Any = {"a": 0.2, "c": 0.8} if task == "multiclass" else 40.0
    learner = Learner(rules(Says(bad), Says(good), task=task, promote_after=50))
    for _ in range(200):
        label: Any = random_.choice("aab") if task == "multiclass" else random_.gauss(10, 3)
        inputs = {"x": 1.0, "y": 1.0}
        learner.learn(learner.predict(inputs), inputs, label, None, 0)
    assert (asked(learner), learner.promotions) == (1, 1)
    assert learner.evaluation.values().task == task
    again = Learner(rules(Says(bad), Says(good), task=task, promote_after=50), stored(learner.state()))
    assert again.report() == learner.report()


def test_numbers_may_be_learned_on_a_scale() -> None:
    """What is published, and what it is scored by, is in the label's own unit."""
    learner = Learner(rules(Says(3.0), Says(-1.5), task="regression", scale="sqrt"))
    inputs = {"x": 0.0, "y": 0.0}
    assert learner.predict(inputs) == [0, 9.0, 1, -2.25]
    learner.learn(learner.predict(inputs), inputs, 16.0, None, 0)
    assert learner.champion.running.state()["sum"] == 4.0
    assert learner.champion.loss.mean == 49.0
    values = learner.evaluation.values().model
    assert isinstance(values, RegressionValues)
    assert values.mae == 7.0


def test_losses_are_what_contenders_are_compared_by() -> None:
    learner = Learner(rules(Says(0.3), Says(1.0)))
    teach(learner, [False])
    assert [contender.loss.mean for contender in learner.contenders] == [loss("binary", 0.3, False), 10.0]


def test_models_are_checked() -> None:
    check_models("owner", "binary", [LogisticRegression(), Says()])
    with pytest.raises(DefinitionError, match="'owner': 'logistic' is no model; give one such as LogisticRegression"):
        check_models("owner", "binary", ["logistic"])  # type: ignore[list-item]
    with pytest.raises(DefinitionError, match="is a model for regression targets, and the label makes this one binary"):
        check_models("owner", "binary", [LinearRegression()])
