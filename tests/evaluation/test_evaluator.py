"""What is gathered is what the learners were scored by: every example once, with its user, in the order of time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import sklearn.metrics as sk

from stream_profiles import Count, Event, Happens, Partition, ProfileDefinition, ProfileUpdater, Target
from stream_profiles.errors import SettingsError
from stream_profiles.evaluation import Evaluator, TargetReport
from stream_profiles.evaluation.examples import SIDES, Examples
from stream_profiles.evaluation.report import quarters, spans
from stream_profiles.models.metrics import Evaluation
from tests.events import DAY, HOUR, MINUTE, T0, event

from . import streams


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    evaluator = Evaluator(streams.definition())
    stream = streams.events()
    half = [each for each in stream if each.user_id < "u000040"]
    evaluator.run([half])
    evaluator.run([[each for each in stream if each.user_id >= "u000040"]])
    return evaluator


@pytest.fixture(scope="module")
def examples(evaluator: Evaluator) -> dict[str, Examples]:
    return evaluator.examples()


@pytest.fixture(scope="module")
def reports(evaluator: Evaluator) -> dict[str, TargetReport]:
    return {report.name: report for report in evaluator.reports(slices=6)}


def simple(**options: Any) -> ProfileDefinition:
    target = Target("buys", label=Happens("purchase", within="1d"), on="view", **options)
    return ProfileDefinition("simple", features=[Count("views", on="view")], targets=[target])


def test_each_example_once_with_its_user_time_and_labels() -> None:
    evaluator = Evaluator(simple())
    stream = [
        event("view", 0, "ada"),
        event("view", HOUR, "bob"),
        event("purchase", 2 * HOUR, "ada"),
        # Ada's and Bob's time is up: moved by Cy, who has nothing to do with them.
        event("view", 2 * DAY, "cy"),
        event("view", 2 * DAY + MINUTE, "ada"),
        event("view", 4 * DAY, "bob"),
    ]
    evaluator.run([stream[:2], stream[2:]])
    found = evaluator.examples()["buys"]
    assert [*zip(found.users, (found.times - T0).tolist(), found.labels.tolist(), strict=True)] == [
        ("ada", 0, 1.0),
        ("bob", HOUR, 0.0),
        ("cy", 2 * DAY, 0.0),
        ("ada", 2 * DAY + MINUTE, 0.0),
    ]
    # Before anything was learned, and what was known of ada when she was predicted again.
    assert found.predicted["model"].numbers[:2].tolist() == [0.5, 0.5]
    assert found.last_labels[3] == 1.0 and str(found.last_labels[0]) == "nan"
    assert evaluator.population.waiting == {"buys": 1}
    [report] = evaluator.reports(slices=2)
    assert (report.examples, report.waiting) == (4, 1)


def test_examples_are_in_the_order_of_their_predictions(examples: dict[str, Examples]) -> None:
    for each in examples.values():
        assert len(each) > 100 and each.times.tolist() == sorted(each.times.tolist())
        assert min(each.users) < "u000040" <= max(each.users), "of both partitions"


def test_every_kept_prediction_is_an_example_or_waits() -> None:
    evaluator, stream = Evaluator(simple(every="1h", max_pending=1_000)), streams.events()
    evaluator.run([stream])
    kept: list[tuple[str, int]] = []
    last: dict[str, int] = {}
    for each in stream:
        if each.type == "view" and each.time - last.get(each.user_id, 0) >= HOUR:
            last[each.user_id] = each.time
            kept.append((each.user_id, each.time))
    [report], found = evaluator.reports(slices=2), evaluator.examples()["buys"]
    known = [(user, time) for user, time in kept if time + DAY < stream[-1].time]
    assert sorted(zip(found.users, found.times.tolist(), strict=True)) == sorted(known)
    assert report.waiting == len(kept) - len(known) > 0
    bought = {(each.user_id, each.time) for each in stream if each.type == "purchase"}
    for user, time, label in zip(found.users, found.times.tolist(), found.labels.tolist(), strict=True):
        assert label == any(who == user and time < when <= time + DAY for who, when in bought)


def test_figures_are_those_of_scikit_learn(reports: dict[str, TargetReport], examples: dict[str, Examples]) -> None:
    for side in SIDES:
        labels, scores = examples["buys"].labels, examples["buys"].predicted[side].numbers
        found: Any = getattr(reports["buys"].whole, side)
        assert found.roc_auc == pytest.approx(sk.roc_auc_score(labels, scores))
        assert found.pr_auc == pytest.approx(sk.average_precision_score(labels, scores))
        assert found.log_loss == pytest.approx(sk.log_loss(labels, scores))
        cut = len(labels) - round(0.3 * len(labels))
        found = getattr(reports["buys"].latest, side)
        assert found.log_loss == pytest.approx(sk.log_loss(labels[cut:], scores[cut:]))
        assert found.roc_auc == pytest.approx(sk.roc_auc_score(labels[cut:], scores[cut:]))

        numbers = examples["spends"].predicted[side].numbers
        found = getattr(reports["spends"].whole, side)
        assert found.mae == pytest.approx(sk.mean_absolute_error(examples["spends"].labels, numbers))
        assert found.r2 == pytest.approx(sk.r2_score(examples["spends"].labels, numbers))

        guesses: Any = examples["next"].predicted[side].guesses
        found = getattr(reports["next"].whole, side)
        assert found.accuracy == pytest.approx(sk.accuracy_score(examples["next"].labels, guesses))


def test_figures_are_those_of_the_learners(evaluator: Evaluator, reports: dict[str, TargetReport]) -> None:
    """What is counted in ranges of scores, with the same baselines, agrees within the width of a range."""
    for name, report in reports.items():
        merged: Evaluation | None = None
        for number in range(2):
            learner = evaluator._learners[name][number]
            one = Evaluation(report.task, learner["evaluation"])
            merged = one if merged is None else (merged.merge(one), merged)[1]
        assert merged is not None
        for side in SIDES:
            online: Any = getattr(merged.values(), side)
            exact: Any = getattr(report.whole, side)
            assert online.examples == exact.examples
            if report.task == "regression":
                assert online.rmse == pytest.approx(exact.rmse) and online.bias == pytest.approx(exact.bias)
            else:
                assert online.log_loss == pytest.approx(exact.log_loss)
                assert online.accuracy == pytest.approx(exact.accuracy)
            if report.task == "binary":
                assert online.roc_auc == pytest.approx(exact.roc_auc, abs=0.01)
                assert online.confusion == exact.confusion
            if report.task == "multiclass":
                assert online.macro_f1 == pytest.approx(exact.macro_f1)


def test_observing_changes_no_profile() -> None:
    observed, plain = Evaluator(streams.definition()), Partition(ProfileUpdater(streams.definition()))
    stream = streams.events(1_500)
    observed.run([stream])
    for each in stream:
        plain.apply(each)
    reports = plain.metrics()
    for name, [learner] in observed._learners.items():
        assert learner == reports[name]


def test_spans_and_quarters_hold_every_example_once(examples: dict[str, Examples]) -> None:
    some = examples["buys"]
    for count in (1, 7, 20):
        cut = spans(some, count)
        assert len(cut) == count and sum(each.examples for each in cut) == len(some)
        assert cut[0].start == some.times[0] and cut[-1].end == some.times[-1]
        for one, following in pairwise(cut):
            assert one.end + 1 == following.start
            inside = (some.times >= one.start) & (some.times <= one.end)
            assert one.examples == inside.sum()
    parts = quarters(some)
    assert sum(each.examples for each in parts) == len(some)
    assert max(each.examples for each in parts) - min(each.examples for each in parts) <= 1
    at_once = some.taken(some.times == some.times[0])
    assert [each.examples for each in spans(at_once, 20)] == [len(at_once)]


def test_better_and_worse_than_the_baselines(reports: dict[str, TargetReport]) -> None:
    latest = reports["buys"].latest
    assert latest is not None
    losses: list[Any] = [side.log_loss for side in (latest.model, latest.prevalence, latest.last_label)]  # type: ignore[union-attr]
    errors = reports["buys"].errors_ahead
    assert errors is not None and (errors > 0) == (losses[0] < min(losses[1:]))


def test_users_at_the_end(evaluator: Evaluator) -> None:
    population, stream = evaluator.population, streams.events()
    views: dict[str, int] = {}
    for each in stream:
        views[each.user_id] = views.get(each.user_id, 0) + (each.type == "view")
    [fan] = population.segments()
    assert population.users == len(views)
    assert (fan.users, fan.ever) == (fans := sum(count >= 50 for count in views.values()), fans)
    assert fan.share == pytest.approx(fans / len(views))
    clusters = population.clusters()
    assert {each.partition for each in clusters} == {0, 1}
    assert sum(each.users for each in clusters) == len(views) and sum(e.share for e in clusters) == pytest.approx(1)
    [odd] = population.anomalies()
    assert odd.users == len(views) == sum(odd.histogram)
    assert odd.median is not None and odd.p90 is not None and odd.median <= odd.p90


def test_one_target_of_several() -> None:
    evaluator = Evaluator(streams.definition(), ["spends"])
    evaluator.run([streams.events(500)])
    assert [report.name for report in evaluator.reports(3)] == ["spends"]


def test_no_examples_yet() -> None:
    evaluator = Evaluator(simple())
    evaluator.run([[event("view")]])
    [report] = evaluator.reports(20)
    assert (report.examples, report.waiting, report.whole, report.slices) == (0, 1, None, [])


def test_an_event_that_fails_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = Evaluator(simple())
    apply = ProfileUpdater.apply

    def fail(self: ProfileUpdater, state: Any, event: Event, shared: Any = None, now: int = 0) -> Any:
        if event.type == "odd":
            raise ValueError("what is this?")
        return apply(self, state, event, shared, now)

    monkeypatch.setattr(ProfileUpdater, "apply", fail)
    evaluator.run([[event("odd"), event("view"), event("view")]])
    assert (evaluator.events, evaluator.rejected, evaluator.skipped) == (
        1,
        {"the definition failed": 1},
        {"duplicate": 1},
    )


def test_what_cannot_be_evaluated() -> None:
    with pytest.raises(SettingsError, match=r'ProfileDefinition\("empty"\) has no targets'):
        Evaluator(ProfileDefinition("empty", features=[Count("views")]))
    with pytest.raises(SettingsError, match=r"has no target 'buy'; did you mean 'buys'\?"):
        Evaluator(simple(), ["buy"])
