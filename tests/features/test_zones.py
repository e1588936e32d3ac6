"""Local time: what clocks and calendars show, also where they are changed."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles.contracts import MAX_TIME_MS
from stream_profiles.errors import DefinitionError
from stream_profiles.features import zones
from stream_profiles.features.zones import DAY_MS, WEEKDAYS, local, local_day, start_of_day, weekday
from tests.events import event

ZONES = ["UTC", "Europe/Lisbon", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"]
times = st.integers(0, 1_900_000_000_000)


def ms(*date: int, zone: str = "UTC") -> int:
    return round(datetime(*date, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[arg-type,misc]


@given(zone=st.sampled_from(ZONES), time=times)
def test_clocks_show_what_the_standard_library_says(zone: str, time: int) -> None:
    moment = datetime.fromtimestamp(time // 1000, UTC).astimezone(ZoneInfo(zone))
    shown = datetime.fromtimestamp(local(zone, time) // 1000, UTC)
    assert shown.replace(tzinfo=None) == moment.replace(tzinfo=None)
    assert local(zone, time) % 1000 == time % 1000
    assert weekday(local_day(zone, time)) == moment.weekday()


@given(zone=st.sampled_from(ZONES), time=times)
def test_a_day_begins_at_its_first_moment(zone: str, time: int) -> None:
    day = local_day(zone, time)
    start = start_of_day(zone, day)
    assert start <= time < start_of_day(zone, day + 1)
    assert local_day(zone, start) == day
    assert local_day(zone, start - 1) < day


def test_a_midnight_that_is_left_out() -> None:
    """In Brazil the clocks went from 23:59 to 1:00."""
    day = local_day("America/Sao_Paulo", ms(2018, 11, 4, 12, zone="America/Sao_Paulo"))
    assert start_of_day("America/Sao_Paulo", day) == ms(2018, 11, 4, 3)


def test_a_midnight_that_comes_twice() -> None:
    """In Cuba the clocks go from 0:59 back to 0:00."""
    day = local_day("America/Havana", ms(2023, 11, 5, 12, zone="America/Havana"))
    assert start_of_day("America/Havana", day) == ms(2023, 11, 5, 4)


def test_a_day_that_is_left_out() -> None:
    """Samoa went from 29 to 31 December 2011: the 30th is over when it begins."""
    day = ms(2011, 12, 30) // DAY_MS
    assert start_of_day("Pacific/Apia", day) == start_of_day("Pacific/Apia", day + 1) == ms(2011, 12, 30, 10)


@pytest.mark.parametrize("zone", ZONES)
def test_there_is_a_local_time_at_both_ends_of_time(zone: str) -> None:
    for time in (0, MAX_TIME_MS):
        assert abs(local(zone, time) - time) < DAY_MS
    assert start_of_day(zone, MAX_TIME_MS // DAY_MS + 400) > MAX_TIME_MS


def test_the_first_day_was_a_thursday() -> None:
    assert WEEKDAYS[weekday(0)] == "thu"
    assert WEEKDAYS[weekday(-1)] == "wed"


def test_every_zone_can_be_loaded_and_named_in_the_space_reserved() -> None:
    for zone in zones.names():
        assert abs(local(zone, 0)) < DAY_MS
        assert len(zone) + 2 <= zones.ZONE_BYTES


@pytest.mark.parametrize(
    ("zone", "hint"),
    [
        ("Europe/Lisboa", "'Europe/Lisboa' is not a time zone; did you mean 'Europe/Lisbon'?"),
        ("Europe", "'Europe' is not a time zone"),
        ("../../etc/passwd", "'../../etc/passwd' is not a time zone; write one like Europe/Paris"),
        ("", "'' is not a time zone"),
    ],
)
def test_an_unknown_zone_is_refused(zone: str, hint: str) -> None:
    with pytest.raises(DefinitionError, match=hint.replace(".", r"\.").replace("?", r"\?")):
        zones.check("hours", zone)


def test_whose_zone_an_event_is_in() -> None:
    own = zones.LocalTime("hours", "UTC", "properties.zone")
    lisbon, nowhere, none = ({"zone": "Europe/Lisbon"}, {"zone": "../x"}, {"zone": 7})
    assert own.of(event(properties=lisbon), None) == "Europe/Lisbon"
    assert own.of(event(properties=lisbon), "Asia/Tokyo") == "Europe/Lisbon"
    for properties in (nowhere, none, {}):
        assert own.of(event(properties=properties), "Asia/Tokyo") == "Asia/Tokyo"
        assert own.of(event(properties=properties), None) == "UTC"
    assert zones.LocalTime("hours", "Asia/Tokyo", None).of(event(properties=lisbon), None) == "Asia/Tokyo"
