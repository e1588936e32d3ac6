"""DistinctCount: how many different values there were."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..contracts import Event
from ..durations import Duration
from ..errors import DefinitionError
from . import windows
from .base import State, text
from .sketches import Sketch, Sketched


class DistinctCount(Sketched):
    """How many different values a field had: since ever (`lifetime`) and in each sliding window.

    A HyperLogLog (Flajolet et al., "HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm", AofA
    2007), as Apache DataSketches has it: exact but for one in millions up to 3/32 of `2**precision` values, from then
    on within a standard error of `1.04 / sqrt(2**precision)`.

    Parameters:
        name: Field name.
        of: Event field whose values are counted; a number or a flag counts as its text.
        window: One or several durations, published as `last_7d` and the like.
        resolution: How long the tiles of a window are; 1/24 of the window or less when not given.
        lifetime: Keep the count since ever.
        precision: From 9 to 16. A sketch takes up to `2**precision` bytes, and 4 for each value as long as they are
            few: at 11, exact up to 192 values, then 2.3 % off, with 2 KB.
        on: Event type(s); None for all.
        where: Condition on the events.

    Published: a whole number for the lifetime and each window.

    Examples:
        >>> from stream_profiles import DistinctCount, Event
        >>> items = DistinctCount("items", of="item_id")
        >>> state = None
        >>> for n, item in enumerate("abcab"):
        ...     new = items.update(state, Event(event_id=str(n), user_id="u", type="view", time=n, item_id=item))
        ...     state = state if new is None else new
        >>> items.snapshot(state)
        {'lifetime': 3}
    """

    def __init__(
        self,
        name: str,
        *,
        of: str,
        window: windows.Durations = None,
        resolution: Duration | None = None,
        lifetime: bool = True,
        precision: int = 11,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(name, of=of, window=window, resolution=resolution, lifetime=lifetime, on=on, where=where)
        if not 9 <= precision <= 16:
            raise DefinitionError(f"{self!r}: precision must be from 9 to 16, not {precision}")
        self.precision = precision
        from datasketches import hll_sketch, hll_union, tgt_hll_type  # type: ignore[import-untyped]

        self._sketch, self._union, self._type = hll_sketch, hll_union, tgt_hll_type.HLL_8
        self._dense_bytes = int(hll_sketch.get_max_updatable_serialization_bytes(precision, tgt_hll_type.HLL_8))
        self.sketch_bytes = self._dense_bytes + 5

    def item(self, event: Event) -> str | None:
        value = text(self._get(event))
        # The library takes an empty text for no value.
        return None if value is None else f"={value}"

    def insert(self, sketch: Sketch | None, item: str) -> Sketch | None:
        """A sketch is the library's compact form."""
        known = self._sketch(self.precision, self._type) if sketch is None else self._sketch.deserialize(sketch)
        known.update(item)
        stored: bytes = known.serialize_compact()
        before = 0 if sketch is None else len(sketch)
        if len(stored) == before:
            # A sparse sketch, a list of values, is longer by every new one; a dense one is as long as ever.
            return None if before < self._dense_bytes or stored == sketch else stored
        return self._in_any_order(known) if len(stored) == self._dense_bytes else stored

    def _in_any_order(self, known: Any) -> bytes:
        """The compact form of a dense sketch, without what it knows from the order of its values.

        As long as it saw them one by one it has a better estimate, which another order would make another. United with
        itself it has the same registers and no longer claims to.
        """
        union = self._union(self.precision)
        union.update(known)
        union.update(known)
        stored: bytes = union.get_result(self._type).serialize_compact()
        return stored

    def union(self, sketches: Sequence[Sketch]) -> Sketch:
        union = self._union(self.precision)
        for sketch in sketches:
            union.update(self._sketch.deserialize(sketch))
        known = union.get_result(self._type)
        stored: bytes = known.serialize_compact()
        return self._in_any_order(known) if len(stored) == self._dense_bytes else stored

    def result(self, sketches: Sequence[Sketch]) -> int:
        sketch = sketches[0] if len(sketches) == 1 else self.union(sketches)
        estimate: float = self._sketch.deserialize(sketch).get_estimate()
        return round(estimate)

    def results(self, sketches: Sequence[Sketch]) -> Iterator[int]:
        union = self._union(self.precision)
        for sketch in sketches:
            union.update(self._sketch.deserialize(sketch))
            known = union.get_result(self._type)
            if known.get_compact_serialization_bytes() == self._dense_bytes:
                union.update(known)
            yield round(union.get_estimate())

    def input_names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}_{each}" for each in self._labels)

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        return tuple(map(float, self.results_at(state, now)))
