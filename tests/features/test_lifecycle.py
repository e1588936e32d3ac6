"""Lifecycle: stages at every moment, whether events or time alone change them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles import Event, Lifecycle
from stream_profiles.errors import DefinitionError
from tests.events import DAY, HOUR, T0, event, streams


def run(lifecycle: Lifecycle, *days: float, state: Any = None) -> Any:
    for day in days:
        state = lifecycle.update(state, event(at=round(day * DAY))) or state
    return state


def stage(lifecycle: Lifecycle, state: Any, day: float) -> tuple[str, float]:
    value = lifecycle.value(state, T0 + round(day * DAY))
    return value["stage"], (value["since"] - T0) / DAY


def test_the_stages_of_a_user_who_came_once() -> None:
    lifecycle = Lifecycle("lifecycle")
    state = run(lifecycle, 0)
    assert lifecycle.snapshot(state) == {
        "stage": "new",
        "since": T0,
        "first": T0,
        "last": T0,
        "returns": 0,
        "at": T0,
    }
    assert stage(lifecycle, state, 6.9) == ("new", 0)
    assert stage(lifecycle, state, 7) == ("active", 7)
    assert stage(lifecycle, state, 29.9) == ("active", 7)
    assert stage(lifecycle, state, 30) == ("at risk", 30)
    assert stage(lifecycle, state, 90) == ("lost", 90)
    assert stage(lifecycle, state, 4_000) == ("lost", 90)
    assert lifecycle.category(state, T0 + 40 * DAY) == "at risk"


def test_who_comes_back_is_active_since_then() -> None:
    lifecycle = Lifecycle("lifecycle")
    state = run(lifecycle, 0, 40)
    assert stage(lifecycle, state, 40) == ("active", 40)
    assert lifecycle.snapshot(state)["returns"] == 0, "who was at risk had not gone"
    state = run(lifecycle, 41, state=state)
    assert stage(lifecycle, state, 41) == ("active", 40)
    state = run(lifecycle, 131, state=state)
    assert stage(lifecycle, state, 131) == ("active", 131)
    assert lifecycle.snapshot(state)["returns"] == 1


def test_who_comes_back_in_the_first_days_is_still_new() -> None:
    lifecycle = Lifecycle("lifecycle", new="30d", at_risk="2d", lost="5d")
    state = run(lifecycle, 0, 6)
    assert stage(lifecycle, state, 6) == ("new", 6)
    assert lifecycle.snapshot(state)["returns"] == 1
    assert stage(lifecycle, run(lifecycle, *range(7, 30), state=state), 30) == ("active", 30)


def test_a_late_event_counts_for_the_stage() -> None:
    lifecycle = Lifecycle("lifecycle")
    state = run(lifecycle, 10)
    assert stage(lifecycle, state, 11) == ("new", 10)
    state = run(lifecycle, 1, state=state)
    assert lifecycle.snapshot(state)["first"] == T0 + DAY
    assert lifecycle.snapshot(state)["stage"] == "active"
    assert lifecycle.update(state, event(at=5 * DAY)) is None


def test_time_alone_changes_the_stage() -> None:
    lifecycle = Lifecycle("lifecycle")
    state, seen = run(lifecycle, 0), []
    while (deadline := lifecycle.deadline(state)) is not None:
        state = lifecycle.expire(state, deadline + HOUR)
        value = lifecycle.snapshot(state)
        assert value["at"] == value["since"] == deadline, "whenever it is noticed, the change was then"
        seen.append((value["stage"], (deadline - T0) / DAY))
    assert seen == [("active", 7), ("at risk", 30), ("lost", 90)]
    assert lifecycle.snapshot(run(lifecycle, 200, state=state))["returns"] == 1


def test_several_changes_may_be_noticed_at_once() -> None:
    lifecycle = Lifecycle("lifecycle")
    state = lifecycle.expire(run(lifecycle, 0), T0 + 89 * DAY)
    assert lifecycle.snapshot(state)["stage"] == "at risk"
    assert lifecycle.deadline(state) == T0 + 90 * DAY


def test_who_was_lost_before_being_old_is_never_active() -> None:
    lifecycle = Lifecycle("lifecycle", new="60d", at_risk="10d", lost="20d")
    state = run(lifecycle, 0)
    assert lifecycle.deadline(state) == T0 + 10 * DAY
    state = lifecycle.expire(state, T0 + 20 * DAY)
    assert lifecycle.snapshot(state)["stage"] == "lost"
    assert lifecycle.deadline(state) is None


def test_an_event_that_was_late_takes_a_change_back() -> None:
    lifecycle = Lifecycle("lifecycle")
    state = lifecycle.expire(run(lifecycle, 0), T0 + 31 * DAY)
    assert lifecycle.snapshot(state)["stage"] == "at risk"
    state = run(lifecycle, 29, state=state)
    value = lifecycle.snapshot(state)
    assert (value["stage"], value["since"]) == ("active", T0 + 7 * DAY)
    assert lifecycle.deadline(state) == T0 + 59 * DAY


def test_what_a_model_sees() -> None:
    lifecycle = Lifecycle("lifecycle")
    names = ("new", "active", "at_risk", "lost", "returns")
    assert lifecycle.input_names() == tuple(f"lifecycle_{name}" for name in names)
    state = run(lifecycle, 0, 100)
    assert lifecycle.inputs(state, T0 + 100 * DAY) == (0.0, 1.0, 0.0, 0.0, 1.0)
    assert lifecycle.inputs(state, T0 + 135 * DAY) == (0.0, 0.0, 1.0, 0.0, 1.0)
    assert lifecycle.inputs(None, T0) == (0.0,) * 5


def test_lost_comes_after_at_risk() -> None:
    with pytest.raises(DefinitionError, match="lost='30d' has to be longer than at_risk='30d'"):
        Lifecycle("lifecycle", at_risk="30d", lost="30d")


@given(
    events=streams(),
    after=st.integers(0, 100 * DAY),
    durations=st.sampled_from([("7d", "30d", "90d"), ("60d", "1d", "20d"), ("1h", "2h", "1d")]),
)
def test_the_stage_is_that_of_first_and_last(events: list[Event], after: int, durations: tuple[str, str, str]) -> None:
    """However it was kept: as events came, moved on by its deadlines, and advanced by a reader."""
    new, at_risk, lost = durations
    lifecycle, state = Lifecycle("lifecycle", new=new, at_risk=at_risk, lost=lost), None
    expired: Any = None
    watermark = 0
    for each in events:
        watermark = max(watermark, each.time)
        if expired is not None:
            deadline = lifecycle.deadline(expired)
            if deadline is not None and deadline < watermark:
                expired = lifecycle.expire(expired, watermark)
        state = lifecycle.update(state, each) or state
        expired = lifecycle.update(expired, each) or expired
    if state is None:
        return
    now = watermark + after
    first, last = min(e.time for e in events), max(e.time for e in events)
    if now - last >= lifecycle._lost_ms:
        exact = "lost"
    elif now - last >= lifecycle._at_risk_ms:
        exact = "at risk"
    else:
        exact = "new" if now - first < lifecycle._new_ms else "active"
    moved = lifecycle.expire([*expired], now)
    for value in (lifecycle.value(state, now), lifecycle.value(expired, now), lifecycle.snapshot(moved)):
        assert (value["stage"], value["first"], value["last"]) == (exact, first, last)
        assert value["since"] <= now
    assert lifecycle.value(expired, now) == lifecycle.value(state, now) == lifecycle.value(moved, now)
    deadline = lifecycle.deadline(moved)
    assert (deadline is None) == (exact == "lost")
    if deadline is not None:
        assert lifecycle.value(state, deadline - 1)["stage"] == exact != lifecycle.value(state, deadline)["stage"]
