"""TopK, MostFrequent, LeastFrequent and CategoryShares: exact while there is room, bounded beyond."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles import CategoryShares, Event, Feature, LeastFrequent, MostFrequent, TopK
from stream_profiles.errors import DefinitionError
from tests.events import DAY, HOUR, MINUTE, T0, event, streams


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


def in_window(events: list[Event], now: int, size: int, tile: int) -> Counter[str]:
    """How often each category is in the tiles that a window covers at `now`."""
    covered = [e for e in events if e.time // tile >= (now - size) // tile]
    return Counter(e.category for e in covered if e.category is not None)


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


def test_a_state_of_before_there_were_windows_goes_on() -> None:
    """As it is in the changelogs of earlier releases: the landmark, the last time, scores at the landmark."""
    top = TopK("categories", of="category", k=2, half_life="1d")
    state = [T0, T0 + DAY, {"hats": 1.0, "shoes": 2.0}]
    assert top.update(state, event(at=DAY, category="hats")) == [T0, T0 + DAY, {"hats": 3.0, "shoes": 2.0}]
    assert top.snapshot(state) == {"top": [["hats", 1.5], ["shoes", 1.0]], "at": T0 + DAY}


def test_what_left_the_window_does_not_count() -> None:
    top = TopK("categories", of="category", k=2, window="1d", resolution="1h")
    state = run(top, *[event(category="old")] * 3, event(at=DAY, category="new"), event(at=DAY, category="newer"))
    assert top.snapshot(state) == {
        "top": [["old", 3], ["new", 1]],
        "at": T0 + DAY,
        "then": {"top": [[T0 + DAY + HOUR, [["new", 1], ["newer", 1]]], [T0 + 2 * DAY + HOUR, []]]},
    }
    assert top.value(state, T0 + DAY + HOUR)["top"] == [["new", 1], ["newer", 1]]
    assert top.value(state, T0 + 3 * DAY)["top"] == []


@given(events=streams(), after=st.sampled_from([0, MINUTE, HOUR, DAY, 8 * DAY]))
def test_a_windows_counts_are_those_of_the_events_in_it(events: list[Event], after: int) -> None:
    top = TopK("categories", of="category", k=3, capacity=20, window="7d", resolution="12h")
    state = run(top, *events)
    if state is None:
        return
    counted = [e for e in events if e.category is not None]
    now = max(e.time for e in counted) + after
    counts = in_window(counted, now, 7 * DAY, 12 * HOUR)
    expected = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:3]
    assert top.value(state, now)["top"] == [[name, count] for name, count in expected]


def test_a_full_window_first_gives_the_places_of_what_left_it() -> None:
    top = TopK("categories", of="category", k=2, capacity=2, window="1d", resolution="1h")
    events = [event(category="a"), event(at=2 * DAY, category="b"), event(at=2 * DAY, category="c")]
    assert top.snapshot(run(top, *events))["top"] == [["b", 1], ["c", 1]]
    crowded = run(top, *events, event(at=2 * DAY, category="b"), event(at=2 * DAY + HOUR, category="d"))
    assert top.snapshot(crowded)["top"] == [["b", 2], ["d", 2]], "c made room for d, and left its count"
    assert top.value(crowded, T0 + 3 * DAY + HOUR)["top"] == [["d", 1]], "which leaves the window in its time"


def test_an_event_from_before_the_window_changes_nothing() -> None:
    top = TopK("categories", of="category", window="1d", resolution="1h")
    state = run(top, event(at=3 * DAY, category="a"))
    assert top.update(state, event(category="b")) is None
    assert top.update(state, event(at=2 * DAY, category="b")) == state
    assert dict(top.snapshot(state)["top"]) == {"a": 1, "b": 1}


def test_what_makes_no_top_is_refused() -> None:
    with pytest.raises(DefinitionError, match="exactly one half_life"):
        TopK("categories", of="category")
    with pytest.raises(DefinitionError, match="exactly one half_life or exactly one window"):
        TopK("categories", of="category", half_life="1d", window="1d")
    with pytest.raises(DefinitionError, match="at most one half_life or one window"):
        TopK("categories", of="category", half_life=("1h", "1d"))  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="resolution= cuts a window into tiles, and there is no window="):
        TopK("categories", of="category", half_life="1d", resolution="1h")
    for k, capacity in ((0, None), (5, 4)):
        with pytest.raises(DefinitionError, match="k must be at least 1 and capacity at least k"):
            TopK("categories", of="category", half_life="1d", k=k, capacity=capacity)


@pytest.mark.parametrize("kind", [MostFrequent, LeastFrequent])
def test_one_value_of_all(kind: type[MostFrequent] | type[LeastFrequent]) -> None:
    feature = kind("category", of="category")
    state = run(feature, *(event(category=name) for name in ("b", "c", "a", "c", "b", "d")))
    expected = "b" if kind is MostFrequent else "a"
    assert feature.snapshot(state) == feature.category(state, T0) == expected, "of equals the first by alphabet"
    assert feature.advance(expected, T0 + DAY) == expected
    assert feature.update(state, event()) is None


def test_the_most_frequent_lately_is_not_the_most_frequent_ever() -> None:
    ever, lately = (MostFrequent("channel", of="channel", half_life=half_life) for half_life in (None, "1d"))
    events = [*[event(channel="ads")] * 3, *[event(at=2 * DAY, channel="mail")] * 2]
    assert ever.snapshot(run(ever, *events)) == "ads"
    assert lately.snapshot(run(lately, *events)) == "mail"


def test_in_a_window_the_one_value_changes_as_time_goes_by() -> None:
    most = MostFrequent("channel", of="channel", window="1d", resolution="1h")
    least = LeastFrequent("channel", of="channel", window="1d", resolution="1h")
    events = [*[event(channel="ads")] * 3, *[event(at=5 * HOUR, channel="mail")] * 2]
    one, other = run(most, *events), run(least, *events)
    assert most.snapshot(one) == {
        "value": "ads",
        "at": T0 + 5 * HOUR,
        "then": {"value": [[T0 + DAY + HOUR, "mail"], [T0 + DAY + 6 * HOUR, None]]},
    }
    assert least.value(other, T0 + DAY)["value"] == "mail"
    for now, expected in ((5 * HOUR, "ads"), (DAY + HOUR, "mail"), (2 * DAY, None)):
        assert most.category(one, T0 + now) == most.value(one, T0 + now)["value"] == expected
    assert least.category(other, T0 + 2 * DAY) is None


@given(events=streams(), half_life=st.sampled_from([None, "1d"]))
def test_one_value_is_that_of_all_events(events: list[Event], half_life: str | None) -> None:
    most = MostFrequent("category", of="category", half_life=half_life)
    least = LeastFrequent("category", of="category", half_life=half_life)
    state = run(most, *events)
    if state is not None:
        now = max(e.time for e in events)
        exact = weights(events, DAY if half_life else 10**24, now)
        assert exact[most.snapshot(state)] == pytest.approx(max(exact.values()), rel=1e-9)
        assert exact[least.snapshot(run(least, *events))] == pytest.approx(min(exact.values()), rel=1e-9)


def test_a_table_without_room_is_refused() -> None:
    with pytest.raises(DefinitionError, match="capacity must be at least 1"):
        MostFrequent("category", of="category", capacity=0)
    with pytest.raises(DefinitionError, match="at most one half_life or one window, not several"):
        LeastFrequent("category", of="category", half_life="1d", window="1d")


def test_shares_of_the_largest_and_the_rest() -> None:
    shares = CategoryShares("categories", of="category", k=2)
    state = run(shares, *(event(category=name) for name in "aabbacde"))
    assert shares.snapshot(state) == {"shares": {"a": 0.375, "b": 0.25}, "other": 0.375}
    assert list(shares.snapshot(state)["shares"]) == ["a", "b"]
    assert shares.input_names() == shares.inputs(state, T0) == ()


def test_shares_of_known_values_are_numbers_for_a_model() -> None:
    shares = CategoryShares("devices", of="device", values=["phone", "0"], half_life="1d")
    assert shares.input_names() == ("devices_phone", "devices_0", "devices_other")
    assert shares.inputs(None, T0) == (0.0, 0.0, 0.0)
    state = run(shares, event(device="phone"), event(at=DAY, device="laptop"), event(at=DAY, device="tablet"))
    assert shares.snapshot(state) == {"shares": {"phone": 0.2, "0": 0.0}, "other": 0.8}
    assert shares.inputs(state, T0 + 9 * DAY) == (0.2, 0.0, 0.8)


def test_shares_in_a_window() -> None:
    shares = CategoryShares("categories", of="category", values=["a", "b"], window="1d", resolution="1h")
    state = run(shares, event(category="a"), event(at=5 * HOUR, category="b"), event(at=5 * HOUR, category="c"))
    assert shares.snapshot(state)["other"] == pytest.approx(1 / 3)
    assert shares.value(state, T0 + DAY + HOUR) == {
        "shares": {"a": 0.0, "b": 0.5},
        "other": 0.5,
        "at": T0 + DAY + HOUR,
        "then": {
            "shares": [[T0 + DAY + 6 * HOUR, {"a": 0.0, "b": 0.0}]],
            "other": [[T0 + DAY + 6 * HOUR, 0.0]],
        },
    }
    assert shares.inputs(state, T0 + DAY + HOUR) == (0.0, 0.5, 0.5)
    assert shares.inputs(state, T0 + 2 * DAY) == (0.0, 0.0, 0.0)


@given(events=streams(), after=st.sampled_from([0, HOUR, 5 * DAY, 8 * DAY]), known=st.booleans())
def test_shares_are_those_of_the_events_in_the_window(events: list[Event], after: int, known: bool) -> None:
    names = ["a", "b", "c", "日本"]
    shares = CategoryShares(
        "s", of="category", values=names if known else None, k=3, capacity=20, window="7d", resolution="12h"
    )
    state = run(shares, *events)
    if state is None:
        return
    counted = [e for e in events if e.category is not None]
    now = max(e.time for e in counted) + after
    counts = in_window(counted, now, 7 * DAY, 12 * HOUR)
    total = sum(counts.values()) or 1
    largest = sorted(counts, key=lambda name: (-counts[name], name))[:3]
    value = shares.value(state, now)
    assert value["shares"] == pytest.approx({name: counts[name] / total for name in (names if known else largest)})
    assert sum(value["shares"].values()) + value["other"] == pytest.approx(1.0 if counts else 0.0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"values": []}, "takes a list of texts"),
        ({"values": [1]}, "takes a list of texts"),
        ({"values": ["x" * 257]}, "at most 256 characters"),
        ({"values": ["a", "a"]}, "a value is given twice"),
        ({"values": ["a", "other"]}, "'other' is what all values that are not in values= are called"),
        ({"k": 0}, "k must be at least 1"),
        ({"k": 5, "capacity": 4}, "capacity at least k"),
        ({"half_life": "1d", "window": "1d"}, "at most one half_life or one window"),
    ],
)
def test_what_makes_no_shares_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        CategoryShares("categories", of="category", **parameters)
