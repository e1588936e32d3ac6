"""TimeSince: how long ago something last happened."""

from __future__ import annotations

from ..contracts import Event
from .base import NUMBER_BYTES, Feature, State, Value


class TimeSince(Feature):
    """Seconds since the user's latest event of the given type(s), by event time.

    State: the time of that event.

    Parameters:
        name: Field name.
        on: Event type(s); None for all.

    Examples:
        >>> from stream_profiles import Event, TimeSince
        >>> idle = TimeSince("last_purchase", on="purchase")
        >>> state = idle.update(None, Event(event_id="1", user_id="u", type="purchase", time=1_000))
        >>> idle.value(state, now=61_000)
        {'seconds': 60.0, 'at': 61000}
    """

    mergeable = True

    def update(self, state: State | None, event: Event) -> State | None:
        return event.time if state is None or event.time > state else None

    def snapshot(self, state: State) -> Value:
        return {"seconds": 0.0, "at": state}

    def advance(self, value: Value, now: int) -> Value:
        if now <= value["at"]:
            return value
        return {"seconds": value["seconds"] + (now - value["at"]) / 1000, "at": now}

    def merge(self, a: State, b: State) -> State:
        return max(a, b)

    @property
    def max_bytes(self) -> int:
        return NUMBER_BYTES

    def input_names(self) -> tuple[str, ...]:
        return (f"{self.name}_seconds", f"{self.name}_ever")

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        return (0.0, 0.0) if state is None else (max(0, now - state) / 1000, 1.0)
