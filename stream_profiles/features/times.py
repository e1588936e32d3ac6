"""TimeSince and InterEventTime: how long ago something happened, and how long it takes until it happens again."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import exp, log, sqrt
from typing import Any

from ..contracts import Event
from ..durations import Duration, label, to_ms
from ..errors import DefinitionError
from . import decay
from .base import NUMBER_BYTES, Feature, State, Value

#: So many of a user's latest visits are kept apart, so that a late event finds its place among them.
_OPEN = 4
#: On the logarithmic scale a gap is this much longer (days): a gap of seconds and one of minutes are much the same.
_LOG_SHIFT = 0.5
_DAY_SECONDS = 86_400.0


class TimeSince(Feature):
    """Seconds since the user's latest event of the given type(s), by event time; or since the first.

    State: the time of that event.

    Parameters:
        name: Field name.
        on: Event type(s); None for all.
        where: Condition on the events.
        since: "last" or "first": which event.

    Examples:
        >>> from stream_profiles import Event, TimeSince
        >>> idle = TimeSince("last_purchase", on="purchase")
        >>> state = idle.update(None, Event(event_id="1", user_id="u", type="purchase", time=1_000))
        >>> idle.value(state, now=61_000)
        {'seconds': 60.0, 'at': 61000}
    """

    mergeable = True
    order_free = True
    added_parameters = Feature.added_parameters | {"since"}

    def __init__(
        self, name: str, *, on: str | Iterable[str] | None = None, where: str | None = None, since: str = "last"
    ) -> None:
        super().__init__(name, on=on, where=where)
        if since not in ("last", "first"):
            raise DefinitionError(f'{self!r}: since= takes "last" or "first", not {since!r}')
        self.since = since
        self._first = since == "first"

    def update(self, state: State | None, event: Event) -> State | None:
        if state is None or (event.time < state if self._first else event.time > state):
            return event.time
        return None

    def snapshot(self, state: State) -> Value:
        return {"seconds": 0.0, "at": state}

    def advance(self, value: Value, now: int) -> Value:
        if now <= value["at"]:
            return value
        return {"seconds": value["seconds"] + (now - value["at"]) / 1000, "at": now}

    def merge(self, a: State, b: State) -> State:
        return min(a, b) if self._first else max(a, b)

    @property
    def max_bytes(self) -> int:
        return NUMBER_BYTES

    def input_names(self) -> tuple[str, ...]:
        return (f"{self.name}_seconds", f"{self.name}_ever")

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        return (0.0, 0.0) if state is None else (max(0, now - state) / 1000, 1.0)


class InterEventTime(Feature):
    """The time between a user's events, one after the other: its mean, its deviation, and whether the next is overdue.

    With `min_gap`, events that follow each other faster are one visit (the lines of an invoice, the pages of a
    session), and what is measured is the time from the end of a visit to the start of the next.

    A late event splits the gap it falls into; that is exact as long as it is not older than the start of the fourth
    visit from the end. An older one is left out, unless the user has no more than four visits.
    State: `[[[start, end] of the latest visits...], gaps before those, the last of these, moments...]`, moments being
    weight, mean and sum of squared deviations of the gaps before those visits (Welford 1962; West 1979, for weights).

    Published: `gaps`, their number; `seconds` since the last event and `last_seconds`, the gap before it;
    `mean_seconds`, `std_seconds` and `overdue`, the seconds since the last event as a multiple of the mean; for each
    half-life the same as `mean_30d_seconds`, `std_30d_seconds` and `overdue_30d`; `at`. What no gap tells is None.
    With `within`, `within_7d` and the like (and `within_7d_30d` for a half-life), the share of the gaps that were not
    longer. With `log_scale`, `log_mean` and `log_std` (`log_mean_30d`, `log_std_30d`), mean and deviation of
    ln(days + 0.5): one long absence does not hide the habit.

    Inputs of a model are the same numbers; shares and logarithmic means as if there had been one gap more, an
    exponentially distributed one of `usual_gap` on average, so that little is not taken for certain.

    Parameters:
        name: Field name.
        on: Event type(s); None for all.
        where: Condition on the events.
        half_life: One or several durations, in which the weight of a gap halves.
        min_gap: A shorter gap is none.
        lifetime: Keep the mean and the deviation since ever.
        within: One or several durations: tell the share of the gaps that were not longer.
        log_scale: Tell mean and deviation on a logarithmic scale, too.
        usual_gap: What a model is to expect of a user without gaps.

    Examples:
        >>> from stream_profiles import Event, InterEventTime
        >>> rhythm = InterEventTime("rhythm", on="purchase")
        >>> state = None
        >>> for second in (0, 60, 180):
        ...     event = Event(event_id=str(second), user_id="u", type="purchase", time=1_000 * second)
        ...     state = rhythm.update(state, event)
        >>> value = rhythm.value(state, now=360_000)
        >>> value["mean_seconds"], value["std_seconds"], value["overdue"]
        (90.0, 30.0, 2.0)
    """

    added_parameters = Feature.added_parameters | {"within", "log_scale", "usual_gap"}

    def __init__(
        self,
        name: str,
        *,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
        half_life: decay.HalfLives = None,
        min_gap: Duration | None = None,
        lifetime: bool = True,
        within: Duration | Iterable[Duration] | None = None,
        log_scale: bool = False,
        usual_gap: Duration = "30d",
    ) -> None:
        super().__init__(name, on=on, where=where)
        self._half_lives = decay.parse(self, half_life)
        self.half_life = list(self._half_lives) or None
        self.min_gap = None if min_gap is None else label(min_gap)
        self.lifetime = lifetime
        if not lifetime and not self._half_lives:
            raise DefinitionError(f"{self!r} keeps nothing: give it a half_life, or leave lifetime=True")
        self._min_gap_ms = 0 if min_gap is None else to_ms(min_gap)
        self._decays: tuple[int | None, ...] = (*((None,) if lifetime else ()), *self._half_lives.values())
        #: Names of mean, deviation and overdue, by half-life.
        self._names = [
            *([("mean_seconds", "std_seconds", "overdue")] if lifetime else ()),
            *((f"mean_{each}_seconds", f"std_{each}_seconds", f"overdue_{each}") for each in self._half_lives),
        ]
        self._take_more(within, log_scale, usual_gap)

    def _take_more(self, within: Duration | Iterable[Duration] | None, log_scale: bool, usual_gap: Duration) -> None:
        """What is told of gaps besides mean and deviation. It is kept behind those, in this order."""
        given = [] if within is None else [within] if isinstance(within, (str, Duration)) else list(within)
        limits = {label(each): to_ms(each) / 1000 for each in given}
        if len(limits) != len(given):
            raise DefinitionError(f"{self!r}: a duration is given twice in within={given}")
        self.within = list(limits) or None
        self.log_scale, self.usual_gap = log_scale, label(usual_gap)
        self._limits = list(limits.values())
        usual = to_ms(usual_gap) / 1000
        #: Of the one gap more that a model is told of.
        self._usual = [1.0 - exp(-limit / usual) for limit in self._limits]
        self._usual_log = log(usual / _DAY_SECONDS + _LOG_SHIFT)
        labels = [f"within_{each}" for each in limits] + (["log_mean", "log_std"] if log_scale else [])
        #: Names of these, by half-life.
        self._more = [
            *([labels] if self.lifetime else ()),
            *([f"{name}_{each}" for name in labels] for each in self._half_lives),
        ]
        self._tells_more = bool(labels)

    def update(self, state: State | None, event: Event) -> State | None:
        time = event.time
        if state is None:
            nothing = [0.0] * (3 + len(self._limits) + 2 * self.log_scale)
            return [[[time, time]], 0, None, *(list(nothing) for _ in self._decays)]
        visits, min_gap = state[0], self._min_gap_ms
        after = len(visits)
        while after and visits[after - 1][0] > time:
            after -= 1
        if not after and state[1]:
            return None
        joins_before = after > 0 and time - visits[after - 1][1] < min_gap
        joins_after = after < len(visits) and visits[after][0] - time < min_gap
        if joins_before and joins_after:
            visits[after - 1][1] = visits.pop(after)[1]
        elif joins_before:
            if time <= visits[after - 1][1]:
                return None
            visits[after - 1][1] = time
        elif joins_after:
            visits[after][0] = time
        else:
            visits.insert(after, [time, time])
            if len(visits) > _OPEN:
                self._close(state)
        return state

    def _close(self, state: State) -> None:
        """Count the gap after the oldest visit once and for all."""
        (start, end), (next_start, _) = state[0].pop(0), state[0][0]
        gap = (next_start - end) / 1000
        state[1] += 1
        state[2] = gap
        for index, half_life in enumerate(self._decays, start=3):
            state[index] = self._with(state[index], gap, next_start - start, half_life)

    def _with(self, moments: list[float], gap: float, elapsed: int, half_life: int | None) -> list[float]:
        """What is kept of gaps, with one more, which ended `elapsed` ms after the one before."""
        if not self._tells_more:
            return _with(moments, gap, elapsed, half_life)
        kept = 1.0 if half_life is None else decay.factor(elapsed, half_life)
        new = _with(moments[:3], gap, elapsed, half_life)
        for limit, count in zip(self._limits, moments[3:], strict=False):
            new.append(count * kept + (gap <= limit))
        if self.log_scale:
            new += _with([moments[0], *moments[-2:]], log(gap / _DAY_SECONDS + _LOG_SHIFT), elapsed, half_life)[1:]
        return new

    def _last_gap(self, state: State) -> float | None:
        visits = state[0]
        last: float | None = state[2] if len(visits) == 1 else (visits[-1][0] - visits[-2][1]) / 1000
        return last

    def _moments(self, state: State) -> list[list[float]]:
        """What is kept of gaps, with those between the latest visits, lifetime first."""
        visits = state[0]
        results: list[list[float]] = []
        for moments, half_life in zip(state[3:], self._decays, strict=True):
            for (start, end), (next_start, _) in pairwise(visits):
                moments = self._with(moments, (next_start - end) / 1000, next_start - start, half_life)
            results.append(moments)
        return results

    def snapshot(self, state: State) -> Value:
        visits = state[0]
        value: dict[str, Any] = {
            "gaps": state[1] + len(visits) - 1,
            "seconds": 0.0,
            "last_seconds": self._last_gap(state),
        }
        for (mean, std, overdue), names, moments in zip(self._names, self._more, self._moments(state), strict=True):
            weight = moments[0]
            value[mean], value[std] = (moments[1], sqrt(moments[2] / weight)) if weight else (None, None)
            value[overdue] = 0.0 if weight and moments[1] else None
            if names:
                value.update(zip(names, self._told(moments) if weight else [None] * len(names), strict=True))
        value["at"] = visits[-1][1]
        return value

    def advance(self, value: Value, now: int) -> Value:
        at = value["at"]
        if now <= at:
            return value
        seconds = value["seconds"] + (now - at) / 1000
        brought = {**value, "seconds": seconds, "at": now}
        for mean, _, overdue in self._names:
            if value[mean]:
                brought[overdue] = seconds / value[mean]
        return brought

    @property
    def max_bytes(self) -> int:
        visits = _OPEN * (2 * NUMBER_BYTES + 1) + 1
        moments = (3 + len(self._limits) + 2 * self.log_scale) * NUMBER_BYTES + 5
        return visits + 2 * NUMBER_BYTES + len(self._decays) * moments + 3

    def input_names(self) -> tuple[str, ...]:
        names = ("gaps", "last_seconds", *(name for names in (*self._names, *self._more) for name in names))
        return tuple(f"{self.name}_{each}" for each in names)

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if state is None:
            nothing = [0.0] * (3 + len(self._limits) + 2 * self.log_scale)
            more = self._expected(nothing) * len(self._decays) if self._tells_more else []
            return (*((0.0,) * (2 + 3 * len(self._decays))), *more)
        visits = state[0]
        seconds = max(0, now - visits[-1][1]) / 1000
        numbers = [float(state[1] + len(visits) - 1), self._last_gap(state) or 0.0]
        results = self._moments(state)
        for weight, mean, squares, *_ in results:
            numbers += (mean, sqrt(squares / weight) if weight else 0.0, seconds / mean if mean else 0.0)
        if self._tells_more:
            for moments in results:
                numbers += self._expected(moments)
        return tuple(numbers)

    def _told(self, moments: list[float]) -> list[float]:
        """The numbers named in `_more`, of gaps there are."""
        weight, limits = moments[0], len(self._limits)
        told = [count / weight for count in moments[3 : 3 + limits]]
        return [*told, moments[-2], sqrt(moments[-1] / weight)] if self.log_scale else told

    def _expected(self, moments: list[float]) -> list[float]:
        """The same as a model sees them, with the one gap more."""
        weight = moments[0]
        counts = zip(moments[3:], self._usual, strict=False)
        expected = [(count + usual) / (weight + 1.0) for count, usual in counts]
        if self.log_scale:
            mean, squares = moments[-2:]
            expected += ((weight * mean + self._usual_log) / (weight + 1.0), sqrt(squares / weight) if weight else 0.0)
        return expected


def _with(moments: list[float], gap: float, elapsed: int, half_life: int | None) -> list[float]:
    """Moments with one more gap, which ended `elapsed` ms after the one before."""
    weight, mean, squares = moments
    if half_life is not None:
        kept = decay.factor(elapsed, half_life)
        weight, squares = weight * kept, squares * kept
    total, apart = weight + 1.0, gap - mean
    return [total, mean + apart / total, squares + apart * apart * weight / total]
