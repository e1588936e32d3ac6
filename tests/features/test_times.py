"""TimeSince: how long ago."""

from __future__ import annotations

from stream_profiles import TimeSince
from tests.events import DAY, HOUR, T0, event


def test_seconds_since_the_latest_event() -> None:
    idle = TimeSince("idle")
    state = idle.update(None, event(at=HOUR))
    assert idle.snapshot(state) == {"seconds": 0.0, "at": T0 + HOUR}
    assert idle.value(state, T0 + HOUR + 1_500) == {"seconds": 1.5, "at": T0 + HOUR + 1_500}
    assert idle.update(state, event(at=0)) is None, "a late event is not the latest"
    assert idle.update(state, event(at=HOUR)) is None
    assert idle.update(state, event(at=DAY)) == T0 + DAY


def test_a_model_is_told_whether_it_ever_happened() -> None:
    idle = TimeSince("idle")
    assert idle.input_names() == ("idle_seconds", "idle_ever")
    assert idle.inputs(None, T0) == (0.0, 0.0)
    assert idle.inputs(T0, T0 + HOUR) == (3_600.0, 1.0)
    assert idle.inputs(T0 + HOUR, T0) == (0.0, 1.0), "a late event makes its prediction in the past"


def test_merging_keeps_the_later() -> None:
    assert TimeSince("idle").merge(T0, T0 + 1) == T0 + 1
