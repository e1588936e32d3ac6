"""Exact sliding windows, kept as tiles: "the last 7 days", whenever it is asked.

Time is cut into tiles of equal length, and a window keeps one partial aggregate for each of its tiles that has events
(pane-based evaluation: Li et al., "No Pane, No Gain", SIGMOD Record 2005). A window covers the tiles from the one in
which it begins on: at a resolution of 6 hours "the last 7 days" are between 7 days and 7 days and 6 hours long, and
exact in that every event in the covered tiles counts and no other does, in whatever order they arrived.

A window's value changes by the mere passing of time, when its oldest tile drops out. So what is published is the value
as of the last event and, under `"then"`, what it will be from which moment (ms) on if nothing more arrives. That is all
a reader needs to know the value at any later time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct

from ..durations import UNITS_MS, Duration, label, to_ms
from ..errors import DefinitionError

#: `[tile number, partial aggregate...]`, oldest first; only tiles with events.
Tiles = list[list[Any]]
Durations = Duration | Iterable[Duration] | None

#: The least tiles a window is cut into when no resolution is given, and the most it may be cut into.
_LEAST_TILES, _MOST_TILES = 24, 400
_LENGTHS_MS = sorted(
    n * UNITS_MS[unit]
    for unit, numbers in {
        "ms": (1, 10, 100),
        "s": (1, 5, 15, 30),
        "m": (1, 2, 5, 15, 30),
        "h": (1, 2, 6, 12),
        "d": (1, 2, 7),
        "w": (4, 13, 52),
    }.items()
    for n in numbers
)


class Window(Struct, frozen=True):
    """One window: what it is called in a profile, how long it is, and how long a tile is (ms)."""

    label: str
    size_ms: int
    tile_ms: int

    def first(self, now: int) -> int:
        """The number of the oldest tile that the window covers at `now`."""
        return (now - self.size_ms) // self.tile_ms

    def tile(self, tiles: Tiles, time: int, latest: int) -> list[Any] | None:
        """The tile of an event, made (as `[number]` alone) where there is none; None for one too old to count.

        Parameters:
            tiles: The window's; those that have dropped out by `latest` are removed.
            time: The event's.
            latest: Time of the latest event, this one included.
        """
        number, first = time // self.tile_ms, (latest - self.size_ms) // self.tile_ms
        if number < first:
            return None
        if tiles:
            last = tiles[-1]
            if last[0] == number:
                return last
            if tiles[0][0] < first:
                del tiles[: next((i for i, tile in enumerate(tiles) if tile[0] >= first), len(tiles))]
        position = len(tiles)
        while position and tiles[position - 1][0] > number:
            position -= 1
        if position and tiles[position - 1][0] == number:
            return tiles[position - 1]
        new = [number]
        tiles.insert(position, new)
        return new

    def covered(self, tiles: Tiles, now: int) -> Tiles:
        """The tiles that the window covers at `now`."""
        first = (now - self.size_ms) // self.tile_ms
        if not tiles or tiles[0][0] >= first:
            return tiles
        return [tile for tile in tiles if tile[0] >= first]

    @property
    def most_tiles(self) -> int:
        return self.size_ms // self.tile_ms + 2


def parse(owner: object, window: Durations, resolution: Duration | None) -> dict[str, Window]:
    """Windows by the names they have in a profile.

    Parameters:
        owner: What they are declared for, for messages.
        window: One or several durations.
        resolution: Length of a tile of each window; when not given, a window has 24 tiles or more.

    Raises:
        DefinitionError: one is given twice, or the resolution does not fit.

    Examples:
        >>> parse("views", ("1d", "7d"), None)["last_7d"]
        Window(label='last_7d', size_ms=604800000, tile_ms=21600000)
    """
    if window is None:
        if resolution is not None:
            raise DefinitionError(f"{owner!r}: resolution= cuts a window into tiles, and there is no window=")
        return {}
    given = [window] if isinstance(window, (str, Duration)) else list(window)
    windows = {}
    for duration in given:
        name, size_ms = f"last_{label(duration)}", to_ms(duration)
        if name in windows:
            raise DefinitionError(f"{owner!r}: a window is given twice in {given}")
        tile_ms = _tile_ms(size_ms) if resolution is None else to_ms(resolution)
        if tile_ms > size_ms:
            raise DefinitionError(f"{owner!r}: resolution {resolution!r} is longer than the window {duration!r}")
        if size_ms // tile_ms > _MOST_TILES:
            raise DefinitionError(
                f"{owner!r}: at resolution {resolution!r} the window {duration!r} has {size_ms // tile_ms:,} tiles; "
                f"the most is {_MOST_TILES}"
            )
        windows[name] = Window(name, size_ms, tile_ms)
    return windows


def _tile_ms(size_ms: int) -> int:
    return max((ms for ms in _LENGTHS_MS if size_ms >= _LEAST_TILES * ms), default=1)


def over_time(
    window: Window,
    tiles: Tiles,
    at: int,
    merge: Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]],
    result: Callable[[Sequence[Any] | None], Any],
) -> tuple[Any, list[list[Any]]]:
    """A window's value at `at`, and what it becomes from when on as its tiles drop out: `[[ms, value], ...]`.

    Parameters:
        window, tiles: The window and its tiles.
        at: Time of the latest event.
        merge: Combines two partial aggregates.
        result: The value of a partial aggregate; of None, for a window without events.
    """
    covered = window.covered(tiles, at)
    value = result(None)
    becomes: list[list[Any]] = []
    partial: Sequence[Any] | None = None
    size_ms, tile_ms = window.size_ms, window.tile_ms
    for number, *own in reversed(covered):
        partial = own if partial is None else merge(own, partial)
        after, value = value, result(partial)
        if after != value:
            becomes.append([(number + 1) * tile_ms + size_ms, after])
    becomes.reverse()
    return value, becomes


def merge(
    window: Window, a: Tiles, b: Tiles, at: int, combine: Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]
) -> Tiles:
    """The tiles of two disjoint sets of events, of which the later ends at `at`."""
    merged = {number: own for number, *own in window.covered(a, at)}
    for number, *own in window.covered(b, at):
        merged[number] = list(combine(merged[number], own)) if number in merged else own
    return [[number, *own] for number, own in sorted(merged.items())]


def advance(value: dict[str, Any], now: int) -> dict[str, Any]:
    """A published value with windows, brought to `now`: the one place where readers look into `"then"`.

    Examples:
        >>> advance({"last_1h": 3, "at": 0, "then": {"last_1h": [[3_600_000, 1], [3_700_000, 0]]}}, 3_650_000)
        {'last_1h': 1, 'at': 3650000, 'then': {'last_1h': [[3700000, 0]]}}
    """
    brought = {**value, "at": now, "then": {}}
    for name, becomes in value["then"].items():
        passed = 0
        while passed < len(becomes) and becomes[passed][0] <= now:
            passed += 1
        if passed:
            brought[name] = becomes[passed - 1][1]
        brought["then"][name] = becomes[passed:]
    return brought
