"""EWMean, First and Last: what a value is on average, was first, and is now."""

from __future__ import annotations

from collections.abc import Iterable

from ..contracts import Event
from ..errors import DefinitionError
from . import decay
from .base import MAX_TEXT_BYTES, NUMBER_BYTES, Feature, State, Value, field_getter, number, text


class EWMean(Feature):
    """Exponentially weighted mean of a number, by half-life in event time.

    An event's weight halves every half-life, so the mean follows the recent past; between events it stays as it is.
    State: `[time, weight, sum, weight, sum, ...]`, a pair per half-life, as of `time`.

    Parameters:
        name: Field name.
        of: Event field with the number.
        half_life: One or several durations.
        on: Event type(s); None for all.
        where: Condition on the events.

    Examples:
        >>> from stream_profiles import Event, EWMean
        >>> price = EWMean("price", of="price", half_life="1h")
        >>> state = price.update(None, Event(event_id="1", user_id="u", type="view", time=0, price=10.0))
        >>> state = price.update(state, Event(event_id="2", user_id="u", type="view", time=3_600_000, price=40.0))
        >>> price.snapshot(state)
        {'1h': 30.0}
    """

    mergeable = True
    order_free = True

    def __init__(
        self,
        name: str,
        *,
        of: str,
        half_life: decay.HalfLives,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(name, on=on, where=where)
        self._half_lives = decay.parse(self, half_life)
        if not self._half_lives:
            raise DefinitionError(f"{self!r} needs a half_life")
        self.of = of
        self.half_life = list(self._half_lives)
        self._get = field_getter(self, of)
        self._milliseconds = tuple(self._half_lives.values())

    def update(self, state: State | None, event: Event) -> State | None:
        value = number(self._get(event))
        if value is None:
            return None
        if state is None:
            return [event.time, *([1.0, value] * len(self._milliseconds))]
        elapsed = event.time - state[0]
        index = 1
        for half_life in self._milliseconds:
            if elapsed >= 0:
                kept = decay.factor(elapsed, half_life)
                state[index] = state[index] * kept + 1.0
                state[index + 1] = state[index + 1] * kept + value
            else:
                weight = decay.factor(-elapsed, half_life)
                state[index] += weight
                state[index + 1] += weight * value
            index += 2
        if elapsed > 0:
            state[0] = event.time
        return state

    def snapshot(self, state: State) -> Value:
        return {
            label: state[i + 1] / state[i] for label, i in zip(self.half_life, range(1, len(state), 2), strict=True)
        }

    def merge(self, a: State, b: State) -> State:
        early, late = (a, b) if a[0] <= b[0] else (b, a)
        elapsed = late[0] - early[0]
        merged = [late[0]]
        for index, half_life in enumerate(self._milliseconds):
            kept = decay.factor(elapsed, half_life)
            for at in (1 + 2 * index, 2 + 2 * index):
                merged.append(late[at] + early[at] * kept)
        return merged

    @property
    def max_bytes(self) -> int:
        return NUMBER_BYTES * (2 + 2 * len(self._milliseconds))

    def input_names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}_{label}" for label in self.half_life)

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if state is None:
            return (0.0,) * len(self._milliseconds)
        return tuple(state[i + 1] / state[i] for i in range(1, len(state), 2))


class _OneValue(Feature):
    """A single value of one event. State: `[time, value]`."""

    mergeable = True
    order_free = True

    def __init__(self, name: str, *, of: str, on: str | Iterable[str] | None = None, where: str | None = None) -> None:
        super().__init__(name, on=on, where=where)
        self.of = of
        self._get = field_getter(self, of)

    def _read(self, event: Event) -> Value | None:
        value = self._get(event)
        if isinstance(value, (bool, float)) or (isinstance(value, int) and -(2**63) <= value < 2**63):
            return value
        return text(value)

    def snapshot(self, state: State) -> Value:
        return state[1]

    @property
    def max_bytes(self) -> int:
        return NUMBER_BYTES + MAX_TEXT_BYTES + 1


class First(_OneValue):
    """The field's value in the user's earliest event that has one (by event time; ties: the first to arrive).

    Parameters:
        name: Field name.
        of: Event field.
        on: Event type(s); None for all.
        where: Condition on the events.

    Examples:
        >>> from stream_profiles import Event, First
        >>> channel = First("first_channel", of="channel")
        >>> state = channel.update(None, Event(event_id="1", user_id="u", type="view", time=5, channel="ads"))
        >>> channel.snapshot(state)
        'ads'
    """

    def update(self, state: State | None, event: Event) -> State | None:
        if state is not None and event.time >= state[0]:
            return None
        value = self._read(event)
        return None if value is None else [event.time, value]

    def merge(self, a: State, b: State) -> State:
        return a if a[0] <= b[0] else b


class Last(_OneValue):
    """The field's value in the user's latest event that has one (by event time; ties: the last to arrive).

    Parameters:
        name: Field name.
        of: Event field.
        on: Event type(s); None for all.
        where: Condition on the events.

    Examples:
        >>> from stream_profiles import Event, Last
        >>> country = Last("country", of="country")
        >>> country.snapshot(country.update(None, Event(event_id="1", user_id="u", type="v", time=5, country="PT")))
        'PT'
    """

    def update(self, state: State | None, event: Event) -> State | None:
        if state is not None and event.time < state[0]:
            return None
        value = self._read(event)
        return None if value is None else [event.time, value]

    def merge(self, a: State, b: State) -> State:
        return b if b[0] >= a[0] else a
