"""RecentItems, UniqueList and LastN: what a user met, as lists in the order of time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..contracts import Event
from ..errors import DefinitionError
from .base import MAX_TEXT_BYTES, NUMBER_BYTES, Feature, State, Value, field_getter, number, text


class _Listed(Feature):
    """At most `n` values and their times. State: `[[time, value], ...]`, in the order of publishing."""

    mergeable = True
    order_free = True

    def __init__(
        self, name: str, *, of: str, n: int, on: str | Iterable[str] | None = None, where: str | None = None
    ) -> None:
        super().__init__(name, on=on, where=where)
        if n < 1:
            raise DefinitionError(f"{self!r}: n must be at least 1")
        self.of = of
        self.n = n
        self._get = field_getter(self, of)

    def _newest(self, state: State, time: int, value: Any) -> State | None:
        """A list of the newest values with one more; None when it is older than all there is room for."""
        position = 0
        while position < len(state) and state[position][0] > time:
            position += 1
        if position >= self.n:
            return None
        state.insert(position, [time, value])
        del state[self.n :]
        return state

    def snapshot(self, state: State) -> Value:
        return [value for _, value in state]

    @property
    def max_bytes(self) -> int:
        return self.n * (MAX_TEXT_BYTES + NUMBER_BYTES + 1) + 3


class RecentItems(_Listed):
    """The last `n` different items, newest first, by event time.

    State: `[[time, item], ...]`, newest first.

    Parameters:
        name: Field name.
        of: Event field with the item.
        n: How many to keep.
        on: Event type(s); None for all.
        where: Condition on the events.

    Examples:
        >>> from stream_profiles import Event, RecentItems
        >>> recent = RecentItems("recent", n=2)
        >>> state = None
        >>> for n, item in enumerate("abca"):
        ...     state = recent.update(state, Event(event_id=str(n), user_id="u", type="view", time=n, item_id=item))
        >>> recent.snapshot(state)
        ['a', 'c']
    """

    def __init__(
        self,
        name: str,
        *,
        of: str = "item_id",
        n: int = 20,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(name, of=of, n=n, on=on, where=where)

    def update(self, state: State | None, event: Event) -> State | None:
        item = text(self._get(event))
        if item is None:
            return None
        if state is None:
            return [[event.time, item]]
        for index, (time, known) in enumerate(state):
            if known == item:
                if time > event.time:
                    return None
                del state[index]
                break
        return self._newest(state, event.time, item)

    def merge(self, a: State, b: State) -> State:
        latest: dict[str, int] = {}
        for time, item in [*a, *b]:
            latest[item] = max(time, latest.get(item, time))
        return [[time, item] for item, time in sorted(latest.items(), key=lambda entry: -entry[1])][: self.n]


class UniqueList(_Listed):
    """The first `n` different values, in the order in which they first appeared, by event time.

    A value beyond the first `n` is not taken in, unless a late event shows that it was there before one of them.

    Parameters:
        name: Field name.
        of: Event field with the value; a number or a flag counts as its text.
        n: How many to keep.
        on: Event type(s); None for all.
        where: Condition on the events.

    Published: the list.

    Examples:
        >>> from stream_profiles import Event, UniqueList
        >>> devices = UniqueList("devices", of="device")
        >>> state = None
        >>> for n, name in enumerate(["phone", "laptop", "phone"]):
        ...     new = devices.update(state, Event(event_id=str(n), user_id="u", type="view", time=n, device=name))
        ...     state = state if new is None else new
        >>> devices.snapshot(state)
        ['phone', 'laptop']
    """

    def __init__(
        self,
        name: str,
        *,
        of: str,
        n: int = 20,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(name, of=of, n=n, on=on, where=where)

    def update(self, state: State | None, event: Event) -> State | None:
        value = text(self._get(event))
        if value is None:
            return None
        if state is None:
            return [[event.time, value]]
        for index, (time, known) in enumerate(state):
            if known == value:
                if time <= event.time:
                    return None
                del state[index]
                break
        position = len(state)
        while position and state[position - 1][0] > event.time:
            position -= 1
        if position >= self.n:
            return None
        state.insert(position, [event.time, value])
        del state[self.n :]
        return state

    def merge(self, a: State, b: State) -> State:
        first: dict[str, int] = {}
        for time, value in [*a, *b]:
            first[value] = min(time, first.get(value, time))
        return [[time, value] for value, time in sorted(first.items(), key=lambda entry: entry[1])][: self.n]


class LastN(_Listed):
    """The last `n` values, newest first, by event time; a value may be there several times.

    Parameters:
        name: Field name.
        of: Event field with the value: a text, a number or a flag.
        n: How many to keep.
        on: Event type(s); None for all.
        where: Condition on the events.

    Published: the list.

    Examples:
        >>> from stream_profiles import Event, LastN
        >>> prices = LastN("prices", of="price", n=3)
        >>> state = None
        >>> for n, price in enumerate([5.0, 7.5, 5.0, 5.0]):
        ...     state = prices.update(state, Event(event_id=str(n), user_id="u", type="view", time=n, price=price))
        >>> prices.snapshot(state)
        [5.0, 5.0, 7.5]
    """

    def __init__(
        self,
        name: str,
        *,
        of: str,
        n: int = 5,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(name, of=of, n=n, on=on, where=where)

    def update(self, state: State | None, event: Event) -> State | None:
        value = _scalar(self._get(event))
        return None if value is None else self._newest([] if state is None else state, event.time, value)

    def merge(self, a: State, b: State) -> State:
        return sorted([*a, *b], key=lambda entry: -entry[0])[: self.n]


def _scalar(value: Any) -> Any:
    """A flag or a number as it is, where it can be stored; anything else as its text; None for what is neither."""
    if type(value) is bool or (type(value) is int and -(2**63) <= value < 2**63):
        return value
    return number(value) if type(value) is float else text(value)
