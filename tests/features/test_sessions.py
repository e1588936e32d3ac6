"""Sessions: told apart by a gap."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from stream_profiles import Event, Sessions
from tests.events import HOUR, MINUTE, T0, event, streams


def run(*at: int, gap: str = "30m") -> Any:
    sessions, state = Sessions("sessions", gap=gap), None
    for time in at:
        state = sessions.update(state, event(at=time)) or state
    return sessions.snapshot(state)


def test_one_event_is_a_session() -> None:
    assert run(0) == {"count": 1, "events": 1, "seconds": 0.0, "mean_seconds": 0.0, "active": True, "at": T0}


def test_a_session_ends_after_the_gap_and_not_at_it() -> None:
    assert run(0, 30 * MINUTE)["count"] == 1
    assert run(0, 30 * MINUTE + 1)["count"] == 2
    assert run(0, 10 * MINUTE, gap="5m")["count"] == 2


def test_length_and_duration_are_of_the_current_session() -> None:
    value = run(0, 5 * MINUTE, 10 * MINUTE, 2 * HOUR, 2 * HOUR + MINUTE)
    assert value["count"] == 2
    assert value["events"] == 2
    assert value["seconds"] == 60.0
    assert value["mean_seconds"] == (600 + 60) / 2
    assert value["at"] == T0 + 2 * HOUR + MINUTE


def test_a_late_event_of_the_current_session_joins_it() -> None:
    value = run(HOUR, HOUR + 10 * MINUTE, HOUR + 5 * MINUTE, HOUR - 20 * MINUTE)
    assert (value["count"], value["events"], value["seconds"]) == (1, 4, 1_800.0)
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


@given(events=streams())
def test_in_order_of_time_sessions_are_the_runs_without_a_gap(events: list[Event]) -> None:
    events.sort(key=lambda e: e.time)
    sessions, state = Sessions("sessions"), None
    runs: list[list[int]] = []
    for each in events:
        state = sessions.update(state, each) or state
        if not runs or each.time - runs[-1][-1] > 30 * MINUTE:
            runs.append([])
        runs[-1].append(each.time)
    if runs:
        seconds = [(run[-1] - run[0]) / 1000 for run in runs]
        assert sessions.snapshot(state) == {
            "count": len(runs),
            "events": len(runs[-1]),
            "seconds": seconds[-1],
            "mean_seconds": pytest.approx(sum(seconds) / len(seconds)),
            "active": True,
            "at": events[-1].time,
        }
