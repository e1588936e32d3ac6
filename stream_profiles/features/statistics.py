"""Mean, Std, Min and Max of a number: since ever, with half-lives, and in sliding windows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Any

from ..contracts import Event
from ..durations import Duration, label
from ..errors import DefinitionError
from . import decay, windows
from .base import NUMBER_BYTES, Feature, State, Value, field_getter, number

#: What is kept of some numbers: a few numbers that can be combined with those of others.
Partial = Sequence[Any]


class _Statistic(Feature):
    """What a number was like. State: `[time, lifetime, decayed..., tiles...]`, of partial aggregates, as of `time`."""

    mergeable = True
    order_free = True
    #: Numbers in a partial aggregate.
    width: int

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
        super().__init__(name, on=on, where=where)
        self.of = of
        self._get = field_getter(self, of)
        self._half_lives = decay.parse(self, half_life)
        self._windows = windows.parse(self, window, resolution)
        self.half_life = list(self._half_lives) or None
        self.window = [name.removeprefix("last_") for name in self._windows] or None
        self.resolution = None if resolution is None else label(resolution)
        self.lifetime = lifetime
        if not lifetime and not self._half_lives and not self._windows:
            raise DefinitionError(f"{self!r} keeps nothing: give it a half_life or a window, or leave lifetime=True")
        self._labels = (*(("lifetime",) if lifetime else ()), *self._half_lives, *self._windows)
        self._tiles_at = 2 + len(self._half_lives)

    # What a statistic is, on partial aggregates:

    @abstractmethod
    def lift(self, value: float) -> list[Any]:
        """The partial aggregate of one number."""

    @abstractmethod
    def combine(self, a: Partial, b: Partial) -> list[Any]:
        """The partial aggregate of two together."""

    def fade(self, partial: Partial, kept: float) -> list[Any]:
        """A partial aggregate whose numbers weigh `kept` times as much."""
        raise NotImplementedError

    @abstractmethod
    def result(self, partial: Partial | None) -> float | None:
        """The statistic; None of nothing."""

    # What a feature is:

    def update(self, state: State | None, event: Event) -> State | None:
        value = number(self._get(event))
        if value is None:
            return None
        time, new = event.time, self.lift(value)
        if state is None:
            decayed = [list(new) for _ in self._half_lives]
            return [time, new, *decayed, *([[time // window.tile_ms, *new]] for window in self._windows.values())]
        elapsed = time - state[0]
        if elapsed > 0:
            state[0] = time
        state[1] = self.combine(state[1], new)
        index = 2
        for half_life in self._half_lives.values():
            state[index] = self._faded_sum(state[index], new, elapsed, half_life)
            index += 1
        for window in self._windows.values():
            tile = window.tile(state[index], time, state[0])
            if tile is not None:
                tile[1:] = new if len(tile) == 1 else self.combine(tile[1:], new)
            index += 1
        return state

    def _faded_sum(self, earlier: Partial, later: Partial, elapsed: int, half_life: int) -> list[Any]:
        """Two partial aggregates as of the later of two moments, `elapsed` ms apart (negative: the other way round)."""
        if elapsed >= 0:
            return self.combine(self.fade(earlier, decay.factor(elapsed, half_life)), later)
        return self.combine(earlier, self.fade(later, decay.factor(-elapsed, half_life)))

    def snapshot(self, state: State) -> Value:
        value: dict[str, Any] = {"lifetime": self.result(state[1])} if self.lifetime else {}
        index = 2
        for name in self._half_lives:
            value[name] = self.result(state[index])
            index += 1
        if self._windows:
            at, then = state[0], {}
            for name, window in self._windows.items():
                value[name], then[name] = windows.over_time(window, state[index], at, self.combine, self.result)
                index += 1
            value["at"], value["then"] = at, then
        return value

    def advance(self, value: Value, now: int) -> Value:
        return windows.advance(value, now) if self._windows and now > value["at"] else value

    def merge(self, a: State, b: State) -> State:
        elapsed = b[0] - a[0]
        decayed = [
            self._faded_sum(one, other, elapsed, half_life)
            for one, other, half_life in zip(a[2:], b[2:], self._half_lives.values(), strict=False)
        ]
        at = max(a[0], b[0])
        tiles = [
            windows.merge(window, one, other, at, self.combine)
            for window, one, other in zip(self._windows.values(), a[self._tiles_at :], b[self._tiles_at :], strict=True)
        ]
        return [at, self.combine(a[1], b[1]), *decayed, *tiles]

    @property
    def max_bytes(self) -> int:
        partial = self.width * NUMBER_BYTES + 1
        tiles = sum(window.most_tiles for window in self._windows.values())
        kept = (1 + len(self._half_lives)) * partial + tiles * (partial + NUMBER_BYTES) + 3 * len(self._windows)
        return NUMBER_BYTES + 3 + kept

    def input_names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}_{each}" for each in self._labels)

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if state is None:
            return (0.0,) * len(self._labels)
        partials = [*([state[1]] if self.lifetime else ()), *state[2 : self._tiles_at]]
        results = [self.result(partial) for partial in partials]
        for window, tiles in zip(self._windows.values(), state[self._tiles_at :], strict=True):
            partial = None
            for _, *own in window.covered(tiles, max(now, state[0])):
                partial = own if partial is None else self.combine(partial, own)
            results.append(self.result(partial))
        return tuple(0.0 if result is None else result for result in results)


class Mean(_Statistic):
    """Mean of a number: since ever (`lifetime`), by half-life, and in each sliding window.

    Published: a number for each; None (`null`) for a window without events.

    Parameters:
        name: Field name.
        of: Event field with the number.
        on: Event type(s); None for all.
        where: Condition on the events.
        half_life: One or several durations, in which an event's weight halves.
        window: One or several durations, published as `last_7d` and the like.
        resolution: How long the tiles of a window are; 1/24 of the window or less when not given.
        lifetime: Keep the mean since ever.

    Examples:
        >>> from stream_profiles import Event, Mean
        >>> price = Mean("price", of="price", window="1h", resolution="1m")
        >>> state = None
        >>> for minute, amount in ((0, 10.0), (59, 40.0)):
        ...     event = Event(event_id=str(minute), user_id="u", type="view", time=60_000 * minute, price=amount)
        ...     state = price.update(state, event)
        >>> price.value(state, now=90 * 60_000)["last_1h"]
        40.0
    """

    width = 2

    def lift(self, value: float) -> list[Any]:
        return [1.0, value]

    def combine(self, a: Partial, b: Partial) -> list[Any]:
        return [a[0] + b[0], a[1] + b[1]]

    def fade(self, partial: Partial, kept: float) -> list[Any]:
        return [partial[0] * kept, partial[1] * kept]

    def result(self, partial: Partial | None) -> float | None:
        return None if partial is None or not partial[0] else partial[1] / partial[0]


class Std(_Statistic):
    """Standard deviation (of the population) of a number: since ever, by half-life, and in each sliding window.

    Kept as weight, mean and sum of squared deviations, which combine without loss of precision (Chan, Golub and
    LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979).

    Published: a number for each; None (`null`) for a window without events.

    Parameters:
        name: Field name.
        of: Event field with the number.
        on: Event type(s); None for all.
        where: Condition on the events.
        half_life: One or several durations, in which an event's weight halves.
        window: One or several durations, published as `last_7d` and the like.
        resolution: How long the tiles of a window are; 1/24 of the window or less when not given.
        lifetime: Keep the deviation since ever.

    Examples:
        >>> from stream_profiles import Event, Std
        >>> price = Std("price", of="price")
        >>> state = None
        >>> for n, amount in enumerate((10.0, 20.0)):
        ...     event = Event(event_id=str(n), user_id="u", type="view", time=n, price=amount)
        ...     state = price.update(state, event)
        >>> price.snapshot(state)
        {'lifetime': 5.0}
    """

    width = 3

    def lift(self, value: float) -> list[Any]:
        return [1.0, value, 0.0]

    def combine(self, a: Partial, b: Partial) -> list[Any]:
        weight = a[0] + b[0]
        if not weight:
            return [0.0, b[1], 0.0]
        share, apart = b[0] / weight, b[1] - a[1]
        return [weight, a[1] + apart * share, a[2] + b[2] + apart * apart * a[0] * share]

    def fade(self, partial: Partial, kept: float) -> list[Any]:
        return [partial[0] * kept, partial[1], partial[2] * kept]

    def result(self, partial: Partial | None) -> float | None:
        return None if partial is None or not partial[0] else sqrt(max(0.0, partial[2] / partial[0]))


class _Extreme(_Statistic):
    width = 1

    def __init__(
        self,
        name: str,
        *,
        of: str,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
        window: windows.Durations = None,
        resolution: Duration | None = None,
        lifetime: bool = True,
    ) -> None:
        super().__init__(name, of=of, on=on, where=where, window=window, resolution=resolution, lifetime=lifetime)

    def lift(self, value: float) -> list[Any]:
        return [value]

    def result(self, partial: Partial | None) -> float | None:
        return None if partial is None else partial[0]


class Min(_Extreme):
    """The smallest value of a number: since ever (`lifetime`) and in each sliding window.

    Parameters:
        name: Field name.
        of: Event field with the number.
        on: Event type(s); None for all.
        where: Condition on the events.
        window: One or several durations, published as `last_7d` and the like.
        resolution: How long the tiles of a window are; 1/24 of the window or less when not given.
        lifetime: Keep the smallest since ever.

    Examples:
        >>> from stream_profiles import Event, Min
        >>> cheapest = Min("cheapest", of="price")
        >>> event = Event(event_id="1", user_id="u", type="view", time=0, price=9.5)
        >>> cheapest.snapshot(cheapest.update(None, event))
        {'lifetime': 9.5}
    """

    def combine(self, a: Partial, b: Partial) -> list[Any]:
        return [b[0] if b[0] < a[0] else a[0]]


class Max(_Extreme):
    """The largest value of a number: since ever (`lifetime`) and in each sliding window.

    Parameters:
        name: Field name.
        of: Event field with the number.
        on: Event type(s); None for all.
        where: Condition on the events.
        window: One or several durations, published as `last_7d` and the like.
        resolution: How long the tiles of a window are; 1/24 of the window or less when not given.
        lifetime: Keep the largest since ever.

    Examples:
        >>> from stream_profiles import Event, Max
        >>> dearest = Max("dearest", of="price")
        >>> event = Event(event_id="1", user_id="u", type="view", time=0, price=9.5)
        >>> dearest.snapshot(dearest.update(None, event))
        {'lifetime': 9.5}
    """

    def combine(self, a: Partial, b: Partial) -> list[Any]:
        return [b[0] if b[0] > a[0] else a[0]]
