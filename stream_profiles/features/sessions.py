"""Sessions: visits told apart by a gap of inactivity."""

from __future__ import annotations

from collections.abc import Iterable

from ..contracts import Event
from ..durations import Duration, label, to_ms
from .base import NUMBER_BYTES, Feature, State, Value


class Sessions(Feature):
    """How many sessions there were, and the length and duration of the current one.

    A session ends when nothing happens for longer than `gap`. A late event joins the current session when it is within
    `gap` of it; an older one belongs to a session that is already counted and changes nothing.
    State: `[count, start, last, events, seconds of closed sessions]`.

    Parameters:
        name: Field name.
        gap: Inactivity that ends a session.
        on: Event type(s) that keep a session alive; None for all.

    Published: `count`; of the current session `events`, `seconds` and `active` (False once the gap has passed);
    `mean_seconds` over all sessions; `at`.

    Examples:
        >>> from stream_profiles import Event, Sessions
        >>> sessions = Sessions("sessions", gap="30m")
        >>> state = None
        >>> for time in (0, 60_000, 7_200_000):
        ...     state = sessions.update(state, Event(event_id=str(time), user_id="u", type="view", time=time))
        >>> sessions.snapshot(state)
        {'count': 2, 'events': 1, 'seconds': 0.0, 'mean_seconds': 30.0, 'active': True, 'at': 7200000}
    """

    def __init__(self, name: str, *, gap: Duration = "30m", on: str | Iterable[str] | None = None) -> None:
        super().__init__(name, on=on)
        self.gap = label(gap)
        self._gap_ms = to_ms(gap)

    def update(self, state: State | None, event: Event) -> State | None:
        time = event.time
        if state is None:
            return [1, time, time, 1, 0.0]
        _, start, last, _, _ = state
        if time - last > self._gap_ms:
            state[0] += 1
            state[4] += (last - start) / 1000
            state[1] = state[2] = time
            state[3] = 1
            return state
        if time < start - self._gap_ms:
            return None
        state[3] += 1
        if time > last:
            state[2] = time
        elif time < start:
            state[1] = time
        return state

    def snapshot(self, state: State) -> Value:
        count, start, last, events, closed = state
        seconds = (last - start) / 1000
        return {
            "count": count,
            "events": events,
            "seconds": seconds,
            "mean_seconds": (closed + seconds) / count,
            "active": True,
            "at": last,
        }

    def advance(self, value: Value, now: int) -> Value:
        if now - value["at"] <= self._gap_ms:
            return value
        return {**value, "active": False}

    @property
    def max_bytes(self) -> int:
        return 6 * NUMBER_BYTES

    def input_names(self) -> tuple[str, ...]:
        return (f"{self.name}_count", f"{self.name}_events", f"{self.name}_seconds", f"{self.name}_active")

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if state is None:
            return (0.0, 0.0, 0.0, 0.0)
        return (float(state[0]), float(state[3]), (state[2] - state[1]) / 1000, float(now - state[2] <= self._gap_ms))
