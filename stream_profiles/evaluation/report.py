"""What an evaluation says, as plain data: of each target all there is to say of its examples, and of the users at the
end. How it looks is the business of `tables`, `plots` and `page`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from ..client import Contender
from ..client._metrics import Report, merge, model_names
from ..features.base import config_as_json
from ..models.targets import CompiledTarget
from .examples import Examples
from .population import AnomalyScores, ClusterShare, SegmentShare
from .scores import (
    ClassScores,
    ConfusionMatrix,
    Group,
    Lift,
    Scores,
    calibration,
    class_scores,
    confusion_matrix,
    lifts,
    losses_of,
    scores_of,
)

#: Share of the examples, the latest, that are reported by themselves: models are no longer at their beginning there.
LATEST = 0.3

_read_report = msgspec.json.Decoder(Report).decode


class Period(Struct, kw_only=True, frozen=True):
    """The predictions of a span of time, and how good they were."""

    #: Of the predictions, ms: from the first moment to the last.
    start: int
    end: int
    examples: int
    #: Share that was true, or mean label; None of several classes, and without examples.
    mean_label: float | None
    #: Mean of what the model predicted, where there is such a thing.
    mean_predicted: float | None
    model: Scores
    prevalence: Scores
    last_label: Scores


class TargetReport(Struct, kw_only=True, frozen=True):
    """How good the predictions of a target have been."""

    name: str
    task: str
    #: What is predicted, as it is declared.
    label: str
    examples: int
    #: Predictions that still wait for their label.
    waiting: int
    #: All examples, and the latest of them by the time of the prediction; None without examples.
    whole: Period | None
    latest: Period | None
    #: Of the latest: by how many standard errors the model's loss is below that of the better baseline. The error is
    #: that of independent examples: where neighbours go together, it is too small. None where it cannot be told.
    errors_ahead: float | None
    #: The stream cut into spans of equal time, and into four with equally many examples.
    slices: list[Period]
    quarters: list[Period]
    #: Of a binary target; of the model and of the baseline that says what the last label was.
    lift: list[Lift] | None
    lift_of_last_label: list[Lift] | None
    calibration: list[Group]
    #: Of a multiclass target.
    classes: list[ClassScores] | None
    confusion: ConfusionMatrix | None
    promotions: int
    drifts: int
    #: Those whose predictions are published first.
    contenders: list[Contender]
    #: Each input's share in the predictions, the largest first; None where the model cannot tell.
    importances: dict[str, float] | None


class EvaluationReport(Struct, kw_only=True, frozen=True):
    """What a definition made of files of events."""

    definition: str
    files: list[str]
    partitions: int
    #: Applied to profiles.
    events: int
    users: int
    #: Of the earliest and the latest event, ms; None without events.
    start: int | None
    end: int | None
    #: Rows and events that came to nothing, and updates of a field that failed, by reason or field.
    rejected: dict[str, int]
    dropped: dict[str, int]
    skipped: dict[str, int]
    failed: dict[str, int]
    #: Events that came at `until` or later.
    after: int
    targets: list[TargetReport]
    segments: list[SegmentShare]
    clusters: list[ClusterShare]
    anomalies: list[AnomalyScores]


def target_report(
    target: CompiledTarget, examples: Examples, waiting: int, learners: Sequence[dict[str, Any]], slices: int
) -> TargetReport:
    """All there is to say of a target.

    Parameters:
        target: The target.
        examples: Of all partitions.
        waiting: Predictions that still wait for their label.
        learners: What the learner of each partition reports.
        slices: Into how many spans of time the stream is cut.
    """
    names = model_names({"config": config_as_json(target.target.config)})
    # By way of JSON, as a client gets them: what is no number is not there.
    learned = merge([_read_report(msgspec.json.encode(report)) for report in learners], names)
    model, last_label = examples.predicted["model"], examples.predicted["last_label"]
    binary, several = examples.task == "binary", examples.task == "multiclass"
    right = examples.labels if model.guesses is None else examples.labels == model.guesses
    return TargetReport(
        name=target.name,
        task=examples.task,
        label=repr(target.label),
        examples=len(examples),
        waiting=waiting,
        whole=_period(examples) if len(examples) else None,
        latest=_period(latest(examples)) if len(examples) else None,
        errors_ahead=_errors_ahead(latest(examples)) if len(examples) else None,
        slices=spans(examples, slices),
        quarters=quarters(examples),
        lift=lifts(examples.labels, model.numbers) if binary else None,
        lift_of_last_label=lifts(examples.labels, last_label.numbers) if binary else None,
        calibration=calibration(model.numbers, right),
        classes=class_scores(examples) if several else None,
        confusion=confusion_matrix(examples) if several else None,
        promotions=learned.promotions,
        drifts=learned.drifts,
        contenders=list(learned.contenders),
        importances=learned.importances,
    )


def latest(examples: Examples) -> Examples:
    """The last 30 % of the examples by the time of the prediction; at least one."""
    return examples.taken(slice(len(examples) - max(round(LATEST * len(examples)), 1), None))


def spans(examples: Examples, count: int) -> list[Period]:
    """The examples cut into spans of equal time; fewer than asked for where they would be shorter than 1 ms."""
    if not len(examples):
        return []
    start, end = int(examples.times[0]), int(examples.times[-1])
    count = min(count, end - start + 1)
    borders = [start + (end + 1 - start) * place // count for place in range(count + 1)]
    places = np.searchsorted(examples.times, borders)
    return [
        _period(examples.taken(slice(*places[at : at + 2])), borders[at], borders[at + 1] - 1) for at in range(count)
    ]


def quarters(examples: Examples) -> list[Period]:
    """The examples cut into four of equal size, in the order of their predictions."""
    borders = [len(examples) * place // 4 for place in range(5)]
    parts = [examples.taken(slice(*borders[at : at + 2])) for at in range(4)]
    return [_period(part) for part in parts if len(part)]


def _errors_ahead(examples: Examples) -> float | None:
    """By how many standard errors the model's loss is below that of the better baseline, example by example."""
    baselines = [losses_of(examples, side) for side in ("prevalence", "last_label")]
    differences = min(baselines, key=lambda losses: float(losses.mean())) - losses_of(examples, "model")
    if len(differences) < 2:
        return None
    error = float(differences.std(ddof=1)) / len(differences) ** 0.5
    return float(differences.mean()) / error if error > 0 else None


def _period(examples: Examples, start: int | None = None, end: int | None = None) -> Period:
    averaged = examples.task != "multiclass" and len(examples) > 0
    return Period(
        start=int(examples.times[0]) if start is None else start,
        end=int(examples.times[-1]) if end is None else end,
        examples=len(examples),
        mean_label=float(examples.labels.mean()) if averaged else None,
        mean_predicted=float(examples.predicted["model"].numbers.mean()) if averaged else None,
        model=scores_of(examples, "model"),
        prevalence=scores_of(examples, "prevalence"),
        last_label=scores_of(examples, "last_label"),
    )
