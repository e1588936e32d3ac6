"""TopK and RecentItems: exact while there is room, bounded beyond."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles import Event, Feature, RecentItems, TopK
from stream_profiles.errors import DefinitionError
from tests.events import DAY, HOUR, T0, event, streams


def run(feature: Feature, *events: Event) -> Any:
    state = None
    for each in events:
        new = feature.update(state, each)
        state = state if new is None else new
    return state


def weights(events: list[Event], half_life: int, now: int) -> dict[str, float]:
    """What each category weighs at `now`, summed over all events."""
    exact: dict[str, float] = defaultdict(float)
    for each in events:
        if each.category is not None:
            exact[each.category] += 2.0 ** (-(now - each.time) / half_life)
    return exact


def test_the_best_come_first() -> None:
    top = TopK("categories", of="category", k=2, half_life="1d")
    events = [event(category=name) for name in ("hats", "shoes", "bags", "shoes", "bags", "shoes")]
    assert top.snapshot(run(top, *events)) == {"top": [["shoes", 3.0], ["bags", 2.0]], "at": T0}


def test_of_equal_ones_the_alphabet_decides_and_not_the_order() -> None:
    top = TopK("categories", of="category", k=2, half_life="1d")
    for names in (("b", "c", "a"), ("c", "a", "b")):
        assert top.snapshot(run(top, *(event(category=name) for name in names)))["top"] == [["a", 1.0], ["b", 1.0]]


def test_what_was_liked_long_ago_falls_back() -> None:
    top = TopK("categories", of="category", k=2, half_life="1d")
    state = run(top, *[event(category="old")] * 3, *[event(at=2 * DAY, category="new")] * 2)
    assert top.snapshot(state) == {"top": [["new", 2.0], ["old", 0.75]], "at": T0 + 2 * DAY}
    assert top.value(state, T0 + 3 * DAY) == {"top": [["new", 1.0], ["old", 0.375]], "at": T0 + 3 * DAY}


def test_scores_stay_in_range_for_ever() -> None:
    top = TopK("categories", of="category", k=2, half_life="1ms")
    state = run(top, event(category="a"), event(at=600, category="b"), event(at=DAY, category="a"), event(category="b"))
    assert top.snapshot(state) == {"top": [["a", 1.0], ["b", 0.0]], "at": T0 + DAY}


def test_a_full_table_lets_the_smallest_go_and_keeps_its_score() -> None:
    top = TopK("categories", of="category", k=2, capacity=2, half_life="1d")
    state = run(top, *(event(category=name) for name in ("a", "a", "b", "c")))
    assert top.snapshot(state)["top"] == [["a", 2.0], ["c", 2.0]]


@given(events=streams())
def test_while_there_is_room_scores_are_exact(events: list[Event]) -> None:
    top = TopK("categories", of="category", k=20, half_life="1d")
    state = run(top, *events)
    if state is not None:
        value = top.value(state, max(e.time for e in events))
        assert dict(value["top"]) == pytest.approx(weights(events, DAY, value["at"]), rel=1e-9)
        assert [score for _, score in value["top"]] == sorted((score for _, score in value["top"]), reverse=True)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6).map(lambda step: step * HOUR)), min_size=1, max_size=80)
)
def test_a_full_table_is_wrong_by_no_more_than_its_smallest_score(drawn: list[tuple[int, int]]) -> None:
    """The bound of Space-Saving: no score is too low, and none too high by more than the smallest."""
    top = TopK("categories", of="category", k=4, capacity=4, half_life="1d")
    time, events = 0, []
    for category, step in drawn:
        time += step
        events.append(event(at=time, category=f"c{category}"))
    now = T0 + time
    kept = dict(top.value(run(top, *events), now)["top"])
    exact = weights(events, DAY, now)
    total, smallest = sum(exact.values()), min(kept.values()) if len(kept) == 4 else 0.0
    rounding = 1e-9 * total
    for name, score in kept.items():
        assert exact[name] - rounding <= score <= exact[name] + smallest + rounding
    assert smallest <= total / 4 + rounding
    for name, weight in exact.items():
        assert name in kept or weight <= smallest + rounding


def test_numbers_and_flags_count_as_their_text() -> None:
    top = TopK("sizes", of="properties.size", half_life="1d")
    sizes: list[Any] = [38, "38", True, None, [1], {}]
    assert top.snapshot(run(top, *(event(properties={"size": size}) for size in sizes)))["top"] == [
        ["38", 2.0],
        ["True", 1.0],
    ]


def test_what_makes_no_top_is_refused() -> None:
    with pytest.raises(DefinitionError, match="exactly one half_life"):
        TopK("categories", of="category", half_life=("1h", "1d"))  # type: ignore[arg-type]
    for k, capacity in ((0, None), (5, 4)):
        with pytest.raises(DefinitionError, match="k must be at least 1 and capacity at least k"):
            TopK("categories", of="category", half_life="1d", k=k, capacity=capacity)


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


def test_nothing_is_not_enough_items() -> None:
    with pytest.raises(DefinitionError, match="n must be at least 1"):
        RecentItems("recent", n=0)
