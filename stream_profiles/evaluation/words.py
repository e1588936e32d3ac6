"""A report in words: what was evaluated, what each target is, and whether its model is of use; and how numbers are
written. Tables are in `tables`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from .report import LATEST, EvaluationReport, Period, TargetReport
from .scores import BinaryScores

#: Standard errors that are more than chance.
_SURE = 2.0
#: What a baseline is called.
_CALLED = {"prevalence": "prevalence", "last_label": "last label"}

Write = Callable[[Any], str]


def number(value: float) -> str:
    """A number short enough to read.

    Examples:
        >>> number(12345.678), number(12.3456), number(0.00012345)
        ('12,346', '12.35', '0.0001234')
    """
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def moment(time: int) -> str:
    """A time (ms) to the minute, UTC."""
    return f"{datetime.fromtimestamp(time / 1_000, UTC):%Y-%m-%d %H:%M}"


def day(time: int) -> str:
    """Its day alone."""
    return moment(time)[:10]


def three(value: float) -> str:
    return f"{value:.3f}"


def percent(value: float) -> str:
    return f"{value:.1%}"


#: Of each task: what is shown of its scores: words, the name among the scores, how it is written.
SHOWN: dict[str, tuple[tuple[str, str, Write], ...]] = {
    "binary": (
        ("log-loss", "log_loss", three),
        ("ROC-AUC", "roc_auc", three),
        ("PR-AUC", "pr_auc", three),
        ("accuracy", "accuracy", percent),
        ("precision", "precision", percent),
        ("recall", "recall", percent),
        ("F1", "f1", three),
        ("calibration error (ECE)", "calibration_error", three),
        ("Brier score", "brier_score", three),
    ),
    "multiclass": (
        ("log-loss", "log_loss", three),
        ("accuracy", "accuracy", percent),
        ("macro F1", "macro_f1", three),
    ),
    "regression": (
        ("mean absolute error", "mae", number),
        ("root mean squared error", "rmse", number),
        ("R2", "r2", three),
        ("bias", "bias", number),
    ),
}
#: What is told of a span of time.
OVER_TIME = {"binary": ("roc_auc", "log_loss"), "multiclass": ("accuracy", "log_loss"), "regression": ("mae",)}
#: What says in one number whether a model is better than a baseline: lower is.
_LOSS = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}


def metric_words(task: str, name: str) -> str:
    """What a score is called."""
    return next(words for words, known, _ in SHOWN[task] if known == name)


def about(report: EvaluationReport) -> list[str]:
    """What was evaluated, and what came to nothing, a line each."""
    lines = [f"{report.events:,} events of {report.users:,} users"]
    if report.start is not None and report.end is not None:
        lines[0] += f", {moment(report.start)} to {moment(report.end)} UTC"
    lines[0] += f", in {report.partitions:,} partitions" if report.partitions > 1 else ""
    for what, counts in (("rejected", report.rejected), ("dropped", report.dropped), ("skipped", report.skipped)):
        lines += [f"{what} {count:,}: {reason}" for reason, count in counts.items()]
    lines += [f"{name} failed on {count:,} events and stayed as it was" for name, count in report.failed.items()]
    if report.after:
        lines.append(f"left out {report.after:,} events that came at the end (--until) or later")
    return lines


def facts(report: TargetReport) -> list[str]:
    """What a target is, and how much is known of it: a line each."""
    lines = [f"{report.task} · {report.label}", f"{report.examples:,} examples"]
    whole = report.whole
    if whole is not None:
        if isinstance(whole.model, BinaryScores):
            lines[-1] += f", {whole.model.positives / whole.examples:.1%} of them true"
        elif whole.mean_label is not None:
            lines[-1] += f", mean label {number(whole.mean_label)}"
        elif report.classes is not None:
            lines[-1] += f", {len(report.classes):,} classes" + (" or more" if len(report.classes) >= 50 else "")
        lines[-1] += f", predicted {moment(whole.start)} to {moment(whole.end)} UTC"
    if report.waiting:
        lines.append(f"{report.waiting:,} predictions still wait for their label and are left out")
    return lines


def verdict(report: TargetReport) -> str | None:
    """Whether the model is of use: its loss of late beside that of the better baseline. None without examples."""
    if report.latest is None:
        return None
    words, name, write = loss_of(report)
    losses = {side: getattr(getattr(report.latest, side), name) for side in _CALLED}
    better = min(losses, key=lambda side: losses[side])
    model, baseline = getattr(report.latest.model, name), losses[better]
    told = f"The {words} on the latest {LATEST:.0%} is {write(model)}"
    against = f"that of the better baseline ({_CALLED[better]}, {write(baseline)})"
    if model >= baseline:
        return f"{told}, not below {against}"
    gained = f"{told}, {1.0 - model / baseline:.1%} below {against}"
    errors = report.errors_ahead
    return gained if is_better(report) or errors is None else f"{gained}; {errors:.1f} standard errors may be chance"


def is_better(report: TargetReport) -> bool:
    """Whether the model has been better than both baselines of late, by more than chance."""
    return report.errors_ahead is not None and report.errors_ahead > _SURE


def loss_of(report: TargetReport) -> tuple[str, str, Write]:
    """What says it in one number, how that is called among the scores, and how it is written."""
    return next(shown for shown in SHOWN[report.task] if shown[1] == _LOSS[report.task])


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def sides_of(period: Period) -> tuple[Any, Any, Any]:
    return period.model, period.prevalence, period.last_label


def or_dash(value: float | None, write: Write) -> str:
    return "-" if value is None else write(value)
