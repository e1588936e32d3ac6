"""Sequence and Transitions, against all events and all pairs of them."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given

from stream_profiles import Event, Feature, Sequence, Transitions
from stream_profiles.errors import DefinitionError
from tests.events import DAY, HOUR, T0, event, streams


def run(feature: Feature, *events: Event) -> Any:
    state = None
    for each in events:
        new = feature.update(state, each)
        state = state if new is None else new
    return state


def test_the_last_types_newest_last() -> None:
    path = Sequence("path", n=3)
    state = run(path, *(event(type, at) for at, type in enumerate(["view", "view", "cart", "view", "purchase"])))
    assert path.snapshot(state) == ["cart", "view", "purchase"]


def test_a_late_event_takes_its_place() -> None:
    path = Sequence("path", n=2)
    state = run(path, event("a", 5), event("b", 9))
    assert path.update(state, event("late", 4)) is None
    assert path.snapshot(path.update(state, event("late", 6))) == ["late", "b"]
    assert path.snapshot(path.update(state, event("tie", 9))) == ["b", "tie"]


def test_a_sequence_of_a_field() -> None:
    path = Sequence("path", of="category", n=2)
    state = run(path, event(category="a"), event(at=1), event(at=2, category="b"), event(at=3, category="b"))
    assert path.snapshot(state) == ["b", "b"]


@given(events=streams(distinct_times=True))
def test_a_sequence_is_the_end_of_all_events_by_time(events: list[Event]) -> None:
    path = Sequence("path", n=5)
    if events:
        in_order = [e.type for e in sorted(events, key=lambda e: e.time)]
        assert path.snapshot(run(path, *events)) == in_order[-5:]


def test_what_comes_next() -> None:
    path = Transitions("path", k=2)
    events = [event(type, at) for at, type in enumerate(["view", "cart", "view", "view", "cart", "view"])]
    state = run(path, *events)
    assert path.snapshot(state) == {
        "current": "view",
        "next": "cart",
        "probability": 2 / 3,
        "top": [["cart", "view", 2, 1.0], ["view", "cart", 2, 2 / 3]],
    }
    assert path.category(state, T0 + DAY) == "cart"
    assert path.input_names() == ("path_probability",)
    assert path.inputs(state, T0 + DAY) == (2 / 3,)
    assert path.inputs(None, T0) == (0.0,)


def test_nothing_is_known_to_follow_what_is_new() -> None:
    path = Transitions("path")
    state = run(path, event("view"))
    assert path.snapshot(state) == {"current": "view", "next": None, "probability": None, "top": []}
    assert path.category(state, T0) is None
    assert path.inputs(state, T0) == (0.0,)


def test_of_equal_ones_the_alphabet_decides() -> None:
    path = Transitions("path")
    state = run(path, *(event(type, at) for at, type in enumerate(["x", "b", "x", "a", "x"])))
    assert path.snapshot(state)["next"] == "a"


def test_an_event_that_comes_late_is_no_transition() -> None:
    path = Transitions("path")
    state = run(path, event("view", 0), event("cart", 10))
    assert path.update(state, event("search", 5)) is None


def test_a_long_time_between_is_no_transition() -> None:
    path = Transitions("path", within="1h")
    state = run(path, event("a", 0), event("b", HOUR), event("c", 3 * HOUR), event("d", 3 * HOUR))
    assert [pair[:2] for pair in path.snapshot(state)["top"]] == [["a", "b"], ["c", "d"]]
    assert path.snapshot(state)["current"] == "d"


def test_what_was_done_long_ago_fades() -> None:
    path = Transitions("path", half_life="1d")
    state = run(path, event("a", 0), event("b", 0), event("a", 0), event("c", DAY))
    value = path.snapshot(state)
    assert value["top"] == [["a", "c", 1.0, 2 / 3], ["a", "b", 0.5, 1 / 3], ["b", "a", 0.5, 1.0]]
    later = path.advance(value, T0 + 2 * DAY)
    assert [score for _, _, score, _ in later["top"]] == [0.5, 0.25, 0.25]
    assert later["at"] == T0 + 2 * DAY


def test_scores_stay_in_range_for_ever() -> None:
    path = Transitions("path", half_life="1ms")
    state = run(path, event("a", 0), event("b", 0), event("a", 600), event("b", DAY))
    assert path.snapshot(state)["top"] == [["a", "b", 1.0, 1.0], ["b", "a", 0.0, 0.0]]


def test_a_full_table_lets_the_smallest_go_and_keeps_its_score() -> None:
    path = Transitions("path", k=2, capacity=2)
    state = run(path, *(event(type, at) for at, type in enumerate(["a", "a", "a", "b", "c"])))
    assert path.snapshot(state)["top"] == [["a", "a", 2, 1.0], ["b", "c", 2, 1.0]]


@given(events=streams())
def test_while_there_is_room_transitions_are_those_between_all_events(events: list[Event]) -> None:
    path, fading = Transitions("path", k=9), Transitions("path", k=9, half_life="30d", within="1d")
    events.sort(key=lambda e: e.time)
    if not events:
        return
    now = events[-1].time
    counts: dict[tuple[str, str], float] = defaultdict(float)
    scores: dict[tuple[str, str], float] = defaultdict(float)
    for a, b in pairwise(events):
        counts[a.type, b.type] += 1
        if b.time - a.time <= DAY:
            scores[a.type, b.type] += math.exp2(-(now - b.time) / (30 * DAY))
    for feature, exact in ((path, counts), (fading, scores)):
        top = feature.snapshot(run(feature, *events))["top"]
        assert {(a, b): score for a, b, score, _ in top} == pytest.approx(exact, rel=1e-9)
        assert [score for *_, score, _ in top] == sorted((score for *_, score, _ in top), reverse=True)
        for a, _, score, share in top:
            row = sum(weight for (before, _), weight in exact.items() if before == a)
            assert share == pytest.approx(score / row if row else 0.0)


def test_wrong_declarations() -> None:
    with pytest.raises(DefinitionError, match="n must be at least 1"):
        Sequence("path", n=0)
    with pytest.raises(DefinitionError, match="k must be at least 1 and capacity at least k"):
        Transitions("path", k=3, capacity=2)
