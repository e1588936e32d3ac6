"""RecentItems, UniqueList and LastN: lists in the order of time, whatever the order of arrival."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from stream_profiles import Event, Feature, LastN, RecentItems, UniqueList
from stream_profiles.errors import DefinitionError
from tests.events import T0, event, streams


def run(feature: Feature, *events: Event) -> Any:
    state = None
    for each in events:
        new = feature.update(state, each)
        state = state if new is None else new
    return state


def test_recent_items_are_different_and_newest_first() -> None:
    recent = RecentItems("recent", n=3)
    items = [event(at=at, item_id=item) for at, item in enumerate("abcbd")]
    assert recent.snapshot(run(recent, *items)) == ["d", "b", "c"]


def test_of_items_of_one_time_the_last_to_arrive_is_the_newest() -> None:
    recent = RecentItems("recent", n=3)
    assert recent.snapshot(run(recent, *(event(item_id=item) for item in "abca"))) == ["a", "c", "b"]


def test_a_late_item_takes_the_place_of_its_time() -> None:
    recent = RecentItems("recent", n=3)
    newest = run(recent, event(at=10, item_id="a"), event(at=20, item_id="b"))
    assert recent.snapshot(
        run(recent, event(at=10, item_id="a"), event(at=20, item_id="b"), event(at=15, item_id="c"))
    ) == [
        "b",
        "c",
        "a",
    ]
    assert recent.update(newest, event(at=5, item_id="b")) is None, "it was seen later than that"
    assert recent.update([[T0 + 9, "x"], [T0 + 8, "y"], [T0 + 7, "z"]], event(at=6, item_id="w")) is None, "no room"


@given(events=streams(distinct_times=True))
def test_recent_items_are_those_seen_last(events: list[Event]) -> None:
    recent = RecentItems("recent", n=3)
    state = run(recent, *events)
    last = {e.item_id: e.time for e in sorted(events, key=lambda e: e.time) if e.item_id is not None}
    expected = sorted(last, key=lambda item: -last[item])[:3]
    assert (recent.snapshot(state) if state is not None else []) == expected


def test_first_values_stay_in_the_order_of_their_first_time() -> None:
    unique = UniqueList("devices", of="device", n=3)
    state = run(unique, *(event(at=at, device=name) for at, name in enumerate("bacad")))
    assert unique.snapshot(state) == ["b", "a", "c"], "d is one too many"
    assert unique.update(state, event(at=9, device="b")) is None
    assert unique.snapshot(run(unique, event(device="b"), event(device="a"))) == ["b", "a"], "at one time, as they came"


def test_a_late_event_may_show_that_a_value_was_there_before() -> None:
    unique = UniqueList("devices", of="device", n=2)
    state = run(unique, event(at=5, device="a"), event(at=6, device="b"), event(at=7, device="c"))
    assert unique.snapshot(unique.update(state, event(at=4, device="b"))) == ["b", "a"]
    assert unique.snapshot(unique.update(state, event(at=3, device="c"))) == ["c", "b"]


@given(events=streams(distinct_times=True))
def test_unique_values_are_those_that_came_first(events: list[Event]) -> None:
    unique = UniqueList("categories", of="category", n=3)
    state = run(unique, *events)
    seen = [e.category for e in sorted(events, key=lambda e: e.time) if e.category is not None]
    assert (unique.snapshot(state) if state is not None else []) == list(dict.fromkeys(seen))[:3]


def test_last_values_may_repeat_and_keep_their_kind() -> None:
    last = LastN("sizes", of="properties.size", n=4)
    sizes: list[Any] = [38, "38", 38, True, 2.5, None, float("nan"), [1], {}]
    assert repr(last.snapshot(run(last, *(event(properties={"size": size}) for size in sizes)))) == (
        "[2.5, True, 38, '38']"
    )


def test_a_number_too_long_to_store_is_kept_as_its_text() -> None:
    last = LastN("sizes", of="properties.size")
    assert last.snapshot(run(last, event(properties={"size": 2**63}))) == [str(2**63)]


def test_a_late_value_takes_the_place_of_its_time() -> None:
    last = LastN("categories", of="category", n=2)
    state = run(last, event(at=5, category="a"), event(at=9, category="b"), event(at=7, category="c"))
    assert last.snapshot(state) == ["b", "c"]
    assert last.update(state, event(at=6, category="d")) is None, "no room"


@given(events=streams(distinct_times=True))
def test_last_values_are_those_of_the_latest_events(events: list[Event]) -> None:
    last = LastN("categories", of="category", n=3)
    state = run(last, *events)
    seen = [e.category for e in sorted(events, key=lambda e: -e.time) if e.category is not None]
    assert (last.snapshot(state) if state is not None else []) == seen[:3]


@pytest.mark.parametrize("kind", [RecentItems, UniqueList, LastN])
def test_nothing_is_not_enough(kind: type[RecentItems] | type[UniqueList] | type[LastN]) -> None:
    with pytest.raises(DefinitionError, match="n must be at least 1"):
        kind("recent", of="item_id", n=0)
