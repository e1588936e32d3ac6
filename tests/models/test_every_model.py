"""What holds for every model. A new one is tested from the day it has a line in CASES."""

from __future__ import annotations

import inspect
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stream_profiles.errors import DefinitionError, StateError
from stream_profiles.features.base import config_as_json, config_of
from stream_profiles.models import base, bayes, blend, factorization, linear, passive_aggressive, river_model, trees
from stream_profiles.models.base import MAX_CLASSES, Model, RunningModel
from tests.models.problems import CASES, examples, nasty, pack, pairs, stored

every_model = pytest.mark.parametrize("model", CASES, ids=repr)
every_task = pytest.mark.parametrize(("model", "task"), pairs, ids=lambda value: repr(value)[:100])


def learned(model: Model, task: str, count: int) -> RunningModel:
    running = model.start(task)
    for inputs, label in examples(task, count):
        running.learn(inputs, label)
    return running


def loss(task: str, prediction: Any, label: Any) -> float:
    if task == "regression":
        return float((prediction - label) ** 2)
    probability = prediction.get(label, 0.0) if task == "multiclass" else prediction if label else 1 - prediction
    return -math.log(max(probability, 1e-3))


def assert_sound(task: str, prediction: Any) -> None:
    numbers = list(prediction.values()) if task == "multiclass" else [prediction]
    assert all(type(number) is float and math.isfinite(number) for number in numbers)
    if task != "regression":
        assert all(0.0 <= number <= 1.0 for number in numbers)
    if task == "multiclass" and prediction:
        assert math.fsum(numbers) == pytest.approx(1.0)


def test_every_model_is_here() -> None:
    modules = (base, bayes, blend, factorization, linear, passive_aggressive, river_model, trees)
    declared = {each for module in modules for each in vars(module).values() if inspect.isclass(each)}
    startable = {each for each in declared if issubclass(each, Model) and each._start is not Model._start}
    assert {type(model) for model in CASES} == startable


@every_model
def test_its_configuration_rebuilds_it(model: Model) -> None:
    rebuilt = type(model)(**model.config)
    assert config_as_json(rebuilt.config) == config_as_json(model.config)
    assert type(model)(**config_of(model)).config.keys() == model.config.keys()
    assert repr(rebuilt) == repr(model)
    assert " at 0x" not in json.dumps(config_as_json(model.config)), "the same in every process"
    assert set(config_of(model)) == set(inspect.signature(type(model)).parameters)


@every_task
def test_it_learns_more_than_what_is_usual(model: Model, task: str) -> None:
    """Compared with the shares, or the mean, of the very labels it is compared on."""
    running = learned(model, task, 2_000)
    shown = examples(task, 1_000, seed=2)
    labels = [label for _, label in shown]
    usual: Any
    if task == "binary":
        usual = sum(labels) / len(labels)
    elif task == "multiclass":
        usual = {label: labels.count(label) / len(labels) for label in set(labels)}
    else:
        usual = math.fsum(labels) / len(labels)
    ours = math.fsum(loss(task, running.predict(inputs), label) for inputs, label in shown)
    theirs = math.fsum(loss(task, usual, label) for label in labels)
    assert ours < 0.85 * theirs


@every_task
def test_a_stored_state_goes_on_bit_for_bit(model: Model, task: str) -> None:
    kept, other = model.start(task), model.start(task)
    for number, (inputs, label) in enumerate([*examples(task, 300), *nasty(task, 100)]):
        if number % 60 == 20:
            other = model.start(task, stored(other))
        if number % 5 == 0:
            assert other.predict(inputs) == kept.predict(inputs)
            assert other.contributions(inputs) == kept.contributions(inputs)
        kept.learn(inputs, label)
        other.learn(inputs, label)
    other = model.start(task, stored(other))
    assert [other.predict(inputs) for inputs, _ in examples(task, 50)] == [
        kept.predict(inputs) for inputs, _ in examples(task, 50)
    ]
    assert other.importances() == kept.importances()
    assert other.examples == kept.examples == 400


@every_task
def test_predictions_are_finite_whatever_comes(model: Model, task: str) -> None:
    running = model.start(task)
    for number, (inputs, label) in enumerate(nasty(task, 600)):
        assert_sound(task, running.predict(inputs))
        running.learn(inputs, label)
        if number % 50 == 0:
            assert_sound(task, running.predict({"never seen": 1e6}))
            assert_sound(task, running.predict({}))
    assert running.examples == 600


@every_task
def test_it_starts_out_knowing_nothing(model: Model, task: str) -> None:
    running = model.start(task)
    assert running.examples == 0
    assert (
        running.predict({"a": 7.0}) == running.predict({}) == {"binary": 0.5, "multiclass": {}, "regression": 0.0}[task]
    )
    assert running.importances() is None
    fresh = model.start(task, stored(running))
    assert fresh.predict({"a": 7.0}) == running.predict({"a": 7.0})


@every_task
def test_a_prediction_changes_nothing(model: Model, task: str) -> None:
    running = learned(model, task, 200)
    before = pack(running.state())
    inputs = examples(task, 1, seed=9)[0][0]
    copy = dict(inputs)
    first = running.predict({**inputs, "new": 1.0})
    running.contributions(inputs)
    running.importances()
    assert inputs == copy
    assert running.predict({**inputs, "new": 1.0}) == first
    assert pack(running.state()) == before


@every_task
def test_learning_does_not_touch_the_inputs(model: Model, task: str) -> None:
    running = model.start(task)
    for inputs, label in examples(task, 20):
        copy = dict(inputs)
        running.learn(inputs, label)
        assert inputs == copy


@every_task
def test_contributions_add_up(model: Model, task: str) -> None:
    running = learned(model, task, 200)
    inputs = examples(task, 1, seed=9)[0][0]
    contributions, deviations = running.contributions(inputs), running.deviations(inputs)
    if contributions is None:
        return
    assert set(contributions) == set(inputs)
    assert deviations is not None and set(deviations) == set(inputs)
    if task != "multiclass" and not isinstance(model, blend.Blend):
        total = math.fsum(contributions.values()) + running.intercept  # type: ignore[attr-defined]
        prediction: Any = running.predict(inputs)
        assert total == pytest.approx(base.logit(prediction) if task == "binary" else prediction)


@every_task
def test_importances_are_shares_and_find_what_matters(model: Model, task: str) -> None:
    importances = learned(model, task, 2_000).importances()
    if importances is None:
        return
    assert math.fsum(importances.values()) == pytest.approx(1.0)
    assert set(importances) == {"a", "b", "c", "nothing"}
    assert all(share >= 0 for share in importances.values())
    assert importances["a"] > importances["nothing"]


@every_task
def test_a_compact_state_is_small(model: Model, task: str) -> None:
    running = learned(model, task, 500)
    assert len(pack(running.state())) < 4_000 or not running.compact


@every_model
def test_a_task_it_cannot_learn_is_refused(model: Model) -> None:
    for task in {"binary", "multiclass", "regression", "ranking"} - model.tasks:
        with pytest.raises(DefinitionError, match=f"is a model for .* targets; for a {task} one take another"):
            model.start(task)


@every_task
@pytest.mark.parametrize("rubbish", ["x", 5, [], {}, [1, 2], [0, "x", []], [[1, b"x", []], 0, [], [], None]], ids=repr)
def test_a_state_that_cannot_be_read_says_so(model: Model, task: str, rubbish: Any) -> None:
    with pytest.raises(StateError, match="cannot be read"):
        model.start(task, rubbish)


@pytest.mark.parametrize("model", [model for model in CASES if "multiclass" in model.tasks], ids=repr)
def test_the_number_of_classes_is_bounded(model: Model) -> None:
    if isinstance(model, trees.AdaptiveRandomForest | trees.HoeffdingAdaptiveTree | trees.MondrianForest):
        model = type(model)(**({"trees": 1} if not isinstance(model, trees.HoeffdingAdaptiveTree) else {}))
    running = model.start("multiclass")
    for number in range(MAX_CLASSES + 10):
        running.learn({"x": float(number % 3)}, f"class {number}")
    prediction = running.predict({"x": 1.0})
    assert isinstance(prediction, dict)
    assert list(prediction) == [f"class {number}" for number in range(MAX_CLASSES)]
    assert running.examples == MAX_CLASSES + 10


def test_two_processes_learn_the_same() -> None:
    """Strings are hashed otherwise in each, so sets of them are gone through in another order."""
    root = Path(__file__).parents[2]
    found = [
        subprocess.run(
            [sys.executable, "-m", "tests.models.fingerprints"],
            cwd=root,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for seed in ("1", "2")
    ]
    assert found[0] == found[1]
    assert len(found[0]) >= len(pairs)
