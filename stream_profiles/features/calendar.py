"""HourOfDay, DayOfWeek and Moment: hours and days, of a user's events and of now, by the clocks of a time zone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from math import cos, pi, sin
from operator import add
from typing import Any

from ..contracts import MAX_TIME_MS, Event
from ..durations import Duration, label
from ..errors import DefinitionError
from . import decay, windows, zones
from .base import NUMBER_BYTES, Feature, State, Value
from .zones import DAY_MS, HOUR_MS, WEEKDAYS, ZONE_BYTES, local, weekday

_EPOCH_DAY = date(1970, 1, 1).toordinal()


class _Histogram(Feature):
    """How many events fall into each bucket of the local time: since ever, fading, or in a window.

    State: `[time, counts or tiles]`, and the user's zone where events tell one; a tile is `[number, counts...]`.
    """

    mergeable = True
    order_free = True
    #: Names of the buckets, as they are published; a name's text ends the name of the bucket's input.
    buckets: Sequence[Any]

    def __init__(
        self,
        name: str,
        *,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
        half_life: Duration | None = None,
        window: Duration | None = None,
        resolution: Duration | None = None,
        zone: str = "UTC",
        zone_of: str | None = None,
    ) -> None:
        super().__init__(name, on=on, where=where)
        half_lives = decay.parse(self, half_life)
        parsed = windows.parse(self, window, resolution)
        if len(half_lives) + len(parsed) > 1:
            raise DefinitionError(
                f"{self!r} is one histogram: give it one half_life or one window; for another declare another feature"
            )
        self.half_life = next(iter(half_lives), None)
        self._half_life_ms = next(iter(half_lives.values()), None)
        self._window = next(iter(parsed.values()), None)
        self.window = None if window is None else label(window)
        self.resolution = None if resolution is None else label(resolution)
        self.zone = zone
        self.zone_of = zone_of
        self._zone = zones.LocalTime(self, zone, zone_of)
        self._none = [0] * len(self.buckets)
        if zone_of is not None:
            # Which zone was known when an event came depends on the events before it.
            self.mergeable = self.order_free = False  # type: ignore[misc]

    def bucket(self, shown: int) -> int:
        """The bucket of a moment, given as what the local clocks show."""
        raise NotImplementedError

    def update(self, state: State | None, event: Event) -> State | None:
        time = event.time
        zone = self._zone.of(event, None if state is None or self.zone_of is None else state[2])
        bucket = self.bucket(local(zone, time))
        if state is None:
            counts = list(self._none)
            counts[bucket] = 1
            held = counts if self._window is None else [[time // self._window.tile_ms, *counts]]
            return [time, held] if self.zone_of is None else [time, held, zone]
        elapsed = time - state[0]
        if self._window is not None:
            tile = self._window.tile(state[1], time, max(time, state[0]))
            if tile is not None:
                if len(tile) == 1:
                    tile += self._none
                tile[1 + bucket] += 1
        elif self._half_life_ms is None:
            state[1][bucket] += 1
        elif elapsed > 0:
            kept = decay.factor(elapsed, self._half_life_ms)
            state[1] = [count * kept for count in state[1]]
            state[1][bucket] += 1
        else:
            state[1][bucket] += decay.factor(-elapsed, self._half_life_ms)
        if elapsed >= 0:
            state[0] = time
            if self.zone_of is not None:
                state[2] = zone
        return state

    def snapshot(self, state: State) -> Value:
        value: dict[str, Any] = {}
        if self._window is None:
            value["counts"] = list(state[1])
        else:
            value["counts"], becomes = windows.over_time(self._window, state[1], state[0], _added, self._counts)
            value["then"] = {"counts": becomes}
        self._describe(value)
        if self.zone_of is not None:
            value["zone"] = state[2]
        if self._window is not None or self._half_life_ms is not None:
            value["at"] = state[0]
        return value

    def _counts(self, partial: Sequence[Any] | None) -> list[Any]:
        return list(self._none if partial is None else partial)

    def _describe(self, value: dict[str, Any]) -> None:
        """Add what follows from the counts."""
        counts = value["counts"]
        total = sum(counts)
        value["shares"] = [count / total if total else 0.0 for count in counts]
        value["peak"] = self.buckets[counts.index(max(counts))] if total else None

    def advance(self, value: Value, now: int) -> Value:
        at = value.get("at")
        if at is None or now <= at:
            return value
        if self._half_life_ms is not None:
            kept = decay.factor(now - at, self._half_life_ms)
            return {**value, "counts": [count * kept for count in value["counts"]], "at": now}
        value = windows.advance(value, now)
        self._describe(value)
        return value

    def merge(self, a: State, b: State) -> State:
        if not self.mergeable:
            return super().merge(a, b)
        early, late = (a, b) if a[0] <= b[0] else (b, a)
        if self._window is not None:
            return [late[0], windows.merge(self._window, early[1], late[1], late[0], _added)]
        half_life = self._half_life_ms
        kept = 1 if half_life is None else decay.factor(late[0] - early[0], half_life)
        return [late[0], [count * kept + other for count, other in zip(early[1], late[1], strict=True)]]

    @property
    def max_bytes(self) -> int:
        counts = len(self.buckets) * NUMBER_BYTES + 3
        kept = counts if self._window is None else self._window.most_tiles * (counts + NUMBER_BYTES) + 3
        return 1 + NUMBER_BYTES + kept + ZONE_BYTES

    def _shares(self, state: State, now: int) -> tuple[list[float], int]:
        """The share of each bucket as of `now`, and the bucket of `now`."""
        counts: Sequence[Any] = state[1]
        if self._window is not None:
            covered = self._window.covered(state[1], max(now, state[0]))
            counts = [sum(column) for column in zip(self._none, *(tile[1:] for tile in covered), strict=True)]
        total = sum(counts)
        shares = [count / total if total else 0.0 for count in counts]
        return shares, self.bucket(local(self.zone if self.zone_of is None else state[2], now))

    def category(self, state: State, now: int) -> str | None:
        peak = self.value(state, now)["peak"]
        return None if peak is None else str(peak)


class HourOfDay(_Histogram):
    """At which hours of the day a user is there: since ever, with `half_life` lately, or in a sliding `window`.

    Published: `counts` and `shares` of the 24 hours from midnight on, `peak`, the hour with most events (of several the
    first, None where there are no events), the user's `zone` where `zone_of` is given; `at` where they change by time.

    A model gets the mean direction on the clock as `sin` and `cos`, which are the nearer to 0 the less the hours have
    in common (Mardia and Jupp, "Directional Statistics", 2000), and as `now` the share of the hour at the prediction.

    Parameters:
        name: Field name.
        on: Event type(s); None for all.
        where: Condition on the events.
        half_life: A duration, in which the weight of an event halves.
        window: A duration; only events in it count. Neither: all events count alike.
        resolution: How long the tiles of a window are; 1/24 of the window or less when not given.
        zone: IANA name of the time zone.
        zone_of: Event field with the name of the user's own zone, like `properties.zone`. Of an event without a known
            zone that of the user's latest event with one is taken, and `zone` where there is none.

    Examples:
        >>> from stream_profiles import Event, HourOfDay
        >>> hours = HourOfDay("hours", zone="Europe/Lisbon")
        >>> noon_in_utc = 1_719_835_200_000  # 2024-07-01
        >>> state = hours.update(None, Event(event_id="1", user_id="u", type="view", time=noon_in_utc))
        >>> hours.snapshot(state)["peak"]
        13
    """

    buckets = range(24)

    def bucket(self, shown: int) -> int:
        return shown // HOUR_MS % 24

    def input_names(self) -> tuple[str, ...]:
        return (f"{self.name}_sin", f"{self.name}_cos", f"{self.name}_now")

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if state is None:
            return (0.0, 0.0, 0.0)
        shares, current = self._shares(state, now)
        return (
            sum([share * each for share, (each, _) in zip(shares, _DIRECTIONS, strict=True)]),
            sum([share * each for share, (_, each) in zip(shares, _DIRECTIONS, strict=True)]),
            shares[current],
        )


class DayOfWeek(_Histogram):
    """On which weekdays a user is there: since ever, with `half_life` lately, or in a sliding `window`.

    Published: `counts` and `shares` of the seven days from Monday on, `peak`, the day with most events ("mon" to "sun";
    of several the first, None where there are no events), the user's `zone` where `zone_of` is given; `at` where they
    change by time. A model gets the share of each day, and as `now` that of the day of the prediction.

    Parameters:
        name: Field name.
        on: Event type(s); None for all.
        where: Condition on the events.
        half_life: A duration, in which the weight of an event halves.
        window: A duration; only events in it count. Neither: all events count alike.
        resolution: How long the tiles of a window are; 1/24 of the window or less when not given.
        zone: IANA name of the time zone.
        zone_of: Event field with the name of the user's own zone, like `properties.zone`. Of an event without a known
            zone that of the user's latest event with one is taken, and `zone` where there is none.

    Examples:
        >>> from stream_profiles import DayOfWeek, Event
        >>> weekdays = DayOfWeek("weekdays")
        >>> weekdays.snapshot(weekdays.update(None, Event(event_id="1", user_id="u", type="view", time=0)))["peak"]
        'thu'
    """

    buckets = WEEKDAYS

    def bucket(self, shown: int) -> int:
        return weekday(shown // DAY_MS)

    def input_names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}_{day}" for day in (*WEEKDAYS, "now"))

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if state is None:
            return (0.0,) * 8
        shares, current = self._shares(state, now)
        return (*shares, shares[current])


class Moment(Feature):
    """The hour, the weekday and the month of a prediction, for models; it is no field of the profile and keeps nothing.

    Each is a place on a circle, as sine and cosine, so that 23:59 is next to 0:00 and December to January.

    Parameters:
        name: Starts the names of the inputs.
        of: Any of "hour" (to the minute), "weekday" and "month".
        zone: IANA name of the time zone.

    Examples:
        >>> from stream_profiles import Moment
        >>> Moment("moment", of="hour").input_names()
        ('moment_hour_sin', 'moment_hour_cos')
        >>> [round(x, 9) for x in Moment("moment", of="hour").inputs(None, now=6 * 3_600_000)]
        [1.0, 0.0]
    """

    order_free = True
    _PARTS = ("hour", "weekday", "month")

    def __init__(self, name: str, *, of: str | Iterable[str] = _PARTS, zone: str = "UTC") -> None:
        super().__init__(name)
        self.of = [of] if isinstance(of, str) else list(of)
        if not self.of or len(set(self.of)) < len(self.of) or not set(self.of) <= set(self._PARTS):
            raise DefinitionError(f'{self!r}: of= takes any of "hour", "weekday" and "month", each once, not {self.of}')
        self.zone = zones.check(self, zone)

    def update(self, state: State | None, event: Event) -> State | None:
        return None

    def snapshot(self, state: State) -> Value:
        raise TypeError(f"{self!r} has no state")

    @property
    def max_bytes(self) -> int:
        return 0

    def input_names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}_{part}_{each}" for part in self.of for each in ("sin", "cos"))

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        day, of_day = divmod(min(local(self.zone, now), MAX_TIME_MS), DAY_MS)
        numbers: list[float] = []
        for part in self.of:
            if part == "hour":
                turn = of_day / DAY_MS
            elif part == "weekday":
                turn = weekday(day) / 7
            else:
                turn = (date.fromordinal(_EPOCH_DAY + day).month - 1) / 12
            numbers += _direction(turn)
        return tuple(numbers)


def _direction(turn: float) -> tuple[float, float]:
    """A part of a whole turn as a point on the circle: sine and cosine."""
    return sin(2 * pi * turn), cos(2 * pi * turn)


#: Where the hours begin on a clock of 24 hours.
_DIRECTIONS = [_direction(hour / 24) for hour in range(24)]


def _added(a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
    return list(map(add, a, b))
