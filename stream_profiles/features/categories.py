"""TopK and RecentItems: what a user likes, and what they looked at last."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter

from ..contracts import Event
from ..durations import Duration
from ..errors import DefinitionError
from . import decay
from .base import MAX_TEXT_BYTES, NUMBER_BYTES, Feature, State, Value, field_getter, text

#: Scores grow by 2 per half-life against a fixed landmark; they are brought back before a float could overflow.
_MAX_EXPONENT = 512.0


class TopK(Feature):
    """The values seen most, by decayed counts, best first.

    Keeps at most `capacity` candidates. When a new value arrives and the table is full, it takes the place and the
    score of the smallest one (Space-Saving: Metwally et al., ICDT 2005), so a score is too high by at most the smallest
    one kept, and a value with more than 1/capacity of all weight is never missed.
    State: `[landmark, last time, {value: score at the landmark}]` (forward decay).

    Parameters:
        name: Field name.
        of: Event field whose values are counted.
        half_life: A count loses half its weight in this time.
        k: How many to publish.
        capacity: How many candidates to keep; four times k when not given.
        on: Event type(s); None for all.

    Examples:
        >>> from stream_profiles import Event, TopK
        >>> top = TopK("categories", of="category", k=2, half_life="7d")
        >>> state = None
        >>> for n, category in enumerate(["shoes", "hats", "shoes"]):
        ...     state = top.update(state, Event(event_id=str(n), user_id="u", type="view", time=0, category=category))
        >>> top.snapshot(state)
        {'top': [['shoes', 2.0], ['hats', 1.0]], 'at': 0}
    """

    def __init__(
        self,
        name: str,
        *,
        of: str,
        half_life: Duration,
        k: int = 10,
        capacity: int | None = None,
        on: str | Iterable[str] | None = None,
    ) -> None:
        super().__init__(name, on=on)
        parsed = decay.parse(self, half_life)
        if len(parsed) != 1:
            raise DefinitionError(f"{self!r} takes exactly one half_life")
        self.of = of
        self.half_life, self._half_life_ms = next(iter(parsed.items()))
        self.k = k
        self.capacity = 4 * k if capacity is None else capacity
        if k < 1 or self.capacity < k:
            raise DefinitionError(f"{self!r}: k must be at least 1 and capacity at least k")
        self._get = field_getter(self, of)

    def update(self, state: State | None, event: Event) -> State | None:
        value = text(self._get(event))
        if value is None:
            return None
        time = event.time
        if state is None:
            return [time, time, {value: 1.0}]
        exponent = (time - state[0]) / self._half_life_ms
        if exponent > _MAX_EXPONENT:
            kept = decay.factor(time - state[0], self._half_life_ms)
            state[2] = {name: score * kept for name, score in state[2].items()}
            state[0], exponent = time, 0.0
        scores = state[2]
        weight = 2.0**exponent if exponent > -1074.0 else 0.0
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

    def snapshot(self, state: State) -> Value:
        landmark, time, scores = state
        kept = decay.factor(time - landmark, self._half_life_ms)
        best = sorted([(-score, value) for value, score in scores.items()])[: self.k]
        return {"top": [[value, -score * kept] for score, value in best], "at": time}

    def advance(self, value: Value, now: int) -> Value:
        if now <= value["at"]:
            return value
        kept = decay.factor(now - value["at"], self._half_life_ms)
        return {"top": [[name, score * kept] for name, score in value["top"]], "at": now}

    @property
    def max_bytes(self) -> int:
        return self.capacity * (MAX_TEXT_BYTES + NUMBER_BYTES) + 3 * NUMBER_BYTES


class RecentItems(Feature):
    """The last `n` different items, newest first, by event time.

    State: `[[time, item], ...]`, newest first.

    Parameters:
        name: Field name.
        of: Event field with the item.
        n: How many to keep.
        on: Event type(s); None for all.

    Examples:
        >>> from stream_profiles import Event, RecentItems
        >>> recent = RecentItems("recent", n=2)
        >>> state = None
        >>> for n, item in enumerate(["a", "b", "a", "c"]):
        ...     state = recent.update(state, Event(event_id=str(n), user_id="u", type="view", time=n, item_id=item))
        >>> recent.snapshot(state)
        ['c', 'a']
    """

    mergeable = True

    def __init__(self, name: str, *, of: str = "item_id", n: int = 20, on: str | Iterable[str] | None = None) -> None:
        super().__init__(name, on=on)
        if n < 1:
            raise DefinitionError(f"{self!r}: n must be at least 1")
        self.of = of
        self.n = n
        self._get = field_getter(self, of)

    def update(self, state: State | None, event: Event) -> State | None:
        item = text(self._get(event))
        if item is None:
            return None
        entry = [event.time, item]
        if state is None:
            return [entry]
        for index, (time, known) in enumerate(state):
            if known == item:
                if time > event.time:
                    return None
                del state[index]
                break
        position = 0
        while position < len(state) and state[position][0] > event.time:
            position += 1
        if position >= self.n:
            return None
        state.insert(position, entry)
        del state[self.n :]
        return state

    def snapshot(self, state: State) -> Value:
        return [item for _, item in state]

    def merge(self, a: State, b: State) -> State:
        latest: dict[str, int] = {}
        for time, item in [*a, *b]:
            latest[item] = max(time, latest.get(item, time))
        return [[time, item] for item, time in sorted(latest.items(), key=lambda entry: -entry[1])][: self.n]

    @property
    def max_bytes(self) -> int:
        return self.n * (MAX_TEXT_BYTES + NUMBER_BYTES + 1) + 3
