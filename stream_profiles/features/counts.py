"""Count and Sum: how often and how much, since ever, with half-lives and in sliding windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import fsum
from typing import Any

from ..contracts import Event
from ..durations import Duration, label
from ..errors import DefinitionError
from . import decay, windows
from .base import NUMBER_BYTES, Feature, State, Value, field_getter, number


class _Total(Feature):
    """A lifetime total, one decayed total per half-life and one per window.

    State: `[time, total, decayed..., tiles...]` as of `time`; a tile is `[number, total]`.
    """

    mergeable = True
    order_free = True
    added_parameters = Feature.added_parameters | {"window", "resolution"}

    def __init__(
        self,
        name: str,
        *,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
        half_life: decay.HalfLives = None,
        window: windows.Durations = None,
        resolution: Duration | None = None,
        lifetime: bool = True,
    ) -> None:
        super().__init__(name, on=on, where=where)
        self._half_lives = decay.parse(self, half_life)
        self._windows = windows.parse(self, window, resolution)
        self.half_life = list(self._half_lives)
        self.window = [name.removeprefix("last_") for name in self._windows] or None
        self.resolution = None if resolution is None else label(resolution)
        self.lifetime = lifetime
        if not lifetime and not self._half_lives and not self._windows:
            raise DefinitionError(f"{self!r} keeps nothing: give it a half_life or a window, or leave lifetime=True")
        self._milliseconds = tuple(self._half_lives.values())
        self._labels = tuple(self._half_lives)
        self._tiles_at = 2 + len(self._labels)
        self._no_inputs = (0.0,) * (len(self._labels) + len(self._windows) + lifetime)

    def _add(self, state: State | None, time: int, amount: float) -> State:
        if state is None:
            tiles = [[[time // window.tile_ms, amount]] for window in self._windows.values()]
            return [time, amount, *([amount] * len(self._milliseconds)), *tiles]
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
        if self._windows:
            latest = state[0]
            for window in self._windows.values():
                tile = window.tile(state[index], time, latest)
                if tile is not None:
                    if len(tile) == 1:
                        tile.append(amount)
                    else:
                        tile[1] += amount
                index += 1
        return state

    def snapshot(self, state: State) -> Value:
        value: dict[str, Any] = {"total": state[1]} if self.lifetime else {}
        index = 2
        for name in self._labels:
            value[name] = state[index]
            index += 1
        if self._windows:
            at, then = state[0], {}
            for name, window in self._windows.items():
                value[name], then[name] = windows.over_time(window, state[index], at, _added, _only)
                index += 1
            value["at"], value["then"] = at, then
        elif self._labels:
            value["at"] = state[0]
        return value

    def advance(self, value: Value, now: int) -> Value:
        at = value.get("at")
        if at is None or now <= at:
            return value
        brought = {name: value[name] * decay.factor(now - at, ms) for name, ms in self._half_lives.items()}
        value = {**value, **brought, "at": now}
        return windows.advance(value, now) if self._windows else value

    def merge(self, a: State, b: State) -> State:
        early, late = (a, b) if a[0] <= b[0] else (b, a)
        elapsed = late[0] - early[0]
        decayed = [
            later + earlier * decay.factor(elapsed, half_life)
            for earlier, later, half_life in zip(early[2:], late[2:], self._milliseconds, strict=False)
        ]
        tiles = [
            windows.merge(window, one, other, late[0], _added)
            for window, one, other in zip(self._windows.values(), a[self._tiles_at :], b[self._tiles_at :], strict=True)
        ]
        return [late[0], fsum((a[1], b[1])), *decayed, *tiles]

    @property
    def max_bytes(self) -> int:
        tiles = sum(window.most_tiles for window in self._windows.values())
        return NUMBER_BYTES * (len(self._labels) + 3) + tiles * (2 * NUMBER_BYTES + 1) + 3 * len(self._windows)

    def input_names(self) -> tuple[str, ...]:
        names = tuple(f"{self.name}_{each}" for each in (*self._labels, *self._windows))
        return (f"{self.name}_total", *names) if self.lifetime else names

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if state is None:
            return self._no_inputs
        last, *numbers = state if not self._windows else state[: self._tiles_at]
        elapsed = now - last
        if elapsed > 0:
            index = 1
            for half_life in self._milliseconds:
                exponent = -elapsed / half_life
                numbers[index] *= 2.0**exponent if exponent > -1074.0 else 0.0
                index += 1
        if self._windows:
            for window, tiles in zip(self._windows.values(), state[self._tiles_at :], strict=True):
                numbers.append(float(sum([tile[1] for tile in window.covered(tiles, max(now, last))])))
        return tuple(numbers if self.lifetime else numbers[1:])


def _added(a: Sequence[Any], b: Sequence[Any]) -> Sequence[Any]:
    return (a[0] + b[0],)


def _only(partial: Sequence[Any] | None) -> Any:
    return 0 if partial is None else partial[0]


class Count(_Total):
    """Number of events: since ever (`total`), decayed by each half-life, and in each sliding window.

    Parameters:
        name: Field name.
        on: Event type(s) counted; None for all.
        where: Condition on the events counted.
        half_life: One or several durations; a count loses half its weight in that time.
        window: One or several durations; each is published as `last_7d` and the like, exact at its resolution.
        resolution: How long the tiles of a window are; 1/24 of the window or less when not given.
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


class Sum(_Total):
    """Sum of a number of the events: since ever (`total`), decayed by each half-life, and in each sliding window.

    Parameters:
        name: Field name.
        of: Event field: a contract field, `amount` (price times quantity, where 1 stands in for no quantity) or
            `properties.NAME`.
        on: Event type(s); None for all.
        where: Condition on the events.
        half_life: One or several durations.
        window: One or several durations, published as `last_7d` and the like.
        resolution: How long the tiles of a window are; 1/24 of the window or less when not given.
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
        where: str | None = None,
        half_life: decay.HalfLives = None,
        window: windows.Durations = None,
        resolution: Duration | None = None,
        lifetime: bool = True,
    ) -> None:
        super().__init__(
            name,
            on=on,
            where=where,
            half_life=half_life,
            window=window,
            resolution=resolution,
            lifetime=lifetime,
        )
        self.of = of
        self._get = field_getter(self, of)

    def update(self, state: State | None, event: Event) -> State | None:
        amount = number(self._get(event))
        return None if amount is None else self._add(state, event.time, amount)
