"""Sessions: told apart by a gap."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from stream_profiles import Event, Sessions
from tests.events import DAY, HOUR, MINUTE, T0, event, streams


def state_of(sessions: Sessions, *at: int, state: Any = None) -> Any:
    for time in at:
        state = sessions.update(state, event(at=time)) or state
    return state


def run(*at: int, gap: str = "30m") -> Any:
    sessions = Sessions("sessions", gap=gap)
    return sessions.snapshot(state_of(sessions, *at))


def test_one_event_is_a_session() -> None:
    assert run(0) == {
        "count": 1,
        "start": T0,
        "events": 1,
        "seconds": 0.0,
        "mean_seconds": 0.0,
        "mean_events": 1.0,
        "bounce_rate": None,
        "active": True,
        "at": T0,
    }


def test_a_session_ends_after_the_gap_and_not_at_it() -> None:
    assert run(0, 30 * MINUTE)["count"] == 1
    assert run(0, 30 * MINUTE + 1)["count"] == 2
    assert run(0, 10 * MINUTE, gap="5m")["count"] == 2


def test_length_and_duration_are_of_the_current_session() -> None:
    value = run(0, 5 * MINUTE, 10 * MINUTE, 2 * HOUR, 2 * HOUR + MINUTE)
    assert value["count"] == 2
    assert value["start"] == T0 + 2 * HOUR
    assert value["events"] == 2
    assert value["seconds"] == 60.0
    assert value["mean_seconds"] == (600 + 60) / 2
    assert value["at"] == T0 + 2 * HOUR + MINUTE


def test_depth_is_of_all_sessions_and_the_bounce_rate_of_those_that_are_over() -> None:
    value = run(0, HOUR, HOUR + 1, HOUR + 2, 2 * HOUR, 3 * HOUR)
    assert value["mean_events"] == 6 / 4
    assert value["bounce_rate"] == 2 / 3, "the current one may still go on"


def test_a_late_event_of_the_current_session_joins_it() -> None:
    value = run(HOUR, HOUR + 10 * MINUTE, HOUR + 5 * MINUTE, HOUR - 20 * MINUTE)
    assert (value["count"], value["events"], value["seconds"]) == (1, 4, 1_800.0)
    assert value["start"] == T0 + 40 * MINUTE
    assert value["at"] == T0 + HOUR + 10 * MINUTE


def test_a_late_event_of_a_closed_session_changes_nothing() -> None:
    assert run(0, 5 * HOUR, HOUR) == run(0, 5 * HOUR)


def test_a_reader_sees_that_a_session_is_over() -> None:
    sessions = Sessions("sessions")
    state = sessions.update(None, event())
    assert sessions.value(state, T0 + 30 * MINUTE)["active"] is True
    over = sessions.value(state, T0 + 30 * MINUTE + 1)
    assert over == {**sessions.snapshot(state), "active": False}
    assert sessions.value(state, T0 - HOUR)["active"] is True


def test_a_model_sees_the_same() -> None:
    sessions = Sessions("sessions")
    state = sessions.update(sessions.update(None, event()), event(at=MINUTE))
    assert sessions.input_names() == tuple(f"sessions_{name}" for name in ("count", "events", "seconds", "active"))
    assert sessions.inputs(state, T0 + 2 * MINUTE) == (1.0, 2.0, 60.0, 1.0)
    assert sessions.inputs(state, T0 + HOUR) == (1.0, 2.0, 60.0, 0.0)
    assert sessions.inputs(None, T0) == (0.0, 0.0, 0.0, 0.0)


def test_sessions_in_a_window_are_those_that_began_in_it() -> None:
    sessions = Sessions("sessions", window="1d", resolution="1h")
    state = state_of(sessions, 0, HOUR, HOUR + 10 * MINUTE, 23 * HOUR)
    value = sessions.snapshot(state)
    assert (value["count"], value["last_1d"]) == (3, 3)
    later = sessions.advance(value, T0 + 25 * HOUR)
    assert (later["last_1d"], later["active"], later["at"]) == (2, False, T0 + 25 * HOUR)
    assert sessions.value(state, T0 + 23 * HOUR + 30 * MINUTE)["active"] is True
    by_steps = sessions.advance(sessions.advance(value, T0 + 23 * HOUR + 20 * MINUTE), T0 + 23 * HOUR + 31 * MINUTE)
    assert by_steps["active"] is False, "the gap is counted from the last event, not from the last look"
    names = ("count", "events", "seconds", "active", "mean_events", "bounce_rate", "last_1d")
    assert sessions.input_names() == tuple(f"sessions_{name}" for name in names)
    assert sessions.inputs(state, T0 + 25 * HOUR) == (3.0, 1.0, 0.0, 0.0, 4 / 3, 0.5, 2.0)
    assert sessions.inputs(None, T0) == (0.0,) * 7


def test_a_late_event_moves_the_beginning_of_a_session() -> None:
    sessions = Sessions("sessions", window="1d", resolution="1h")
    state = state_of(sessions, 5 * HOUR + 5 * MINUTE, 4 * HOUR + 50 * MINUTE)
    assert sessions.snapshot(state)["last_1d"] == 1
    assert sessions.value(state, T0 + 29 * HOUR)["last_1d"] == 0 != sessions.value(state, T0 + 29 * HOUR - 1)["last_1d"]


def test_the_key_is_that_of_the_first_release() -> None:
    assert Sessions("sessions").key == "sessions:73b05ddd"
    assert Sessions("days", gap="1d", on="view").key == "days:74a44034"
    assert Sessions("sessions", window="1d").key != Sessions("sessions").key


def test_what_the_first_release_stored_goes_on() -> None:
    sessions = Sessions("sessions")
    stored = [3, T0, T0 + 60_000, 2, 600.0]
    packed = msgspec.msgpack.encode(stored)
    assert sessions.snapshot(stored) == {
        "count": 3,
        "start": T0,
        "events": 2,
        "seconds": 60.0,
        "mean_seconds": 220.0,
        "mean_events": 2.0,
        "bounce_rate": None,
        "active": True,
        "at": T0 + 60_000,
    }
    assert sessions.inputs(stored, T0) == (3.0, 2.0, 60.0, 1.0)
    assert msgspec.msgpack.encode(stored) == packed, "reading does not change what is stored"
    state = state_of(sessions, DAY, 2 * DAY, 2 * DAY + 1, 2 * DAY + 2, state=msgspec.msgpack.decode(packed))
    value = sessions.snapshot(state)
    assert value["count"] == 5
    assert value["mean_seconds"] == pytest.approx((600 + 60 + 0.002) / 5)
    # Of the two sessions closed before, nobody knows the number of events.
    assert value["mean_events"] == (2 + 1 + 3) / 3
    assert value["bounce_rate"] == 1 / 2
    assert len(msgspec.msgpack.encode(state)) <= sessions.max_bytes


@given(events=streams())
def test_in_order_of_time_sessions_are_the_runs_without_a_gap(events: list[Event]) -> None:
    events.sort(key=lambda e: e.time)
    sessions, state = Sessions("sessions", window="1d", resolution="6h"), None
    runs: list[list[int]] = []
    for each in events:
        state = sessions.update(state, each) or state
        if not runs or each.time - runs[-1][-1] > 30 * MINUTE:
            runs.append([])
        runs[-1].append(each.time)
    if runs:
        seconds = [(run[-1] - run[0]) / 1000 for run in runs]
        closed = [len(run) for run in runs[:-1]]
        now = events[-1].time
        value = sessions.snapshot(state)
        del value["then"]
        assert value == {
            "count": len(runs),
            "start": runs[-1][0],
            "events": len(runs[-1]),
            "seconds": seconds[-1],
            "mean_seconds": pytest.approx(sum(seconds) / len(seconds)),
            "mean_events": pytest.approx(len(events) / len(runs)),
            "bounce_rate": closed.count(1) / len(closed) if closed else None,
            "active": True,
            "last_1d": sum(run[0] // (6 * HOUR) >= (now - DAY) // (6 * HOUR) for run in runs),
            "at": now,
        }
