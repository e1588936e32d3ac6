"""Profiles, changes and definitions as a person would like to read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..client import TargetMetrics
from ..contracts import MAX_TIME_MS, Profile, ProfileDelta
from ..definition import ProfileDefinition
from ..models.metrics import MetricValues, Values
from .output import clean

#: Of each task: the metrics that say most, and how they are written.
_IN_A_LINE = {
    "binary": (("AUC", "roc_auc", "{:.3f}"), ("log-loss", "log_loss", "{:.3f}")),
    "multiclass": (("accuracy", "accuracy", "{:.1%}"), ("log-loss", "log_loss", "{:.3f}")),
    "regression": (("mean absolute error", "mae", "{:.3g}"),),
}
#: Parts of values that are moments, ms.
_MOMENTS = frozenset({"since", "until", "first", "last", "start"})
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
        >>> readable({"count": 3, "events": 8, "seconds": 300.0, "mean_seconds": 660.0, "active": True, "at": 0})
        '3 in all, now 8 events in 5 min, 11 min on average'
        >>> readable({"last_7d": 5, "at": 0, "then": {"last_7d": [[7, 0]]}}), readable({"in": True, "since": 0})
        ('5 (last 7d)', 'in since 1970-01-01 00:00:00 UTC')
        >>> readable({"score": 0.25, "reasons": [["views_1d", 0.9, "more views (1d) than usual"]], "at": 0})
        '25.0%: more views (1d) than usual'
        >>> readable({"encoder": "hashing-384@1", "texts": 5, "top": {"1d": ["tea"]}, "cosines": {"1d": {"tea": 0.5}}})
        'tea 0.50 (1d); 5 texts by hashing-384@1'
    """
    if isinstance(value, np.ndarray):
        return f"{len(value)} numbers: {' '.join(f'{x:+.2f}' for x in value[:6])} …"
    if isinstance(value, list):
        return ", ".join(" ".join(map(readable, item)) if isinstance(item, list) else readable(item) for item in value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number(value)
    if not isinstance(value, dict):
        return "none" if value is None else str(value)
    parts = {name: part for name, part in value.items() if name not in ("at", "then")}
    if parts.keys() == {"seconds"}:
        return duration(parts["seconds"])
    if parts.keys() == {"value"}:
        return readable(parts["value"])
    if "score" in parts and parts.keys() <= {"score", "reasons"}:
        words = ", ".join(str(reason[-1]) for reason in parts.get("reasons", ()))
        return f"{parts['score']:.1%}{words and ': ' + words}"
    if parts.keys() >= {"last", "mean", "std"}:
        return ", ".join(f"{name} {readable(part)}" for name, part in parts.items())
    if parts.keys() == {"in", "since"}:
        return f"{'in' if parts['in'] else 'left, out'} since {moment(parts['since'])}"
    if parts.keys() >= {"count", "events", "seconds", "mean_seconds", "active"}:
        return _sessions(parts)
    if parts.keys() >= {"encoder", "texts"}:
        return _interests(parts)
    if parts.keys() == {"top"}:
        return ", ".join(f"{name} {number(score)}" for name, score in parts["top"])
    return ", ".join(_part(name, part) for name, part in parts.items())


def _interests(parts: dict[str, Any]) -> str:
    """What is said about text vectors: of each half-life the nearest labels, with their cosines."""
    nearest = []
    for half_life, labels in parts.get("top", {}).items():
        cosines = parts["cosines"][half_life]
        nearest.append(f"{', '.join(f'{label} {cosines[label]:.2f}' for label in labels)} ({half_life})")
    return "; ".join([*nearest, f"{parts['texts']:,} texts by {parts['encoder']}"])


def _sessions(parts: dict[str, Any]) -> str:
    latest = f"{'now' if parts['active'] else 'the last'} {number(parts['events'])} events"
    depth = f" and {number(parts['mean_events'])} events" if "mean_events" in parts else ""
    words = [
        f"{number(parts['count'])} in all",
        f"{latest} in {duration(parts['seconds'])}",
        f"{duration(parts['mean_seconds'])}{depth} on average",
    ]
    if parts.get("bounce_rate") is not None:
        words.append(f"{parts['bounce_rate']:.0%} with one event")
    return ", ".join([*words, *(_part(name, part) for name, part in parts.items() if name.startswith("last_"))])


def _part(name: str, value: Any) -> str:
    if name == "total":
        return f"{number(value)} in all"
    if name.endswith("seconds") and value is not None:
        prefix = name.removesuffix("seconds").replace("_", " ")
        return f"{prefix}{duration(value)}"
    if isinstance(value, bool):
        return name if value else f"not {name}"
    if isinstance(value, int) and name in _MOMENTS and 0 <= value <= MAX_TIME_MS:
        return f"{name} {moment(value)}"
    said = readable(value)
    if name.removeprefix("last_")[:1].isdigit():
        return f"{said} ({name.replace('_', ' ')})"
    return f"{name} ({said})" if isinstance(value, (dict, list)) else f"{name} {said}"


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


def metrics_line(name: str, metrics: TargetMetrics) -> str:
    """A target's progressive metrics in a line: the model's and, in brackets and the same order, the baselines'."""
    values, shown = metrics.model, _IN_A_LINE[metrics.task]
    if any(getattr(values, field) is None for _, field, _ in shown):
        return f"{name}: {values.examples:,} examples"

    def written(side: Values) -> list[str]:
        numbers = [(getattr(side, field), form) for _, field, form in shown]
        return ["-" if each is None else form.format(each) for each, form in numbers]

    model = ", ".join(f"{words} {text}" for (words, _, _), text in zip(shown, written(values), strict=True))
    prevalence, last_label = ", ".join(written(metrics.prevalence)), ", ".join(written(metrics.last_label))
    true = f", {values.positives / values.examples:.1%} true" if isinstance(values, MetricValues) else ""
    baselines = f"prevalence {prevalence}; last label {last_label}"
    return f"{name}: {model} ({baselines}) over {values.examples:,} examples{true}"


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
        rest = {key: value for key, value in config.items() if key not in ("name", "on") and value not in (None, [])}
        shown = ", ".join(f"{key}={_config(value)}" for key, value in rest.items())
        table.add_row(name, field["kind"], "all" if types is None else ", ".join(types), shown)
    return table


def _config(value: Any) -> str:
    if isinstance(value, dict):
        inner = value.get("config", {key: each for key, each in value.items() if key != "kind"})
        if isinstance(inner, dict):
            inner = ", ".join(f"{key}={_config(each)}" for key, each in inner.items() if each is not None)
        return f"{value.get('kind', '')}({inner})"
    return ", ".join(map(_config, value)) if isinstance(value, list) else str(value)
