"""Sequence and Transitions: what users do one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from ..contracts import Event
from ..durations import Duration, label, to_ms
from ..errors import DefinitionError
from . import decay
from .base import MAX_TEXT_BYTES, NUMBER_BYTES, Feature, State, Value, field_getter, text

#: Scores grow by 2 per half-life against a fixed landmark; they are brought back before a float could overflow.
_MAX_EXPONENT = 512.0


class Sequence(Feature):
    """The last `n` values of a field, repeats included, newest last, by event time (ties: in order of arrival).

    State: `[[time, value], ...]`, newest last.

    Parameters:
        name: Field name.
        n: How many to keep.
        of: Event field.
        on: Event type(s); None for all.
        where: Condition on the events.

    Examples:
        >>> from stream_profiles import Event, Sequence
        >>> path = Sequence("path", n=2)
        >>> state = None
        >>> for time, type in enumerate(["view", "cart", "purchase"]):
        ...     state = path.update(state, Event(event_id=str(time), user_id="u", type=type, time=time))
        >>> path.snapshot(state)
        ['cart', 'purchase']
    """

    mergeable = True
    order_free = True

    def __init__(
        self,
        name: str,
        *,
        n: int = 10,
        of: str = "type",
        on: str | Iterable[str] | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(name, on=on, where=where)
        if n < 1:
            raise DefinitionError(f"{self!r}: n must be at least 1")
        self.n = n
        self.of = of
        self._get = field_getter(self, of)

    def update(self, state: State | None, event: Event) -> State | None:
        value = text(self._get(event))
        if value is None:
            return None
        entry = [event.time, value]
        if state is None:
            return [entry]
        position = len(state)
        while position and state[position - 1][0] > event.time:
            position -= 1
        if not position and len(state) >= self.n:
            return None
        state.insert(position, entry)
        del state[: -self.n]
        return state

    def snapshot(self, state: State) -> Value:
        return [value for _, value in state]

    def merge(self, a: State, b: State) -> State:
        return sorted([*a, *b], key=itemgetter(0))[-self.n :]

    @property
    def max_bytes(self) -> int:
        return self.n * (MAX_TEXT_BYTES + NUMBER_BYTES + 1) + 3


class Transitions(Feature):
    """Which value of a field follows which, and so what is likely to come next.

    Keeps at most `capacity` pairs. A new pair that arrives when all places are taken gets the place and the score of
    the smallest one (Space-Saving: Metwally et al., ICDT 2005), so a score is too high by at most the smallest one
    kept. An event that is older than one before it is left out: what would follow it has been counted otherwise.
    State: `[landmark, last time, last value, {value: {next value: score at the landmark}}]` (forward decay).

    Published: `current`, the last value; `next`, the value most likely to follow it, and with which `probability`, None
    where nothing has followed it yet; `top`, the `k` transitions with the highest scores as `[from, to, score, share]`,
    the share being of all that followed `from`; `at`, with a half-life.

    Parameters:
        name: Field name.
        of: Event field.
        k: How many transitions to publish.
        half_life: A duration in which a score halves; without one all count alike.
        capacity: How many pairs to keep; four times k when not given.
        within: A longer time between two events is no transition.
        on: Event type(s); None for all.
        where: Condition on the events.

    Examples:
        >>> from stream_profiles import Event, Transitions
        >>> path = Transitions("path", k=2)
        >>> state = None
        >>> for time, type in enumerate(["view", "view", "cart", "view", "cart", "view"]):
        ...     state = path.update(state, Event(event_id=str(time), user_id="u", type=type, time=time))
        >>> value = path.snapshot(state)
        >>> value["next"], round(value["probability"], 2)
        ('cart', 0.67)
        >>> value["top"]
        [['cart', 'view', 2, 1.0], ['view', 'cart', 2, 0.6666666666666666]]
    """

    def __init__(
        self,
        name: str,
        *,
        of: str = "type",
        k: int = 10,
        half_life: Duration | None = None,
        capacity: int | None = None,
        within: Duration | None = None,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(name, on=on, where=where)
        parsed = decay.parse(self, half_life)
        if len(parsed) > 1:
            raise DefinitionError(f"{self!r} takes one half_life at most")
        self.of = of
        self.k = k
        self.half_life = next(iter(parsed), None)
        self._half_life_ms = next(iter(parsed.values()), None)
        self.capacity = 4 * k if capacity is None else capacity
        if k < 1 or self.capacity < k:
            raise DefinitionError(f"{self!r}: k must be at least 1 and capacity at least k")
        self.within = None if within is None else label(within)
        self._within_ms = None if within is None else to_ms(within)
        self._get = field_getter(self, of)

    def update(self, state: State | None, event: Event) -> State | None:
        value = text(self._get(event))
        if value is None:
            return None
        time = event.time
        if state is None:
            return [time, time, value, {}]
        before, last = state[2], state[1]
        if time < last:
            return None
        state[1], state[2] = time, value
        if self._within_ms is None or time - last <= self._within_ms:
            weight = self._weight(state, time)
            self._count(state[3], before, value, weight)
        return state

    def _weight(self, state: State, time: int) -> float:
        """What an event weighs at the landmark, which is moved when that is more than a float can bear."""
        half_life = self._half_life_ms
        if half_life is None:
            return 1
        exponent = (time - state[0]) / half_life
        if exponent > _MAX_EXPONENT:
            kept = decay.factor(time - state[0], half_life)
            state[3] = {
                before: {after: score * kept for after, score in followers.items()}
                for before, followers in state[3].items()
            }
            state[0], exponent = time, 0.0
        return float(2.0**exponent)

    def _count(self, table: dict[str, dict[str, float]], before: str, after: str, weight: float) -> None:
        followers = table.get(before)
        if followers is None or after not in followers:
            if sum(map(len, table.values())) >= self.capacity:
                score, a, b = min((score, a, b) for a, scores in table.items() for b, score in scores.items())
                weight += score
                del table[a][b]
                if not table[a]:
                    del table[a]
            table.setdefault(before, {})[after] = weight
        else:
            followers[after] += weight

    def snapshot(self, state: State) -> Value:
        landmark, time, current, table = state
        half_life = self._half_life_ms
        kept = 1 if half_life is None else decay.factor(time - landmark, half_life)
        pairs = [(-score, a, b) for a, followers in table.items() for b, score in followers.items()]
        best = sorted(pairs)[: self.k]
        totals = {before: sum(table[before].values()) for _, before, _ in best}
        follower, probability = self._next(state)
        value: dict[str, Any] = {
            "current": current,
            "next": follower,
            "probability": probability,
            "top": [[before, after, -score * kept, _share(-score, totals[before])] for score, before, after in best],
        }
        if half_life is not None:
            value["at"] = time
        return value

    def _next(self, state: State) -> tuple[str | None, float | None]:
        followers = state[3].get(state[2])
        if not followers:
            return None, None
        score, follower = min((-score, follower) for follower, score in followers.items())
        return follower, _share(-score, sum(followers.values()))

    def advance(self, value: Value, now: int) -> Value:
        at = value.get("at")
        if at is None or self._half_life_ms is None or now <= at:
            return value
        kept = decay.factor(now - at, self._half_life_ms)
        top = [[before, after, score * kept, share] for before, after, score, share in value["top"]]
        return {**value, "top": top, "at": now}

    def category(self, state: State, now: int) -> str | None:
        return self._next(state)[0]

    @property
    def max_bytes(self) -> int:
        return 3 * NUMBER_BYTES + MAX_TEXT_BYTES + self.capacity * (2 * MAX_TEXT_BYTES + NUMBER_BYTES + 5)

    def input_names(self) -> tuple[str, ...]:
        return (f"{self.name}_probability",)

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        return (0.0 if state is None else self._next(state)[1] or 0.0,)


def _share(score: float, total: float) -> float:
    return score / total if total else 0.0
