"""`models`: how good the predictions have been, the model side by side with the baselines.

Numbers come from the client; what they mean is said where they are counted, in `stream_profiles.models.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..client import ProfileClient, TargetMetrics
from ..errors import StreamProfilesError
from ..models.metrics import Confusion, MetricValues, MulticlassValues, Values
from . import output
from .connect import Deployment
from .show import number

#: Rows of a table that could have any number: classes, importances.
_MOST_ROWS = 10
_BAR_WIDTH = 20

#: What is shown of each task: words, the value's name, and how it is written.
_Shown = tuple[tuple[str, str, Callable[[float], str]], ...]


def _three(value: float) -> str:
    return f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{value:.1%}"


_SHOWN: dict[str, _Shown] = {
    "binary": (
        ("log-loss", "log_loss", _three),
        ("ROC-AUC", "roc_auc", _three),
        ("PR-AUC", "pr_auc", _three),
        ("lift at 10 %", "top_decile_lift", number),
        ("accuracy", "accuracy", _percent),
        ("precision", "precision", _percent),
        ("recall", "recall", _percent),
        ("F1", "f1", _three),
        ("calibration error (ECE)", "calibration_error", _three),
        ("Brier score", "brier_score", _three),
    ),
    "multiclass": (
        ("log-loss", "log_loss", _three),
        ("accuracy", "accuracy", _percent),
        ("macro F1", "macro_f1", _three),
    ),
    "regression": (
        ("mean absolute error", "mae", number),
        ("root mean squared error", "rmse", number),
        ("R2", "r2", _three),
        ("bias", "bias", number),
    ),
}


def print_models(deployment: Deployment, *, as_json: bool, partitions: bool) -> None:
    """Print how good the models of a definition are.

    Parameters:
        deployment: Where they are.
        as_json: A line for each target; with `partitions`, then one for each partition and target.
        partitions: Show each partition too.

    Raises:
        StreamProfilesError: there are none.
    """
    name = deployment.names.definition
    with ProfileClient(deployment.redis(), name) as client:
        merged = client.metrics()
        if not merged:
            client.get_many(())  # Where there are no such profiles at all, it says so.
            raise StreamProfilesError(f"{name} has no metrics yet: it has no targets, or no worker keeps its profiles")
        each = client.partition_metrics() if partitions else {}
    if as_json:
        for line in json_lines(merged, each):
            print(line)
        return
    console = output.console()
    for target, metrics in merged.items():
        console.print(target_report(target, metrics))
        if partitions:
            console.print(Padding(partitions_table(target, each), (0, 0, 1, 2), expand=False))


def json_lines(merged: dict[str, TargetMetrics], partitions: dict[int, dict[str, TargetMetrics]]) -> Iterator[str]:
    """An object for each target, and one more, with `partition`, for each partition that has it."""
    for target, metrics in merged.items():
        yield _json({"target": target}, metrics)
        for partition, targets in partitions.items():
            if target in targets:
                yield _json({"target": target, "partition": partition}, targets[target])


def _json(about: dict[str, Any], metrics: TargetMetrics) -> str:
    return msgspec.json.encode(about | msgspec.to_builtins(metrics)).decode()


def target_report(name: str, metrics: TargetMetrics) -> Group:
    """All there is to say of a target."""
    parts: list[RenderableType] = [Text.assemble((output.clean(name), "bold cyan"), f"  {_summary(metrics)}")]
    tables = [_scores_table(metrics)]
    values = metrics.model
    if isinstance(values, MetricValues) and values.examples:
        tables.append(_confusion_table(values.confusion))
    if isinstance(values, MulticlassValues) and values.examples:
        tables += [_classes_table(values), _confusions_table(values)]
    if metrics.contenders:
        tables.append(_contenders_table(metrics))
    if metrics.importances:
        tables.append(_importances_table(metrics.importances))
    parts += [Padding(table, (0, 0, 1, 2), expand=False) for table in tables]
    return Group(*parts)


def partitions_table(target: str, partitions: dict[int, dict[str, TargetMetrics]]) -> Table:
    """A target's metrics, a line for each partition."""
    table = _table("partition", "examples", "asked")
    having = {number: targets[target] for number, targets in partitions.items() if target in targets}
    tasks = {metrics.task for metrics in having.values()}
    shown = _SHOWN[next(iter(tasks))][:2]
    for words, _, _ in shown:
        table.add_column(f"{words}: model", justify="right")
        table.add_column("prevalence", justify="right", style="dim")
        table.add_column("last label", justify="right", style="dim")
    table.add_column("promotions", justify="right")
    table.add_column("drifts", justify="right")
    for partition, metrics in having.items():
        asked = next((_called(each.model, each.name) for each in metrics.contenders if each.asked), Text("-"))
        scores = [_written(side, field, write) for _, field, write in shown for side in _sides(metrics)]
        counts = f"{metrics.promotions:,}", f"{metrics.drifts:,}"
        table.add_row(str(partition), f"{metrics.examples:,}", asked, *scores, *counts)
    return table


def _summary(metrics: TargetMetrics) -> str:
    words = [metrics.task, f"{metrics.examples:,} examples"]
    values = metrics.model
    if isinstance(values, MetricValues) and values.examples:
        words.append(f"{values.positives / values.examples:.1%} true")
    if isinstance(values, MulticlassValues):
        words.append(f"{len(values.classes):,} classes")
    words += [_counted(metrics.promotions, "promotion"), _counted(metrics.drifts, "drift")]
    return " · ".join(words)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _scores_table(metrics: TargetMetrics) -> Table:
    table = _table("", "model", "prevalence", "last label")
    for words, field, write in _SHOWN[metrics.task]:
        table.add_row(words, *(_written(side, field, write) for side in _sides(metrics)))
    return table


def _sides(metrics: TargetMetrics) -> tuple[Values, Values, Values]:
    return metrics.model, metrics.prevalence, metrics.last_label


def _written(values: Values, field: str, write: Callable[[float], str]) -> str:
    value = getattr(values, field)
    return "-" if value is None else write(value)


def _confusion_table(confusion: Confusion) -> Table:
    table = _table("", "guessed true", "guessed false")
    table.add_row("true", f"{confusion.tp:,}", f"{confusion.fn:,}")
    table.add_row("false", f"{confusion.fp:,}", f"{confusion.tn:,}")
    return table


def _classes_table(values: MulticlassValues) -> Table:
    table = _table("class", "examples", "precision", "recall", "F1")
    ranked = sorted(values.classes.items(), key=lambda item: -item[1].examples)
    for name, each in ranked[:_MOST_ROWS]:
        rates = [_written_number(rate, _percent) for rate in (each.precision, each.recall)]
        table.add_row(_safe(name), f"{each.examples:,}", *rates, _three(each.f1))
    _note_rest(table, len(ranked))
    return table


def _confusions_table(values: MulticlassValues) -> Table:
    """What the largest classes were taken for; the rest of the guesses in one column."""
    labels = sorted(values.confusion, key=lambda label: -sum(values.confusion[label].values()))
    shown = labels[:_MOST_ROWS]
    table = _table("class, guessed as", *map(_safe, shown), "others")
    for label in shown:
        row = values.confusion[label]
        others = sum(count for guess, count in row.items() if guess not in shown)
        table.add_row(_safe(label), *(f"{row.get(guess, 0):,}" for guess in shown), f"{others:,}")
    _note_rest(table, len(labels))
    return table


def _contenders_table(metrics: TargetMetrics) -> Table:
    table = _table("contender", "asked in", "examples", "loss of late", "behind")
    for each in metrics.contenders:
        table.add_row(
            _called(each.model, each.name),
            f"{each.asked} of {_counted(each.partitions, 'partition')}",
            f"{each.examples:,}",
            _written_number(each.loss, _loss),
            _written_number(each.behind, _signed),
        )
    return table


def _called(model: int, name: str | None) -> Text:
    return _safe(f"model {model}" if name is None else name)


def _safe(text: str) -> Text:
    """Text of events or of a definition: harmless for a terminal, and not taken for markup."""
    return Text(output.clean(text))


def _loss(value: float) -> str:
    # Finer than other numbers: contenders are often close.
    return number(value) if abs(value) >= 1000 else f"{value:.4f}"


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{_loss(value)}"


def _importances_table(importances: dict[str, float]) -> Table:
    table = _table("input", "importance")
    table.add_column()
    largest = max(importances.values())
    for name, share in list(importances.items())[:_MOST_ROWS]:
        bar = "█" * round(_BAR_WIDTH * share / largest) if largest > 0 else ""
        table.add_row(_safe(name), _percent(share), bar)
    _note_rest(table, len(importances))
    return table


def _written_number(value: float | None, write: Callable[[float], str]) -> str:
    return "-" if value is None else write(value)


def _note_rest(table: Table, rows: int) -> None:
    if rows > _MOST_ROWS:
        table.add_row(f"and {rows - _MOST_ROWS:,} more", style="dim")


def _table(first: str, *columns: str | Text) -> Table:
    table = Table(box=None, header_style="dim")
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    return table
