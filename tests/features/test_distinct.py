"""DistinctCount against sets."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles import DistinctCount, Event
from stream_profiles.errors import DefinitionError
from tests.events import DAY, HOUR, T0, event, streams


def run(feature: DistinctCount, *events: Event) -> Any:
    state = None
    for each in events:
        new = feature.update(state, each)
        state = state if new is None else new
    return state


def items(numbers: Any) -> list[Event]:
    return [event(item_id=f"item-{number}") for number in numbers]


def test_few_values_are_counted_exactly() -> None:
    distinct = DistinctCount("items", of="item_id")
    for count in (1, 8, 9, 100, 192):
        state = run(distinct, *items(range(count)), *items(range(count)))
        assert distinct.snapshot(state) == {"lifetime": count}
        assert distinct.inputs(state, T0) == (count,)
    assert distinct.inputs(None, T0) == (0.0,)


@pytest.mark.parametrize(("precision", "error"), [(9, 0.046), (11, 0.023), (14, 0.0081)])
def test_many_values_are_counted_within_the_error(precision: int, error: float) -> None:
    distinct = DistinctCount("items", of="item_id", precision=precision)
    for count in (3_000, 20_000):
        assert distinct.snapshot(run(distinct, *items(range(count))))["lifetime"] == pytest.approx(count, rel=3 * error)


@pytest.mark.parametrize("count", [60, 193, 1_000])
def test_neither_order_nor_parts_matter(count: int) -> None:
    distinct = DistinctCount("items", of="item_id", precision=9, window="1d", resolution="1h")
    events = [event(at=n % 7 * HOUR, item_id=f"item-{n}") for n in range(count)]
    whole = run(distinct, *events)
    value = distinct.snapshot(whole)
    for seed in range(5):
        random_ = random.Random(seed)
        shuffled = random_.sample(events, count)
        state = run(distinct, *shuffled)
        assert distinct.snapshot(state) == value
        half = random_.randrange(1, count)
        merged = distinct.merge(run(distinct, *shuffled[:half]), run(distinct, *shuffled[half:]))
        assert distinct.snapshot(merged) == value
        if count > 100:
            assert state[1] == merged[1] == whole[1], "a dense sketch is the same to the bit"


def test_a_value_that_is_known_changes_nothing() -> None:
    distinct = DistinctCount("items", of="item_id")
    for count in (5, 150, 500):
        state = run(distinct, *items(range(count)))
        assert distinct.update(state, event(at=DAY, item_id="item-3")) is None
    assert distinct.update(state, event()) is None


def test_an_empty_text_is_a_value_and_a_number_is_its_text() -> None:
    distinct = DistinctCount("sizes", of="properties.size")
    sizes = ["", 38, "38", 38.0, True, None, [1]]
    assert distinct.snapshot(run(distinct, *(event(properties={"size": size}) for size in sizes))) == {"lifetime": 4}


def test_a_value_is_found_where_it_was_stored() -> None:
    """The sketch of an earlier release, in another process: "a", "b" and "c" are in it."""
    distinct = DistinctCount("items", of="item_id")
    stored = [T0, bytes.fromhex("0201070b0308030867cef70e839848076cb72116")]
    assert distinct.snapshot(stored) == {"lifetime": 3}
    assert all(distinct.update(stored, event(item_id=item)) is None for item in "abc")
    assert distinct.update(stored, event(item_id="d")) is not None


@given(events=streams(), after=st.sampled_from([0, HOUR, 5 * DAY, 8 * DAY]))
def test_a_window_counts_the_values_of_the_events_in_it(events: list[Event], after: int) -> None:
    distinct = DistinctCount("items", of="item_id", window="7d", resolution="12h", lifetime=False)
    state = run(distinct, *events)
    if state is None:
        return
    seen = [e for e in events if e.item_id is not None]
    now = max(e.time for e in seen) + after
    expected = {e.item_id for e in seen if e.time // (12 * HOUR) >= (now - 7 * DAY) // (12 * HOUR)}
    assert distinct.value(state, now)["last_7d"] == len(expected)
    assert distinct.inputs(state, now) == (len(expected),)


def test_what_counts_nothing_is_refused() -> None:
    with pytest.raises(DefinitionError, match="precision must be from 9 to 16, not 4"):
        DistinctCount("items", of="item_id", precision=4)
    with pytest.raises(DefinitionError, match="keeps nothing: give it a window"):
        DistinctCount("items", of="item_id", lifetime=False)
