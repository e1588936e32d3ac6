"""What a worker counts, and the line it logs."""

from __future__ import annotations

import pytest

from stream_profiles.engine import stats as module
from stream_profiles.engine.stats import Stats


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, as its only entry."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def line(stats: Stats, lag: int | None = None, waiting: int = 0) -> str:
    return stats.line(lag, waiting, intake=True, profiles=True)


def test_rates_are_those_since_the_last_line(clock: list[float]) -> None:
    stats = Stats()
    clock[0] += 2
    stats.outcomes["applied"], stats.received = 3_000, 4_000
    assert line(stats, 17, 5) == (
        "2,000 events/s in, 1,500 events/s into profiles, 3,000 in all, lag 17, 5 being written"
    )
    clock[0] += 1
    stats.outcomes["applied"] += 10
    assert line(stats) == "0 events/s in, 10 events/s into profiles, 3,010 in all"


@pytest.mark.parametrize(
    ("intake", "profiles", "said"),
    [
        (True, False, "20 events/s in, 20 in all"),
        (False, True, "10 events/s into profiles, 10 in all"),
    ],
)
def test_a_worker_tells_of_its_own_part(clock: list[float], intake: bool, profiles: bool, said: str) -> None:
    stats = Stats()
    clock[0] += 1
    stats.outcomes["applied"], stats.received = 10, 20
    assert stats.line(None, 0, intake=intake, profiles=profiles) == said


def test_what_is_out_of_the_ordinary_is_said(clock: list[float]) -> None:
    stats = Stats()
    clock[0] += 1
    stats.outcomes.update({"duplicate": 2, "late": 1_000, "replayed": 3, "dropped": 4})
    stats.dead_letter("not an event: x")
    stats.failed_fields["price"] += 2
    assert line(stats, 0) == (
        "0 events/s in, 0 events/s into profiles, 0 in all, lag 0, 2 duplicate, 1,000 late, 3 replayed, 4 dropped, "
        "1 dead letters, 2 failed field updates"
    )


def test_a_line_at_once_divides_by_no_zero(clock: list[float]) -> None:
    assert line(Stats()) == "0 events/s in, 0 events/s into profiles, 0 in all"


def test_dead_letters_are_counted_by_kind() -> None:
    stats = Stats()
    for reason in ("not an event: a", "not an event: b", "unknown event type: 'x'", "time 'x' is no time"):
        stats.dead_letter(reason)
    assert stats.dead_letters == {"not an event": 2, "unknown event type": 1, "time": 1}


def test_kinds_of_dead_letters_are_bounded() -> None:
    """Reasons hold what a record says, and a record may say anything."""
    stats = Stats()
    for number in range(1_000):
        stats.dead_letter(f"reason {number}")
    stats.dead_letter("reason 3")
    assert len(stats.dead_letters) == 101
    assert stats.dead_letters["other"] == 900 and stats.dead_letters["reason 3"] == 2
