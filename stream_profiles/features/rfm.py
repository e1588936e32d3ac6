"""RFM: recency, frequency and monetary value, the three numbers that customers are most often told apart by."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from ..contracts import Event
from ..durations import Duration, label, to_ms
from ..errors import DefinitionError
from . import windows
from .base import NUMBER_BYTES, Feature, State, Value, field_getter, number

#: Four thresholds make the five scores that RFM is known by.
_THRESHOLDS = 4


class RFM(Feature):
    """How long ago a customer last bought, how often, and for how much in a window, each with a score from 1 to 5.

    The scores come from thresholds (Hughes, "Strategic Database Marketing", 1994, takes quintiles of all customers,
    which no single profile can know): 5 for the most recent, most frequent, most valuable. An amount below 0, a refund,
    lowers the monetary value and is no purchase.
    State: `[time of the latest event, time of the latest purchase or None, tiles]`; a tile is `[number, purchases,
    amount]`.

    Published: `recency_seconds` since the latest purchase, None before the first; `frequency` and `monetary` in the
    window; `score`, the three scores as text, like "543"; `at`.

    Parameters:
        name: Field name.
        of: Event field with the amount: `amount` (price times quantity), another field or `properties.NAME`.
        on: Event type(s) that are purchases, and refunds.
        where: Condition on the events.
        recency: Four durations, shortest first: a purchase not longer ago than the first scores 5, than the second 4.
        frequency: Four numbers of purchases, smallest first: reaching the first scores 2, the last 5.
        monetary: Four amounts, smallest first, in the same way.
        window: How far back purchases count.
        resolution: How long the tiles of the window are; 1/24 of the window or less when not given.

    Examples:
        >>> from stream_profiles import Event, RFM
        >>> rfm = RFM("rfm", monetary=(50, 200, 500, 1_000))
        >>> event = Event(event_id="1", user_id="u", type="purchase", time=0, price=60.0, quantity=4)
        >>> rfm.snapshot(rfm.update(None, event))["score"]
        '523'
        >>> rfm.value(rfm.update(None, event), now=50 * 86_400_000)["score"]
        '323'
    """

    mergeable = True
    order_free = True

    def __init__(
        self,
        name: str,
        *,
        monetary: Sequence[float],
        of: str = "amount",
        on: str | Iterable[str] | None = "purchase",
        where: str | None = None,
        recency: Sequence[Duration] = ("7d", "30d", "90d", "365d"),
        frequency: Sequence[float] = (1, 2, 5, 10),
        window: Duration = "365d",
        resolution: Duration | None = None,
    ) -> None:
        super().__init__(name, on=on, where=where)
        self.of = of
        self.recency = [label(each) for each in recency]
        self.frequency, self.monetary = list(frequency), list(monetary)
        self._recency_seconds = [to_ms(each) / 1000 for each in recency]
        for what, given in (
            ("recency", self._recency_seconds),
            ("frequency", self.frequency),
            ("monetary", self.monetary),
        ):
            if len(given) != _THRESHOLDS or any(number(each) is None for each in given) or sorted(set(given)) != given:
                raise DefinitionError(
                    f"{self!r}: {what}= takes {_THRESHOLDS} thresholds, the smallest first: they part the scores 1 to 5"
                )
        (self._window,) = windows.parse(self, window, resolution).values()
        self.window = label(window)
        self.resolution = None if resolution is None else label(resolution)
        self._get = field_getter(self, of)

    def update(self, state: State | None, event: Event) -> State | None:
        amount = number(self._get(event))
        if amount is None:
            return None
        time, bought = event.time, int(amount >= 0)
        if state is None:
            state = [time, None, []]
        elif time > state[0]:
            state[0] = time
        if bought and (state[1] is None or time > state[1]):
            state[1] = time
        tile = self._window.tile(state[2], time, state[0])
        if tile is not None:
            tile[1:] = [bought, amount] if len(tile) == 1 else [tile[1] + bought, tile[2] + amount]
        return state

    def snapshot(self, state: State) -> Value:
        at, last, tiles = state
        (frequency, monetary), becomes = windows.over_time(self._window, tiles, at, _added, _both)
        recency = None if last is None else (at - last) / 1000
        return {
            "recency_seconds": recency,
            "frequency": frequency,
            "monetary": monetary,
            "score": "".join(map(str, self._scores(recency, frequency, monetary))),
            "at": at,
            "then": {
                "frequency": [[ms, frequency] for ms, (frequency, _) in becomes],
                "monetary": [[ms, monetary] for ms, (_, monetary) in becomes],
            },
        }

    def _scores(self, recency: float | None, frequency: float, monetary: float) -> tuple[int, int, int]:
        over = _THRESHOLDS if recency is None else sum([recency > each for each in self._recency_seconds])
        return 5 - over, 1 + bisect_right(self.frequency, frequency), 1 + bisect_right(self.monetary, monetary)

    def advance(self, value: Value, now: int) -> Value:
        if now <= value["at"]:
            return value
        brought = windows.advance(value, now)
        if value["recency_seconds"] is not None:
            brought["recency_seconds"] = value["recency_seconds"] + (now - value["at"]) / 1000
        scores = self._scores(brought["recency_seconds"], brought["frequency"], brought["monetary"])
        brought["score"] = "".join(map(str, scores))
        return brought

    def merge(self, a: State, b: State) -> State:
        at = max(a[0], b[0])
        last = max((each[1] for each in (a, b) if each[1] is not None), default=None)
        return [at, last, windows.merge(self._window, a[2], b[2], at, _added)]

    @property
    def max_bytes(self) -> int:
        return 2 * NUMBER_BYTES + 4 + self._window.most_tiles * (3 * NUMBER_BYTES + 1)

    def category(self, state: State, now: int) -> str | None:
        score: str = self.value(state, now)["score"]
        return score

    def input_names(self) -> tuple[str, ...]:
        names = ("recency_seconds", "frequency", "monetary", "recency_score", "frequency_score", "monetary_score")
        return tuple(f"{self.name}_{each}" for each in names)

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if state is None:
            return (0.0,) * 6
        now = max(now, state[0])
        partial = _both(None)
        for _, *own in reversed(self._window.covered(state[2], now)):
            partial = _added(own, partial)
        recency = None if state[1] is None else (now - state[1]) / 1000
        scores = self._scores(recency, *partial)
        return (recency or 0.0, float(partial[0]), float(partial[1]), *map(float, scores))


def _added(a: Sequence[Any], b: Sequence[Any]) -> Sequence[Any]:
    return a[0] + b[0], a[1] + b[1]


def _both(partial: Sequence[Any] | None) -> Sequence[Any]:
    return (0, 0.0) if partial is None else partial
