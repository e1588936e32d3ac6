"""Trees and forests learn what is not linear, follow a change, and stay as small as they were told to."""

from __future__ import annotations

import random
from typing import Any

import pytest

from stream_profiles.errors import DefinitionError
from stream_profiles.models.base import Model, RunningModel
from stream_profiles.models.linear import LogisticRegression
from stream_profiles.models.river_model import RunningRiver
from stream_profiles.models.trees import AdaptiveRandomForest, HoeffdingAdaptiveTree, MondrianForest
from tests.models.problems import pack

TREES: list[Model] = [
    HoeffdingAdaptiveTree(grace_period=50, delta=0.01),
    AdaptiveRandomForest(trees=5),
    MondrianForest(trees=5, max_nodes=200),
]
every_tree = pytest.mark.parametrize("model", TREES, ids=repr)


def in_the_middle(count: int, seed: int = 1, turned: bool = False) -> list[tuple[dict[str, float], bool]]:
    """True where one input is neither small nor large: no line tells the two apart."""
    random_ = random.Random(seed)
    made = []
    for _ in range(count):
        inputs = {"x": random_.random(), "y": random_.random()}
        made.append((inputs, (0.3 < inputs["x"] < 0.7) != turned))
    return made


def right(running: RunningModel, shown: list[tuple[dict[str, float], bool]]) -> float:
    predictions: list[Any] = [running.predict(inputs) for inputs, _ in shown]
    return sum((p > 0.5) == label for p, (_, label) in zip(predictions, shown, strict=True)) / len(shown)


@every_tree
def test_what_no_line_can_tell_apart(model: Model) -> None:
    running, line = model.start("binary"), LogisticRegression(0.05).start("binary")
    for inputs, label in in_the_middle(2_000):
        running.learn(inputs, label)
        line.learn(inputs, label)
    shown = in_the_middle(500, seed=2)
    assert right(running, shown) > 0.9
    assert right(line, shown) < 0.7


@pytest.mark.parametrize("model", TREES[:2], ids=repr)
def test_a_change_is_followed(model: Model) -> None:
    running = model.start("binary")
    for inputs, label in [*in_the_middle(2_000), *in_the_middle(3_000, seed=3, turned=True)]:
        running.learn(inputs, label)
    assert right(running, in_the_middle(500, seed=2, turned=True)) > 0.8


@every_tree
def test_seeds_make_different_trees(model: Model) -> None:
    predictions = set()
    for seed in (1, 2):
        running = type(model)(**{**model.config, "seed": seed}).start("binary")
        for inputs, label in in_the_middle(500):
            running.learn(inputs, label)
        predictions.add(running.predict({"x": 0.31, "y": 0.5}))
    assert len(predictions) == 2


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (HoeffdingAdaptiveTree(grace_period=10, delta=0.5, max_depth=2), "binary"),
        (HoeffdingAdaptiveTree(grace_period=10, delta=0.5, max_depth=2), "regression"),
        (AdaptiveRandomForest(trees=2, grace_period=10, max_depth=2), "binary"),
        (AdaptiveRandomForest(trees=2, grace_period=10, max_depth=2), "regression"),
        (MondrianForest(trees=2, max_nodes=50), "binary"),
    ],
    ids=repr,
)
def test_size_is_bounded(model: Model, task: str) -> None:
    running = model.start(task)
    assert isinstance(running, RunningRiver)
    random_ = random.Random(1)
    sizes = []
    for number in range(4_000):
        inputs = {name: random_.gauss(0, 1) for name in "abc"}
        running.learn(inputs, inputs["a"] > random_.gauss(0, 1) if task == "binary" else inputs["a"])
        if number % 500 == 499:
            sizes.append(len(pack(running.state())))
    assert sizes[-1] < 1.5 * sizes[3]
    last = list(running.estimator.steps.values())[-1] if hasattr(running.estimator, "steps") else running.estimator
    for grown in [last] if hasattr(last, "_root") else list(last):
        nodes = sum(1 for _ in grown._root.iter_dfs())
        assert 2 < nodes <= (51 if isinstance(model, MondrianForest) else 7)


def test_a_mondrian_tree_divides_inputs_of_few_values() -> None:
    """Scaled by the least and the most so far, all would lie within what it has seen, and it would never divide."""
    running = MondrianForest(trees=5).start("binary")
    for number in range(1_000):
        running.learn({"x": float(number % 7), "y": float(number % 5)}, 1 < number % 7 < 5)
    assert running.predict({"x": 3.0, "y": 0.0}) > 0.8  # type: ignore[operator]
    assert running.predict({"x": 0.0, "y": 0.0}) < 0.2  # type: ignore[operator]


def test_a_label_that_turns_up_late_needs_pure_nodes_divided() -> None:
    predictions = {}
    for split_pure in (False, True):
        running = MondrianForest(trees=5, split_pure=split_pure).start("binary")
        for number in range(1_050):
            running.learn({"x": float(number % 7)}, number >= 50 and number % 7 == 3)
        predictions[split_pure] = running.predict({"x": 3.0})
    assert predictions[True] > 0.8 > 0.3 > predictions[False]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HoeffdingAdaptiveTree(grace_period=0), "HoeffdingAdaptiveTree: grace_period must be at least 1"),
        (lambda: HoeffdingAdaptiveTree(max_depth=0), "max_depth must be from 1 to 30"),
        (lambda: HoeffdingAdaptiveTree(delta=1.0), "delta must be between 0 and 1"),
        (lambda: HoeffdingAdaptiveTree(leaf_prediction="mean"), "leaf_prediction must be one of mc, nb, nba"),
        (lambda: HoeffdingAdaptiveTree(split_criterion="best"), "split_criterion must be one of info_gain, gini"),
        (lambda: HoeffdingAdaptiveTree(drift_window_threshold=0), "drift_window_threshold must be at least 1"),
        (lambda: HoeffdingAdaptiveTree(switch_significance=0.0), "switch_significance must be between 0 and 1"),
        (lambda: AdaptiveRandomForest(trees=0), "AdaptiveRandomForest: trees and lambda_value must be at least 1"),
        (lambda: AdaptiveRandomForest(max_features="half"), "max_features takes a number or a share"),
        (lambda: AdaptiveRandomForest(max_features=True), "max_features takes a number or a share"),
        (lambda: AdaptiveRandomForest(drift_delta=0.0), "drift_delta and warning_delta are chances"),
        (lambda: MondrianForest(max_nodes=0), "MondrianForest: trees and max_nodes must be at least 1"),
        (lambda: MondrianForest(dirichlet=0.0), "step and dirichlet must be above 0"),
    ],
)
def test_what_cannot_grow_is_refused(make: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        make()


@pytest.mark.parametrize("max_features", [1, 0.5, "sqrt", "log2", None])
def test_every_way_to_choose_inputs_works(max_features: Any) -> None:
    running = AdaptiveRandomForest(trees=2, max_features=max_features).start("binary")
    for inputs, label in in_the_middle(200):
        running.learn(inputs, label)
    assert 0.0 <= running.predict({"x": 0.5, "y": 0.5}) <= 1.0  # type: ignore[operator]
