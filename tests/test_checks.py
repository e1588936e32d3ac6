"""`check_feature` lets every feature of the library pass, and catches each way in which a user's own can be wrong."""

from __future__ import annotations

from typing import Any

import pytest

from stream_profiles import Event, Feature
from stream_profiles.checks import check_feature, random_events
from stream_profiles.errors import CheckFailed
from stream_profiles.features.base import NUMBER_BYTES, number
from tests.features.cases import CASES


@pytest.mark.parametrize("feature", CASES, ids=lambda feature: feature.name)
def test_every_feature_of_the_library_passes(feature: Feature) -> None:
    check_feature(feature, events=300, properties=("size", "zone"))


class Highest(Feature):
    """A feature as a user would write it: the highest price, and when it was."""

    mergeable = True
    order_free = True

    def update(self, state: Any, event: Event) -> Any:
        price = number(event.price)
        if price is None or (state is not None and price <= state[0]):
            return None
        return [price]

    def snapshot(self, state: Any) -> Any:
        return {"price": state[0]}

    def merge(self, a: Any, b: Any) -> Any:
        return [max(a[0], b[0])]

    @property
    def max_bytes(self) -> int:
        return NUMBER_BYTES + 1

    def input_names(self) -> tuple[str, ...]:
        return (f"{self.name}_price",)

    def inputs(self, state: Any, now: int) -> tuple[float, ...]:
        return (0.0,) if state is None else (state[0],)


def test_a_users_own_feature_passes() -> None:
    check_feature(Highest("highest"))


class Forgets(Highest):
    def __init__(self, name: str, *, above: float = 0.0, on: str | None = None, where: str | None = None) -> None:
        super().__init__(name, on=on, where=where)
        self._above = above


class Unstable(Highest):
    def __init__(
        self, name: str, *, tags: tuple[str, ...] = (), on: str | None = None, where: str | None = None
    ) -> None:
        super().__init__(name, on=on, where=where)
        self.tags = (*tags, "more")


class KeepsTuples(Highest):
    def update(self, state: Any, event: Event) -> Any:
        """Lists that hold tuples come back as lists of lists, which this takes for something else."""
        state = [(0,)] if state is None else state
        return [*state[:9], (1,)] if isinstance(state[-1], tuple) else [*state[:9], (2,)]


class ChangesEvent(Highest):
    def update(self, state: Any, event: Event) -> Any:
        event.price = 1.0
        return super().update(state, event)


class Counts(Highest):
    """Not the same the second time."""

    seen = 0

    def update(self, state: Any, event: Event) -> Any:
        type(self).seen += 1
        return [float(self.seen)]


class PublishesNothing(Highest):
    def snapshot(self, state: Any) -> Any:
        return None


class PublishesNan(Highest):
    def snapshot(self, state: Any) -> Any:
        return {"price": float("nan")}


class PublishesSets(Highest):
    def snapshot(self, state: Any) -> Any:
        return {"prices": {state[0]}}


class AgesTwice(Highest):
    def advance(self, value: Any, now: int) -> Any:
        return {"price": value["price"] + 1.0}


class AgesInPlace(Highest):
    def advance(self, value: Any, now: int) -> Any:
        value["price"] = 7.5
        return value


class GoesBack(Highest):
    def snapshot(self, state: Any) -> Any:
        return {"price": state[0], "at": 10**12}

    def advance(self, value: Any, now: int) -> Any:
        return {**value, "at": now}


class LooksAndChanges(Highest):
    def snapshot(self, state: Any) -> Any:
        state.append(1.0)
        return {"price": state[0]}


class NamelessInputs(Highest):
    def input_names(self) -> tuple[str, ...]:
        return ("price",)


class TooFewInputs(Highest):
    def inputs(self, state: Any, now: int) -> tuple[float, ...]:
        return ()


class InfiniteInputs(Highest):
    def inputs(self, state: Any, now: int) -> tuple[float, ...]:
        return (float("inf"),)


class Latest(Highest):
    """Claims that the order of arrival does not matter."""

    mergeable = False

    def update(self, state: Any, event: Event) -> Any:
        price = number(event.price)
        return None if price is None else [price]


class MergesWrongly(Highest):
    def merge(self, a: Any, b: Any) -> Any:
        return [a[0] + b[0] + 1.0]


class MergesInPlace(Highest):
    def merge(self, a: Any, b: Any) -> Any:
        a[0] = max(a[0], b[0])
        return list(a)


class TrustsNumbers(Highest):
    order_free = False
    mergeable = False

    def update(self, state: Any, event: Event) -> Any:
        if event.price is None:
            return None
        return [float(int(event.price))]


class Grows(Highest):
    order_free = False
    mergeable = False

    def update(self, state: Any, event: Event) -> Any:
        return [1.0] if state is None else [*state, 1.0]


@pytest.mark.parametrize(
    ("feature", "problem"),
    [
        (Forgets("mine", above=1.0), "parameters \\['above'\\] are not kept"),
        (Unstable("mine"), "has another key"),
        (KeepsTuples("mine"), "goes on otherwise once it was stored"),
        (ChangesEvent("mine"), "changes the event"),
        (Counts("mine"), "goes on otherwise|another state the second time"),
        (PublishesNothing("mine"), "publishes None"),
        (PublishesNan("mine"), "is no JSON"),
        (PublishesSets("mine"), "is no JSON"),
        (AgesTwice("mine"), "in two steps"),
        (AgesInPlace("mine"), "in place"),
        (GoesBack("mine"), "goes back in time"),
        (LooksAndChanges("mine"), "looking at a state changes it"),
        (NamelessInputs("mine"), "do not begin with"),
        (TooFewInputs("mine"), "not as many"),
        (InfiniteInputs("mine"), "not all finite"),
        (Latest("mine"), "order_free, and in another order"),
        (MergesWrongly("mine"), "two halves merge"),
        (MergesInPlace("mine"), "merge changes"),
        (TrustsNumbers("mine"), "strange input makes it fail"),
        (Grows("mine"), "max_bytes is"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_is_wrong_is_said(feature: Feature, problem: str) -> None:
    with pytest.raises(CheckFailed, match=problem):
        check_feature(feature)


def test_the_events_are_those_of_the_seed() -> None:
    assert random_events(50, seed=1) == random_events(50, seed=1) != random_events(50, seed=2)
    times = [event.time for event in random_events(200)]
    assert times != sorted(times), "some are late"
