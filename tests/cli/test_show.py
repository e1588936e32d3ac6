"""How profiles, changes and definitions read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from stream_profiles import Partition, Profile, ProfileDelta, ProfileUpdater
from stream_profiles.cli import show
from stream_profiles.definition import load_definition
from stream_profiles.dev.shop import shop_events
from stream_profiles.models import BinaryMetrics

SHOP = load_definition(str(Path(__file__).parents[2] / "examples" / "shop.py"))


def drawn(what: Any, width: int = 200) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(what)
    return file.getvalue()


def profile(values: dict[str, Any], user: str = "ada") -> Profile:
    return Profile(user_id=user, profile="shop", version=1234, event_time=0, updated_at=0, values=values)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"total": 12, "1h": 2.34, "at": 0}, "12 in all, 2.34 (1h)"),
        ({"top": [["shoes", 3.16], ["hats", 1.0]], "at": 0}, "shoes 3.16, hats 1"),
        ({"top": [], "at": 0}, ""),
        ({"seconds": 93_600.0, "at": 0}, "1 d 2 h"),
        ({"score": 0.125, "at": 0}, "12.5%"),
        (
            {"count": 3, "events": 8, "seconds": 300.0, "mean_seconds": 660.0, "active": True, "at": 0},
            "3 in all, now 8 events in 5 min, 11 min on average",
        ),
        (
            {"count": 3, "events": 8, "seconds": 300.0, "mean_seconds": 660.0, "active": False, "at": 0},
            "3 in all, the last 8 events in 5 min, 11 min on average",
        ),
        (["a", "b"], "a, b"),
        ("DE", "DE"),
        (1234.5, "1,234"),
        (np.arange(8, dtype="<f4"), "8 numbers: +0.00 +1.00 +2.00 +3.00 +4.00 +5.00 …"),
        ({"own": "kind", "flag": True, "half": 0.5}, "own kind, flag, half 0.5"),
        (None, "None"),
    ],
)
def test_values_in_words(value: Any, text: str) -> None:
    assert show.readable(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0, "0"), (3.0, "3"), (7, "7"), (1_000_000, "1,000,000"), (0.004567, "0.0046"), (-2.5, "-2.5")],
)
def test_numbers(value: float, text: str) -> None:
    assert show.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3_700, "1 h 1 min"), (86_400, "1 d")]
)
def test_durations(seconds: float, text: str) -> None:
    assert show.duration(seconds) == text


def test_everything_the_example_publishes_can_be_drawn() -> None:
    partition = Partition(ProfileUpdater(SHOP))
    for event in shop_events(seed=1, users=1, events=300):
        partition.apply(event)
    (user,) = partition.users()
    published = partition.published(user)
    assert published is not None
    panel = drawn(show.profile_panel(profile(dict(published), user)))
    assert set(published) <= set(panel.split())
    assert user in panel and "version 1,234 · last event 1970-01-01 00:00:00 UTC" in panel
    assert "{" not in panel and "'at'" not in panel, "a value is shown raw"


def test_what_users_send_cannot_write_into_the_terminal() -> None:
    nasty = "\x1b[2J[bold]:bug:[/]\r\n"
    panel = drawn(show.profile_panel(profile({"country": nasty}, user=nasty)))
    delta = ProfileDelta(
        user_id=nasty,
        profile="shop",
        version=1,
        event_id="1",
        event_time=0,
        changed={"country": nasty},
        removed=["city"],
        snapshot=True,
    )
    for text in (panel, drawn(show.delta_line(delta))):
        assert "\x1b" not in text and "\r" not in text
        assert text.count(r"\x1b[2J[bold]:bug:[/]\r\n") == 2


def test_a_change_is_a_line() -> None:
    delta = ProfileDelta(
        user_id="ada",
        profile="shop",
        version=7,
        event_id="1",
        event_time=0,
        changed={"views": {"total": 2, "at": 0}, "country": "DE"},
        removed=["city"],
        snapshot=False,
    )
    assert show.delta_line(delta).plain == "ada v7 1970-01-01 00:00:00 UTC  views 2 in all; country DE; city is gone"


def test_metrics_before_and_after_both_outcomes_were_seen() -> None:
    metrics = BinaryMetrics()
    assert show.metrics_line("buys", metrics.values()) == "buys: 0 examples"
    for number in range(100):
        metrics.update(0.9 if number % 4 == 0 else 0.1, number % 4 == 0)
    line = show.metrics_line("buys", metrics.values())
    assert line.startswith("buys: AUC 1.000, log-loss 0.105, calibration error 0.")
    assert line.endswith(" over 100 examples, 25.0% true")


def test_a_definition_is_shown_whole_however_narrow_the_terminal() -> None:
    table = drawn(show.definition_table(SHOP), width=80)
    assert "…" not in table
    assert all(name in table for name in SHOP.field_names)
