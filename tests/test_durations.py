"""Durations are read as people write them, and a wrong one is told apart in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles.durations import UNITS_MS, label, to_ms
from stream_profiles.errors import DefinitionError


@pytest.mark.parametrize(
    ("duration", "milliseconds"),
    [
        ("1ms", 1),
        ("30s", 30_000),
        ("15m", 900_000),
        ("1.5h", 5_400_000),
        ("7d", 604_800_000),
        ("2w", 1_209_600_000),
        ("36525d", 3_155_760_000_000),
        (timedelta(minutes=90), 5_400_000),
        (timedelta(milliseconds=1), 1),
    ],
)
def test_milliseconds(duration: str | timedelta, milliseconds: int) -> None:
    assert to_ms(duration) == milliseconds


@pytest.mark.parametrize("wrong", ["", "h", "7", "1 h", "1D", "-1d", "1e3d", "1d 2h", "٣d", ".5h", None, 7, 1.5])
def test_what_is_no_duration(wrong: Any) -> None:
    with pytest.raises(DefinitionError, match="is not a duration; write it like"):
        to_ms(wrong)


@pytest.mark.parametrize("wrong", ["0d", "0.5ms", timedelta(0), timedelta(days=-1), timedelta(microseconds=999)])
def test_too_short(wrong: str | timedelta) -> None:
    with pytest.raises(DefinitionError, match="is too short"):
        to_ms(wrong)


@pytest.mark.parametrize("wrong", ["36526d", "9" * 400 + "d", timedelta.max])
def test_too_long(wrong: str | timedelta) -> None:
    with pytest.raises(DefinitionError, match="is too long"):
        to_ms(wrong)


def test_a_label_is_the_text_as_given() -> None:
    assert label("90m") == "90m"
    assert label("24h") == "24h"
    with pytest.raises(DefinitionError):
        label("soon")


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=14), "14d"),
        (timedelta(hours=36), "36h"),
        (timedelta(minutes=90), "90m"),
        (timedelta(seconds=1, milliseconds=5), "1005ms"),
    ],
)
def test_the_label_of_a_timedelta_is_in_the_largest_unit_that_fits(duration: timedelta, text: str) -> None:
    assert label(duration) == text


@given(st.integers(1, 3_000_000_000_000))
def test_a_label_says_the_same_duration(milliseconds: int) -> None:
    assert to_ms(label(timedelta(milliseconds=milliseconds))) == milliseconds


@given(st.integers(1, 500), st.sampled_from(sorted(UNITS_MS)))
def test_units(count: int, unit: str) -> None:
    assert to_ms(f"{count}{unit}") == count * UNITS_MS[unit]
