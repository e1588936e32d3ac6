"""How often each value was there: bounded tables of weights, since ever, by half-life, or in a sliding window.

What the features of `categories` and `Language` of `texts` are made of. A table has room for `capacity` values. When a
new value arrives and it is full, the newcomer takes the place and the weight of the smallest one (Space-Saving:
Metwally et al., "Efficient Computation of Frequent and Top-k Elements in Data Streams", ICDT 2005). As long as there
are no more different values than places, all weights are exact.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from msgspec import Struct

from ..durations import Duration, label
from ..errors import DefinitionError
from . import decay, windows
from .base import MAX_TEXT_BYTES, NUMBER_BYTES, Feature, State, Value
from .windows import Tiles, Window

#: What was counted and how much: texts, and 0 for all values that have no place of their own.
Weights = Mapping[Any, float]

#: Weights grow by 2 per half-life against a fixed landmark; they are brought back before a float could overflow.
_MAX_EXPONENT = 512.0


class Tally(Struct, frozen=True, kw_only=True):
    """A table's configuration; the table itself is in the state."""

    capacity: int
    #: The most bytes a value takes in a stored state.
    value_bytes: int = MAX_TEXT_BYTES

    @abstractmethod
    def add(self, state: State | None, value: Any, time: int, weight: float = 1) -> State | None:
        """The state after a value was there once more; None when that is too long ago to count."""

    @abstractmethod
    def weights(self, state: State, now: int) -> Weights:
        """What each value weighs at `now`, up to a factor that all have in common."""

    @abstractmethod
    def merge(self, a: State, b: State) -> State:
        """The state of two disjoint sets of events that have no more values than there are places."""

    @property
    @abstractmethod
    def max_bytes(self) -> int: ...


class Fading(Tally, frozen=True, kw_only=True):
    """Weights that halve every half-life, or last for ever. State: `[landmark, last time, {value: score}]`.

    A score is a weight as of the landmark (forward decay).
    """

    half_life_ms: int | None = None

    def add(self, state: State | None, value: Any, time: int, weight: float = 1) -> State:
        if state is None:
            return [time, time, {value: weight if self.half_life_ms is None else float(weight)}]
        half_life = self.half_life_ms
        if half_life is not None:
            exponent = (time - state[0]) / half_life
            if exponent > _MAX_EXPONENT:
                kept = decay.factor(time - state[0], half_life)
                state[2] = {name: score * kept for name, score in state[2].items()}
                state[0], exponent = time, 0.0
            weight *= 2.0**exponent if exponent > -1074.0 else 0.0
        scores = state[2]
        if value in scores:
            scores[value] += weight
        elif len(scores) < self.capacity:
            scores[value] = weight
        else:
            smallest = min(scores.items(), key=itemgetter(1, 0))[0]
            scores[value] = scores.pop(smallest) + weight
        if time > state[1]:
            state[1] = time
        return state

    def weights(self, state: State, now: int) -> Weights:
        scores: Weights = state[2]
        return scores

    def kept(self, state: State) -> float:
        """What a score is to be multiplied by to be a weight as of the last time."""
        return 1 if self.half_life_ms is None else decay.factor(state[1] - state[0], self.half_life_ms)

    def merge(self, a: State, b: State) -> State:
        early, late = (a, b) if a[0] <= b[0] else (b, a)
        kept = 1 if self.half_life_ms is None else decay.factor(late[0] - early[0], self.half_life_ms)
        scores = dict(late[2])
        for value, score in early[2].items():
            scores[value] = scores.get(value, 0) + score * kept
        return [late[0], max(a[1], b[1]), scores]

    @property
    def max_bytes(self) -> int:
        return self.capacity * (self.value_bytes + NUMBER_BYTES) + 3 * NUMBER_BYTES


class Sliding(Tally, frozen=True, kw_only=True):
    """Counts in a window. State: `[last time, {value: tiles}]`; a tile is `[number, count]`."""

    window: Window

    def add(self, state: State | None, value: Any, time: int, weight: float = 1) -> State | None:
        window = self.window
        if state is None:
            return [time, {value: [[time // window.tile_ms, weight]]}]
        latest = time if time > state[0] else state[0]
        if time // window.tile_ms < window.first(latest):
            return None
        table = state[1]
        tiles = table.get(value)
        if tiles is None:
            tiles = table[value] = self._room(table, latest) if len(table) >= self.capacity else []
        tile = window.tile(tiles, time, latest)
        assert tile is not None
        if len(tile) == 1:
            tile.append(weight)
        else:
            tile[1] += weight
        state[0] = latest
        return state

    def _room(self, table: dict[Any, Tiles], now: int) -> Tiles:
        """The tiles a newcomer starts with: none where a value has left the window, otherwise those of the smallest."""
        counts = {value: self._count(tiles, now) for value, tiles in table.items()}
        gone = [value for value, count in counts.items() if not count]
        for value in gone:
            del table[value]
        return [] if gone else table.pop(min(counts.items(), key=itemgetter(1, 0))[0])

    def _count(self, tiles: Tiles, now: int) -> float:
        count: float = sum([tile[1] for tile in self.window.covered(tiles, now)])
        return count

    def weights(self, state: State, now: int) -> Weights:
        latest = max(now, state[0])
        counts = {value: self._count(tiles, latest) for value, tiles in state[1].items()}
        return {value: count for value, count in counts.items() if count}

    def published(self, state: State, result: Callable[[Weights], dict[str, Any]]) -> dict[str, Any]:
        """The fields that `result` makes of the weights, as of the last event and, under `"then"`, later on."""
        at = state[0]
        by_tile: dict[int, list[tuple[Any, float]]] = {}
        for value, tiles in state[1].items():
            for number, count in tiles:
                by_tile.setdefault(number, []).append((value, count))
        # What the latest tile makes, the latest two together, and so on: counts only grow on the way.
        weights: dict[Any, float] = {}
        results = []
        for number, counts in sorted(by_tile.items(), reverse=True):
            for value, count in counts:
                weights[value] = weights.get(value, 0) + count
            results.append([number, result(weights)])
        results.reverse()
        value, becomes = windows.over_time(
            self.window, results, at, _earlier, lambda partial: result({}) if partial is None else partial[0]
        )
        then = {field: [[time, later[field]] for time, later in becomes] for field in value}
        return {**value, "at": at, "then": then}

    def merge(self, a: State, b: State) -> State:
        at = max(a[0], b[0])
        merged = {
            value: windows.merge(self.window, a[1].get(value, []), b[1].get(value, []), at, _summed)
            for value in (a[1] | b[1])
        }
        return [at, {value: tiles for value, tiles in merged.items() if tiles}]

    @property
    def max_bytes(self) -> int:
        tiles = self.window.most_tiles * (2 * NUMBER_BYTES + 1) + 3
        return self.capacity * (self.value_bytes + tiles) + 2 * NUMBER_BYTES


def _earlier(a: Sequence[Any], b: Sequence[Any]) -> Sequence[Any]:
    """Of what two tiles make, the earlier, which has all that follow in it."""
    return a


def _summed(a: Sequence[Any], b: Sequence[Any]) -> Sequence[Any]:
    return (a[0] + b[0],)


class Tallied(Feature):
    """A feature made of such a table: at most one half-life or one window. State: the table's."""

    def __init__(
        self,
        name: str,
        *,
        half_life: Duration | None,
        window: Duration | None,
        resolution: Duration | None,
        capacity: int,
        on: str | Iterable[str] | None,
        where: str | None,
        value_bytes: int = MAX_TEXT_BYTES,
    ) -> None:
        super().__init__(name, on=on, where=where)
        half_lives, parsed = decay.parse(self, half_life), windows.parse(self, window, resolution)
        if len(half_lives) + len(parsed) > 1:
            raise DefinitionError(f"{self!r} takes at most one half_life or one window, not several")
        self.half_life = next(iter(half_lives), None)
        self.window = next((name.removeprefix("last_") for name in parsed), None)
        self.resolution = None if resolution is None else label(resolution)
        self.capacity = capacity
        self._tally: Fading | Sliding
        if parsed:
            self._tally = Sliding(capacity=capacity, value_bytes=value_bytes, window=next(iter(parsed.values())))
        else:
            half_life_ms = next(iter(half_lives.values()), None)
            self._tally = Fading(capacity=capacity, value_bytes=value_bytes, half_life_ms=half_life_ms)

    @abstractmethod
    def result(self, weights: Weights) -> dict[str, Any]:
        """The published fields of a table with these weights, which may be empty."""

    def snapshot(self, state: State) -> Value:
        if isinstance(self._tally, Sliding):
            return self._tally.published(state, self.result)
        return self.result(state[2])

    def advance(self, value: Value, now: int) -> Value:
        return windows.advance(value, now) if isinstance(self._tally, Sliding) and now > value["at"] else value

    @property
    def max_bytes(self) -> int:
        return self._tally.max_bytes


def shares(weights: Weights, k: int) -> dict[str, Any]:
    """The share of each of the `k` heaviest values, heaviest first, and of all `other` together.

    Examples:
        >>> shares({"hats": 1, "shoes": 6, "bags": 1}, k=2)
        {'shares': {'shoes': 0.75, 'bags': 0.125}, 'other': 0.125}
    """
    total = sum(weights.values())
    best = sorted([(-weight, value) for value, weight in weights.items()])
    own = {value: -weight / total for weight, value in best[:k]}
    return {"shares": own, "other": sum([-weight for weight, _ in best[k:]]) / total if best[k:] else 0.0}
