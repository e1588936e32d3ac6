"""Quantiles: what a number is half the time, or nearly always."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

import numpy as np

from ..contracts import Event
from ..durations import Duration
from ..errors import DefinitionError
from . import windows
from .base import NUMBER_BYTES, State, number
from .sketches import Sketch, Sketched


class Quantiles(Sketched):
    """Quantiles of a number, each within a relative error: since ever (`lifetime`) and in each sliding window.

    A DDSketch (Masson, Rim and Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error
    Guarantees", VLDB 2019): numbers are counted in bins whose borders grow geometrically, so that the middle of a bin
    is within the error of everything in it. Where there are more than `bins` different ones, the lowest are counted
    together; then the error holds for all numbers but the lowest.

    Parameters:
        name: Field name.
        of: Event field with the number.
        q: The quantiles, from 0 (the smallest) to 1 (the largest).
        window: One or several durations, published as `last_7d` and the like.
        resolution: How long the tiles of a window are; 1/24 of the window or less when not given.
        lifetime: Keep the quantiles since ever.
        relative_error: How far a published quantile may be from the number that it stands for, from 0.001 to 0.5.
        bins: How many bins to keep; at an error of 1 % the default covers all numbers from 1 to 150, or
            256 of any size.
        on: Event type(s); None for all.
        where: Condition on the events.

    Published: for the lifetime and each window a number for each quantile, called `p50` and the like; None (`null`)
    for a window without events. The q-quantile of n numbers is the one at place `floor(q * (n - 1))` from 0, in order
    of size.

    Examples:
        >>> from stream_profiles import Event, Quantiles
        >>> prices = Quantiles("prices", of="price", q=(0.5, 0.9))
        >>> state = None
        >>> for n in range(1, 102):
        ...     state = prices.update(state, Event(event_id=str(n), user_id="u", type="v", time=n, price=n))
        >>> prices.snapshot(state)
        {'lifetime': {'p50': 50.9..., 'p90': 90.4...}}
    """

    def __init__(
        self,
        name: str,
        *,
        of: str,
        q: float | Iterable[float] = (0.5, 0.9, 0.99),
        window: windows.Durations = None,
        resolution: Duration | None = None,
        lifetime: bool = True,
        relative_error: float = 0.01,
        bins: int = 256,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(name, of=of, window=window, resolution=resolution, lifetime=lifetime, on=on, where=where)
        self.q = [q] if isinstance(q, (int, float)) else list(q)
        if not self.q or not all(isinstance(each, (int, float)) and 0 <= each <= 1 for each in self.q):
            raise DefinitionError(f"{self!r}: q= takes numbers from 0 to 1, as in q=(0.5, 0.9)")
        self._names = [f"p{100 * each:g}" for each in self.q]
        if len(set(self._names)) < len(self._names):
            raise DefinitionError(f"{self!r}: a quantile is given twice in q={self.q}")
        if not 0.001 <= relative_error <= 0.5:
            raise DefinitionError(f"{self!r}: relative_error must be from 0.001 to 0.5, not {relative_error}")
        if bins < 2:
            raise DefinitionError(f"{self!r}: bins must be at least 2")
        self.relative_error = relative_error
        self.bins = bins
        self.sketch_bytes = 2 * NUMBER_BYTES * bins + 3
        # Of the library it is the bins' borders that are used. Its stores grow and shift in chunks, which a stored
        # state would have to repeat exactly, and its serial form leaves this out. Of its mappings this one is made of
        # exact operations, so that a number falls into the same bin on every machine.
        from ddsketch.mapping import CubicallyInterpolatedMapping

        self._mapping = CubicallyInterpolatedMapping(relative_error)
        self._least = self._mapping.min_possible
        self._zero = self._mapping.key(self._least) - 1
        self._middle = lru_cache(4096)(self._middle_of)

    def item(self, event: Event) -> int | None:
        """The number's bin. Bins are in order of size: those below 0 negative, and 0 that of 0."""
        value = number(self._get(event))
        if value is None:
            return None
        if value > self._least:
            return int(self._mapping.key(value)) - self._zero
        return self._zero - int(self._mapping.key(-value)) if value < -self._least else 0

    def _middle_of(self, item: int) -> float:
        if item == 0:
            return 0.0
        middle = float(self._mapping.value(abs(item) + self._zero))
        return middle if item > 0 else -middle

    def insert(self, sketch: Sketch | None, item: int) -> Sketch:
        """A sketch is the count of each bin."""
        if sketch is None:
            return {item: 1}
        if item in sketch:
            sketch[item] += 1
        elif len(sketch) < self.bins:
            sketch[item] = 1
        else:
            sketch[item] = 1
            self._collapse(sketch)
        return sketch

    def _collapse(self, sketch: Sketch) -> None:
        """Count the lowest bins together, as one with the lowest that stays."""
        items = sorted(sketch)
        extra = len(items) - self.bins
        sketch[items[extra]] += sum([sketch.pop(item) for item in items[:extra]])

    def union(self, sketches: Sequence[Sketch]) -> Sketch:
        union = self._summed(sketches)
        if len(union) > self.bins:
            self._collapse(union)
        return union

    def _summed(self, sketches: Sequence[Sketch]) -> dict[int, int]:
        summed: dict[int, int] = {}
        for sketch in sketches:
            for item, count in sketch.items():
                summed[item] = summed.get(item, 0) + count
        return summed

    def result(self, sketches: Sequence[Sketch]) -> dict[str, float] | None:
        if not sketches:
            return None
        counts_of = sketches[0] if len(sketches) == 1 else self._summed(sketches)
        items = sorted(counts_of)
        counts = list(accumulate([counts_of[item] for item in items]))
        most = counts[-1] - 1
        return {
            name: self._middle(items[bisect_right(counts, q * most)])
            for name, q in zip(self._names, self.q, strict=True)
        }

    def results(self, sketches: Sequence[Sketch]) -> Iterator[dict[str, float]]:
        items = sorted({item for sketch in sketches for item in sketch})
        place = {item: index for index, item in enumerate(items)}
        counts = np.zeros((len(sketches), len(items)), np.int64)
        for row, sketch in enumerate(sketches):
            for item, count in sketch.items():
                counts[row, place[item]] = count
        ranks = counts.cumsum(axis=0).cumsum(axis=1)
        most = ranks[:, -1:] - 1
        chosen = [(ranks <= q * most).sum(axis=1).tolist() for q in self.q]
        for places in zip(*chosen, strict=True):
            yield {name: self._middle(items[index]) for name, index in zip(self._names, places, strict=True)}

    def input_names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}_{each}_{name}" for each in self._labels for name in self._names)

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        return tuple(
            0.0 if each is None else each[name] for each in self.results_at(state, now) for name in self._names
        )
