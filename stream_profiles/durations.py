"""Durations as people write them ("30m", "7d") and as the engine counts them (milliseconds)."""

from __future__ import annotations

import re
from datetime import timedelta

from .errors import DefinitionError

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
#: A time plus a duration has to stay a time.
_LONGEST_MS = 36_525 * UNITS_MS["d"]
_PATTERN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)")

Duration = str | timedelta


def to_ms(duration: Duration) -> int:
    """Milliseconds of a duration.

    Raises:
        DefinitionError: it is not a duration from a millisecond to a hundred years.

    Examples:
        >>> to_ms("30m"), to_ms("1.5h"), to_ms(timedelta(days=1))
        (1800000, 5400000, 86400000)
    """
    if isinstance(duration, timedelta):
        milliseconds = duration / timedelta(milliseconds=1)
    else:
        match = _PATTERN.fullmatch(duration) if isinstance(duration, str) else None
        if match is None:
            raise DefinitionError(f'{duration!r} is not a duration; write it like "30s", "15m", "1h", "7d" or "2w"')
        milliseconds = float(match[1]) * UNITS_MS[match[2]]
    if milliseconds < 1:
        raise DefinitionError(f"{duration!r} is too short: a duration is at least one millisecond")
    if milliseconds > _LONGEST_MS:
        raise DefinitionError(f"{duration!r} is too long: a duration is at most 36525d, a hundred years")
    return round(milliseconds)


def label(duration: Duration) -> str:
    """The short text of a duration, which names it in a profile.

    Examples:
        >>> label("90m"), label(timedelta(days=7))
        ('90m', '7d')
    """
    if isinstance(duration, str):
        to_ms(duration)
        return duration
    milliseconds = to_ms(duration)
    unit = max((u for u, ms in UNITS_MS.items() if u != "w" and milliseconds % ms == 0), key=UNITS_MS.__getitem__)
    return f"{milliseconds // UNITS_MS[unit]}{unit}"
