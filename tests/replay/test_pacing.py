"""Events keep their distance, `speed` times shortened, whatever order they come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles.replay.pacing import Pacer


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_events_are_due_at_their_distance_over_the_speed() -> None:
    clock = Clock()
    pacer = Pacer(10, clock)
    assert pacer.delay(5_000) == 0
    assert pacer.delay(25_000) == 2
    clock.now += 1.5
    assert pacer.delay(25_000) == 0.5
    assert pacer.delay(35_000) == 1.5


def test_an_older_event_is_due_at_once_and_holds_nothing_up() -> None:
    clock = Clock()
    pacer = Pacer(1, clock)
    pacer.delay(10_000)
    assert pacer.delay(1_000) == 0
    assert pacer.delay(11_000) == 1


def test_what_was_held_up_is_caught_up_with() -> None:
    clock = Clock()
    pacer = Pacer(1, clock)
    pacer.delay(0)
    clock.now += 100
    assert pacer.delay(60_000) == 0
    assert pacer.delay(101_000) == 1


def test_a_restart_begins_anew() -> None:
    clock = Clock()
    pacer = Pacer(1, clock)
    pacer.delay(1_000_000)
    pacer.restart()
    assert pacer.delay(0) == 0
    assert pacer.delay(3_000) == 3


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_speed_is_a_number_above_zero(speed: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Pacer(speed)


@given(st.lists(st.integers(0, 10**9), max_size=30), st.sampled_from([0.5, 1, 60, 3600]))
def test_one_who_waits_as_told_is_never_early(times: list[int], speed: float) -> None:
    clock = Clock()
    pacer = Pacer(speed, clock)
    for time in times:
        clock.now += pacer.delay(time)
        assert clock.now - 50.0 >= (time - times[0]) / 1000 / speed - 1e-6
