"""Profiles, changes and definitions as a person would like to read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..contracts import Profile, ProfileDelta
from ..definition import ProfileDefinition
from ..models import MetricValues
from .output import clean

_STEPS = (("d", 86_400), ("h", 3_600), ("min", 60))


def profile_panel(profile: Profile) -> Panel:
    """A profile as a table of fields and readable values."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in profile.values.items():
        table.add_row(name, Text(clean(readable(value))))
    subtitle = f"version {profile.version:,} · last event {moment(profile.event_time)}"
    title = Text(clean(profile.user_id), style="bold")
    return Panel(table, title=title, subtitle=subtitle, title_align="left", expand=False)


def delta_line(delta: ProfileDelta) -> Text:
    """A change of a profile in a line."""
    line = Text.assemble((clean(delta.user_id), "bold"), f" v{delta.version} {moment(delta.event_time)}")
    between = "  "
    for name, value in delta.changed.items():
        line.append(between).append(name, "cyan").append(f" {clean(readable(value))}")
        between = "; "
    for name in delta.removed:
        line.append(between).append(name, "cyan").append(" is gone")
        between = "; "
    return line


def readable(value: Any) -> str:
    """One value in words.

    Examples:
        >>> readable({"total": 12, "1h": 2.34, "at": 1_300_000_000_000})
        '12 in all, 2.34 (1h)'
        >>> readable({"top": [["shoes", 3.16], ["hats", 1.0]], "at": 0})
        'shoes 3.16, hats 1'
        >>> readable({"seconds": 93_600.0, "at": 0})
        '1 d 2 h'
    """
    if isinstance(value, np.ndarray):
        return f"{len(value)} numbers: {' '.join(f'{x:+.2f}' for x in value[:6])} …"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, float):
        return number(value)
    if not isinstance(value, dict):
        return str(value)
    parts = {name: part for name, part in value.items() if name != "at"}
    if parts.keys() == {"seconds"}:
        return duration(parts["seconds"])
    if parts.keys() == {"score"}:
        return f"{parts['score']:.1%}"
    if parts.keys() == {"count", "events", "seconds", "mean_seconds", "active"}:
        latest = f"{'now' if parts['active'] else 'the last'} {number(parts['events'])} events"
        mean = f"{duration(parts['mean_seconds'])} on average"
        return f"{number(parts['count'])} in all, {latest} in {duration(parts['seconds'])}, {mean}"
    if parts.keys() == {"top"}:
        return ", ".join(f"{name} {number(score)}" for name, score in parts["top"])
    return ", ".join(_part(name, part) for name, part in parts.items())


def _part(name: str, value: Any) -> str:
    if name == "total":
        return f"{number(value)} in all"
    if name.endswith("seconds"):
        prefix = name.removesuffix("seconds").replace("_", " ")
        return f"{prefix}{duration(value)}"
    if isinstance(value, bool):
        return name if value else f"not {name}"
    if isinstance(value, (int, float)):
        return f"{number(value)} ({name})" if name[0].isdigit() else f"{name} {number(value)}"
    return f"{name} {value}"


def number(value: float) -> str:
    """A number short enough to read.

    Examples:
        >>> number(1234.5), number(3.0), number(0.004567)
        ('1,234', '3', '0.0046')
    """
    if value == 0 or (isinstance(value, int) and abs(value) < 10**15):
        return f"{value:,}".removesuffix(".0")
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 0.01:
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{value:.2g}"


def duration(seconds: float) -> str:
    """A time span in its two largest units.

    Examples:
        >>> duration(45), duration(3_700), duration(200_000)
        ('45 s', '1 h 1 min', '2 d 7 h')
    """
    for position, (unit, size) in enumerate(_STEPS):
        if seconds >= size:
            whole, rest = divmod(int(seconds), size)
            if position + 1 < len(_STEPS):
                smaller, small_size = _STEPS[position + 1]
                if rest >= small_size:
                    return f"{whole} {unit} {rest // small_size} {smaller}"
            return f"{whole} {unit}"
    return f"{seconds:.0f} s"


def moment(time: int) -> str:
    """A time in UTC.

    Examples:
        >>> moment(1_291_191_960_000)
        '2010-12-01 08:26:00 UTC'
    """
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def metrics_line(name: str, values: MetricValues) -> str:
    """A target's progressive metrics in a line."""
    if values.roc_auc is None:
        return f"{name}: {values.examples:,} examples"
    assert values.log_loss is not None and values.calibration_error is not None
    share = values.positives / values.examples
    return (
        f"{name}: AUC {values.roc_auc:.3f}, log-loss {values.log_loss:.3f}, calibration error "
        f"{values.calibration_error:.3f} over {values.examples:,} examples, {share:.1%} true"
    )


def definition_table(definition: ProfileDefinition) -> Table:
    """What a definition is made of."""
    table = Table(box=None, title=definition.name, title_justify="left")
    table.add_column("field", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("event types")
    table.add_column("configuration", overflow="fold")
    for name, field in definition.describe()["fields"].items():
        config = field["config"]
        types = config.get("on")
        rest = {key: value for key, value in config.items() if key not in ("name", "on") and value is not None}
        shown = ", ".join(f"{key}={_config(value)}" for key, value in rest.items())
        table.add_row(name, field["kind"], "all" if types is None else ", ".join(types), shown)
    return table


def _config(value: Any) -> str:
    if isinstance(value, dict) and "kind" in value:
        inner = ", ".join(f"{key}={_config(each)}" for key, each in value["config"].items())
        return f"{value['kind']}({inner})"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
