"""ActiveDays, against the set of all days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles import ActiveDays, Event
from stream_profiles.errors import DefinitionError
from stream_profiles.features.days import _KEPT_DAYS
from tests.events import DAY, HOUR, T0, event, streams


def run(days: ActiveDays, *events: Event) -> Any:
    state = None
    for each in events:
        new = days.update(state, each)
        state = state if new is None else new
    return state


def on(*days: float) -> list[Event]:
    return [event(at=round(day * DAY)) for day in days]


def test_a_day_counts_once() -> None:
    days = ActiveDays("days")
    state = run(days, event())
    assert days.update(state, event(at=23 * HOUR)) is None
    assert days.snapshot(days.update(state, event(at=24 * HOUR))) == {"total": 2}


def test_the_last_days_are_calendar_days() -> None:
    days = ActiveDays("days", window=("1d", "7d"))
    state = run(days, *on(0, 6))
    value = days.snapshot(state)
    assert (value["last_1d"], value["last_7d"], value["total"]) == (1, 2, 2)
    end = T0 + 7 * DAY
    assert days.value(state, end - 1)["last_7d"] == 2
    assert days.value(state, end)["last_7d"] == 1
    assert days.value(state, end)["last_1d"] == 0
    assert days.inputs(state, end) == (2.0, 0.0, 1.0)
    assert days.inputs(None, end) == (0.0, 0.0, 0.0)


def test_a_streak_goes_on_until_a_whole_day_has_passed() -> None:
    days = ActiveDays("days", streak=True)
    state = run(days, *on(0, 1, 2, 4, 5))
    assert (days.snapshot(state)["streak"], days.snapshot(state)["longest"]) == (2, 3)
    assert days.value(state, T0 + 7 * DAY - 1)["streak"] == 2
    assert days.value(state, T0 + 7 * DAY)["streak"] == 0
    assert days.value(state, T0 + 7 * DAY)["longest"] == 3
    assert days.input_names() == ("days_total", "days_streak", "days_longest")
    assert days.inputs(state, T0 + 7 * DAY - 1) == (5.0, 2.0, 3.0)
    assert days.inputs(state, T0 + 7 * DAY) == (5.0, 0.0, 3.0)
    state = days.update(state, *on(3))
    assert (days.snapshot(state)["streak"], days.snapshot(state)["longest"]) == (6, 6)


def test_days_are_those_of_the_zone() -> None:
    evening, morning = event(at=22 * HOUR), event(at=26 * HOUR)
    assert ActiveDays("days").snapshot(run(ActiveDays("days"), evening, morning)) == {"total": 2}
    new_york = ActiveDays("days", zone="America/New_York", window="1d")
    state = run(new_york, evening, morning)
    assert new_york.snapshot(state)["total"] == 1
    assert new_york.value(state, T0 + 29 * HOUR - 1)["last_1d"] == 1
    assert new_york.value(state, T0 + 29 * HOUR)["last_1d"] == 0


def test_each_user_may_have_a_zone() -> None:
    days = ActiveDays("days", zone_of="properties.zone", window="7d")
    state = run(days, event(at=22 * HOUR, properties={"zone": "America/New_York"}), event(at=26 * HOUR))
    assert days.snapshot(state)["total"] == 1
    assert days.snapshot(state)["zone"] == "America/New_York"
    # The day is known already, but where it ends is news.
    moved = days.update(state, event(at=28 * HOUR, properties={"zone": "America/Los_Angeles"}))
    assert moved is not None
    assert days.snapshot(moved)["zone"] == "America/Los_Angeles"
    assert days.snapshot(moved)["total"] == 1
    assert days.value(moved, T0 + 7 * DAY + 8 * HOUR - 1)["last_7d"] == 1
    assert days.value(moved, T0 + 7 * DAY + 8 * HOUR)["last_7d"] == 0
    with pytest.raises(TypeError, match="ActiveDays has no merge"):
        days.merge(state, state)


def test_days_beyond_ten_years_are_counted_but_not_known() -> None:
    days = ActiveDays("days", streak=True)
    state = run(days, *on(0, 1, 2, _KEPT_DAYS + 1))
    assert days.snapshot(state)["total"] == 4
    assert days.update(state, *on(0)) is None
    assert days.update(state, *on(1)) is None, "whether it was active is not known any more"
    assert days.update(state, *on(2)) is None
    assert days.snapshot(days.update(state, *on(3)))["total"] == 5
    far = days.update(state, *on(40_000))
    assert days.snapshot(far)["total"] == 6
    assert days.snapshot(far)["longest"] == 1


@pytest.mark.parametrize("window", ["12h", "36h", "11000d"])
def test_a_window_is_of_whole_days(window: str) -> None:
    with pytest.raises(DefinitionError, match=f"a window is of whole days, 3,653 at most, not {window}"):
        ActiveDays("days", window=("7d", window))


@given(
    events=streams(),
    zone=st.sampled_from(["UTC", "America/Sao_Paulo", "Pacific/Apia", "Australia/Lord_Howe"]),
    after=st.integers(0, 40 * DAY),
)
def test_days_are_those_with_an_event(events: list[Event], zone: str, after: int) -> None:
    if not events:
        return

    def day_of(time: int) -> int:
        moment = datetime.fromtimestamp(time // 1000, UTC).astimezone(ZoneInfo(zone))
        return moment.date().toordinal()

    days = ActiveDays("days", window=("1d", "30d"), streak=True, zone=zone)
    state = run(days, *events)
    now = max(e.time for e in events) + after
    today, active = day_of(now), {day_of(e.time) for e in events}
    streak, end = 0, today if today in active else today - 1
    while end - streak in active:
        streak += 1
    runs = groupby(enumerate(sorted(active)), key=lambda numbered: numbered[1] - numbered[0])
    value = days.value(state, now)
    assert value["total"] == len(active)
    assert value["last_1d"] == (today in active)
    assert value["last_30d"] == sum(today - 30 < day <= today for day in active)
    assert value["streak"] == streak
    assert value["longest"] == max(len(list(run)) for _, run in runs)
    assert days.inputs(state, now) == tuple(
        float(value[name]) for name in ("total", "last_1d", "last_30d", "streak", "longest")
    )


def test_a_day_is_as_long_as_its_clocks_say() -> None:
    """The day on which the clocks go forward has 23 hours."""
    days = ActiveDays("days", window="1d", zone="Europe/Lisbon")
    noon = datetime(2024, 3, 31, 12, tzinfo=ZoneInfo("Europe/Lisbon"))
    state = run(days, Event(event_id="1", user_id="u", type="view", time=round(noon.timestamp() * 1000)))
    midnight = round((noon + timedelta(hours=12)).timestamp() * 1000)
    assert days.value(state, midnight - 1)["last_1d"] == 1
    assert days.value(state, midnight)["last_1d"] == 0
