"""Reports of partitions, added up: what the client says is what one learner of all examples would have counted."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from stream_profiles import Count, Happens, LogisticRegression, ProfileDefinition, Target
from stream_profiles.client._metrics import TargetMetrics, merge, model_names, read_reports
from stream_profiles.errors import StateError
from stream_profiles.models.learners import Learner, Rules
from stream_profiles.models.linear import LinearRegression
from stream_profiles.models.metrics import BinaryMetrics, Evaluation
from stream_profiles.models.search import Search

Example = tuple[float, Any, Any]
#: Of each task, how to make an example: input, label, last label.
EXAMPLES: dict[str, Callable[[random.Random], Example]] = {
    "binary": lambda dice: ((x := dice.random()), dice.random() < x, dice.choice([None, True, False])),
    "multiclass": lambda dice: ((x := dice.random()), "abc"[int(3 * x)], dice.choice([None, "a", "b"])),
    "regression": lambda dice: ((x := dice.random()), 3.0 * x + dice.random(), dice.choice([None, 1.0, 2.0])),
}


def learned(task: str, seed: int, examples: int, models: int = 2) -> Learner:
    """A learner that has seen examples of the task."""
    kind = LinearRegression if task == "regression" else LogisticRegression
    learner = Learner(Rules(task=task, models=[kind(learning_rate=0.1 / (n + 1)) for n in range(models)], names=["x"]))
    dice = random.Random(seed)
    for time in range(examples):
        x, label, last_label = EXAMPLES[task](dice)
        learner.learn(learner.predict({"x": x}), {"x": x}, label, last_label, time)
    return learner


def merged(*reports: Any, names: Any = ()) -> TargetMetrics:
    """The reports by the way they go: as JSON in a hash."""
    fields = {str(number).encode(): msgspec.json.encode({"t": report}) for number, report in enumerate(reports)}
    return merge([targets["t"] for targets in read_reports(fields).values()], names)


@pytest.mark.parametrize("task", EXAMPLES)
def test_one_partition_is_as_it_reports(task: str) -> None:
    learner = learned(task, seed=1, examples=300)
    found, expected = merged(learner.report()), learner.evaluation.values()
    assert (found.task, found.examples) == (task, 300)
    assert (found.model, found.prevalence, found.last_label) == (
        expected.model,
        expected.prevalence,
        expected.last_label,
    )
    assert found.model != found.prevalence != found.last_label
    assert [each.model for each in found.contenders] == [each.declared for each in learner.contenders]
    assert [each.loss for each in found.contenders] == [each.loss.mean for each in learner.contenders]
    assert [each.behind for each in found.contenders] == [None, learner.contenders[1].behind.mean]
    assert [each.asked for each in found.contenders] == [1, 0]


@pytest.mark.parametrize("task", EXAMPLES)
def test_partitions_are_evaluated_together(task: str) -> None:
    learners = [learned(task, seed, examples) for seed, examples in ((1, 300), (2, 120))]
    whole = Evaluation(task, learners[0].evaluation.state())
    whole.merge(learners[1].evaluation)
    found = merged(*(learner.report() for learner in learners))
    assert found.examples == 420
    assert (found.model, found.prevalence, found.last_label) == (
        whole.values().model,
        whole.values().prevalence,
        whole.values().last_label,
    )


def report(**changes: Any) -> dict[str, Any]:
    plain = {"evaluation": Evaluation("binary").state(), "examples": 0, "promotions": 0, "drifts": 0}
    return plain | {"importances": None, "contenders": []} | changes


def contender(model: int, examples: int, loss: float | None = None, behind: float | None = None) -> dict[str, Any]:
    return {"model": model, "examples": examples, "loss": loss, "behind": behind}


def test_counts_are_added() -> None:
    found = merged(report(examples=10, promotions=1, drifts=2), report(examples=5, promotions=3))
    assert (found.examples, found.promotions, found.drifts) == (15, 4, 2)


def test_importances_are_means_by_examples_the_largest_first() -> None:
    found = merged(
        report(examples=300, importances={"views": 0.9, "spend": 0.1}),
        report(examples=100, importances={"views": 0.5, "country=IT": 0.5}),
        report(examples=1_000, importances=None),
    )
    assert found.importances == pytest.approx({"views": 0.8, "country=IT": 0.125, "spend": 0.075})
    assert list(found.importances or ()) == ["views", "country=IT", "spend"]


@pytest.mark.parametrize("importances", [None, {"views": float("nan")}])
def test_there_may_be_no_importances(importances: Any) -> None:
    assert not merged(report(examples=3, importances=importances)).importances


def test_contenders_are_told_apart_by_their_model() -> None:
    found = merged(
        report(contenders=[contender(1, 30, 0.2), contender(0, 30, 0.4, 0.2)]),
        report(contenders=[contender(1, 10, 0.6), contender(2, 10, 0.5, -0.1)]),
        report(contenders=[contender(0, 10, 0.8)]),
        names=["first", "second"],
    )
    second, first, third = found.contenders
    assert (second.model, second.name, second.partitions, second.asked, second.examples) == (1, "second", 2, 2, 40)
    assert second.loss == pytest.approx(0.3) and second.behind is None
    assert (first.model, first.name, first.partitions, first.asked) == (0, "first", 2, 1)
    assert first.loss == pytest.approx(0.5) and first.behind == pytest.approx(0.2)
    assert (third.model, third.name, third.asked, third.behind) == (2, None, 0, -0.1)


def test_one_that_is_alone_is_behind_nobody() -> None:
    (alone,) = merged(learned("binary", seed=1, examples=50, models=1).report()).contenders
    assert alone.examples == 50 and alone.loss is not None and alone.behind is None


class TestRelease01:
    """It reported the state of the model's metrics, and nothing else."""

    @pytest.fixture
    def old(self) -> BinaryMetrics:
        metrics = BinaryMetrics()
        for number in range(60):
            metrics.update((number * 37 % 60) / 60, number % 3 == 0)
        return metrics

    def test_its_reports_are_read(self, old: BinaryMetrics) -> None:
        found = merged(old.state()[:6])
        assert found.task == "binary" and found.examples == 60
        assert found.model.roc_auc == old.values().roc_auc  # type: ignore[union-attr]
        assert found.prevalence.examples == found.last_label.examples == 0
        assert found.contenders == () and found.importances is None

    def test_they_are_added_to_those_of_this_one(self, old: BinaryMetrics) -> None:
        new = learned("binary", seed=1, examples=100)
        found = merged(old.state()[:6], new.report())
        old.merge(BinaryMetrics(new.report()["evaluation"]["model"]))
        assert found.examples == found.model.examples == 160
        assert found.model.log_loss == pytest.approx(old.values().log_loss)  # type: ignore[union-attr]
        assert found.prevalence == new.evaluation.values().prevalence
        assert len(found.contenders) == 2


def test_what_a_newer_release_adds_is_passed_over() -> None:
    assert merged(report(examples=7, seasons=4)).examples == 7


@pytest.mark.parametrize(
    ("reports", "message"),
    [
        ([report(), report(evaluation=Evaluation("regression").state())], "regression target cannot be added"),
        ([report(evaluation={"task": "ranking"})], "'ranking'"),
        ([report(evaluation={"task": "binary"})], "binary"),
        ([report(examples="many")], "int"),
        ([[1, 2]], "BinaryMetrics"),
    ],
)
def test_what_is_no_report_is_an_error(reports: list[Any], message: str) -> None:
    with pytest.raises(StateError, match=message):
        merged(*reports)


class TestNames:
    """A report counts models by their place; the description says which they are."""

    @staticmethod
    def names(**parameters: Any) -> tuple[list[str], Target]:
        target = Target("buys_soon", label=Happens("purchase", within="1d"), **parameters)
        definition = ProfileDefinition("shop", features=[Count("views")], targets=[target])
        return model_names(definition.describe()["fields"]["buys_soon"]), target

    def test_one_model_is_called_by_its_class(self) -> None:
        assert self.names()[0] == ["LogisticRegression"]
        assert self.names(model=LogisticRegression(l2=0.5))[0] == ["LogisticRegression"]

    def test_several_by_what_tells_them_apart_in_the_learners_order(self) -> None:
        found, target = self.names(
            model=Search(LogisticRegression, {"learning_rate": [0.01, 0.1], "l2": [0.0, 0.5]}),
            challengers=[LogisticRegression(learning_rate=0.5, l2=0.0)],
        )
        assert len(found) == len(set(found)) == len(target.models) == 5
        for name, model in zip(found, target.models, strict=True):
            assert isinstance(model, LogisticRegression)
            assert name == f"LogisticRegression(learning_rate={model.learning_rate}, l2={model.l2})"

    def test_they_do_not_get_endless(self) -> None:
        found, _ = self.names(
            model=LogisticRegression(class_weights={True: 1.0, False: 0.123456789}),
            challengers=[LogisticRegression(class_weights={True: 2.0, False: 0.123456789}, optimizer="ftrl", l1=0.5)],
        )
        assert len(found[1]) == 81 and found[1].endswith("…")

    @pytest.mark.parametrize("described", [{}, {"config": None}, {"config": {"model": 1}}, {"config": {"model": {}}}])
    def test_a_description_of_another_release_gives_none(self, described: dict[str, Any]) -> None:
        assert model_names(described) == []
