"""What must be true of the metrics of every task, and the evaluation of a model next to its baselines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles.errors import DefinitionError, StateError
from stream_profiles.models.metrics import (
    BinaryMetrics,
    Evaluation,
    EvaluationValues,
    Metrics,
    MetricValues,
    MulticlassMetrics,
    MulticlassValues,
    RegressionMetrics,
    RegressionValues,
    start_metrics,
)
from tests.models.test_binary_metrics import OLD_PAIRS, OLD_STATE

#: Prediction, label, last label.
Example = tuple[Any, Any, Any]
classes = st.sampled_from(["hats", "shirts", "shoes", "socks"])
#: Quarters, so that labels are the same or clearly not.
numbers = st.integers(-400, 400).map(lambda quarters: quarters / 4)
EXAMPLES: dict[str, st.SearchStrategy[Example]] = {
    "binary": st.tuples(st.floats(0.0, 1.0), st.booleans(), st.none() | st.booleans()),
    "multiclass": st.tuples(st.dictionaries(classes, st.floats(0.0, 1.0)), classes, st.none() | classes),
    "regression": st.tuples(numbers, numbers, st.none() | numbers),
}
TASKS = list(EXAMPLES)


@st.composite
def parts_of_a_task(draw: st.DrawFn, parts: int) -> tuple[str, list[list[Example]]]:
    task = draw(st.sampled_from(TASKS))
    return task, [draw(st.lists(EXAMPLES[task], max_size=25)) for _ in range(parts)]


def measured(task: str, examples: list[Example]) -> Metrics:
    metrics = start_metrics(task)
    for prediction, label, _ in examples:
        metrics.update(prediction, label)
    return metrics


def evaluated(task: str, examples: list[Example]) -> Evaluation:
    evaluation = Evaluation(task)
    for example in examples:
        evaluation.update(*example)
    return evaluation


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and text within plain data, by where it is."""
    if isinstance(value, (dict, list, tuple)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, f"{path}/{key}")
    else:
        yield path, value


def assert_alike(found: Any, expected: Any) -> None:
    """Equal where it is counted, and but for rounding where it is summed."""
    one, other = dict(leaves(msgspec.to_builtins(found))), dict(leaves(msgspec.to_builtins(expected)))
    assert one.keys() == other.keys()
    for path, value in one.items():
        if isinstance(value, float) and isinstance(other[path], float):
            assert value == pytest.approx(other[path], rel=1e-9, abs=1e-9), path
        else:
            assert value == other[path], path


def through_msgpack(state: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state))


def through_json(state: Any) -> Any:
    return json.loads(json.dumps(state, allow_nan=False))


def through_msgspecs_json(state: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(state))


TRAVELS = [through_msgpack, through_json, through_msgspecs_json]


class TestMetrics:
    def test_of_each_task(self) -> None:
        kinds = [type(start_metrics(task)) for task in TASKS]
        assert kinds == [BinaryMetrics, MulticlassMetrics, RegressionMetrics]

    def test_of_no_task(self) -> None:
        with pytest.raises(DefinitionError, match=r"'ranking'.*binary, multiclass, regression"):
            start_metrics("ranking")

    @pytest.mark.parametrize("task", TASKS)
    @pytest.mark.parametrize("state", [[], [1], [1, 2, 3, 4, 5, 6, 7], 7, "text", [None] * 7])
    def test_what_is_no_state_is_an_error(self, task: str, state: Any) -> None:
        with pytest.raises(StateError, match="not a stored state of"):
            start_metrics(task, state)

    @given(parts_of_a_task(2))
    def test_partitions_merge_to_what_one_would_have(self, parts: tuple[str, list[list[Example]]]) -> None:
        task, (here, there) = parts
        merged, other = measured(task, here), measured(task, there)
        before = other.state()
        merged.merge(other)
        assert other.state() == before
        whole = measured(task, here + there)
        assert_alike(merged.values(), whole.values())
        assert_alike(merged.state(), whole.state())

    @given(parts_of_a_task(2))
    def test_what_was_merged_is_no_part_of_it(self, parts: tuple[str, list[list[Example]]]) -> None:
        task, (here, there) = parts
        merged, other = start_metrics(task), measured(task, here)
        merged.merge(other)
        before = merged.state()
        for prediction, label, _ in there:
            other.update(prediction, label)
        assert merged.state() == before

    @pytest.mark.parametrize("travel", TRAVELS)
    @given(parts=parts_of_a_task(2))
    def test_a_stored_state_goes_on_bit_for_bit(self, travel: Any, parts: tuple[str, list[list[Example]]]) -> None:
        task, (before, after) = parts
        kept = measured(task, before)
        stored = start_metrics(task, travel(kept.state()))
        assert stored.state() == kept.state()
        for prediction, label, _ in after:
            kept.update(prediction, label)
            stored.update(prediction, label)
        assert stored.state() == kept.state()
        assert stored.values() == kept.values()

    @given(parts_of_a_task(1))
    def test_a_state_does_not_change_afterwards(self, parts: tuple[str, list[list[Example]]]) -> None:
        task, [examples] = parts
        metrics = measured(task, examples)
        state = metrics.state()
        before = through_msgpack(state)
        for prediction, label, _ in examples:
            metrics.update(prediction, label)
        assert state == before


class TestEvaluation:
    def test_the_values_are_of_the_tasks_kind(self) -> None:
        for task, kind in zip(TASKS, (MetricValues, MulticlassValues, RegressionValues), strict=True):
            values = Evaluation(task).values()
            assert isinstance(values, EvaluationValues)
            assert values.task == task
            assert {type(values.model), type(values.prevalence), type(values.last_label)} == {kind}

    def test_of_no_task(self) -> None:
        with pytest.raises(DefinitionError, match="'ranking'"):
            Evaluation("ranking")

    @given(parts_of_a_task(1))
    def test_all_three_are_of_the_same_examples(self, parts: tuple[str, list[list[Example]]]) -> None:
        task, [examples] = parts
        values = evaluated(task, examples).values()
        assert values.model == measured(task, examples).values()
        assert values.model.examples == values.prevalence.examples == values.last_label.examples == len(examples)

    def test_prevalence_of_a_binary_target_is_scored_before_it_knows_the_label(self) -> None:
        prevalence = evaluated("binary", [(0.7, label, None) for label in (True, False, False)]).values().prevalence
        assert isinstance(prevalence, MetricValues)
        assert prevalence.log_loss == pytest.approx(-(math.log(0.5) + math.log(0.25) + math.log(0.5)) / 3)

    def test_prevalence_of_a_multiclass_target_is_scored_before_it_knows_the_label(self) -> None:
        labels = ["hats", "hats", "shoes", "shoes"]
        prevalence = evaluated("multiclass", [({}, label, None) for label in labels]).values().prevalence
        assert isinstance(prevalence, MulticlassValues)
        never_seen = -math.log(1e-15)
        assert prevalence.log_loss == pytest.approx((never_seen + 0.0 + never_seen - math.log(1 / 3)) / 4)
        assert prevalence.confusion == {"hats": {"hats": 1, "(none)": 1}, "shoes": {"hats": 2}}

    def test_prevalence_of_a_regression_target_is_scored_before_it_knows_the_label(self) -> None:
        prevalence = evaluated("regression", [(0.0, label, None) for label in (10.0, 20.0, 30.0)]).values().prevalence
        assert isinstance(prevalence, RegressionValues)
        assert prevalence.mae == pytest.approx((10 + 10 + 15) / 3)

    def test_the_last_label_is_trusted_and_prevalence_where_there_is_none(self) -> None:
        binary = evaluated("binary", [(0.7, True, None), (0.7, True, True), (0.7, True, False)]).values().last_label
        assert isinstance(binary, MetricValues)
        assert binary.log_loss == pytest.approx(-(math.log(0.5) + math.log(0.99) + math.log(0.01)) / 3)
        examples = [({}, "hats", "hats"), ({}, "hats", "shoes"), ({}, "hats", None)]
        multiclass = evaluated("multiclass", examples).values().last_label
        assert isinstance(multiclass, MulticlassValues)
        assert multiclass.log_loss == pytest.approx(-(math.log(0.99) + math.log(0.01)) / 3)
        assert multiclass.confusion == {"hats": {"hats": 2, "shoes": 1}}
        regression = evaluated("regression", [(0.0, 10.0, None), (0.0, 10.0, 12.0), (0.0, 13.0, None)]).values()
        assert isinstance(regression.last_label, RegressionValues)
        assert regression.last_label.mae == pytest.approx((10 + 2 + 3) / 3)

    @given(parts_of_a_task(2))
    def test_partitions_merge(self, parts: tuple[str, list[list[Example]]]) -> None:
        task, (here, there) = parts
        merged, other = evaluated(task, here), evaluated(task, there)
        own = [evaluated(task, here), evaluated(task, there)]
        before = other.state()
        merged.merge(other)
        assert other.state() == before
        values = merged.values()
        assert_alike(values.model, measured(task, here + there).values())
        for name in ("prevalence", "last_label"):
            expected = getattr(own[0], name)
            expected.merge(getattr(own[1], name))
            assert_alike(getattr(values, name), expected.values())

    @given(parts_of_a_task(2))
    def test_merged_it_goes_on_from_the_labels_of_both(self, parts: tuple[str, list[list[Example]]]) -> None:
        task, (here, there) = parts
        merged, whole = evaluated(task, here), evaluated(task, here + there)
        merged.merge(evaluated(task, there))
        assert_alike(merged.state()["usual"], whole.state()["usual"])

    def test_only_evaluations_of_one_task_merge(self) -> None:
        with pytest.raises(StateError, match=r"regression target.*binary target"):
            Evaluation("binary").merge(Evaluation("regression"))

    @pytest.mark.parametrize("travel", TRAVELS)
    @given(parts=parts_of_a_task(2))
    def test_a_stored_state_goes_on_bit_for_bit(self, travel: Any, parts: tuple[str, list[list[Example]]]) -> None:
        task, (before, after) = parts
        kept = evaluated(task, before)
        stored = Evaluation(task, travel(kept.state()))
        assert stored.state() == kept.state()
        for example in after:
            kept.update(*example)
            stored.update(*example)
        assert msgspec.msgpack.encode(stored.state()) == msgspec.msgpack.encode(kept.state())
        assert stored.values() == kept.values()

    def test_what_the_first_release_stored_goes_on_with_baselines_from_now(self) -> None:
        evaluation = Evaluation("binary", OLD_STATE)
        assert evaluation.values().model == BinaryMetrics(OLD_STATE).values()
        assert evaluation.values().prevalence.examples == 0
        evaluation.update(0.3, False, True)
        assert evaluation.values().model.examples == len(OLD_PAIRS) + 1
        assert evaluation.values().last_label.examples == 1
        assert Evaluation("binary", evaluation.state()).values() == evaluation.values()

    @pytest.mark.parametrize("task", TASKS)
    @pytest.mark.parametrize("state", [{}, {"model": []}, [1], 7, "text"])
    def test_what_is_no_state_is_an_error(self, task: str, state: Any) -> None:
        with pytest.raises(StateError, match="not a stored"):
            Evaluation(task, state)

    def test_a_state_of_another_task_is_an_error(self) -> None:
        with pytest.raises(StateError, match="not a stored evaluation of a binary target"):
            Evaluation("binary", Evaluation("regression").state())

    @pytest.mark.parametrize("part", ["model", "prevalence", "last_label", "usual"])
    @pytest.mark.parametrize("task", TASKS)
    def test_a_broken_part_is_an_error(self, task: str, part: str) -> None:
        with pytest.raises(StateError, match="not a stored state of"):
            Evaluation(task, {**Evaluation(task).state(), part: [1]})
