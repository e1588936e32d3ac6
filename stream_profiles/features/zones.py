"""Local time: the hour, the weekday and the calendar day that a moment is in a time zone.

Zones go by their IANA names and are those of the `tzdata` package, whatever else a machine has installed, so that the
same events make the same profile on every worker. What is counted by local time is the features' business.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from .._suggestions import did_you_mean
from ..contracts import MAX_TIME_MS, Event
from ..durations import UNITS_MS
from ..errors import DefinitionError
from .base import field_getter

HOUR_MS, DAY_MS = UNITS_MS["h"], UNITS_MS["d"]
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: The most bytes a zone's name takes in a stored state.
ZONE_BYTES = 34
#: A zone shifts a moment by less than a day; what is nearer to the end of time has no local `datetime`.
_LAST_SECOND = MAX_TIME_MS // 1000 - 86_400


@cache
def names() -> frozenset[str]:
    """The names of all zones."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def check(owner: object, zone: str) -> str:
    """The name itself, when there is such a zone.

    Raises:
        DefinitionError: there is none.
    """
    if zone not in names():
        hint = did_you_mean(str(zone), sorted(names()))
        hint = hint if hint.startswith("did") else "write one like Europe/Paris"
        raise DefinitionError(f"{owner!r}: {zone!r} is not a time zone; {hint}")
    return zone


@cache
def _load(zone: str) -> ZoneInfo:
    with files("tzdata").joinpath("zoneinfo", *zone.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=zone)


def local(zone: str, time: int) -> int:
    """What the clocks in a zone show at a moment, as milliseconds since 1970 by those clocks.

    Examples:
        >>> summer = 1_719_828_000_000  # 2024-07-01 10:00 UTC
        >>> local("Europe/Lisbon", summer) - summer, local("UTC", summer) - summer
        (3600000, 0)
    """
    if zone == "UTC":
        return time
    offset = datetime.fromtimestamp(min(time // 1000, _LAST_SECOND), _load(zone)).utcoffset()
    assert offset is not None
    return time + (offset.days * 86_400 + offset.seconds) * 1000


def local_day(zone: str, time: int) -> int:
    """The calendar day in a zone, counted from 1970-01-01."""
    return local(zone, time) // DAY_MS


def weekday(day: int) -> int:
    """The weekday of a calendar day; Monday is 0.

    Examples:
        >>> WEEKDAYS[weekday(0)]
        'thu'
    """
    return (day + 3) % 7


@lru_cache(maxsize=10_000)
def start_of_day(zone: str, day: int) -> int:
    """The moment (ms) at which a calendar day begins in a zone, also where the clocks are changed at midnight.

    Examples:
        >>> start_of_day("Europe/Lisbon", 19_905) - start_of_day("UTC", 19_905)  # 2024-07-01
        -3600000
    """
    shown = day * DAY_MS
    start = shown - (local(zone, shown) - shown)
    start = shown - (local(zone, start) - start)
    if local(zone, start) >= shown and local(zone, start - 1) < shown:
        return start
    # Midnight is left out, or there are two of them: the day begins with the first moment that is not before it.
    before, start = shown - 2 * DAY_MS, shown + 2 * DAY_MS
    while start - before > 1:
        between = (before + start) // 2
        before, start = (between, start) if local(zone, between) < shown else (before, between)
    return start


class LocalTime:
    """The zone of a user's events: one for all users, or the one that a user's own events tell.

    Parameters:
        owner: What it is declared for, for messages.
        zone: The zone's name; where `zone_of` is given, of users of whom none is known.
        zone_of: Event field with the name of the user's zone. The latest event that has one decides.

    Raises:
        DefinitionError: there is no such zone, or no such field.
    """

    def __init__(self, owner: object, zone: str, zone_of: str | None) -> None:
        self._zone = check(owner, zone)
        self._get = None if zone_of is None else field_getter(owner, zone_of)

    def of(self, event: Event, known: str | None) -> str:
        """The zone of an event: its own, or else the one known of its user, or else the one for all."""
        if self._get is not None:
            told = self._get(event)
            if type(told) is str and told in names():
                return told
        return known or self._zone
