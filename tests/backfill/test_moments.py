"""Features as of a moment are those of the events that had come by then, and of no other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from stream_profiles import Event, ProfileDefinition
from stream_profiles.backfill import BackfillOptions, BackfillReport, backfill
from stream_profiles.definition import load_definition
from stream_profiles.dev.shop import shop_events
from stream_profiles.errors import SettingsError
from tests.backfill.oracle import IMPORTS, fed_by_hand, write_definition, write_events
from tests.events import DAY, HOUR, MINUTE, T0, event, streams

VIEWS = f'{IMPORTS}shop = ProfileDefinition("shop", features=[Count("views", half_life="1h", window="1d")])\n'
Asked = list[tuple[str, int]]


def as_of(
    folder: Path, reference: str, events: Sequence[Event], asked: Asked, **options: Any
) -> tuple[pl.DataFrame, BackfillReport]:
    at, out = folder / "at.csv", folder / "out.parquet"
    at.write_text("user_id,time,n\n" + "".join(f"{user},{time},{n}\n" for n, (user, time) in enumerate(asked)))
    file = write_events(folder / "events.jsonl", events)
    report = backfill([file], reference, options=BackfillOptions(out=out, at=at, **{"processes": 1, **options}))
    frame = pl.read_parquet(out)
    assert frame["n"].to_list() == list(range(len(asked))), "not in the order of the file"
    assert frame["user_id"].to_list() == [user for user, _ in asked]
    return frame, report


def expected_numbers(
    definition: ProfileDefinition, events: Sequence[Event], user: str, time: int, partitions: int = 4
) -> dict[str, float | None]:
    """The numbers of a user as of a moment, by feeding everything up to the user's first later event."""
    end = next((n for n, each in enumerate(events) if each.user_id == user and each.time > time), len(events))
    features = [feature for feature in definition.features if feature.input_names()]
    for partition in fed_by_hand(definition, events[:end], partitions):
        state = partition.state(user)
        if state is not None:
            return {
                name: number
                for feature in features
                for name, number in zip(
                    feature.input_names(), feature.inputs(state.slots.get(feature.key), time), strict=True
                )
            }
    return {name: None for feature in features for name in feature.input_names()}


def test_of_the_whole_shop(tmp_path: Path) -> None:
    reference = write_definition(tmp_path)
    definition = load_definition(reference)
    events = list(shop_events(seed=4, users=25, events=500))
    for n in range(200, len(events), 51):  # Some are late.
        events.append(events.pop(n))
    random = Random(0)
    times = [event.time for event in events]
    asked = [(random.choice(events).user_id, random.randint(min(times), max(times))) for _ in range(40)]
    asked += [(event.user_id, event.time) for event in random.sample(events, 15)]
    asked += [("nobody", times[0]), ("nobody", times[-1]), (events[0].user_id, times[0] - 1)]
    frame, report = as_of(tmp_path, reference, events, asked)
    rows = frame.to_dicts()
    for row, (user, time) in zip(rows, asked, strict=True):
        expected = expected_numbers(definition, events, user, time)
        assert {name: row[name] for name in expected} == expected
    empty = [row for row in rows if row["views_total"] is None]
    assert 3 <= len(empty) < 40 and report.unknown == len(empty)
    assert all(value is None for row in empty for name, value in row.items() if name not in ("user_id", "time", "n"))
    scores = [row["buys_soon_score"] for row in rows]
    end = next(n for n, each in enumerate(events) if each.user_id == asked[0][0] and each.time > asked[0][1])
    (partition,) = [p for p in fed_by_hand(definition, events[:end], 4) if p.state(asked[0][0]) is not None]
    assert scores[0] == (partition.published(asked[0][0]) or {}).get("buys_soon", {}).get("score")
    assert len(set(scores)) > 20 and sum(row["taste"] is not None for row in rows) > 20


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams(users=3, max_size=15).filter(bool))
def test_of_any_stream(tmp_path: Path, events: list[Event]) -> None:
    """Late ones, equal times and jumps back included; moments at, just before and just after every event."""
    reference = write_definition(tmp_path, VIEWS)
    definition = load_definition(reference)
    times = sorted({each.time + shift for each in events for shift in (-1, 0, 1)})
    asked = [(f"user-{user}", time) for time in times for user in range(1, 4)]
    frame, _ = as_of(tmp_path, reference, events, asked, partitions=1)
    for row, (user, time) in zip(frame.to_dicts(), asked, strict=True):
        expected = expected_numbers(definition, events, user, time, partitions=1)
        assert {name: row[name] for name in expected} == expected


def test_what_time_alone_changes_does_not_leak_from_later(tmp_path: Path) -> None:
    """The partition's clock runs on with others' events, long before the user's next one shows up."""
    source = f"""{IMPORTS}
from stream_profiles.segments import Segment
shop = ProfileDefinition(
    "shop",
    features=[TimeSince("seen")],
    segments=[Segment("away", where="seen.seconds > 3600", every="10m")],
)
"""
    others = [event(user="bob", at=n * 10 * MINUTE) for n in range(72)]
    events = sorted([event(user="ada", at=1), event(user="ada", at=11 * HOUR), *others], key=lambda each: each.time)
    hours = (0.5, 0.9, 2, 10, 11, 11.5)
    asked = [("ada", T0 + int(hour * HOUR)) for hour in hours]
    frame, _ = as_of(tmp_path, write_definition(tmp_path, source), events, asked, partitions=1)
    assert frame["away"].to_list() == [None, None, True, True, False, False]


def test_events_at_the_moment_count_and_later_ones_do_not(tmp_path: Path) -> None:
    events = [event(at=0), event(at=10), event(at=10, type="cart"), event(at=11)]
    asked = [("ada", T0 + at) for at in (-1, 0, 9, 10, 11, DAY)]
    frame, _ = as_of(tmp_path, write_definition(tmp_path, VIEWS), events, asked)
    assert frame["views_total"].to_list() == [None, 1, 1, 3, 4, 4]
    assert frame["views_1h"][5] == pytest.approx(4 * 2.0**-24)


def test_somebody_known_of_whom_nothing_is_to_be_said_is_not_unknown(tmp_path: Path) -> None:
    source = f'{IMPORTS}shop = ProfileDefinition("shop", features=[Last("country", of="country")])\n'
    asked = [("ada", T0 - 1), ("ada", T0)]
    frame, report = as_of(tmp_path, write_definition(tmp_path, source), [event()], asked)
    assert frame["country"].to_list() == [None, None] and report.unknown == 1


def test_until_holds_for_moments_too(tmp_path: Path) -> None:
    events = [event(at=0), event(at=10)]
    frame, report = as_of(
        tmp_path, write_definition(tmp_path, VIEWS), events, [("ada", T0 + 5), ("ada", T0 + 20)], until=T0 + 10
    )
    assert frame["views_total"].to_list() == [1, 1] and report.after == 1 and report.as_of is None


def test_many_rows_and_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_profiles.backfill.parts._ROWS_AT_ONCE", 7)
    monkeypatch.setattr("stream_profiles.backfill.output._GROUP_ROWS", 1_000)
    events = [event(user=f"user-{n % 50}", at=n * MINUTE) for n in range(500)]
    random = Random(1)
    asked = [(f"user-{random.randrange(52)}", T0 + random.randrange(600) * MINUTE) for _ in range(5_000)]
    frame, report = as_of(tmp_path, write_definition(tmp_path, VIEWS), events, asked, partitions=3)
    times: dict[str, list[int]] = {}
    for each in events:
        times.setdefault(each.user_id, []).append(each.time)
    counts = [sum(when <= time for when in times.get(user, ())) or None for user, time in asked]
    assert frame["views_total"].to_list() == counts and report.rows == 5_000


# -- the file of moments -----------------------------------------------------------------------------------------------


def run(tmp_path: Path, at: Path, **options: Any) -> pl.DataFrame:
    out = tmp_path / "out.parquet"
    file = write_events(tmp_path / "events.jsonl", [event(user="17", at=0), event(user="007", at=0)])
    reference = write_definition(tmp_path, VIEWS)
    backfill([file], reference, options=BackfillOptions(out=out, at=at, **{"processes": 1, **options}))
    return pl.read_parquet(out)


def test_columns_of_a_csv_are_carried_along_and_typed_where_nothing_is_lost(tmp_path: Path) -> None:
    at = tmp_path / "at.csv"
    at.write_text(
        "label,share,code,time,user_id,note,long,empty\n"
        '1,0.5,007,2024-03-01T00:00:00Z,17,"a, b",12345678901234567890,\n'
        "0,2,17,2024-03-01 00:00:00.001,007,,1,\n"
        ",1e-3,1,2024-02-29,17,x,2,\n"
    )
    frame = run(tmp_path, at)
    assert frame.columns[:8] == ["label", "share", "code", "time", "user_id", "note", "long", "empty"]
    assert frame["label"].to_list() == [1, 0, None] and frame["label"].dtype == pl.Int64
    assert frame["share"].to_list() == [0.5, 2.0, 0.001]
    assert frame["code"].to_list() == ["007", "17", "1"] and frame["user_id"].to_list() == ["17", "007", "17"]
    assert frame["note"].to_list() == ["a, b", None, "x"] and frame["long"].dtype == pl.String
    assert frame["time"].to_list()[2] == "2024-02-29" and frame["empty"].to_list() == [None] * 3
    assert frame["views_total"].to_list() == [1, 1, None]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    at = tmp_path / "at.parquet"
    moment = datetime(2024, 3, 1, tzinfo=UTC)
    given = pl.DataFrame(
        {
            "who": [17, 17, 17],
            "when": [moment, moment - timedelta(seconds=1), moment + timedelta(microseconds=1)],
            "tags": [["a"], [], None],
            "day": [moment.date()] * 3,
        },
        schema_overrides={"when": pl.Datetime("ns", "UTC")},
    )
    given.write_parquet(at)
    frame = run(tmp_path, at, user_column="who", time_column="when")
    assert frame.select("who", "when", "tags", "day").equals(given)
    assert frame["views_total"].to_list() == [1, None, 1]


def test_a_csv_can_be_written(tmp_path: Path) -> None:
    at, out = tmp_path / "at.csv", tmp_path / "out.csv"
    at.write_text(f"user_id,time\nada,{T0 + 5}\nbob,{T0 + 5}\n")
    events = [event(item_id=str(n % 3), user=user, at=n) for n in range(6) for user in ("ada", "bob")]
    source = f'{IMPORTS}shop = ProfileDefinition("shop", features=[RecentItems("recent")], '
    reference = write_definition(tmp_path, source + 'embeddings=[BehaviourEmbedding("taste", dimensions=16)])\n')
    file = write_events(tmp_path / "events.jsonl", events)
    backfill([file], reference, options=BackfillOptions(out=out, at=at, partitions=1))
    frame = pl.read_csv(out)
    assert frame["recent"].to_list() == ['["2","1","0"]'] * 2
    assert frame["taste"].str.json_decode(pl.List(pl.Float64)).list.len().to_list() == [16, 16]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (f"user_id,time\nada,{T0}\n,{T0}\n", "at.csv, row 2: the column 'user_id' is empty"),
        (f"user_id,time\nada,{T0}\nada,\n", "at.csv, row 2: the column 'time' is empty"),
        ("user_id,time\nada,yesterday\n", "at.csv, row 1: time is not an ISO time"),
        (f"user_id,time\n{'x' * 300},{T0}\n", "at.csv, row 1: user_id is longer than 256"),
        (f"user_id,time\nada,{T0},1\n", "at.csv, row 1: the row has another number of columns"),
        (f"user,time\nada,{T0}\n", "no column 'user_id'; say with --user-column which one it is: did you mean 'user'"),
        (f"user_id,moment\nada,{T0}\n", "no column 'time'; say with --time-column"),
        (f"user_id,time,views_1h\nada,{T0},1\n", "two columns would be called 'views_1h'"),
        ("", "at.csv is empty"),
    ],
)
def test_what_is_wrong_with_it_is_said_with_the_row(tmp_path: Path, content: str, sentence: str) -> None:
    at = tmp_path / "at.csv"
    at.write_text(content)
    with pytest.raises(SettingsError) as error:
        run(tmp_path, at)
    assert sentence in str(error.value)
    assert not (tmp_path / "out.parquet").exists()


def test_it_is_csv_or_parquet(tmp_path: Path) -> None:
    at = tmp_path / "at.jsonl"
    at.write_text("{}\n")
    with pytest.raises(SettingsError, match="moments are read from CSV or Parquet"):
        run(tmp_path, at)


def test_no_moments_give_an_empty_file(tmp_path: Path) -> None:
    at = tmp_path / "at.csv"
    at.write_text("user_id,time,label\n")
    assert run(tmp_path, at).columns == ["user_id", "time", "label", "views_total", "views_1h", "views_last_1d"]
