"""Count and Sum: how often and how much, since ever and with half-lives."""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum
from typing import Any

from ..contracts import Event
from ..errors import DefinitionError
from . import decay
from .base import NUMBER_BYTES, Feature, State, Value, field_getter, number


class _DecayedTotal(Feature):
    """A lifetime total and one decayed total per half-life. State: `[time, total, decayed...]` as of `time`."""

    mergeable = True

    def __init__(
        self,
        name: str,
        *,
        on: str | Iterable[str] | None = None,
        half_life: decay.HalfLives = None,
        lifetime: bool = True,
    ) -> None:
        super().__init__(name, on=on)
        self._half_lives = decay.parse(self, half_life)
        self.half_life = list(self._half_lives)
        self.lifetime = lifetime
        if not lifetime and not self._half_lives:
            raise DefinitionError(f"{self!r} keeps nothing: give it a half_life or leave lifetime=True")
        self._milliseconds = tuple(self._half_lives.values())
        self._labels = tuple(self._half_lives)
        self._no_inputs = (0.0,) * (len(self._labels) + lifetime)

    def _add(self, state: State | None, time: int, amount: float) -> State:
        if state is None:
            return [time, amount, *([amount] * len(self._milliseconds))]
        last = state[0]
        state[1] += amount
        elapsed = time - last
        index = 2
        if elapsed > 0:
            state[0] = time
            for half_life in self._milliseconds:
                exponent = -elapsed / half_life
                state[index] = (state[index] * 2.0**exponent if exponent > -1074.0 else 0.0) + amount
                index += 1
        elif elapsed == 0:
            for _ in self._milliseconds:
                state[index] += amount
                index += 1
        else:
            for half_life in self._milliseconds:
                state[index] += amount * decay.factor(-elapsed, half_life)
                index += 1
        return state

    def snapshot(self, state: State) -> Value:
        value: dict[str, Any] = {"total": state[1]} if self.lifetime else {}
        index = 2
        for label in self._labels:
            value[label] = state[index]
            index += 1
        if self._labels:
            value["at"] = state[0]
        return value

    def advance(self, value: Value, now: int) -> Value:
        if not self._labels or now <= value["at"]:
            return value
        elapsed = now - value["at"]
        brought = {name: value[name] * decay.factor(elapsed, ms) for name, ms in self._half_lives.items()}
        return {**value, **brought, "at": now}

    def merge(self, a: State, b: State) -> State:
        early, late = (a, b) if a[0] <= b[0] else (b, a)
        elapsed = late[0] - early[0]
        decayed = [
            later + earlier * decay.factor(elapsed, half_life)
            for earlier, later, half_life in zip(early[2:], late[2:], self._milliseconds, strict=True)
        ]
        return [late[0], fsum((a[1], b[1])), *decayed]

    @property
    def max_bytes(self) -> int:
        return NUMBER_BYTES * (len(self._labels) + 3)

    def input_names(self) -> tuple[str, ...]:
        names = tuple(f"{self.name}_{label}" for label in self._labels)
        return (f"{self.name}_total", *names) if self.lifetime else names

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if state is None:
            return self._no_inputs
        last, *numbers = state
        elapsed = now - last
        if elapsed > 0:
            index = 1
            for half_life in self._milliseconds:
                exponent = -elapsed / half_life
                numbers[index] *= 2.0**exponent if exponent > -1074.0 else 0.0
                index += 1
        return tuple(numbers if self.lifetime else numbers[1:])


class Count(_DecayedTotal):
    """Number of events, since ever (`total`) and decayed by each half-life.

    Parameters:
        name: Field name.
        on: Event type(s) counted; None for all.
        half_life: One or several durations; a count loses half its weight in that time.
        lifetime: Keep the total since ever.

    Examples:
        >>> from stream_profiles import Count, Event
        >>> views = Count("views", on="view", half_life="1h")
        >>> state = views.update(None, Event(event_id="1", user_id="u", type="view", time=0))
        >>> views.value(state, now=3_600_000)
        {'total': 1, '1h': 0.5, 'at': 3600000}
    """

    def update(self, state: State | None, event: Event) -> State | None:
        return self._add(state, event.time, 1)


class Sum(_DecayedTotal):
    """Sum of a number of the events, since ever (`total`) and decayed by each half-life.

    Parameters:
        name: Field name.
        of: Event field: a contract field, `amount` (price times quantity, where 1 stands in for no quantity) or
            `properties.NAME`.
        on: Event type(s); None for all.
        half_life: One or several durations.
        lifetime: Keep the total since ever.

    Examples:
        >>> from stream_profiles import Event, Sum
        >>> spend = Sum("spend", of="amount", on="purchase")
        >>> event = Event(event_id="1", user_id="u", type="purchase", time=0, price=2.5, quantity=4)
        >>> spend.snapshot(spend.update(None, event))
        {'total': 10.0}
    """

    def __init__(
        self,
        name: str,
        *,
        of: str,
        on: str | Iterable[str] | None = None,
        half_life: decay.HalfLives = None,
        lifetime: bool = True,
    ) -> None:
        super().__init__(name, on=on, half_life=half_life, lifetime=lifetime)
        self.of = of
        self._get = field_getter(self, of)

    def update(self, state: State | None, event: Event) -> State | None:
        amount = number(self._get(event))
        return None if amount is None else self._add(state, event.time, amount)
