"""What features have in common that keep a sketch: what cannot be known exactly in little room, within a known error.

A sketch here depends only on which events there were: not on the order in which they came, and on no random number.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..contracts import Event
from ..durations import Duration, label
from ..errors import DefinitionError
from . import windows
from .base import NUMBER_BYTES, Feature, State, Value, field_getter

Sketch = Any


class Sketched(Feature):
    """A sketch since ever and one per tile of each window. State: `[time, lifetime, tiles...]`; a tile is
    `[number, sketch]`.
    """

    mergeable = True
    order_free = True
    #: The most bytes one sketch takes in a stored state.
    sketch_bytes: int

    def __init__(
        self,
        name: str,
        *,
        of: str,
        window: windows.Durations,
        resolution: Duration | None,
        lifetime: bool,
        on: str | Iterable[str] | None,
        where: str | None,
    ) -> None:
        super().__init__(name, on=on, where=where)
        self.of = of
        self._get = field_getter(self, of)
        self._windows = windows.parse(self, window, resolution)
        self.window = [name.removeprefix("last_") for name in self._windows] or None
        self.resolution = None if resolution is None else label(resolution)
        self.lifetime = lifetime
        if not lifetime and not self._windows:
            raise DefinitionError(f"{self!r} keeps nothing: give it a window, or leave lifetime=True")
        self._labels = (*(("lifetime",) if lifetime else ()), *self._windows)

    # What a sketch is:

    @abstractmethod
    def item(self, event: Event) -> Any:
        """What of an event goes into the sketch; None when it has nothing."""

    @abstractmethod
    def insert(self, sketch: Sketch | None, item: Any) -> Sketch | None:
        """The sketch with one more item, or a new one of that item alone; None when the sketch stays as it is."""

    @abstractmethod
    def union(self, sketches: Sequence[Sketch]) -> Sketch:
        """A new sketch of all that went into some sketches."""

    @abstractmethod
    def result(self, sketches: Sequence[Sketch]) -> Value:
        """What some sketches, or none, say together."""

    @abstractmethod
    def results(self, sketches: Sequence[Sketch]) -> Iterator[Value]:
        """What the first of some sketches says, the first two together, and so on."""

    # What a feature is:

    def update(self, state: State | None, event: Event) -> State | None:
        item = self.item(event)
        if item is None:
            return None
        time = event.time
        if state is None:
            tiles = [[[time // window.tile_ms, self.insert(None, item)]] for window in self._windows.values()]
            return [time, self.insert(None, item) if self.lifetime else None, *tiles]
        changed = bool(self._windows)
        if self.lifetime:
            sketch = self.insert(state[1], item)
            if sketch is not None:
                state[1], changed = sketch, True
        if not changed:
            return None
        if time > state[0]:
            state[0] = time
        for index, window in enumerate(self._windows.values(), start=2):
            tile = window.tile(state[index], time, state[0])
            if tile is not None:
                sketch = self.insert(tile[1] if len(tile) > 1 else None, item)
                if sketch is not None:
                    tile[1:] = [sketch]
        return state

    def snapshot(self, state: State) -> Value:
        value: dict[str, Any] = {"lifetime": self.result(state[1:2])} if self.lifetime else {}
        if self._windows:
            at, then = state[0], {}
            for tiles, (name, window) in zip(state[2:], self._windows.items(), strict=True):
                covered = window.covered(tiles, at)
                results = self.results([sketch for _, sketch in reversed(covered)])
                later = [[number, result] for (number, _), result in zip(reversed(covered), results, strict=True)]
                value[name], then[name] = windows.over_time(window, later[::-1], at, _first, self._only)
            value["at"], value["then"] = at, then
        return value

    def advance(self, value: Value, now: int) -> Value:
        return windows.advance(value, now) if self._windows and now > value["at"] else value

    def merge(self, a: State, b: State) -> State:
        at = max(a[0], b[0])
        tiles = [
            [[number, self.union(own)] for number, *own in windows.merge(window, one, other, at, _both)]
            for window, one, other in zip(self._windows.values(), a[2:], b[2:], strict=True)
        ]
        return [at, self.union([a[1], b[1]]) if self.lifetime else None, *tiles]

    def _only(self, partial: Sequence[Value] | None) -> Value:
        return self.result([]) if partial is None else partial[0]

    def results_at(self, state: State | None, now: int) -> list[Value]:
        """What the sketches of a state say at `now`."""
        if state is None:
            return [self.result([])] * len(self._labels)
        values = [self.result(state[1:2])] if self.lifetime else []
        for tiles, window in zip(state[2:], self._windows.values(), strict=True):
            values.append(self.result([sketch for _, sketch in window.covered(tiles, max(now, state[0]))]))
        return values

    @property
    def max_bytes(self) -> int:
        tiles = sum(window.most_tiles for window in self._windows.values())
        return NUMBER_BYTES + 3 + (tiles + 1) * (self.sketch_bytes + NUMBER_BYTES + 1) + 3 * len(self._windows)


def _first(a: Sequence[Value], b: Sequence[Value]) -> Sequence[Value]:
    """Of what two tiles say, the earlier, which speaks for all that follow."""
    return a


def _both(a: Sequence[Sketch], b: Sequence[Sketch]) -> Sequence[Sketch]:
    return [*a, *b]
