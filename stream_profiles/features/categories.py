"""TopK, MostFrequent, LeastFrequent and CategoryShares: what a user likes, by how often they met it.

The counting is in `tallies`; here is what is made of the counts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from ..contracts import MAX_ID_LENGTH, Event
from ..durations import Duration
from ..errors import DefinitionError
from . import decay, tallies
from .base import Feature, State, Value, field_getter, text
from .tallies import Fading, Sliding, Tallied, Weights


class _Counted(Tallied):
    """Something that is made of how often each value of a field was there."""

    def __init__(
        self,
        name: str,
        *,
        of: str,
        half_life: Duration | None,
        window: Duration | None,
        resolution: Duration | None,
        capacity: int,
        on: str | Iterable[str] | None,
        where: str | None,
    ) -> None:
        super().__init__(
            name, half_life=half_life, window=window, resolution=resolution, capacity=capacity, on=on, where=where
        )
        self.of = of
        self._get = field_getter(self, of)

    def update(self, state: State | None, event: Event) -> State | None:
        value = text(self._get(event))
        return None if value is None else self._tally.add(state, value, event.time)


class TopK(_Counted):
    """The values seen most, by decayed counts or in a sliding window, best first.

    Keeps at most `capacity` candidates. When a new value arrives and the table is full, it takes the place and the
    score of the smallest one (Space-Saving: Metwally et al., ICDT 2005). By half-life, a score is too high by at most
    the smallest one kept, and a value with more than 1/capacity of all weight is never missed. In a window, counts are
    exact as long as it has no more than `capacity` different values.

    Parameters:
        name: Field name.
        of: Event field whose values are counted.
        half_life: A count loses half its weight in this time.
        k: How many to publish.
        capacity: How many candidates to keep; four times k when not given.
        on: Event type(s); None for all.
        where: Condition on the events.
        window: Instead of a half-life: count what lies within this time, exact at its resolution.
        resolution: How long the tiles of the window are; 1/24 of the window or less when not given.

    Published: `top`, pairs of value and score; `at`, and for a window `then`.

    Examples:
        >>> from stream_profiles import Event, TopK
        >>> top = TopK("categories", of="category", k=2, half_life="7d")
        >>> state = None
        >>> for n, category in enumerate(["shoes", "hats", "shoes"]):
        ...     state = top.update(state, Event(event_id=str(n), user_id="u", type="view", time=0, category=category))
        >>> top.snapshot(state)
        {'top': [['shoes', 2.0], ['hats', 1.0]], 'at': 0}
    """

    added_parameters = Feature.added_parameters | {"window", "resolution"}

    def __init__(
        self,
        name: str,
        *,
        of: str,
        half_life: Duration | None = None,
        k: int = 10,
        capacity: int | None = None,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
        window: Duration | None = None,
        resolution: Duration | None = None,
    ) -> None:
        self.name = name
        if (half_life is None) == (window is None):
            raise DefinitionError(f"{self!r} takes exactly one half_life or exactly one window")
        self.k = k
        super().__init__(
            name,
            of=of,
            half_life=half_life,
            window=window,
            resolution=resolution,
            capacity=4 * k if capacity is None else capacity,
            on=on,
            where=where,
        )
        if k < 1 or self.capacity < k:
            raise DefinitionError(f"{self!r}: k must be at least 1 and capacity at least k")

    def result(self, weights: Weights) -> dict[str, Any]:
        best = sorted([(-weight, value) for value, weight in weights.items()])[: self.k]
        return {"top": [[value, -weight] for weight, value in best]}

    def snapshot(self, state: State) -> Value:
        value = super().snapshot(state)
        tally = self._tally
        if isinstance(tally, Fading):
            kept = tally.kept(state)
            return {"top": [[name, score * kept] for name, score in value["top"]], "at": state[1]}
        return value

    def advance(self, value: Value, now: int) -> Value:
        tally = self._tally
        if now <= value["at"] or isinstance(tally, Sliding):
            return super().advance(value, now)
        assert tally.half_life_ms is not None
        kept = decay.factor(now - value["at"], tally.half_life_ms)
        return {"top": [[name, score * kept] for name, score in value["top"]], "at": now}


class _OneOf(_Counted):
    """One value of those that were there, as its text."""

    def __init__(
        self,
        name: str,
        *,
        of: str,
        half_life: Duration | None = None,
        window: Duration | None = None,
        resolution: Duration | None = None,
        capacity: int = 40,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(
            name,
            of=of,
            half_life=half_life,
            window=window,
            resolution=resolution,
            capacity=capacity,
            on=on,
            where=where,
        )
        if capacity < 1:
            raise DefinitionError(f"{self!r}: capacity must be at least 1")

    @abstractmethod
    def choose(self, weights: Weights) -> str:
        """The one, of at least one."""

    def result(self, weights: Weights) -> dict[str, Any]:
        return {"value": self.choose(weights) if weights else None}

    def snapshot(self, state: State) -> Value:
        value = super().snapshot(state)
        return value if isinstance(self._tally, Sliding) else value["value"]

    def category(self, state: State, now: int) -> str | None:
        weights = self._tally.weights(state, now)
        return self.choose(weights) if weights else None


class MostFrequent(_OneOf):
    """The value that is there most often: since ever, by decayed counts, or in a sliding window.

    Exact as long as there are no more than `capacity` different values (in the window, where there is one). With more,
    a value that is there less than 1/capacity of the time may be taken for it. Of values that are equally frequent, the
    first by alphabet.

    Parameters:
        name: Field name.
        of: Event field whose values are counted.
        half_life: A count loses half its weight in this time.
        window: Instead of a half-life: count what lies within this time, exact at its resolution.
        resolution: How long the tiles of the window are; 1/24 of the window or less when not given.
        capacity: How many different values to keep.
        on: Event type(s); None for all.
        where: Condition on the events.

    Published: the value, a text. With a window it changes as time goes by, so it is `value` (None when the window is
    empty), `at` and `then`.

    Examples:
        >>> from stream_profiles import Event, MostFrequent
        >>> device = MostFrequent("device", of="device")
        >>> state = None
        >>> for n, name in enumerate(["phone", "laptop", "phone"]):
        ...     state = device.update(state, Event(event_id=str(n), user_id="u", type="view", time=n, device=name))
        >>> device.snapshot(state)
        'phone'
    """

    def choose(self, weights: Weights) -> str:
        return str(min([(-weight, value) for value, weight in weights.items()])[1])


class LeastFrequent(_OneOf):
    """Of the values that were there, the rarest: since ever, by decayed counts, or in a sliding window.

    A value that never was there is not one of them. Of values that are equally rare, the first by alphabet. Exact as
    long as there are no more than `capacity` different values (in the window, where there is one). With more, a table
    of bounded size cannot know: the rarest are the ones that made room, so what is published is merely the rarest of
    those that are kept. Choose `capacity` above the number of different values a user can have, or a field with few.

    Parameters:
        name: Field name.
        of: Event field whose values are counted.
        half_life: A count loses half its weight in this time; the rarest is then mostly the one not seen for longest.
        window: Instead of a half-life: count what lies within this time, exact at its resolution.
        resolution: How long the tiles of the window are; 1/24 of the window or less when not given.
        capacity: How many different values to keep.
        on: Event type(s); None for all.
        where: Condition on the events.

    Published: the value, a text. With a window it changes as time goes by, so it is `value` (None when the window is
    empty), `at` and `then`.

    Examples:
        >>> from stream_profiles import Event, LeastFrequent
        >>> device = LeastFrequent("rare_device", of="device")
        >>> state = None
        >>> for n, name in enumerate(["phone", "laptop", "phone"]):
        ...     state = device.update(state, Event(event_id=str(n), user_id="u", type="view", time=n, device=name))
        >>> device.snapshot(state)
        'laptop'
    """

    def choose(self, weights: Weights) -> str:
        return str(min(weights.items(), key=itemgetter(1, 0))[0])


class CategoryShares(_Counted):
    """How a user's events divide among the values of a field: since ever, by decayed counts, or in a sliding window.

    With `values`, the shares of these: exact whatever arrives, and numbers for a model. Without, the shares of the `k`
    values there most, exact as long as there are no more than `capacity` different ones (in the window, where there is
    one).

    Parameters:
        name: Field name.
        of: Event field whose values are counted.
        half_life: A count loses half its weight in this time.
        window: Instead of a half-life: count what lies within this time, exact at its resolution.
        resolution: How long the tiles of the window are; 1/24 of the window or less when not given.
        values: The values to tell the shares of.
        k: Without `values`: how many to publish.
        capacity: Without `values`: how many different ones to keep; four times k when not given.
        on: Event type(s); None for all.
        where: Condition on the events.

    Published: `shares`, by value, the largest first (with `values`, in their order), and the share of all `other`
    values together. With a window they change as time goes by, so there are `at` and `then`; in an empty window all
    are 0.

    Examples:
        >>> from stream_profiles import CategoryShares, Event
        >>> shares = CategoryShares("devices", of="device", values=["phone", "tablet"])
        >>> state = None
        >>> for n, name in enumerate(["phone", "laptop", "phone", "phone"]):
        ...     state = shares.update(state, Event(event_id=str(n), user_id="u", type="view", time=n, device=name))
        >>> shares.snapshot(state)
        {'shares': {'phone': 0.75, 'tablet': 0.0}, 'other': 0.25}
    """

    def __init__(
        self,
        name: str,
        *,
        of: str,
        half_life: Duration | None = None,
        window: Duration | None = None,
        resolution: Duration | None = None,
        values: Iterable[str] | None = None,
        k: int = 10,
        capacity: int | None = None,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
    ) -> None:
        self.name = name
        self.values = self._checked(values)
        self.k = k
        super().__init__(
            name,
            of=of,
            half_life=half_life,
            window=window,
            resolution=resolution,
            capacity=len(self.values) + 1 if self.values else 4 * k if capacity is None else capacity,
            on=on,
            where=where,
        )
        if k < 1 or self.capacity < (1 if self.values else k):
            raise DefinitionError(f"{self!r}: k must be at least 1 and capacity at least k")
        self._known = None if self.values is None else frozenset(self.values)

    def _checked(self, values: Iterable[str] | None) -> list[str] | None:
        if values is None:
            return None
        listed = [values] if isinstance(values, str) else list(values)
        if not listed or not all(isinstance(value, str) and text(value) == value for value in listed):
            raise DefinitionError(f"{self!r}: values= takes a list of texts of at most {MAX_ID_LENGTH} characters")
        if len(set(listed)) < len(listed):
            raise DefinitionError(f"{self!r}: a value is given twice in values={listed}")
        if "other" in listed:
            raise DefinitionError(f"{self!r}: 'other' is what all values that are not in values= are called")
        return listed

    def update(self, state: State | None, event: Event) -> State | None:
        value: str | int | None = text(self._get(event))
        if value is None:
            return None
        if self._known is not None and value not in self._known:
            value = _OTHER
        return self._tally.add(state, value, event.time)

    def result(self, weights: Weights) -> dict[str, Any]:
        if self.values is None:
            return tallies.shares(weights, self.k)
        total = sum(weights.values()) or 1
        own = {value: weights.get(value, 0) / total for value in self.values}
        return {"shares": own, "other": weights.get(_OTHER, 0) / total}

    def input_names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}_{value}" for value in (*self.values, "other")) if self.values else ()

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if self.values is None:
            return ()
        value = self.result({} if state is None else self._tally.weights(state, now))
        return (*value["shares"].values(), value["other"])


#: Stands in a table for all values that are not listed; no text is equal to it.
_OTHER = 0
