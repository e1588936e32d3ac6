"""When each moment is answered."""

from __future__ import annotations

import json
from pathlib import Path

from stream_profiles.backfill.asked import Asked


def test_a_moment_is_answered_once_when_the_clock_passes_it(tmp_path: Path) -> None:
    file = tmp_path / "moments.jsonl"
    asked_for = [("ada", 30), ("bob", 10), ("ada", 10), ("ada", 99)]
    file.write_text("".join(json.dumps(each) + "\n" for each in asked_for))
    said: list[tuple[int, str, int]] = []
    asked = Asked(file, lambda number, user, time: said.append((number, user, time)))
    assert len(asked) == 4

    asked.before("ada", 10)
    asked.after("ada", 10)
    assert said == [], "an event at the moment counts for it"
    asked.before("cy", 11)
    asked.after("cy", 11)
    assert said == [(1, "bob", 10), (2, "ada", 10)], "somebody else's event moves the clock"
    asked.before("cy", 31)
    asked.after("cy", 31)
    assert said[2:] == [(0, "ada", 30)]
    asked.before("ada", 40)
    asked.after("ada", 40)
    asked.finish()
    assert said[3:] == [(3, "ada", 99)]


def test_a_late_event_counts_until_the_first_later_one(tmp_path: Path) -> None:
    file = tmp_path / "moments.jsonl"
    file.write_text('["ada",30]\n["ada",10]\n["bob",30]\n')
    said: list[int] = []
    asked = Asked(file, lambda number, user, time: said.append(number))
    for user, time in (("cy", 50), ("ada", 20), ("ada", 25)):
        asked.before(user, time)
        asked.after(user, time)
    assert said == [1, 0, 2], "answered again only when no more can come"
    asked.before("ada", 31)
    assert said[3:] == [0]
    asked.after("ada", 31)
    asked.before("ada", 29)
    asked.after("ada", 29)
    asked.finish()
    assert said[4:] == [], "an event that came after a later one counts for nothing asked about before"


def test_late_events_of_somebody_who_does_not_come_back(tmp_path: Path) -> None:
    file = tmp_path / "moments.jsonl"
    file.write_text('["ada",30]\n')
    said: list[int] = []
    asked = Asked(file, lambda number, user, time: said.append(number))
    for user, time in (("cy", 50), ("ada", 20)):
        asked.before(user, time)
        asked.after(user, time)
    asked.finish()
    assert said == [0, 0]
