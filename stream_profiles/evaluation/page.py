"""A report as one page that stands by itself: nothing in it is fetched from anywhere, and it is the same for the same
events.

What is said is in `tables`, what is drawn in `plots`. Here all of it becomes HTML, and everything that comes from
definitions and data is made harmless.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from ..errors import SettingsError
from .report import EvaluationReport, TargetReport
from .run import Evaluated
from .tables import Table, population_tables, summary, target_tables
from .words import about, facts, is_better, verdict

if TYPE_CHECKING:
    from .plots import Plot

#: Long tables that a plot shows too: one opens them.
_FOLDED = {"slices", "calibration", "lift", "confusion"}


def check_page(path: Path) -> None:
    """Look whether a page can be drawn and written there, before anything is computed.

    Raises:
        SettingsError: it cannot.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise SettingsError(
            "a page with plots needs matplotlib, which is not installed: pip install 'stream-profiles[report]'"
        ) from None
    if path.is_dir():
        raise SettingsError(f"{path} is a folder; name the page to write")
    if not path.parent.is_dir():
        raise SettingsError(f"there is no folder {path.parent} to write {path.name} into")


def write_page(path: Path, evaluated: Evaluated) -> None:
    """Write the page of an evaluation.

    Raises:
        SettingsError: it cannot be written.
    """
    page = page_of(evaluated)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            unfinished.write_text(page, encoding="utf-8")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror or error}") from None


def page_of(evaluated: Evaluated) -> str:
    """The page of an evaluation: one document of HTML."""
    from .plots import anomaly_plot, target_plots

    report = evaluated.report
    name = safe(report.definition)
    body = [_header(report)]
    for place, target in enumerate(report.targets):
        drawn = target_plots(target, evaluated.examples[target.name], f"target-{place}")
        body.append(_target(target, drawn, place))
    population = population_tables(report)
    if population:
        drawn = [
            anomaly_plot(scores, f"anomaly-{place}") for place, scores in enumerate(report.anomalies) if scores.users
        ]
        body.append('<section id="users"><h2>Users at the end</h2>')
        body += [_card(table) for table in population]
        body.append(f"{_plots(drawn)}</section>")
    body.append("<footer>Every prediction is scored by what came of it, before the model learns from it.</footer>")
    template = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(title=f"{name} · evaluation", body="\n".join(body))


def safe(text: str) -> str:
    """Text of events or of a definition, harmless in a page.

    Examples:
        >>> safe("<b>Zoë</b> & \\x00")
        '&lt;b&gt;Zoë&lt;/b&gt; &amp; \\\\x00'
    """
    return escape("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))


def _header(report: EvaluationReport) -> str:
    lines = "".join(f'<p class="muted">{safe(line)}</p>' for line in about(report))
    links = [f'<a href="#target-{place}">{safe(each.name)}</a>' for place, each in enumerate(report.targets)]
    if population_tables(report):
        links.append('<a href="#users">users at the end</a>')
    nav = f"<nav>{''.join(links)}</nav>" if len(links) > 1 else ""
    read = f'<p class="muted">{safe(", ".join(report.files))}</p>'
    overview = _card(summary(report.targets)) if len(report.targets) > 1 else ""
    return f"<header><h1>{safe(report.definition)}</h1>{lines}{read}{nav}</header>{overview}"


def _target(report: TargetReport, plots: Sequence[Plot], place: int) -> str:
    lines = "".join(f'<p class="muted">{safe(line)}</p>' for line in facts(report))
    said = verdict(report)
    if said is not None:
        lines += f'<p class="verdict {"good" if is_better(report) else "poor"}">{safe(said)}</p>'
    scores, *others = [_card(table) for table in target_tables(report)] or [""]
    parts = [f'<section id="target-{place}"><h2>{safe(report.name)}</h2>', lines, scores, _plots(plots), *others]
    return "\n".join([*parts, "</section>"])


def _plots(plots: Sequence[Plot]) -> str:
    if not plots:
        return ""
    return f'<div class="plots">{"".join(map(_plot, plots))}</div>'


def _plot(plot: Plot) -> str:
    caption = f"<figcaption><h3>{safe(plot.title)}</h3>{safe(plot.note)}</figcaption>"
    return f'<figure class="card{" wide" if plot.wide else ""}">{caption}{plot.svg}</figure>'


def _card(table: Table) -> str:
    note = f' <span class="note">{safe(table.note)}</span>' if table.note else ""
    title = f"<h3>{safe(table.title)}{note}</h3>"
    shown = f'<div class="table">{_table(table)}</div>'
    if table.key in _FOLDED:
        return f'<details class="card"><summary>{title}</summary>{shown}</details>'
    return f'<div class="card">{title}{shown}</div>'


def _table(table: Table) -> str:
    bar = "<th></th>" if table.bars else ""
    head = "".join(f'<th scope="col">{safe(column)}</th>' for column in table.columns)
    groups = "".join(
        f'<th class="group" colspan="{columns}">{f"<span>{safe(name)}</span>" if name else ""}</th>'
        for name, columns in table.groups
    )
    over = f"<tr>{groups}{bar}</tr>" if groups else ""
    rows = []
    for place, row in enumerate(table.rows):
        cells = "".join(f"<td>{safe(cell)}</td>" for cell in row)
        if table.bars:
            width = 100 * min(max(table.bars[place], 0.0), 1.0)
            cells += f'<td class="bar"><div style="width:{width:.1f}%"></div></td>'
        rows.append(f"<tr>{cells}</tr>")
    return f"<table><thead>{over}<tr>{head}{bar}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
