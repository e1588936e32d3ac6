"""A replay sends every event once and in order, and goes on where it stopped, however it was stopped.

The transport is a fake here; the one over Kafka is tested with a broker.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_profiles.contracts import Event
from stream_profiles.errors import KafkaUnavailable, MappingError, SettingsError, TopicError
from stream_profiles.mapping import EventMapping, MappingConfig
from stream_profiles.replay import ReplayOptions, ReplayReport, replay, run_replay, runner
from stream_profiles.replay.checkpoint import Checkpoint, Place
from stream_profiles.replay.files import CHUNK_ROWS
from stream_profiles.replay.progress import Status
from stream_profiles.replay.run import id_prefixes
from stream_profiles.replay.transport import MAX_EVENT_BYTES

DAY = 86_400_000
START = 1_700_000_000_000


class FakeKafka:
    """A transport that keeps what it is given and acknowledges when it is told to.

    Attributes:
        events: all it was sent, in order; the topic outlives a run.
        acknowledge: False holds acknowledgements back until `release`.
        on_send: called before each send.
    """

    def __init__(self, destination: str = "clicks#1") -> None:
        self.destination = destination
        self.events: list[Event] = []
        self.acknowledge = True
        self.error: Exception | None = None
        self.on_send: Callable[[], None] = lambda: None
        self.waiting: list[asyncio.Future[None]] = []
        self.running = False

    async def start(self) -> str:
        self.running = True
        return self.destination

    async def send(self, records: Sequence[tuple[bytes, bytes]]) -> asyncio.Future[None]:
        assert self.running
        self.on_send()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for key, value in records:
            event = msgspec.json.decode(value, type=Event)
            assert key == event.user_id.encode()
            self.events.append(event)
        if self.error is not None:
            future.set_exception(self.error)
        elif self.acknowledge:
            future.set_result(None)
        else:
            self.waiting.append(future)
        return future

    async def stop(self) -> None:
        self.running = False

    @property
    def ids(self) -> list[str]:
        return [event.event_id for event in self.events]


class Watcher:
    """A view that keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Status] = []

    def show(self, status: Status) -> None:
        self.shown.append(status)


def clicks(path: Path, count: int, change: Callable[[int, dict[str, Any]], Any] = lambda n, row: row) -> Path:
    """A file of `count` events, one a second."""
    rows = [change(n, {"user_id": f"u{n % 5}", "type": "view", "time": START + n * 1000}) for n in range(1, count + 1)]
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def options(folder: Path, **changes: Any) -> ReplayOptions:
    return ReplayOptions(state=folder / "state.json", **changes)


def ids(name: str, rows: Sequence[int]) -> list[str]:
    return [f"{name}-{row}" for row in rows]


async def test_all_rows_are_sent_in_order_with_ids_of_their_place(tmp_path: Path) -> None:
    kafka, view = FakeKafka(), Watcher()
    count = 2 * CHUNK_ROWS + 10
    path = clicks(tmp_path / "a.jsonl", count)
    report = await run_replay([path], None, options(tmp_path), kafka, view=view)
    assert kafka.ids == ids("a", range(1, count + 1))
    assert not kafka.running
    assert (report.sent, report.stopped, report.backwards) == (count, None, 0)
    last = view.shown[-1]
    assert (last.file, last.rows, last.rows_total, last.sent) == ("a", count, count, count)


async def test_a_finished_file_is_not_sent_again_unless_asked(tmp_path: Path) -> None:
    kafka = FakeKafka()
    path = clicks(tmp_path / "a.jsonl", 10)
    await run_replay([path], None, options(tmp_path), kafka)
    again = await run_replay([path], None, options(tmp_path), kafka)
    assert (again.sent, again.skipped, len(kafka.events)) == (0, 10, 10)
    assert "skipped 10 rows" in again.summary()
    restarted = await run_replay([path], None, options(tmp_path, restart=True), kafka)
    assert (restarted.sent, restarted.skipped) == (10, 0)


@pytest.mark.parametrize("change", ["topic", "mapping", "content", "path"])
async def test_a_place_is_of_one_content_mapping_and_topic(tmp_path: Path, change: str) -> None:
    path = clicks(tmp_path / "a.jsonl", 10)
    await run_replay([path], None, options(tmp_path), FakeKafka())
    kafka = FakeKafka("clicks#2" if change == "topic" else "clicks#1")
    mapping = EventMapping(MappingConfig(constants={"channel": "web"})) if change == "mapping" else None
    if change == "content":
        clicks(path, 11)
    if change == "path":
        path = clicks(tmp_path / "b.jsonl", 10)
    report = await run_replay([path], mapping, options(tmp_path), kafka)
    assert report.sent == (11 if change == "content" else 10)


async def test_a_limit_counts_sent_events_and_the_next_run_goes_on(tmp_path: Path) -> None:
    kafka = FakeKafka()
    path = clicks(tmp_path / "a.jsonl", 10, lambda n, row: "no JSON" if n % 2 == 0 else row)
    other = clicks(tmp_path / "b.jsonl", 3)
    first = await run_replay([path, other], None, options(tmp_path, limit=2), kafka)
    assert (first.sent, first.resume, kafka.ids) == (2, (path, 3), ids("a", [1, 3]))
    assert "stopped after the 2 events asked for at row 3 of a.jsonl; run the same command again" in first.summary()
    second = await run_replay([path, other], None, options(tmp_path, limit=3), kafka)
    assert (second.skipped, second.sent, second.resume) == (3, 3, (path, 9))
    third = await run_replay([path, other], None, options(tmp_path), kafka)
    assert (third.sent, third.stopped) == (3, None)
    assert kafka.ids == ids("a", [1, 3, 5, 7, 9]) + ids("b", [1, 2, 3])


async def test_refused_rows_are_counted_by_reason_and_kept(tmp_path: Path) -> None:
    def change(n: int, row: dict[str, Any]) -> Any:
        return {
            2: {**row, "user_id": None},
            3: {**row, "price": "dear"},
            4: {**row, "price": "cheap"},
            5: "no JSON",
            6: {**row, "user_id": ""},
            7: {**row, "user_id": "", "note": "x" * 2_000_000},
            8: {**row, "note": "x" * MAX_EVENT_BYTES},
        }.get(n, row)

    mapping = EventMapping(MappingConfig(rules=[{"when": "user_id == ''", "drop": "anonymous"}]))
    path, rejects = clicks(tmp_path / "a.jsonl", 9, change), tmp_path / "rejects.jsonl"
    kafka = FakeKafka()
    report = await run_replay([path], mapping, options(tmp_path, rejects=rejects), kafka)
    assert kafka.ids == ids("a", [1, 9])
    assert report.dropped == {"anonymous": 2}
    assert report.rejected == {
        "price is not a number": 2,
        "user_id is missing": 1,
        "the row is not JSON": 1,
        f"the event is larger than {MAX_EVENT_BYTES:,} bytes": 1,
    }
    lines = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [line["row"] for line in lines] == [2, 3, 4, 5, 8]
    assert lines[1]["reason"] == "price is not a number: 'dear'"
    assert lines[1]["record"]["price"] == "dear"
    assert lines[3]["record"] == "no JSON"
    summary = report.summary()
    assert "dropped 2 rows: anonymous" in summary
    assert "rejected 2 rows: price is not a number" in summary


async def test_rows_of_a_file_that_goes_on_are_added_to_the_rejects(tmp_path: Path) -> None:
    path = clicks(tmp_path / "a.jsonl", 4, lambda n, row: row if n % 2 else "no JSON")
    rejects = tmp_path / "rejects.jsonl"
    for _ in range(3):
        await run_replay([path], None, options(tmp_path, rejects=rejects, limit=1), FakeKafka())
    assert [json.loads(line)["row"] for line in rejects.read_text().splitlines()] == [2, 4]
    other = clicks(tmp_path / "b.jsonl", 1, lambda n, row: "no JSON")
    await run_replay([other, path], None, options(tmp_path, rejects=rejects), FakeKafka())
    assert [json.loads(line)["row"] for line in rejects.read_text().splitlines()] == [2, 4, 1]
    await run_replay([other], None, options(tmp_path, rejects=rejects, restart=True), FakeKafka())
    assert len(rejects.read_text().splitlines()) == 1


async def test_events_far_out_of_order_are_counted(tmp_path: Path) -> None:
    times = [0, 5 * DAY, 4 * DAY, 4 * DAY - 1, 6 * DAY]
    path = clicks(tmp_path / "a.jsonl", 5, lambda n, row: {**row, "time": START + times[n - 1]})
    older = clicks(tmp_path / "b.jsonl", 2)
    report = await run_replay([path, older], None, options(tmp_path), FakeKafka())
    assert (report.sent, report.backwards) == (7, 3)
    assert "3 events are more than a day older" in report.summary()


async def test_the_checkpoint_follows_acknowledgements_and_nothing_else(tmp_path: Path) -> None:
    """Chunks are acknowledged out of order; a kill in between must lose nothing."""
    kafka = FakeKafka()
    kafka.acknowledge = False
    count = 4 * CHUNK_ROWS
    path = clicks(tmp_path / "a.jsonl", count)
    state = Checkpoint(tmp_path / "state.json")
    key = Checkpoint.key(path, path.stat().st_size, MappingConfig().digest, "clicks#1")
    run = asyncio.create_task(run_replay([path], None, options(tmp_path), kafka))
    while len(kafka.waiting) < 4:
        await asyncio.sleep(0.01)
    kafka.waiting[1].set_result(None)
    kafka.waiting[3].set_result(None)
    await asyncio.sleep(0.3)
    assert state.place(key).rows == 0
    run.cancel()  # As far as the state file goes, this is a kill.
    with pytest.raises(asyncio.CancelledError):
        await run
    assert state.place(key) == Place(0, False)

    kafka.acknowledge = True
    await run_replay([path], None, options(tmp_path), kafka)
    assert kafka.ids[count:] == kafka.ids[:count] == ids("a", range(1, count + 1))


async def test_a_stop_waits_for_what_is_on_the_way_and_says_where_to_go_on(tmp_path: Path) -> None:
    kafka, stop = FakeKafka(), asyncio.Event()
    path = clicks(tmp_path / "a.jsonl", 3 * CHUNK_ROWS)
    sends = 0

    def on_send() -> None:
        nonlocal sends
        sends += 1
        if sends == 2:
            stop.set()

    kafka.on_send = on_send
    report = await run_replay([path], None, options(tmp_path), kafka, stop=stop)
    assert (report.sent, report.stopped, report.resume) == (2 * CHUNK_ROWS, "stopped", (path, 2 * CHUNK_ROWS))
    kafka.on_send = lambda: None
    await run_replay([path], None, options(tmp_path), kafka)
    assert kafka.ids == ids("a", range(1, 3 * CHUNK_ROWS + 1))


async def test_a_stop_does_not_wait_for_a_broker_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_GRACE_SECONDS", 0.1)
    kafka, stop = FakeKafka(), asyncio.Event()
    kafka.acknowledge = False
    path = clicks(tmp_path / "a.jsonl", 10 * CHUNK_ROWS)
    run = asyncio.create_task(run_replay([path], None, options(tmp_path), kafka, stop=stop))
    await asyncio.sleep(0.3)
    stop.set()
    report = await asyncio.wait_for(run, 2)
    assert (report.sent, report.resume) == (0, (path, 0))


async def test_a_send_that_is_stuck_can_be_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows behind the one that got stuck must not be sent: the checkpoint would pass over it."""
    monkeypatch.setattr(runner, "_GRACE_SECONDS", 0.1)

    class Stuck(FakeKafka):
        async def send(self, records: Sequence[tuple[bytes, bytes]]) -> asyncio.Future[None]:
            if len(self.events) >= 3:
                await asyncio.sleep(3600)
            return await super().send(records)

    kafka, stop = Stuck(), asyncio.Event()
    path = clicks(tmp_path / "a.jsonl", 20)
    # At this speed, each event is a send of its own.
    run = asyncio.create_task(run_replay([path], None, options(tmp_path, speed=50), kafka, stop=stop))
    await asyncio.sleep(0.5)
    stop.set()
    report = await asyncio.wait_for(run, 2)
    assert (report.sent, report.resume) == (3, (path, 3))


async def test_a_broker_that_goes_away_is_told_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "ACK_SECONDS", 0.2)
    kafka = FakeKafka()
    path = clicks(tmp_path / "a.jsonl", 10)
    kafka.acknowledge = False
    with pytest.raises(KafkaUnavailable, match="run the same command again"):
        await run_replay([path], None, options(tmp_path), kafka)
    assert not kafka.running
    kafka.acknowledge = True
    assert (await run_replay([path], None, options(tmp_path), kafka)).sent == 10


async def test_events_that_are_refused_end_the_replay_before_their_rows(tmp_path: Path) -> None:
    kafka = FakeKafka()
    path = clicks(tmp_path / "a.jsonl", 2 * CHUNK_ROWS)

    def on_send() -> None:
        if kafka.events:
            kafka.error = TopicError("too large")

    kafka.on_send = on_send
    with pytest.raises(TopicError, match="too large"):
        await run_replay([path], None, options(tmp_path), kafka)
    kafka.error, kafka.on_send = None, lambda: None
    report = await run_replay([path], None, options(tmp_path), kafka)
    assert (report.skipped, report.sent) == (CHUNK_ROWS, CHUNK_ROWS)


async def test_a_file_that_breaks_is_sent_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"user_id,type,time\n" + b"u1,view,1700000000000\n" * 5_000 + b"\xff\n")
    kafka = FakeKafka()
    with pytest.raises(SettingsError, match=r"a\.csv, after row [\d,]+, is not utf-8 text"):
        await run_replay([path], None, options(tmp_path), kafka)
    sent = len(kafka.events)
    assert sent > CHUNK_ROWS
    with pytest.raises(SettingsError, match="is not utf-8 text"):
        await run_replay([path], None, options(tmp_path), kafka)
    assert len(kafka.events) == sent


async def test_everything_is_looked_at_before_the_first_event(tmp_path: Path) -> None:
    good = clicks(tmp_path / "a.jsonl", 1)
    bad = tmp_path / "b.csv"
    bad.write_text("user,type,time\n")
    for wrong, error in (([good, tmp_path / "c.csv"], SettingsError), ([good, bad], MappingError), ([], SettingsError)):
        kafka = FakeKafka()
        with pytest.raises(error):
            await run_replay(wrong, None, options(tmp_path), kafka)
        assert not kafka.events
    with pytest.raises(SettingsError, match="named twice"):
        await run_replay([good, good], None, options(tmp_path), FakeKafka())


async def test_a_state_file_that_is_none_is_not_overwritten(tmp_path: Path) -> None:
    path = clicks(tmp_path / "a.jsonl", 1)
    for content in ("", "[]", '{"version": 7}', '{"version": 1, "places": 3}', '{"version": 1}'):
        (tmp_path / "state.json").write_text(content)
        with pytest.raises(SettingsError, match="is not a checkpoint of a replay; delete it"):
            await run_replay([path], None, options(tmp_path), FakeKafka())
        assert (tmp_path / "state.json").read_text() == content
    with pytest.raises(SettingsError, match="cannot be kept in"):
        await run_replay([path], None, options(tmp_path / "nowhere"), FakeKafka())
    with pytest.raises(SettingsError, match="rejects cannot be written"):
        await run_replay([path], None, ReplayOptions(state=tmp_path / "s", rejects=tmp_path / "x" / "y"), FakeKafka())


async def test_replays_share_a_state_file(tmp_path: Path) -> None:
    one, other = clicks(tmp_path / "a.jsonl", 3), clicks(tmp_path / "b.jsonl", 4)
    await run_replay([one], None, options(tmp_path), FakeKafka())
    await run_replay([other], None, options(tmp_path), FakeKafka())
    report = await run_replay([one, other], None, options(tmp_path), FakeKafka())
    assert (report.sent, report.skipped) == (0, 7)
    assert not list(tmp_path.glob("*.tmp"))


async def test_the_replay_keeps_the_pace(tmp_path: Path) -> None:
    path = clicks(tmp_path / "a.jsonl", 6)
    later = clicks(tmp_path / "b.jsonl", 2, lambda n, row: {**row, "time": row["time"] + DAY})
    report = await run_replay([path, later], None, options(tmp_path, speed=20), FakeKafka())
    assert report.sent == 8
    assert 0.25 <= report.seconds < 1.5  # 5 seconds, then 1, and nothing for the day between the files.


async def test_a_pace_can_be_stopped(tmp_path: Path) -> None:
    path = clicks(tmp_path / "a.jsonl", 3, lambda n, row: {**row, "time": START + n * DAY})
    stop = asyncio.Event()
    run = asyncio.create_task(run_replay([path], None, options(tmp_path, speed=1), FakeKafka(), stop=stop))
    await asyncio.sleep(0.2)
    stop.set()
    report = await asyncio.wait_for(run, 2)
    assert (report.sent, report.resume) == (1, (path, 1))


async def test_the_replay_waits_for_workers_that_are_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_LAG_SECONDS", 0.02)
    kafka, view, behind = FakeKafka(), Watcher(), True
    path = clicks(tmp_path / "a.jsonl", 50 * CHUNK_ROWS)
    run = asyncio.create_task(
        run_replay(
            [path], None, options(tmp_path, max_lag=100), kafka, view=view, lag=lambda: 5_000 if behind else None
        )
    )
    await asyncio.sleep(0.8)
    assert not run.done()
    sent = len(kafka.events)
    await asyncio.sleep(0.2)
    assert len(kafka.events) == sent < 50 * CHUNK_ROWS
    assert (view.shown[-1].note, view.shown[-1].lag) == ("waiting for the workers", 5_000)
    behind = False
    assert (await asyncio.wait_for(run, 20)).sent == 50 * CHUNK_ROWS


async def test_a_lag_that_fails_is_no_secret(tmp_path: Path) -> None:
    def lag() -> int:
        raise RuntimeError("no such thing")

    path = clicks(tmp_path / "a.jsonl", 50 * CHUNK_ROWS)
    with pytest.raises(RuntimeError, match="no such thing"):
        await run_replay([path], None, options(tmp_path, speed=None), FakeKafka(), lag=lag)


@pytest.mark.parametrize("wrong", [{"speed": 0}, {"speed": float("nan")}, {"speed": float("inf")}, {"limit": 0}])
def test_options_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="of a replay is"):
        ReplayOptions(**wrong)


def test_no_broker_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_profiles.replay.transport.START_SECONDS", 0.5)
    path = clicks(tmp_path / "a.jsonl", 1)
    with pytest.raises(KafkaUnavailable, match="no Kafka broker answers at localhost:1; start it"):
        replay([path], bootstrap="localhost:1", topic="clicks", state=tmp_path / "state.json")


def test_prefixes_tell_files_apart_and_do_not_depend_on_more_than_that() -> None:
    assert id_prefixes([Path("/x/a.csv"), Path("/y/b.csv.gz")]) == ["a", "b"]
    assert id_prefixes([Path("/x/a.csv"), Path("/y/a.csv"), Path("/y/b.csv")]) == ["x/a", "y/a", "b"]
    assert id_prefixes([Path("/1/x/a.csv"), Path("/2/x/a.csv")]) == ["1/x/a", "2/x/a"]
    assert id_prefixes([Path("/x/a.csv"), Path("/x/a.jsonl")]) == ["x/a.csv", "x/a.jsonl"]


def test_an_empty_report_reads_well() -> None:
    assert ReplayReport().summary() == "sent 0 events in 0.0 s"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["event", "bad", "dropped"]), min_size=1, max_size=30),
    st.lists(st.integers(1, 8), max_size=6),
    st.integers(1, 5),
)
def test_any_number_of_stops_sends_what_one_run_would(kinds: list[str], limits: list[int], chunk_rows: int) -> None:
    mapping = EventMapping(MappingConfig(rules=[{"when": "missing(user_id)", "drop": "anonymous"}]))

    def change(n: int, row: dict[str, Any]) -> Any:
        kind = kinds[n - 1]
        return row if kind == "event" else "no JSON" if kind == "bad" else {**row, "user_id": ""}

    async def runs(folder: Path) -> list[str]:
        kafka = FakeKafka()
        path = clicks(folder / "a.jsonl", len(kinds), change)
        for limit in [*limits, None]:
            await run_replay([path], mapping, options(folder, limit=limit), kafka)
        return kafka.ids

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr("stream_profiles.replay.files.CHUNK_ROWS", chunk_rows)
        sent = asyncio.run(runs(Path(folder)))
    assert sent == ids("a", [n for n, kind in enumerate(kinds, 1) if kind == "event"])
