"""The intake agent: what it makes of records, in which order, and when it acknowledges them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiokafka.errors import NotLeaderForPartitionError

from stream_profiles import Event
from stream_profiles.contracts import DeadLetter
from stream_profiles.engine import commit as commit_module
from stream_profiles.engine import intake as module
from stream_profiles.engine.intake import IntakeAgent
from stream_profiles.engine.provenance import decode_source
from stream_profiles.mapping import EventMapping, MappingConfig
from stream_profiles.partitioner import Partitioner

from .fakes import NAMES, NOW, TOPIC_IDS, Bench, Run, Stream, event, record

PARTITIONS = 3
MAPPING = EventMapping(
    MappingConfig.model_validate(
        {
            "fields": {"user_id": "visitor", "event_id": "id"},
            "constants": {"type": "view"},
            "rules": [{"when": "missing(visitor)", "drop": "anonymous"}],
        }
    )
)


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_module, "_FIRST_RETRY_S", 0.0001)


class Intake(Bench):
    def __init__(self, **limits: Any) -> None:
        super().__init__()
        self.agent = IntakeAgent(
            NAMES,
            self.producer,  # type: ignore[arg-type]
            Partitioner(PARTITIONS),
            self.stats,
            topic_ids=TOPIC_IDS,
            partitions=PARTITIONS,
            **{"max_future_ms": 60_000, "max_record_bytes": 10_000, "max_unwritten_events": 1_000} | limits,
        )

    async def take_in(self, *runs: Run, mapping: EventMapping | None = None) -> None:
        writing = asyncio.create_task(self.agent.commit.run())
        try:
            await asyncio.wait_for(self.agent.run(Stream(runs), mapping or EventMapping(MappingConfig())), 5)
            await asyncio.wait_for(self.agent.settle(5), 5)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    def events(self) -> list[Event]:
        return [each for number in range(PARTITIONS) for each in self.producer.decoded(NAMES.events, number, Event)]

    def letters(self) -> list[DeadLetter]:
        return [
            each
            for number in range(PARTITIONS)
            for each in self.producer.decoded(NAMES.dead_letters, number, DeadLetter)
        ]


def click(value: Event | bytes | dict[str, Any] | None, offset: int = 0, **fields: Any) -> Any:
    encoded = json.dumps(value).encode() if isinstance(value, dict) else value
    return record(encoded, offset, topic=NAMES.clicks, **fields)


async def test_records_become_events_keyed_by_user_that_say_where_they_are_from() -> None:
    intake = Intake()
    run = intake.run(*(click(event(number, f"u{number}"), 40 + number, partition=2) for number in range(20)))
    await intake.take_in(run)
    partitioner = Partitioner(PARTITIONS)
    found = 0
    for number in range(PARTITIONS):
        for (key, _, headers), sent in zip(
            intake.producer.sent[NAMES.events, number],
            intake.producer.decoded(NAMES.events, number, Event),
            strict=True,
        ):
            assert key == sent.user_id.encode() and partitioner(key) == number
            assert decode_source(headers) == ("clicks-id/2", 40 + int(sent.event_id))
            found += 1
    assert found == 20 == intake.stats.received and run.acked == 1


async def test_the_mapping_says_what_an_event_is() -> None:
    intake = Intake()
    await intake.take_in(
        intake.run(
            click({"id": "7", "visitor": "ada", "time": NOW, "colour": "red"}, 0),
            click({"id": "8", "time": NOW}, 1),
        ),
        mapping=MAPPING,
    )
    assert intake.events() == [Event(event_id="7", user_id="ada", type="view", time=NOW, properties={"colour": "red"})]
    assert intake.stats.outcomes == {"dropped": 1} and intake.letters() == []


async def test_an_event_without_an_id_gets_one_that_is_the_same_when_it_is_read_again() -> None:
    value = {"user_id": "ada", "type": "view", "time": NOW}
    ids = []
    for _ in range(2):
        intake = Intake()
        await intake.take_in(intake.run(click(value, 5, partition=1)))
        ids += [each.event_id for each in intake.events()]
    assert ids == [f"{NAMES.clicks}-1-5"] * 2


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "not a JSON object: "),
        (b"[1]", "not a JSON object: "),
        (b"\xff\xfe", "not a JSON object: "),
        (None, "not a JSON object: "),
        (b" " * 10_001, "record too large: 10,001 bytes"),
        (event(1, time=NOW + 60_001), f"time too far in the future: {NOW + 60_001}"),
        ({"event_id": "1", "type": "view", "time": NOW}, "user_id is missing"),
        pytest.param(
            b'{"event_id":"1","user_id":"ada","type":"view","time":1,"a":' + b"[" * 3_000 + b"]" * 3_000 + b"}",
            "not a JSON object",
            id="nested too deep",
        ),
    ],
)
async def test_bad_records_are_set_aside(value: Any, reason: str) -> None:
    intake = Intake()
    bad = click(value, 9, partition=4, key=b"k")
    run = intake.run(bad, click(event(2), 10, partition=4))
    await intake.take_in(run)
    (letter,) = intake.producer.decoded(NAMES.dead_letters, 4 % PARTITIONS, DeadLetter)
    assert letter.reason.startswith(reason)
    assert (letter.topic, letter.partition, letter.offset, letter.key) == (NAMES.clicks, 4, 9, b"k")
    assert letter.size == len(bad.value or b"")
    assert [each.event_id for each in intake.events()] == ["2"] and run.acked == 1
    assert intake.stats.dead_letters.total() == 1 and intake.stats.received == 2


async def test_the_order_of_a_partition_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over turns, runs and writes that fail: provenance drops what arrives out of order."""
    monkeypatch.setattr(module, "_RECORDS_PER_TURN", 3)
    intake = Intake(max_unwritten_events=7)
    intake.producer.errors[NAMES.events] = [NotLeaderForPartitionError()] * 2
    records = [click(event(number, f"u{number % 5}"), number) for number in range(60)]
    runs = [intake.run(*records[:20]), intake.run(*records[20:21]), intake.run(*records[21:])]
    await intake.take_in(*runs)
    for number in range(PARTITIONS):
        # A group that failed in part is sent again as a whole, from its first record.
        sources = [decode_source(sent[2]) for sent in intake.producer.sent[NAMES.events, number]]
        first_seen = list(dict.fromkeys(source[1] for source in sources if source))
        assert first_seen == sorted(first_seen)
    assert {each.event_id for each in intake.events()} == {str(number) for number in range(60)}
    assert [run.acked for run in runs] == [1, 1, 1]


async def test_nothing_is_acknowledged_before_all_of_it_is() -> None:
    intake = Intake()
    gate = intake.producer.held[NAMES.dead_letters] = asyncio.Event()
    run = intake.run(click(event(1), 0), click(b"{", 1))
    taking = asyncio.create_task(intake.take_in(run))
    await asyncio.sleep(0.01)
    assert ("acknowledged", NAMES.events) in intake.journal and run.acked == 0
    gate.set()
    await taking
    assert intake.journal[-1] == "ack"


async def test_records_not_yet_written_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RECORDS_PER_TURN", 10)
    intake = Intake(max_unwritten_events=20)
    gate = intake.producer.held[NAMES.events] = asyncio.Event()
    taking = asyncio.create_task(intake.take_in(intake.run(*(click(event(n), n) for n in range(100)))))
    await asyncio.sleep(0.01)
    assert intake.stats.received == 20
    gate.set()
    await taking
    assert intake.stats.received == 100


async def test_a_wrong_clock_that_stamps_its_records_too_is_found_out() -> None:
    """One such event would move the clock of the partition, and with it the time that is up for every label."""
    far = 4_102_444_800_000  # 2100
    intake = Intake()
    await intake.take_in(intake.run(click(event(1, time=far), 0, timestamp=far), click(event(2), 1)))
    assert [each.event_id for each in intake.events()] == ["2"] and intake.stats.dead_letters.total() == 1
