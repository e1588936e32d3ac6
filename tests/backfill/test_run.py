"""A backfill gives bit for bit what partitions give that are fed as live ones are."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from stream_profiles import Event, Partition
from stream_profiles.backfill import BackfillOptions, backfill
from stream_profiles.backfill.events import EventReader, check_files
from stream_profiles.backfill.spill import Spill, blocks, spill_path
from stream_profiles.definition import load_definition
from stream_profiles.dev.shop import shop_events
from stream_profiles.errors import DefinitionError, MappingError, SettingsError
from stream_profiles.mapping import EventMapping
from stream_profiles.replay import ReplayOptions, run_replay
from stream_profiles.replay.progress import Silent
from tests.backfill.oracle import IMPORTS, fed_by_hand, published, restored, states, write_definition, write_events
from tests.events import DAY, HOUR, T0, event
from tests.replay.test_run import FakeKafka

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "tests" / "data" / "online_retail_sample.csv"
MAPPING = ROOT / "examples" / "online_retail.toml"
VIEWS = f'{IMPORTS}shop = ProfileDefinition("shop", features=[Count("views", on="view", half_life="1h")])\n'


def disturbed(events: Sequence[Event]) -> list[Event]:
    """With duplicates, and events that come too late or just late."""
    found = list(events)
    for n in range(50, len(found), 97):
        found.insert(n + 30, found[n])
    for n in range(400, len(found), 203):
        found.append(found.pop(n))
    return found


@pytest.mark.parametrize("processes", [1, 2])
def test_the_states_are_those_of_live_partitions(tmp_path: Path, processes: int) -> None:
    reference = write_definition(tmp_path)
    events = disturbed(list(shop_events(seed=1, users=120, events=4_000)))
    file, out = write_events(tmp_path / "events.jsonl", events), tmp_path / "profiles.parquet"
    definition, found = load_definition(reference), list[Partition]()
    report = backfill(
        [file],
        reference,
        options=BackfillOptions(out=out, partitions=3, processes=processes, records=True),
        deliver=lambda files: found.extend(restored(definition, files)),
    )
    expected = fed_by_hand(definition, events, 3)
    assert states(found) == states(expected)
    assert published(found) == published(expected)
    assert [each.metrics() for each in found] == [each.metrics() for each in expected]
    assert [each.watermark for each in found] == [each.watermark for each in expected]
    assert all(each.offsets == {} for each in found), "it claims offsets that no topic has"
    assert report.users == sum(map(len, expected))
    assert report.events == len(events) - report.skipped.total() and report.skipped["duplicate"] > 30
    users = pl.read_parquet(out)["user_id"].to_list()
    assert users == [user for partition in expected for user in sorted(partition.users())]
    left = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}
    assert left == {"definition.py", "events.jsonl", "profiles.parquet"}


def test_partitions_that_let_go_of_profiles_in_between_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_profiles.backfill.compute._TAKE_EVERY", 100)
    monkeypatch.setattr("stream_profiles.backfill.spill._BLOCK_BYTES", 10_000)
    monkeypatch.setattr("stream_profiles.backfill.spill._BUFFER_BYTES", 5_000)
    monkeypatch.setattr("stream_profiles.partition._MAX_DECODED", 10)
    test_the_states_are_those_of_live_partitions(tmp_path, 1)


def test_a_row_has_the_numbers_that_models_are_given(tmp_path: Path) -> None:
    reference = write_definition(tmp_path)
    events = list(shop_events(seed=2, users=40, events=1_500))
    out = tmp_path / "profiles.parquet"
    report = backfill(
        [write_events(tmp_path / "events.jsonl", events)], reference, options=BackfillOptions(out=out, processes=1)
    )
    definition, now = load_definition(reference), max(event.time for event in events)
    assert report.as_of == now
    found = {row["user_id"]: row for row in pl.read_parquet(out).to_dicts()}
    count = 0
    for partition in fed_by_hand(definition, events, 4):
        for user in partition.users():
            state, row = partition.state(user), found[user]
            assert state is not None
            assert (row["version"], row["event_time"]) == (state.version, state.last_time)
            for feature in definition.features:
                numbers = feature.inputs(state.slots.get(feature.key), now)
                assert tuple(row[name] for name in feature.input_names()) == numbers
                count += len(numbers)
            profile: dict[str, Any] = partition.published(user) or {}
            assert row["first_channel"] == profile.get("first_channel") and row["price"] == profile.get("price")
            assert json.loads(row["recent"] or "null") == profile.get("recent")
            assert row["buys_soon_score"] == profile.get("buys_soon", {}).get("score")
            taste = profile.get("taste")
            assert taste is None or pl.Series(row["taste"], dtype=pl.Float32).to_numpy().tobytes() == taste
            (top,) = [feature for feature in definition.features if feature.name == "categories"]
            slot = state.slots.get(top.key)
            assert json.loads(row["categories"] or "null") == (None if slot is None else top.value(slot, now))
    assert len(found) == report.rows == report.users and count > 400


def test_events_are_those_that_a_replay_sends(tmp_path: Path) -> None:
    mapping = EventMapping.load(MAPPING)
    kafka = FakeKafka()
    replayed = ReplayOptions(state=tmp_path / "state.json")
    report = asyncio.run(run_replay([SAMPLE], mapping, replayed, kafka))
    assert report.sent == 9
    spill = Spill(tmp_path, "events", 1)
    options = BackfillOptions(out=Path("x.csv"), partitions=1)
    taken = EventReader(mapping, options, lambda _: True, spill, Silent()).read(
        [SAMPLE], check_files([SAMPLE], mapping)
    )
    lines = b"".join(blocks(spill_path(tmp_path, "events", 0))).splitlines()
    assert [msgspec.json.decode(line, type=Event) for line in lines] == kafka.events
    assert taken.dropped == report.dropped and taken.events == 9


def test_what_is_no_event_is_counted_and_kept(tmp_path: Path) -> None:
    source = VIEWS.replace('"shop", ', '"shop", event_types=["view"], ')
    good = {"user_id": "ada", "type": "view", "time": T0}
    rows = [
        good,
        {**good, "user_id": None},
        {**good, "type": "teleport"},
        {**good, "time": 99_999_999_999_999},
        {**good, "text": "x" * 9_000},
        {**good, "time": T0 + DAY},
        good,
    ]
    file, rejects, out = tmp_path / "rows.jsonl", tmp_path / "rejects.jsonl", tmp_path / "profiles.csv"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    options = BackfillOptions(out=out, rejects=rejects, max_record_bytes=5_000, until=T0 + DAY, processes=1)
    report = backfill([file], write_definition(tmp_path, source), options=options)
    assert report.rejected == Counter(
        {
            "user_id is missing": 1,
            "unknown event type": 1,
            "time too far in the future": 1,
            "record too large": 1,
            "the row is not JSON": 1,
        }
    )
    assert (report.events, report.after, report.as_of) == (2, 1, T0 + DAY)
    refused = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [(line["row"], line["reason"].partition(":")[0]) for line in refused] == [
        (2, "user_id is missing"),
        (3, "unknown event type"),
        (4, "time too far in the future"),
        (5, "record too large"),
        (8, "the row is not JSON"),
    ]
    assert refused[1]["record"]["type"] == "teleport" and refused[0]["file"] == str(file)
    assert "rejected 1 rows: unknown event type" in report.summary()
    assert pl.read_csv(out)["views_total"].to_list() == [2]


def test_a_definition_that_fails_on_an_event_stops_nothing(tmp_path: Path) -> None:
    source = f"""{IMPORTS}
class Broken(Count):
    def update(self, state, event):
        if event.item_id == "bad":
            raise ValueError("no such item")
        return super().update(state, event)

shop = ProfileDefinition("shop", features=[Broken("broken"), Count("views")])
"""
    events = [event(at=n, item_id="bad" if n == 1 else "good") for n in range(3)]
    out = tmp_path / "profiles.parquet"
    file = write_events(tmp_path / "events.jsonl", events)
    report = backfill([file], write_definition(tmp_path, source), options=BackfillOptions(out=out, processes=1))
    assert report.failed == Counter({"broken": 1})
    assert pl.read_parquet(out).select("broken_total", "views_total").rows() == [(2.0, 3.0)]


def test_no_events_give_an_empty_file(tmp_path: Path) -> None:
    file, out = tmp_path / "events.csv", tmp_path / "profiles.parquet"
    file.write_text("user_id,type,time\n")
    report = backfill([file], write_definition(tmp_path, VIEWS), options=BackfillOptions(out=out, processes=1))
    assert pl.read_parquet(out).columns == ["user_id", "version", "event_time", "views_total", "views_1h"]
    assert (report.rows, report.events) == (0, 0)


def test_files_are_one_stream(tmp_path: Path) -> None:
    """An event without an id gets one of its file and row: rows of two files are never duplicates."""
    rows = [json.dumps({"user_id": "ada", "type": "view", "time": T0 + n * HOUR}) + "\n" for n in range(4)]
    (tmp_path / "a.jsonl").write_text("".join(rows[:2]))
    (tmp_path / "b.jsonl").write_text("".join(rows[2:]))
    out = tmp_path / "profiles.csv"
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    backfill(files, write_definition(tmp_path, VIEWS), options=BackfillOptions(out=out, processes=1))
    assert pl.read_csv(out)["views_1h"].to_list() == [1.875]


# -- what is wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "say where the profiles go: --out"),
        ({"records": True, "at": Path("at.csv")}, "say where they go with --out"),
        ({"out": Path("o.csv"), "partitions": 0}, "from 1 to 1024"),
        ({"out": Path("o.csv"), "processes": 0}, "at least 1"),
        ({"out": Path("o.csv"), "until": -1}, "no time"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        BackfillOptions(**options)


def test_everything_is_looked_at_before_anything_is_computed(tmp_path: Path) -> None:
    reference = write_definition(tmp_path, VIEWS)
    file = write_events(tmp_path / "events.jsonl", [event()])
    out = tmp_path / "profiles.parquet"

    def refused(files: Sequence[Path], sentence: str, definition: str = reference, **options: Any) -> None:
        before = sorted(tmp_path.iterdir())
        with pytest.raises((SettingsError, DefinitionError), match=sentence):
            backfill(files, definition, options=BackfillOptions(**{"out": out, "processes": 1, **options}))
        assert sorted(tmp_path.iterdir()) == before

    refused([], "no file")
    refused([file, tmp_path / "none.csv"], "there is no file")
    refused([file], "there is no file", definition=str(tmp_path / "none.py"))
    refused([file], "none of the suffixes that tell how to write it", out=tmp_path / "profiles.xlsx")
    refused([file], "there is no folder", out=tmp_path / "none" / "profiles.csv")
    refused([file], "is a folder", out=_folder(tmp_path / "folder.csv"))
    refused([file], "rejects cannot be written", rejects=tmp_path / "none" / "rejects.jsonl")
    source = f'{IMPORTS}shop = ProfileDefinition("shop", features=[Last("version", of="country")])\n'
    folder = _folder(tmp_path / "other")
    refused([file], "two columns would be called 'version'", definition=write_definition(folder, source))
    with pytest.raises(MappingError, match="has no column 'user_id'"):
        backfill([SAMPLE], reference, options=BackfillOptions(out=out))


def test_a_file_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "events.csv.gz"
    content = gzip.compress(b"user_id,type,time\n" + b"".join(b"u%d,view,%d\n" % (n, T0 + n) for n in range(9_000)))
    file.write_bytes(content[:-5_000])
    reference = write_definition(tmp_path, VIEWS)
    with pytest.raises(SettingsError, match="ends in the middle of its compressed data"):
        backfill([file], reference, options=BackfillOptions(out=tmp_path / "profiles.csv"))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["definition.py", "events.csv.gz"]
    assert not list(tmp_path.glob(".stream-profiles*"))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
