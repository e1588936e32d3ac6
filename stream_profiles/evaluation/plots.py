"""A report as plots: SVG to stand in a page, drawn by matplotlib, the same to the last byte for the same examples.

What they look like is in `figures`; here is what they show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from .examples import Examples, Floats
from .figures import (
    CARD,
    INK,
    LAST,
    MODEL,
    MUTED,
    PREVALENCE,
    SIZE,
    both_shares,
    draw_cells,
    legended,
    new_axes,
    numbered,
    short,
    styled,
    svg_of,
    timed,
)
from .population import AnomalyScores
from .report import Period, TargetReport
from .scores import ConfusionMatrix, Ranking
from .words import OVER_TIME, metric_words

#: What each side is called, its colour and its line.
_SIDES = {
    "model": ("model", MODEL, "-"),
    "prevalence": ("prevalence", PREVALENCE, "--"),
    "last_label": ("last label", LAST, "-."),
}
#: How to read what is told over time.
_READ = {
    "roc_auc": "higher is better; 0.5 is chance",
    "log_loss": "lower is better",
    "accuracy": "higher is better",
    "mae": "lower is better; in the label's unit",
}
#: Points of a curve that has one for every example.
_POINTS = 400
_CELLS = 36


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot.

    Attributes:
        title: what it shows.
        note: how to read it.
        svg: an element for a page.
        wide: whether it needs the page's width.
    """

    title: str
    note: str
    svg: str
    wide: bool = False


def target_plots(report: TargetReport, examples: Examples, salt: str) -> list[Plot]:
    """The plots of a target; none without examples.

    Parameters:
        report: What is said of it.
        examples: What that is made of.
        salt: Something that tells it from other targets on the page.
    """
    if not len(examples):
        return []
    with styled():
        drawn = list(_plots(report, examples))
        return [
            Plot(title, note, svg_of(figure, f"{salt}-{place}"), wide)
            for place, (title, note, figure, wide) in enumerate(drawn)
        ]


def anomaly_plot(scores: AnomalyScores, salt: str) -> Plot:
    """How the users' scores are spread."""
    with styled():
        figure, axes = new_axes("score of the user's latest event", "users")
        edges = np.linspace(0.0, 1.0, len(scores.histogram) + 1)
        axes.stairs(scores.histogram, edges, fill=True, color=MODEL, alpha=0.5)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_xlim(0.0, 1.0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        return Plot(f"Scores of {scores.name}", "from 0, as usual as can be, to 1", svg_of(figure, salt))


_Drawn = tuple[str, str, Figure, bool]


def _plots(report: TargetReport, examples: Examples) -> Iterator[_Drawn]:
    task = report.task
    for name in OVER_TIME[task]:
        words = metric_words(task, name)
        yield f"{words[0].upper()}{words[1:]} over time", _READ[name], _over_time(report.slices, name, words), False
    yield "Examples over time", "in each span of time", _examples_over_time(report.slices), False
    if task != "multiclass":
        label = "share true" if task == "binary" else "label"
        figure = _predicted_over_time(report.slices, label, task)
        yield "Predicted and actual over time", "means of each span of time", figure, False
    if task == "binary":
        yield from _binary_plots(report, examples)
    elif task == "multiclass":
        assert report.confusion is not None
        yield "Calibration", "how often a guess of such a probability is right", _calibration(report), False
        yield "Confusion", "share of each class's examples by guess", _confusion(report.confusion), True
    else:
        yield "Predicted against actual", "darker: more examples", _against(examples), False
        yield "Calibration", "mean label by prediction, in groups of about equal size", _calibration(report), False
        yield "Errors", "prediction less label, without the widest 2%", _errors(examples), False


def _binary_plots(report: TargetReport, examples: Examples) -> Iterator[_Drawn]:
    rankings = {
        side: Ranking(examples.labels, examples.predicted[side].numbers)  # type: ignore[arg-type]
        for side in ("model", "last_label")
    }
    if 0 < rankings["model"].positives < len(examples):
        yield "ROC curve", "in brackets: the area under the curve", _roc(rankings), False
        yield "Precision and recall", "in brackets: average precision", _precision_recall(rankings), False
    if rankings["model"].positives:
        yield "Cumulative gain", "of all true examples, share found among the highest scores", _gain(rankings), False
        yield "Lift", "times more often true than on average, among the highest scores", _lift(rankings), False
    yield "Calibration", "with twice the standard error; on the line is calibrated", _calibration(report), False
    yield "Scores", "of true and of false examples", _histogram(examples), False


def _over_time(periods: Sequence[Period], name: str, words: str) -> Figure:
    figure, axes = new_axes("time of the prediction (UTC)", words)
    times = _middles(periods)
    for side, (called, colour, line) in _SIDES.items():
        values = [_nan(getattr(getattr(period, side), name)) for period in periods]
        marker = "o" if side == "model" else None
        axes.plot(times, values, line, color=colour, label=called, marker=marker, markersize=3)
    if name == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return timed(figure, axes)


def _examples_over_time(periods: Sequence[Period]) -> Figure:
    figure, axes = new_axes("time of the prediction (UTC)", "examples")
    starts: Any = [_moment(period.start) for period in periods]
    widths: Any = [timedelta(milliseconds=(period.end - period.start) * 0.86) for period in periods]
    axes.bar(starts, [period.examples for period in periods], widths, align="edge", color=MODEL, alpha=0.5)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    return timed(figure, axes)


def _predicted_over_time(periods: Sequence[Period], label: str, task: str) -> Figure:
    figure, axes = new_axes("time of the prediction (UTC)", "mean")
    times = _middles(periods)
    axes.plot(times, [_nan(period.mean_predicted) for period in periods], color=MODEL, label="prediction")
    actual = [_nan(period.mean_label) for period in periods]
    axes.plot(times, actual, color=INK, linestyle=":", marker="o", markersize=3, label=label)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    if task == "binary":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return timed(figure, axes)


def _roc(rankings: dict[str, Ranking]) -> Figure:
    figure, axes = new_axes("false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], "--", color=PREVALENCE, label="chance")
    for side, ranking in rankings.items():
        called, colour, line = _SIDES[side]
        alarms = ranking.taken - ranking.found
        axes.plot(
            *_thinned(alarms / alarms[-1], ranking.found / ranking.positives),
            line,
            color=colour,
            label=f"{called} ({ranking.roc_auc():.3f})",
        )
    return both_shares(figure, axes)


def _precision_recall(rankings: dict[str, Ranking]) -> Figure:
    figure, axes = new_axes("recall", "precision")
    share = rankings["model"].positives / rankings["model"].examples
    axes.plot([0, 1], [share, share], "--", color=PREVALENCE, label=f"chance ({share:.3f})")
    for side, ranking in rankings.items():
        called, colour, line = _SIDES[side]
        recall, precision = ranking.found[1:] / ranking.positives, ranking.found[1:] / ranking.taken[1:]
        axes.plot(
            *_thinned(recall, precision),
            line,
            color=colour,
            label=f"{called} ({ranking.average_precision():.3f})",
            drawstyle="steps-pre" if len(recall) > 10 else "default",
        )
    return both_shares(figure, axes)


def _gain(rankings: dict[str, Ranking]) -> Figure:
    figure, axes = new_axes("share of the examples, highest scores first", "share of all true examples")
    axes.plot([0, 1], [0, 1], "--", color=PREVALENCE, label="chance")
    for side, ranking in rankings.items():
        called, colour, line = _SIDES[side]
        curve = _thinned(ranking.taken / ranking.examples, ranking.found / ranking.positives)
        axes.plot(*curve, line, color=colour, label=called)
    return both_shares(figure, axes)


def _lift(rankings: dict[str, Ranking]) -> Figure:
    figure, axes = new_axes("share of the examples, highest scores first", "lift")
    lowest = max(0.005, 20 / rankings["model"].examples)
    shares = np.geomspace(min(lowest, 0.5), 1.0, 100)
    axes.axhline(1.0, linestyle="--", color=PREVALENCE, label="chance")
    for side, ranking in rankings.items():
        called, colour, line = _SIDES[side]
        lifts = [_nan(ranking.lift(float(share))) for share in shares]
        axes.plot(shares, lifts, line, color=colour, label=called)
    axes.set_xscale("log")
    ticks = [share for share in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if share >= shares[0]]
    axes.set_xticks(ticks, [f"{share:.0%}" for share in ticks])
    axes.set_xticks([], minor=True)
    axes.set_ylim(bottom=0.0)
    return legended(figure)


def _calibration(report: TargetReport) -> Figure:
    shown = {
        "binary": ("mean predicted probability", "share true"),
        "multiclass": ("mean probability of the guess", "share of right guesses"),
        "regression": ("mean prediction", "mean label"),
    }
    figure, axes = new_axes(*shown[report.task])
    groups = report.calibration
    predicted, actual = [each.mean_predicted for each in groups], [each.mean_actual for each in groups]
    low = 0.0 if report.task != "regression" else min(*predicted, *actual, 0.0)
    high = max(*predicted, *actual)
    axes.plot([low, high], [low, high], "--", color=PREVALENCE, label="calibrated")
    errors = [2 * each.standard_error for each in groups]
    axes.errorbar(
        predicted, actual, errors, color=MODEL, marker="o", markersize=4, linewidth=1.2, label="model", clip_on=False
    )
    if report.task != "regression":
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return legended(figure)


def _histogram(examples: Examples) -> Figure:
    figure, axes = new_axes("score", "share of the examples of that label")
    scores = examples.predicted["model"].numbers
    edges = np.linspace(0.0, max(float(scores.max()), 0.01), 41)
    for called, value, colour in (("false", 0.0, PREVALENCE), ("true", 1.0, MODEL)):
        chosen = scores[examples.labels == value]
        counts, _ = np.histogram(chosen, edges)
        shares = counts / max(len(chosen), 1)
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(shares, edges, color=colour, label=f"{called} ({len(chosen):,})")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlim(0.0, edges[-1])
    return legended(figure)


def _confusion(matrix: ConfusionMatrix) -> Figure:
    counts = np.array(matrix.counts, dtype=np.float64)
    rows, columns = counts.shape
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    figure, axes = new_axes("guessed", "was", size=(2 * SIZE[0], 1.4 + 0.34 * rows))
    axes.grid(False)
    draw_cells(axes, np.arange(columns + 1.0), np.arange(rows + 1.0), shares.T)
    for row in range(rows):
        for column in range(columns):
            share = shares[row, column]
            if counts[row, column]:
                words = f"{share:.0%}" if share >= 0.005 else "<1%"
                colour = CARD if share > 0.55 else INK
                axes.text(column + 0.5, row + 0.5, words, color=colour, ha="center", va="center", fontsize=7.5)
    axes.set_xticks(np.arange(columns) + 0.5, map(short, matrix.guesses), rotation=35, ha="right")
    axes.set_yticks(np.arange(rows) + 0.5, map(short, matrix.labels))
    axes.tick_params(length=0)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    return figure


def _against(examples: Examples) -> Figure:
    figure, axes = new_axes("predicted", "actual")
    labels, predicted = examples.labels, examples.predicted["model"].numbers
    edges, low = _edges(labels, predicted)
    counts, _, _ = np.histogram2d(
        np.clip(predicted, edges[0], edges[-1]), np.clip(labels, edges[0], edges[-1]), (edges, edges)
    )
    axes.plot([edges[0], edges[-1]], [edges[0], edges[-1]], "--", color=PREVALENCE, label="right")
    draw_cells(axes, edges, edges, np.sqrt(counts / max(counts.max(), 1.0)))
    if low is not None:
        tens = 10.0 ** np.arange(np.ceil(np.log10(low)), np.floor(np.log10(edges[-1])) + 1)
        ticks = [0.0, *(ten for ten in tens.tolist() if ten >= 2 * low)]
        axes.set_xscale("symlog", linthresh=low, linscale=0.2)
        axes.set_yscale("symlog", linthresh=low, linscale=0.2)
        axes.set_xticks(ticks)
        axes.set_yticks(ticks)
        axes.minorticks_off()
    numbered(axes)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(edges[0], edges[-1])
    return legended(figure)


def _edges(labels: Any, predicted: Floats) -> tuple[Floats, float | None]:
    """Borders of cells, and where a logarithmic scale begins: for labels that span orders of magnitude above 0."""
    both = np.concatenate([labels, predicted])
    low, high = (float(value) for value in np.quantile(both, (0.005, 0.995)))
    positive = labels[labels > 0]
    if len(positive) and labels.min() >= 0:
        least, middle = (float(value) for value in np.quantile(positive, (0.02, 0.5)))
        high = max(float(np.quantile(positive, 0.995)), least * 2)
        if high > 20 * middle or high > 100 * least:
            return np.concatenate([[0.0], np.geomspace(least, high, _CELLS)]), least
        low = 0.0
    return np.linspace(low, high if high > low else low + 1.0, _CELLS + 1), None


def _errors(examples: Examples) -> Figure:
    figure, axes = new_axes("prediction less label", "examples")
    for side, (called, colour, _) in _SIDES.items():
        errors = examples.predicted[side].numbers - examples.labels
        if side == "model":
            low, high = (float(value) for value in np.quantile(errors, (0.01, 0.99)))
            edges = np.linspace(low, high if high > low else low + 1.0, 41)
        counts, _ = np.histogram(errors, edges)
        axes.stairs(counts, edges, color=colour, label=called, fill=False, linewidth=1.4)
    axes.axvline(0.0, color=MUTED, linewidth=0.8)
    numbered(axes)
    return legended(figure)


def _middles(periods: Sequence[Period]) -> Any:
    return [_moment((period.start + period.end) / 2) for period in periods]


def _moment(time: float) -> datetime:
    return datetime.fromtimestamp(time / 1_000, UTC)


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """A curve of not more points than can be seen."""
    if len(x) <= _POINTS:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, _POINTS).astype(np.int64))
    return x[kept], y[kept]


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value
