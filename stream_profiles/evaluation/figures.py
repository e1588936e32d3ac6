"""What every plot is drawn on: axes in the style of the page, and the SVG that stands in it.

Colours are those of the page: each is drawn as a mark that becomes a variable of its style sheet, so that a plot
follows the page into the dark.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from .examples import Floats
from .words import number

#: Marks that stand for the page's colours.
INK, MUTED, _GRID, CARD = "#010101", "#020202", "#030303", "#040404"
MODEL, PREVALENCE, LAST = "#050505", "#060606", "#070707"
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    _GRID: "var(--grid)",
    CARD: "var(--card)",
    MODEL: "var(--model)",
    PREVALENCE: "var(--prevalence)",
    LAST: "var(--last-label)",
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    # Names of classes are no formulas.
    "text.parse_math": False,
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "axes.linewidth": 0.7,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "none",
}
#: Of a plot, in inches: a page scales it.
SIZE = (5.2, 3.3)
#: Characters of a name at a tick.
_NAME_LENGTH = 18


@contextmanager
def styled() -> Iterator[None]:
    """What is drawn inside looks as it should, whatever this process or its user has set matplotlib to."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Of letters its own font lacks, which the page's fonts have, and of ticks: nothing that anybody could act on.
        warnings.simplefilter("ignore", UserWarning)
        matplotlib.rcdefaults()
        parameters: Any = matplotlib.rcParams
        parameters.update(_STYLE)
        yield


def new_axes(x: str, y: str, size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """An empty plot.

    Parameters:
        x, y: What the axes show, with its unit.
        size: In inches.
    """
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def legended(figure: Figure) -> Figure:
    """With its legend above it, where it covers nothing."""
    figure.legend(loc="outside upper left", ncols=3, handlelength=1.8, columnspacing=1.4)
    return figure


def both_shares(figure: Figure, axes: Axes) -> Figure:
    """Both axes from 0 to all."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    return legended(figure)


def numbered(axes: Axes) -> None:
    """Both axes with numbers as the tables write them."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(float(value))))


def timed(figure: Figure, axes: Axes) -> Figure:
    """With times along the lower axis, UTC."""
    locator: Any = AutoDateLocator
    formatter: Any = ConciseDateFormatter
    placed = locator(tz=UTC, maxticks=8)
    axes.xaxis.set_major_locator(placed)
    axes.xaxis.set_major_formatter(formatter(placed, tz=UTC))
    return legended(figure) if axes.get_legend_handles_labels()[0] else figure


def draw_cells(axes: Axes, across: Floats, up: Floats, strengths: Floats) -> None:
    """Cells of a grid, each as strong as its number from 0 to 1; empty ones are not drawn."""
    places = np.argwhere(strengths > 0).tolist()
    corners = [
        [(across[x], up[y]), (across[x + 1], up[y]), (across[x + 1], up[y + 1]), (across[x], up[y + 1])]
        for x, y in places
    ]
    colours = [matplotlib.colors.to_rgba(MODEL, 0.06 + 0.94 * float(strengths[x, y])) for x, y in places]
    axes.add_collection(PolyCollection(corners, facecolors=colours, edgecolors="none", zorder=1.5), autolim=False)


def short(name: str) -> str:
    """A name of data, short enough for a tick, without what is no letter."""
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return printable if len(printable) <= _NAME_LENGTH else f"{printable[: _NAME_LENGTH - 1]}…"


_HEAD = re.compile(r"^.*?(?=<svg)|<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>", re.DOTALL)
_ROOT = re.compile(r"<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>")
_ID = re.compile(r' id="([^"]*)"')


def svg_of(figure: Figure, salt: str) -> str:
    """An element for a page: without a size, without ids that nothing points to, in the page's colours.

    Parameters:
        figure: What is drawn.
        salt: Makes its ids other than those of the other plots on the page.
    """
    written = io.StringIO()
    matplotlib.rcParams["svg.hashsalt"] = salt
    about: Any = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(written, format="svg", metadata=about)
    svg = _ROOT.sub(r'<svg \1 role="img">', _HEAD.sub("", written.getvalue()), count=1)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]*)', svg))
    svg = _ID.sub(lambda found: found[0] if found[1] in used else "", svg)
    for mark, variable in _VARIABLES.items():
        svg = svg.replace(mark, variable)
    return svg
