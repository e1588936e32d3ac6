"""Funnel, by example and against attempts put together from all events of an item."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles import Event, Funnel
from stream_profiles.errors import DefinitionError
from tests.events import DAY, HOUR, MINUTE, T0, event, streams


def run(funnel: Funnel, *steps: tuple[str, int] | tuple[str, int, str]) -> Any:
    state = None
    for type, at, *item in steps:
        state = funnel.update(state, event(type, at, item_id=item[0] if item else None)) or state
    return state


def test_a_way_to_the_end() -> None:
    funnel = Funnel("funnel", within="1h")
    state = run(funnel, ("view", 0), ("cart", HOUR), ("purchase", 2 * HOUR))
    assert funnel.snapshot(state) == {
        "reached": {"view": 1, "cart": 1, "purchase": 1},
        "conversion": {"cart": 1.0, "purchase": 1.0},
        "abandoned": {"view": 0, "cart": 0},
        "step": "purchase",
        "since": T0 + 2 * HOUR,
        "until": None,
        "at": T0 + 2 * HOUR,
    }
    assert funnel.value(state, T0 + 90 * DAY)["step"] == "purchase", "who has arrived cannot give up"
    assert funnel.category(state, T0 + 90 * DAY) == "purchase"
    state = funnel.update(state, event("view", 3 * HOUR))
    assert funnel.snapshot(state)["reached"] == {"view": 2, "cart": 1, "purchase": 1}
    assert funnel.snapshot(state)["conversion"] == {"cart": 0.5, "purchase": 1.0}


def test_a_cart_is_abandoned_when_its_time_is_up() -> None:
    funnel = Funnel("funnel", within="1h")
    state = run(funnel, ("view", 0), ("cart", MINUTE))
    value = funnel.snapshot(state)
    assert (value["step"], value["since"], value["until"]) == ("cart", T0 + MINUTE, T0 + HOUR + MINUTE)
    assert value["conversion"] == {"cart": 1.0, "purchase": 0.0}
    assert funnel.advance(value, T0 + HOUR + MINUTE)["step"] == "cart"
    over = funnel.advance(value, T0 + HOUR + MINUTE + 1)
    assert over["abandoned"] == {"view": 0, "cart": 1}
    assert (over["step"], over["since"], over["until"]) == (None, None, None)
    assert funnel.advance(over, T0 + DAY)["abandoned"] == {"view": 0, "cart": 1}, "once"
    assert funnel.category(state, T0 + DAY) is None
    assert funnel.update(state, event("purchase", 2 * HOUR)) is None, "too late"
    state = funnel.update(state, event("view", 2 * HOUR))
    assert funnel.snapshot(state)["abandoned"] == {"view": 0, "cart": 1}


def test_looking_again_gives_more_time() -> None:
    funnel = Funnel("funnel", within="1h")
    state = run(funnel, ("view", 0), ("view", 50 * MINUTE), ("cart", 100 * MINUTE))
    assert funnel.snapshot(state)["reached"] == {"view": 1, "cart": 1, "purchase": 0}
    looking = run(funnel, ("view", 0), ("view", 50 * MINUTE))
    assert funnel.snapshot(looking)["since"] == T0


def test_going_back_does_not_begin_anew() -> None:
    funnel = Funnel("funnel", within="1h")
    state = run(funnel, ("view", 0), ("cart", MINUTE))
    assert funnel.update(state, event("view", 2 * MINUTE)) is None


def test_steps_that_are_skipped_do_not_count() -> None:
    funnel = Funnel("funnel", within="1h")
    assert funnel.update(None, event("purchase")) is None
    assert funnel.update(None, event("cart")) is None
    state = run(funnel, ("view", 0))
    assert funnel.update(state, event("purchase", MINUTE)) is None


def test_a_late_step_counts_while_it_is_the_next() -> None:
    funnel = Funnel("funnel", within="1h")
    state = run(funnel, ("view", 0), ("view", 30 * MINUTE), ("cart", 20 * MINUTE))
    assert funnel.snapshot(state)["step"] == "cart"
    assert funnel.snapshot(state)["at"] == T0 + 30 * MINUTE
    state = run(funnel, ("view", 30 * MINUTE))
    assert funnel.update(state, event("cart", 20 * MINUTE)) is None, "there was no view before it"
    assert funnel.update(state, event("view", 20 * MINUTE)) is None


def test_each_item_has_a_way_of_its_own() -> None:
    funnel = Funnel("funnel", by="item_id", within="1h")
    state = run(
        funnel, ("view", 0, "a"), ("view", 1, "b"), ("cart", 2, "a"), ("cart", 3, "c"), ("view", 4), ("view", 5, "d")
    )
    value = funnel.snapshot(state)
    assert value["reached"] == {"view": 3, "cart": 1, "purchase": 0}
    assert value["open"] == [
        ["a", "cart", T0 + 2, T0 + HOUR + 2],
        ["d", "view", T0 + 5, T0 + HOUR + 5],
        ["b", "view", T0 + 1, T0 + HOUR + 1],
    ]
    later = funnel.advance(value, T0 + HOUR + 3)
    assert later["abandoned"] == {"view": 1, "cart": 1}
    assert [item for item, *_ in later["open"]] == ["d"]
    state = funnel.update(state, event("purchase", 10, item_id="a"))
    assert funnel.snapshot(state)["reached"]["purchase"] == 1
    assert [item for item, *_ in funnel.snapshot(state)["open"]] == ["d", "b"]
    assert funnel.category(state, T0) is None


def test_when_there_is_no_more_room_the_one_that_got_least_far_gives_way() -> None:
    funnel = Funnel("funnel", by="item_id", within="1d", max_open=2)
    state = run(funnel, ("view", 0, "a"), ("cart", 1, "a"), ("view", 2, "b"), ("view", 3, "c"))
    value = funnel.snapshot(state)
    assert [item for item, *_ in value["open"]] == ["a", "c"]
    assert value["abandoned"] == {"view": 1, "cart": 0}
    # What is over gives way before what is not.
    state = run(funnel, ("view", 0, "a"), ("cart", 1, "a"), ("view", 20 * HOUR, "b"), ("view", 25 * HOUR, "b"))
    state = funnel.update(state, event("view", 26 * HOUR, item_id="c"))
    assert [item for item, *_ in funnel.snapshot(state)["open"]] == ["c", "b"]
    assert funnel.snapshot(state)["abandoned"] == {"view": 0, "cart": 1}


def test_what_a_model_sees() -> None:
    funnel = Funnel("funnel", steps=("view", "cart"), within="1h", by="item_id")
    names = ("reached_view", "reached_cart", "conversion_cart", "abandoned_view", "open_view")
    assert funnel.input_names() == tuple(f"funnel_{name}" for name in names)
    state = run(funnel, ("view", 0, "a"), ("view", 0, "b"), ("cart", 0, "b"))
    assert funnel.inputs(state, T0 + HOUR) == (2.0, 1.0, 0.5, 0.0, 1.0)
    assert funnel.inputs(state, T0 + HOUR + 1) == (2.0, 1.0, 0.5, 1.0, 0.0)
    assert funnel.inputs(None, T0) == (0.0,) * 5


@pytest.mark.parametrize("steps", [("view",), ("view", "view"), ("view", "cart", "view")])
def test_there_are_two_steps_or_more(steps: tuple[str, ...]) -> None:
    with pytest.raises(DefinitionError, match="steps= takes two or more event types, each once"):
        Funnel("funnel", steps=steps)


def attempts(events: list[Event], within: int) -> list[list[int]]:
    """The times of the steps each attempt got to, and at the end that of its latest event."""
    found: list[list[int]] = []
    order = ["view", "cart", "purchase"]
    for each in events:
        current = found[-1] if found else None
        if current is None or len(current) == 4 or each.time > current[-1] + within:
            if each.type == "view":
                found.append([each.time, each.time])
            continue
        at = len(current) - 2
        if each.type == order[at]:
            current[-1] = each.time
        elif each.type == order[at + 1]:
            current[-1:] = [each.time, each.time]
    return found


@given(events=streams(), after=st.integers(0, 3 * DAY), by=st.sampled_from([None, "item_id"]))
def test_a_funnel_is_the_sum_of_its_attempts(events: list[Event], after: int, by: str | None) -> None:
    events.sort(key=lambda e: e.time)
    funnel, state = Funnel("funnel", within="1d", by=by, max_open=50), None
    by_item: dict[Any, list[Event]] = defaultdict(list)
    for each in events:
        state = funnel.update(state, each) or state
        if by is None or each.item_id is not None:
            by_item[by and each.item_id].append(each)
    all_attempts = [attempt for of_item in by_item.values() for attempt in attempts(of_item, DAY)]
    assert (state is None) == (not all_attempts)
    if state is None:
        return
    now = events[-1].time + after
    value = funnel.value(state, now)
    reached = [sum(len(attempt) - 1 > step for attempt in all_attempts) for step in range(3)]
    over = [sum(len(attempt) - 2 == step and attempt[-1] + DAY < now for attempt in all_attempts) for step in range(2)]
    assert list(value["reached"].values()) == reached
    assert list(value["abandoned"].values()) == over
    going_on = [attempt for attempt in all_attempts if len(attempt) < 4 and attempt[-1] + DAY >= now]
    if by is None:
        assert (value["step"] in ("view", "cart")) == bool(going_on)
    else:
        assert sorted(until - DAY for *_, until in value["open"]) == sorted(attempt[-1] for attempt in going_on)
    assert funnel.inputs(state, now)[:3] == tuple(map(float, reached))
    assert funnel.inputs(state, now)[5:7] == tuple(map(float, over))
