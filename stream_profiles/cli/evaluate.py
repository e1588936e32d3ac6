"""`evaluate`: how good a definition's predictions are on files of events, as text, JSON or a page."""

from __future__ import annotations

import signal
from pathlib import Path

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from ..durations import to_ms
from ..errors import InvalidEvent, MappingError, SettingsError
from ..evaluation import Evaluated, EvaluateOptions, EvaluationReport, evaluate
from ..evaluation.page import check_page, write_page
from ..evaluation.predictions import check_predictions, write_predictions
from ..evaluation.tables import Table, population_tables, summary, target_tables
from ..evaluation.words import about, facts, verdict
from ..mapping import EventMapping, time_reader
from . import output
from .connect import Deployment

_BAR_WIDTH = 20
_INDENT = (0, 0, 0, 2)
#: Wider than any table.
_UNBOUNDED = 10_000


def run_evaluate(
    deployment: Deployment,
    files: list[Path],
    mapping: Path | None,
    *,
    targets: list[str],
    partitions: int,
    until: str | None,
    slices: int,
    html: Path | None,
    as_json: bool,
    predictions: Path | None,
) -> None:
    """Evaluate a definition and print how good its predictions are.

    Raises:
        SettingsError: a file or an option is wrong, or there is nothing to evaluate.
    """
    settings, progress = deployment.settings, output.console(stderr=True)
    options = EvaluateOptions(
        targets=tuple(targets),
        partitions=partitions,
        until=None if until is None else _time(until),
        slices=slices,
        max_record_bytes=settings.max_record_bytes,
        max_future_ms=to_ms(settings.max_future),
    )
    # Computing takes a while: what is wrong with where it shall go is said before.
    if html is not None:
        check_page(html)
    if predictions is not None:
        check_predictions(predictions)
    compiled = None if mapping is None else EventMapping.load(mapping)
    # `kill` ends it as Ctrl-C does: with nothing left behind.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        evaluated = evaluate(
            files,
            deployment.definition,
            compiled,
            options,
            # A bar is for a terminal.
            console=progress if progress.is_terminal else None,
        )
        # Files first: whoever reads the text may have seen enough of it early, as `head` does.
        _write(evaluated, html, predictions, progress)
        _print(evaluated.report, as_json)
    except KeyboardInterrupt:
        progress.print("evaluation stopped; nothing is left of it")
        raise
    except MappingError as error:
        if mapping is not None:
            raise
        raise MappingError(f"{error}; --mapping FILE.toml says how rows become events") from error


def _write(evaluated: Evaluated, html: Path | None, predictions: Path | None, console: Console) -> None:
    if predictions is not None:
        rows = write_predictions(predictions, evaluated.examples)
        console.print(f"wrote {rows:,} predictions to {predictions}")
    if html is not None:
        write_page(html, evaluated)
        console.print(f"wrote the report to {html}")


def _print(report: EvaluationReport, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(report).decode())
        return
    console = output.console()
    for line in about(report):
        console.print(_safe(line))
    if len(report.targets) > 1:
        console.print()
        _print_table(console, summary(report.targets))
    for target in report.targets:
        console.print()
        console.print(Text(output.clean(target.name), style="bold cyan"))
        for line in filter(None, [*facts(target), verdict(target)]):
            console.print(Padding(_safe(line), _INDENT, expand=False))
        for table in target_tables(target):
            _print_table(console, table)
    for table in population_tables(report):
        _print_table(console, table)


def _print_table(console: Console, table: Table) -> None:
    title = Text.assemble((table.title, "bold"), (f"  {output.clean(table.note)}", "dim"))
    console.print()
    console.print(Padding(title, _INDENT, expand=False))
    unbounded = console.options.update(width=_UNBOUNDED)
    shown = _as_rich(table, gap=2)
    if console.measure(shown, options=unbounded).maximum > console.width:
        shown = _as_rich(table, gap=1)
    # One that is still wider than the terminal is wrapped by it: no number is ever cut.
    width = max(console.width, console.measure(shown, options=unbounded).maximum)
    console.print(shown, width=width, crop=False)


def _as_rich(table: Table, gap: int) -> Padding:
    """A table for the terminal.

    Parameters:
        gap: Spaces between columns.
    """
    shown = RichTable(box=None, header_style="dim", padding=(0, gap, 0, 0), pad_edge=False)
    over = [name if place == 0 else "" for name, columns in table.groups for place in range(columns)]
    for place, name in enumerate(table.columns):
        # Names of several columns stand in lines above: "last label" takes no more room than the numbers below it.
        lines = [*over[place].split(), *name.split()] if over and place else [name]
        header = Text("\n").join(map(_safe, lines))
        shown.add_column(header, justify="left" if place == 0 else "right", no_wrap=True, vertical="bottom")
    if table.bars:
        shown.add_column()
    for place, row in enumerate(table.rows):
        cells = [*map(_safe, row)]
        if table.bars:
            cells.append(Text("█" * round(_BAR_WIDTH * min(table.bars[place], 1.0))))
        shown.add_row(*cells)
    return Padding(shown, _INDENT, expand=False)


def _safe(text: str) -> Text:
    """Text of events or of a definition: harmless for a terminal, and not taken for markup."""
    return Text(output.clean(text))


def _time(text: str) -> int:
    try:
        return time_reader()(text)
    except InvalidEvent as error:
        raise SettingsError(f"--until: {error}") from None
