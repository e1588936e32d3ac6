"""Baskets: events that belong together, as the lines of an order do, are counted and measured as one."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

from ..contracts import Event
from ..durations import Duration
from . import decay, windows
from .base import MAX_TEXT_BYTES, NUMBER_BYTES, Feature, State, Value, field_getter, number, text
from .counts import Count

#: So many of a user's latest baskets are kept apart, so that a late line finds its own.
_OPEN = 4
_STATISTICS = ("last", "mean", "std", "min", "max")
#: Of the baskets that are no longer kept apart: of each measure mean, sum of squared deviations, smallest, largest.
Moments = list[float]


class Baskets(Feature):
    """How many orders there were, and how large they are: events with the same value of a field are one basket.

    The latest basket is in all numbers from its first line on, and every further line takes the place of what it was
    without it. A basket's time is that of its earliest line.

    A late line joins its basket as long as that is one of the latest four; a late basket finds its place among them.
    What is older than those is left out, unless the user has no more than four; a basket that goes on after four later
    ones have begun counts as another.
    State: `[state of a Count of baskets, [[key, time, measures...] of the latest ones], [number of those before,
    moments of each measure...]]`, the last None while there are none before.

    Published: the number of baskets as Count has it: `total`, one decayed by each half-life, `last_7d` and the like for
    each window, with `at` and `then`. And what one is like: of `lines` (its events), `value` (the sum of `of`) and
    `units` (the sum of `quantity`) `{"last": ..., "mean": ..., "std": ..., "min": ..., "max": ...}`; `value.mean` is
    the average order value.

    Parameters:
        name: Field name.
        by: Event field that is the same in all events of a basket, such as the number of an invoice; `"time"` for what
            happened at the same moment. An event without one is left out.
        of: Event field that is summed to a basket's value; None for no value. A line without a number adds 0.
        quantity: Event field that is summed to a basket's units; None for no units.
        on: Event type(s); None for all.
        where: Condition on the events.
        half_life: One or several durations, in which the weight of a basket halves.
        window: One or several durations; the baskets begun in each are published as `last_7d` and the like.
        resolution: How long the tiles of a window are; 1/24 of the window or less when not given.

    Examples:
        >>> from stream_profiles import Baskets, Event
        >>> orders = Baskets("orders")
        >>> state = None
        >>> for n, (order, price) in enumerate((("A", 10.0), ("A", 5.0), ("B", 25.0))):
        ...     line = {"user_id": "u", "type": "purchase", "session_id": order, "price": price}
        ...     state = orders.update(state, Event(event_id=str(n), time=n, **line))
        >>> value = orders.snapshot(state)
        >>> value["total"], value["value"]
        (2, {'last': 25.0, 'mean': 20.0, 'std': 5.0, 'min': 15.0, 'max': 25.0})
        >>> value["lines"]["last"], value["lines"]["mean"]
        (1, 1.5)
    """

    def __init__(
        self,
        name: str,
        *,
        by: str = "session_id",
        of: str | None = "amount",
        quantity: str | None = None,
        on: str | Iterable[str] | None = "purchase",
        where: str | None = None,
        half_life: decay.HalfLives = None,
        window: windows.Durations = None,
        resolution: Duration | None = None,
    ) -> None:
        super().__init__(name, on=on, where=where)
        self.by, self.of, self.quantity = by, of, quantity
        self._counts = Count(name, half_life=half_life, window=window, resolution=resolution)
        self.half_life, self.window = self._counts.half_life, self._counts.window
        self.resolution = self._counts.resolution
        self._by_time = by == "time"
        self._key = field_getter(self, by)
        self._sums = [field_getter(self, field) for field in (of, quantity) if field is not None]
        self._measures = ["lines", *(["value"] if of is not None else ()), *(["units"] if quantity is not None else ())]

    def update(self, state: State | None, event: Event) -> State | None:
        time = event.time
        key = time if self._by_time else text(self._key(event))
        if key is None or key == "":
            return None
        line = [number(get(event)) or 0.0 for get in self._sums]
        if state is None:
            return [self._counts._add(None, time, 1), [[key, time, 1, *line]], None]
        latest = state[1]
        for basket in reversed(latest):
            if basket[0] == key:
                self._join(state, basket, time, line)
                return state
        after = len(latest)
        while after and latest[after - 1][1] > time:
            after -= 1
        if not after and state[2] is not None:
            return None
        latest.insert(after, [key, time, 1, *line])
        self._counts._add(state[0], time, 1)
        if len(latest) > _OPEN:
            state[2] = self._with(state[2], latest.pop(0))
        return state

    def _join(self, state: State, basket: list[Any], time: int, line: list[float]) -> None:
        basket[2] += 1
        for index, amount in enumerate(line, start=3):
            basket[index] += amount
        if time < basket[1]:
            self._counts._add(state[0], basket[1], -1)
            self._counts._add(state[0], time, 1)
            basket[1] = time
            state[1].sort(key=_time)

    def _with(self, before: list[Any] | None, basket: list[Any]) -> list[Any]:
        """Moments with one more basket (Welford, Technometrics 1962)."""
        measures = basket[2:]
        if before is None:
            return [1, *([float(x), 0.0, x, x] for x in measures)]
        count = before[0] + 1
        moments = []
        for x, (mean, squares, low, high) in zip(measures, before[1:], strict=True):
            apart = x - mean
            mean += apart / count
            moments.append([mean, squares + apart * (x - mean), x if x < low else low, x if x > high else high])
        return [count, *moments]

    def _statistics(self, state: State) -> list[tuple[float, ...]]:
        """Of each measure, the `_STATISTICS` of all baskets."""
        _, latest, moments = state
        for basket in latest:
            moments = self._with(moments, basket)
        count = moments[0]
        return [
            (last, mean, sqrt(squares / count), low, high)
            for last, (mean, squares, low, high) in zip(latest[-1][2:], moments[1:], strict=True)
        ]

    def snapshot(self, state: State) -> Value:
        value: dict[str, Any] = self._counts.snapshot(state[0])
        for measure, statistics in zip(self._measures, self._statistics(state), strict=True):
            value[measure] = dict(zip(_STATISTICS, statistics, strict=True))
        return value

    def advance(self, value: Value, now: int) -> Value:
        return self._counts.advance(value, now)

    @property
    def max_bytes(self) -> int:
        measures = len(self._measures)
        latest = _OPEN * (MAX_TEXT_BYTES + (1 + measures) * NUMBER_BYTES + 1)
        return self._counts.max_bytes + latest + NUMBER_BYTES + measures * (4 * NUMBER_BYTES + 1) + 8

    def input_names(self) -> tuple[str, ...]:
        measured = (f"{self.name}_{measure}_{each}" for measure in self._measures for each in _STATISTICS)
        return (*self._counts.input_names(), *measured)

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if state is None:
            return (*self._counts.inputs(None, now), *((0.0,) * (len(_STATISTICS) * len(self._measures))))
        numbers = [*self._counts.inputs(state[0], now)]
        for statistics in self._statistics(state):
            numbers += statistics
        return tuple(numbers)


def _time(basket: list[Any]) -> int:
    time: int = basket[1]
    return time
