"""Sessions: visits told apart by a gap of inactivity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..contracts import Event
from ..durations import Duration, label, to_ms
from . import windows
from .base import NUMBER_BYTES, Feature, State, Value


class Sessions(Feature):
    """How many sessions there were, what they were like, and the length and duration of the current one.

    A session ends when nothing happens for longer than `gap`. A late event joins the current session when it is within
    `gap` of it; an older one belongs to a session that is already counted and changes nothing.
    State: `[count, start, last, events, seconds of closed sessions, closed sessions whose number of events is known,
    events in those, those with one event, tiles...]`. The first release kept nothing after the seconds: sessions that
    were closed then do not count in the rates.

    Parameters:
        name: Field name.
        gap: Inactivity that ends a session.
        on: Event type(s) that keep a session alive; None for all.
        where: Condition on the events.
        window: One or several durations; the sessions that began in each are published as `last_7d` and the like.
        resolution: How long the tiles of a window are; 1/24 of the window or less when not given.

    Published: `count`; of the current session `start` (ms), `events`, `seconds` and `active` (False once the gap has
    passed); over all sessions `mean_seconds` and the depth `mean_events`; over all but the current one `bounce_rate`,
    the share of those with one event, None where there is no other; `at`.

    Examples:
        >>> from stream_profiles import Event, Sessions
        >>> sessions = Sessions("sessions", gap="30m")
        >>> state = None
        >>> for time in (0, 60_000, 7_200_000):
        ...     state = sessions.update(state, Event(event_id=str(time), user_id="u", type="view", time=time))
        >>> value = sessions.snapshot(state)
        >>> value["count"], value["events"], value["mean_seconds"], value["mean_events"], value["bounce_rate"]
        (2, 1, 30.0, 1.5, 0.0)
    """

    added_parameters = Feature.added_parameters | {"window", "resolution"}

    def __init__(
        self,
        name: str,
        *,
        gap: Duration = "30m",
        on: str | Iterable[str] | None = None,
        where: str | None = None,
        window: windows.Durations = None,
        resolution: Duration | None = None,
    ) -> None:
        super().__init__(name, on=on, where=where)
        self.gap = label(gap)
        self._gap_ms = to_ms(gap)
        self._windows = windows.parse(self, window, resolution)
        self.window = [name.removeprefix("last_") for name in self._windows] or None
        self.resolution = None if resolution is None else label(resolution)

    def update(self, state: State | None, event: Event) -> State | None:
        time = event.time
        if state is None:
            tiles = [[[time // window.tile_ms, 1]] for window in self._windows.values()]
            return [1, time, time, 1, 0.0, 0, 0, 0, *tiles]
        if len(state) == 5:
            state += [0, 0, 0]
        start, last = state[1], state[2]
        if time - last > self._gap_ms:
            state[0] += 1
            state[4] += (last - start) / 1000
            state[5] += 1
            state[6] += state[3]
            state[7] += state[3] == 1
            state[1] = state[2] = time
            state[3] = 1
            self._began(state, time, 1)
            return state
        if time < start - self._gap_ms:
            return None
        state[3] += 1
        if time > last:
            state[2] = time
        elif time < start:
            state[1] = time
            self._began(state, start, -1)
            self._began(state, time, 1)
        return state

    def _began(self, state: State, start: int, change: int) -> None:
        """Count a session that began then, or take it back."""
        for index, window in enumerate(self._windows.values(), start=8):
            tile = window.tile(state[index], start, state[2])
            if tile is not None:
                tile[1:] = [change + sum(tile[1:])]

    def snapshot(self, state: State) -> Value:
        count, start, last, events, closed = state[:5]
        known, known_events, bounces = state[5:8] or (0, 0, 0)
        seconds = (last - start) / 1000
        value: dict[str, Any] = {
            "count": count,
            "start": start,
            "events": events,
            "seconds": seconds,
            "mean_seconds": (closed + seconds) / count,
            "mean_events": (known_events + events) / (known + 1),
            "bounce_rate": bounces / known if known else None,
            "active": True,
            "at": last,
        }
        if self._windows:
            then: dict[str, Any] = {"active": [[last + self._gap_ms + 1, False]]}
            for (name, window), tiles in zip(self._windows.items(), state[8:], strict=True):
                value[name], then[name] = windows.over_time(window, tiles, last, _added, _only)
            value["then"] = then
        return value

    def advance(self, value: Value, now: int) -> Value:
        at = value["at"]
        if self._windows:
            return windows.advance(value, now) if now > at else value
        return {**value, "active": False} if now - at > self._gap_ms else value

    @property
    def max_bytes(self) -> int:
        tiles = sum(window.most_tiles for window in self._windows.values())
        return 9 * NUMBER_BYTES + tiles * (2 * NUMBER_BYTES + 1) + 3 * len(self._windows)

    # The numbers that models saw in the first release stay as they were: examples that wait for their label are
    # stored as numbers without names. Those with windows have state, and examples, of their own.

    def input_names(self) -> tuple[str, ...]:
        names = ("count", "events", "seconds", "active")
        more = ("mean_events", "bounce_rate", *self._windows) if self._windows else ()
        return tuple(f"{self.name}_{each}" for each in (*names, *more))

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if state is None:
            return (0.0,) * len(self.input_names())
        count, start, last, events = state[:4]
        numbers = (float(count), float(events), (last - start) / 1000, float(now - last <= self._gap_ms))
        if not self._windows:
            return numbers
        known, known_events, bounces = state[5:8]
        rates = ((known_events + events) / (known + 1), bounces / known if known else 0.0)
        began = [
            float(sum(tile[1] for tile in window.covered(tiles, max(now, last))))
            for window, tiles in zip(self._windows.values(), state[8:], strict=True)
        ]
        return (*numbers, *rates, *began)


def _added(a: Sequence[Any], b: Sequence[Any]) -> Sequence[Any]:
    return (a[0] + b[0],)


def _only(partial: Sequence[Any] | None) -> Any:
    return 0 if partial is None else partial[0]
