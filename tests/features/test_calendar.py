"""HourOfDay, DayOfWeek and Moment, against counts of all events."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles import DayOfWeek, Event, Feature, HourOfDay, Moment
from stream_profiles.errors import DefinitionError
from tests.events import DAY, HOUR, T0, event, streams

#: T0 is a Friday, 0:00 in UTC and 19:00 on Thursday in New York.
NEW_YORK = "America/New_York"


def run(feature: Feature, *events: Event) -> Any:
    state = None
    for each in events:
        new = feature.update(state, each)
        state = state if new is None else new
    return state


def counts(**by_bucket: int) -> list[int]:
    return [by_bucket.get(f"h{hour}", 0) for hour in range(24)]


def test_a_histogram_of_hours() -> None:
    hours = HourOfDay("hours")
    state = run(hours, event(at=9 * HOUR), event(at=9 * HOUR + 1), event(at=DAY + 10 * HOUR), event(at=DAY))
    value = hours.snapshot(state)
    assert value == {
        "counts": counts(h0=1, h9=2, h10=1),
        "shares": [count / 4 for count in counts(h0=1, h9=2, h10=1)],
        "peak": 9,
    }
    assert hours.category(state, T0 + 90 * DAY) == "9"


def test_a_histogram_of_weekdays() -> None:
    weekdays = DayOfWeek("weekdays")
    state = run(weekdays, event(), event(at=DAY), event(at=2 * DAY), event(at=9 * DAY))
    assert weekdays.snapshot(state) == {
        "counts": [0, 0, 0, 0, 1, 1, 2],
        "shares": [0.0, 0.0, 0.0, 0.0, 0.25, 0.25, 0.5],
        "peak": "sun",
    }
    assert weekdays.input_names()[0] == "weekdays_mon" and weekdays.input_names()[-1] == "weekdays_now"
    assert weekdays.inputs(state, T0 + 7 * DAY) == (0.0, 0.0, 0.0, 0.0, 0.25, 0.25, 0.5, 0.25)
    assert weekdays.inputs(None, T0) == (0.0,) * 8


def test_the_clocks_are_those_of_the_zone() -> None:
    assert HourOfDay("hours", zone=NEW_YORK).snapshot(run(HourOfDay("hours", zone=NEW_YORK), event()))["peak"] == 19
    assert DayOfWeek("days", zone=NEW_YORK).snapshot(run(DayOfWeek("days", zone=NEW_YORK), event()))["peak"] == "thu"


def test_of_several_peaks_the_first_is_taken() -> None:
    hours = HourOfDay("hours")
    for at in ((9 * HOUR, 4 * HOUR), (4 * HOUR, 9 * HOUR)):
        assert hours.snapshot(run(hours, *(event(at=each) for each in at)))["peak"] == 4


def test_what_was_long_ago_fades() -> None:
    hours = HourOfDay("hours", half_life="1d")
    state = run(hours, event(at=9 * HOUR), event(at=2 * DAY + 9 * HOUR), event(at=DAY + 9 * HOUR))
    value = hours.value(state, T0 + 3 * DAY + 9 * HOUR)
    assert value["counts"][9] == pytest.approx(0.5 + 0.25 + 0.125)
    assert value["shares"][9] == 1.0
    assert value["at"] == T0 + 3 * DAY + 9 * HOUR


def test_what_is_out_of_the_window_is_gone() -> None:
    weekdays = DayOfWeek("weekdays", window="7d", resolution="1d")
    state = run(weekdays, event(), event(at=3 * DAY))
    value = weekdays.snapshot(state)
    assert value["counts"] == [1, 0, 0, 0, 1, 0, 0]
    gone = weekdays.advance(value, T0 + 8 * DAY)
    assert (gone["counts"], gone["shares"][0], gone["peak"]) == ([1, 0, 0, 0, 0, 0, 0], 1.0, "mon")
    assert weekdays.inputs(state, T0 + 8 * DAY) == (1.0, *(0.0,) * 7)
    empty = weekdays.advance(value, T0 + 90 * DAY)
    assert (empty["counts"], empty["shares"], empty["peak"]) == ([0] * 7, [0.0] * 7, None)
    assert weekdays.inputs(state, T0 + 90 * DAY) == (0.0,) * 8
    assert weekdays.category(state, T0 + 90 * DAY) is None


def test_each_user_may_have_a_zone() -> None:
    hours = HourOfDay("hours", zone="Asia/Tokyo", zone_of="properties.zone")
    told, other = {"zone": NEW_YORK}, {"zone": "Europe/Lisbon"}
    state = run(hours, event())
    assert hours.snapshot(state)["zone"] == "Asia/Tokyo"
    assert hours.snapshot(state)["peak"] == 9
    state = hours.update(state, event(at=DAY, properties=told))
    state = hours.update(state, event(at=2 * DAY))
    value = hours.snapshot(state)
    assert (value["zone"], value["peak"]) == (NEW_YORK, 19)
    assert value["counts"][19] == 2, "the zone of an event that tells none is the one known"
    assert hours.inputs(state, T0 + 3 * DAY)[2] == pytest.approx(2 / 3)
    state = hours.update(state, event(at=DAY, properties=other))
    assert hours.snapshot(state)["zone"] == NEW_YORK, "a late event does not tell where the user is"
    assert not hours.mergeable and not hours.order_free
    with pytest.raises(TypeError, match="HourOfDay has no merge"):
        hours.merge(state, state)


def test_the_direction_of_the_hours_is_that_of_the_mean() -> None:
    hours = HourOfDay("hours")
    assert hours.input_names() == ("hours_sin", "hours_cos", "hours_now")
    state = run(hours, event(at=6 * HOUR))
    assert hours.inputs(state, T0 + 6 * HOUR) == pytest.approx((1.0, 0.0, 1.0))
    assert hours.inputs(state, T0 + 7 * HOUR) == pytest.approx((1.0, 0.0, 0.0))
    opposite = hours.update(state, event(at=18 * HOUR))
    assert hours.inputs(opposite, T0)[:2] == pytest.approx((0.0, 0.0))
    around_midnight = run(hours, event(at=23 * HOUR), event(at=25 * HOUR))
    assert hours.inputs(around_midnight, T0)[:2] == pytest.approx((0.0, math.cos(math.pi / 12)))
    assert hours.inputs(None, T0) == (0.0, 0.0, 0.0)


@given(events=streams(), zone=st.sampled_from(["UTC", NEW_YORK, "Australia/Lord_Howe"]))
def test_histograms_are_sums_over_all_events(events: list[Event], zone: str) -> None:
    ever = HourOfDay("hours", zone=zone)
    fading = DayOfWeek("weekdays", zone=zone, half_life="30d")
    recent = HourOfDay("recent", zone=zone, window="7d", resolution="6h")
    if not events:
        return
    now = max(e.time for e in events)
    by_hour: dict[int, int] = defaultdict(int)
    by_day: dict[int, float] = defaultdict(float)
    by_recent: dict[int, int] = defaultdict(int)
    for each in events:
        moment = datetime.fromtimestamp(each.time // 1000, UTC).astimezone(ZoneInfo(zone))
        by_hour[moment.hour] += 1
        by_day[moment.weekday()] += math.exp2(-(now - each.time) / (30 * DAY))
        by_recent[moment.hour] += each.time // (6 * HOUR) >= (now - 7 * DAY) // (6 * HOUR)
    assert ever.snapshot(run(ever, *events))["counts"] == [by_hour[hour] for hour in range(24)]
    exact = [by_day[day] for day in range(7)]
    assert fading.value(run(fading, *events), now)["counts"] == pytest.approx(exact, rel=1e-9)
    assert recent.value(run(recent, *events), now)["counts"] == [by_recent[hour] for hour in range(24)]


@pytest.mark.parametrize("kind", [HourOfDay, DayOfWeek])
def test_one_histogram_has_one_memory(kind: type[HourOfDay] | type[DayOfWeek]) -> None:
    with pytest.raises(DefinitionError, match="is one histogram: give it one half_life or one window"):
        kind("hours", half_life="1d", window="7d")
    with pytest.raises(DefinitionError, match="'Europe/Pariss' is not a time zone; did you mean 'Europe/Paris'"):
        kind("hours", zone="Europe/Pariss")
    with pytest.raises(DefinitionError, match="for a field of your own write"):
        kind("hours", zone_of="zone")


def test_a_moment_is_a_place_on_a_circle() -> None:
    moment = Moment("moment")
    assert moment.input_names() == tuple(
        f"moment_{part}_{each}" for part in ("hour", "weekday", "month") for each in ("sin", "cos")
    )
    friday, march = 2 * math.pi * 4 / 7, 2 * math.pi * 2 / 12
    noon = (0.0, -1.0, math.sin(friday), math.cos(friday), math.sin(march), math.cos(march))
    assert moment.inputs(None, T0 + 12 * HOUR) == pytest.approx(noon)
    thursday = 2 * math.pi * 3 / 7
    assert Moment("moment", of="weekday", zone=NEW_YORK).inputs(None, T0) == pytest.approx(
        (math.sin(thursday), math.cos(thursday))
    )
    february = 2 * math.pi / 12
    assert Moment("moment", of="month", zone=NEW_YORK).inputs(None, T0) == pytest.approx(
        (math.sin(february), math.cos(february))
    )


def test_a_moment_keeps_nothing() -> None:
    moment = Moment("moment", of=("hour", "month"))
    assert moment.update(None, event()) is None
    assert moment.max_bytes == 0
    assert Moment("moment", of="hour").config == {"name": "moment", "of": ["hour"], "zone": "UTC"}


@pytest.mark.parametrize("of", [(), "day", ("hour", "hour"), ("hour", "year")])
def test_a_moment_has_three_parts(of: Any) -> None:
    with pytest.raises(DefinitionError, match='of= takes any of "hour", "weekday" and "month", each once'):
        Moment("moment", of=of)


def test_a_moment_at_the_ends_of_time() -> None:
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        for now in (0, 253_402_300_799_999):
            assert all(math.isfinite(x) for x in Moment("moment", zone=zone).inputs(None, now))
