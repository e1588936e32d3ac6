"""A report as tables of words, ready for a terminal or a page: which of the two is not decided here.

Names of targets, classes and inputs come from definitions and data: whoever prints a table has to make them harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .population import AnomalyScores, ClusterShare, SegmentShare
from .report import LATEST, EvaluationReport, Period, TargetReport
from .words import OVER_TIME, SHOWN, counted, day, loss_of, moment, number, or_dash, percent, sides_of, three

_DAY_MS = 86_400_000
#: Rows of a table that could have any number.
_MOST_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of words under the names of their columns. The first column is of words, the others of numbers.

    Attributes:
        key: what it is of, the same for all targets.
        title: says it to a person.
        groups: names over several columns each, with how many they are; none for no such line.
        bars: for each row a length from 0 to 1 that shows what its numbers say; none for no bars.
        note: how to read it.
    """

    key: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    groups: Sequence[tuple[str, int]] = ()
    bars: Sequence[float] = ()
    note: str = ""


def summary(reports: Sequence[TargetReport]) -> Table:
    """All targets, a line each."""
    rows, bars = [], []
    for report in reports:
        words, name, write = loss_of(report)
        cells = [report.name, report.task, f"{report.examples:,}", words]
        bars.append(0.0)
        if report.latest is None:
            rows.append([*cells, "-", "-", "-", "-"])
            continue
        losses = [getattr(side, name) for side in sides_of(report.latest)]
        best = min(losses[1:])
        gained = 1.0 - losses[0] / best if best else 0.0
        bars[-1] = max(gained, 0.0)
        rows.append([*cells, *map(write, losses), f"{gained:+.1%}"])
    return Table(
        key="summary",
        title=f"The latest {LATEST:.0%} of each target's examples",
        columns=(
            "target",
            "task",
            "examples",
            "loss",
            "model",
            "prevalence",
            "last label",
            "below the better baseline",
        ),
        rows=rows,
        bars=bars,
    )


def target_tables(report: TargetReport) -> list[Table]:
    """All there is to say of a target in numbers; what it has nothing of is left out."""
    if report.whole is None or report.latest is None:
        return []
    tables = [
        _scores(report, report.whole, report.latest),
        _periods("quarters", "By quarters", report.quarters, report),
    ]
    tables.append(_periods("slices", "Over time", report.slices, report))
    if report.lift:
        tables.append(_lift(report))
    tables.append(_calibration(report))
    if report.classes is not None:
        tables.append(_classes(report))
    if report.confusion is not None:
        tables.append(_confusion(report))
    if report.importances:
        tables.append(_importances(report.importances))
    tables.append(_contenders(report))
    return tables


def population_tables(report: EvaluationReport) -> list[Table]:
    """Where the users stand at the end; none without segments and monitors."""
    tables = []
    if report.segments:
        tables.append(_segments(report.segments))
    if report.clusters:
        tables.append(_clusters(report.clusters, report.partitions))
    if report.anomalies:
        tables.append(_anomalies(report.anomalies))
    return tables


def _segments(segments: Sequence[SegmentShare]) -> Table:
    return Table(
        key="segments",
        title="Segments at the end",
        columns=("segment", "users in it", "share", "ever in it"),
        rows=[[each.name, f"{each.users:,}", or_dash(each.share, percent), f"{each.ever:,}"] for each in segments],
        bars=[each.share or 0.0 for each in segments],
    )


def _clusters(clusters: Sequence[ClusterShare], partitions: int) -> Table:
    shown = clusters[:_MOST_ROWS]
    rest = len(clusters) - len(shown)
    rows = []
    for each in shown:
        name = f"{each.name} {each.cluster}" + (f" of partition {each.partition}" if partitions > 1 else "")
        rows.append([name, f"{each.users:,}", percent(each.share)])
    return Table(
        key="clusters",
        title="Clusters at the end",
        columns=("cluster", "users", "share"),
        rows=rows,
        bars=[each.share for each in shown],
        note=f"and {rest:,} more" if rest else "",
    )


def _anomalies(monitors: Sequence[AnomalyScores]) -> Table:
    rows = []
    for each in monitors:
        numbers = (each.median, each.p90, each.p99, each.highest)
        rows.append([each.name, f"{each.users:,}", *(or_dash(value, three) for value in numbers)])
    return Table(
        key="anomalies",
        title="Anomaly scores at the end",
        columns=("monitor", "users", "median", "90% below", "99% below", "highest"),
        rows=rows,
    )


def _scores(report: TargetReport, whole: Period, latest: Period) -> Table:
    sides = (*sides_of(whole), *sides_of(latest))
    rows = [
        [words, *(or_dash(getattr(side, name), write) for side in sides)] for words, name, write in SHOWN[report.task]
    ]
    return Table(
        key="scores",
        title="Scores",
        columns=("", *("model", "prevalence", "last label") * 2),
        rows=rows,
        groups=(
            ("", 1),
            (f"all {whole.examples:,}", 3),
            (f"latest {latest.examples:,}", 3),
        ),
        note=f"the latest {LATEST:.0%} were predicted from {moment(latest.start)} UTC",
    )


def _periods(key: str, title: str, periods: Sequence[Period], report: TargetReport) -> Table:
    task = report.task
    told = [next(shown for shown in SHOWN[task] if shown[1] == name) for name in OVER_TIME[task]]
    label = {"binary": [("true", percent)], "regression": [("mean label", number)]}.get(task, [])
    long = bool(periods) and periods[0].end - periods[0].start >= _DAY_MS
    rows = [
        [
            (day if long else moment)(period.start),
            f"{period.examples:,}",
            *(or_dash(period.mean_label, write) for _, write in label),
            *(or_dash(getattr(side, name), write) for _, name, write in told for side in sides_of(period)),
        ]
        for period in periods
    ]
    return Table(
        key=key,
        title=title,
        note="spans of equal time" if key == "slices" else "equally many examples each",
        columns=(
            "from",
            "examples",
            *(words for words, _ in label),
            *("model", "prevalence", "last label") * len(told),
        ),
        rows=rows,
        groups=(("", 2 + len(label)), *((words, 3) for words, _, _ in told)),
    )


def _lift(report: TargetReport) -> Table:
    assert report.lift is not None and report.lift_of_last_label is not None
    rows = [
        [
            f"top {each.top:.0%}",
            f"{each.examples:,}",
            percent(each.share_true),
            f"{each.lift:.2f}",
            percent(each.found),
            f"{last.lift:.2f}",
        ]
        for each, last in zip(report.lift, report.lift_of_last_label, strict=True)
    ]
    return Table(
        key="lift",
        title="Lift",
        columns=("highest scores", "examples", "true", "lift", "of all true", "lift of last label"),
        rows=rows,
        note="lift: how many times more often the label is true there than on average",
    )


def _calibration(report: TargetReport) -> Table:
    write = number if report.task == "regression" else percent
    told = {
        "binary": ("score", "mean score", "true"),
        "multiclass": ("guess's probability", "mean", "right"),
        "regression": ("prediction", "mean", "mean label"),
    }
    prediction, predicted, actual = told[report.task]
    rows = [
        [
            f"{write(each.lowest)} to {write(each.highest)}",
            f"{each.examples:,}",
            write(each.mean_predicted),
            write(each.mean_actual),
            f"±{write(each.standard_error)}",
        ]
        for each in report.calibration
    ]
    return Table(
        key="calibration",
        title="Calibration",
        columns=(prediction, "examples", predicted, actual, "standard error"),
        rows=rows,
        note="groups of about equal size; a calibrated prediction is like what came of it",
    )


def _classes(report: TargetReport) -> Table:
    assert report.classes is not None
    shown = report.classes[:_MOST_ROWS]
    rows = [
        [
            each.name,
            f"{each.examples:,}",
            f"{each.guessed:,}",
            or_dash(each.precision, percent),
            or_dash(each.recall, percent),
            three(each.f1),
        ]
        for each in shown
    ]
    rest = len(report.classes) - len(shown)
    return Table(
        key="classes",
        title="Classes",
        columns=("class", "examples", "guessed", "precision", "recall", "F1"),
        rows=rows,
        note=f"and {rest:,} more" if rest else "",
    )


def _confusion(report: TargetReport) -> Table:
    assert report.confusion is not None
    rows = [
        [label, *(f"{count:,}" if count else "·" for count in counts)]
        for label, counts in zip(report.confusion.labels, report.confusion.counts, strict=True)
    ]
    return Table(
        key="confusion", title="Confusion", columns=("class, guessed as", *report.confusion.guesses), rows=rows
    )


def _importances(importances: dict[str, float]) -> Table:
    shown = list(importances.items())[:_MOST_ROWS]
    largest = max(importances.values())
    rest = len(importances) - len(shown)
    return Table(
        key="importances",
        title="Importances",
        columns=("input", "share"),
        rows=[[name, percent(share)] for name, share in shown],
        bars=[share / largest if largest > 0 else 0.0 for _, share in shown],
        note=f"and {rest:,} more" if rest else "",
    )


def _contenders(report: TargetReport) -> Table:
    rows = [
        [
            each.name or f"model {each.model}",
            f"{each.asked:,} of {each.partitions:,}",
            f"{each.examples:,}",
            or_dash(each.loss, number),
            or_dash(each.behind, lambda value: f"{'+' if value > 0 else ''}{number(value)}"),
        ]
        for each in report.contenders
    ]
    return Table(
        key="contenders",
        title="Models",
        columns=("model", "asked in partitions", "examples", "loss of late", "behind"),
        rows=rows,
        note=f"{counted(report.promotions, 'promotion')}, {counted(report.drifts, 'drift')}",
    )
