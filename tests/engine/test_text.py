"""The text agent: one answer to each request, no text encoded twice, and nothing acknowledged before it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import fakeredis
import msgspec
import pytest
from aiokafka.errors import MessageSizeTooLargeError, NotLeaderForPartitionError

from stream_profiles.contracts import DeadLetter, TextRequest, TextVector
from stream_profiles.engine import commit as commit_module
from stream_profiles.engine import text as module
from stream_profiles.engine.text import TextAgent
from stream_profiles.errors import StreamProfilesError
from stream_profiles.text.batcher import Batcher
from stream_profiles.text.cache import VectorCache
from stream_profiles.text.source import VectorSource

from ..text.fake_encoder import FakeEncoder, vector_of
from .fakes import NAMES, NOW, Bench, Run, Stream, record, until

PARTITIONS = 3


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_module, "_FIRST_RETRY_S", 0.0001)


class Texts(Bench):
    """An agent with a real batcher and a real cache."""

    def __init__(self, *more: VectorSource, **limits: Any) -> None:
        super().__init__()
        self.encoder = FakeEncoder()
        self.batcher = Batcher(self.encoder, max_wait_ms=1.0)
        self.server = fakeredis.FakeServer()
        client: Any = fakeredis.FakeAsyncRedis(server=self.server)
        self.cache = VectorCache(client, NAMES, self.encoder, ttl_ms=60_000, max_items=10_000)
        self.source = VectorSource(self.batcher, self.cache)
        self.agent = TextAgent(
            NAMES,
            self.producer,  # type: ignore[arg-type]
            [self.source, *more],
            self.stats,
            **{"max_record_bytes": 10_000, "partitions": PARTITIONS} | limits,
        )
        self._reading: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def working(self) -> AsyncIterator[asyncio.Task[None]]:
        """Yields the commit's task."""
        await self.batcher.start()
        writing = asyncio.create_task(self.agent.commit.run())
        try:
            yield writing
        finally:
            for task in (writing, *self._reading):
                task.cancel()
            await asyncio.gather(writing, *self._reading, return_exceptions=True)
            self.encoder.device.set()
            self.encoder.tokenizer.set()
            await self.batcher.stop()

    def read(self, *runs: Run) -> asyncio.Task[None]:
        self._reading.append(asyncio.create_task(self.agent.run(Stream(runs))))
        return self._reading[-1]

    async def answer(self, *runs: Run) -> None:
        await soon(self.read(*runs))
        await soon(self.agent.settle(5))

    @property
    def answers(self) -> list[TextVector]:
        return [
            each
            for partition in range(PARTITIONS)
            for each in self.producer.decoded(NAMES.text_vectors, partition, TextVector)
        ]


async def soon(what: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(what, 10)


def request(text: str, partition: int = 0, offset: int = 0, **fields: Any) -> Any:
    its = {"text_id": f"id of {text}", "encoder": "fake", "text": text, "profile": "shop", "partition": partition}
    value = msgspec.json.encode(TextRequest(**its | {"asked_at": NOW} | fields))
    return record(value, offset, topic=NAMES.text_requests)


async def test_each_request_is_answered_in_the_partition_that_asked() -> None:
    texts = Texts()
    run = texts.run(*(request(f"text {n}", n % PARTITIONS, n) for n in range(100)))
    async with texts.working():
        await texts.answer(run)
    for partition in range(PARTITIONS):
        sent = texts.producer.sent[NAMES.text_vectors, partition]
        wanted = [f"text {n}" for n in range(100) if n % PARTITIONS == partition]
        assert [key for key, _ in sent] == [f"id of {text}".encode() for text in wanted]
        assert texts.producer.decoded(NAMES.text_vectors, partition, TextVector) == [
            TextVector(
                text_id=f"id of {text}",
                encoder="fake",
                version="1",
                vector=vector_of(text),
                error=None,
                truncated=False,
                asked_at=NOW,
            )
            for text in wanted
        ]
    assert run.acked == 1 and texts.agent.queued == 0 and not texts.agent._parts and not texts.source._under_way
    counts = texts.source
    assert (counts.requests, counts.answered, counts.errors, counts.shared) == (100, 100, 0, 0)


async def test_a_text_is_encoded_once_however_many_ask() -> None:
    """Within a run, in runs at once, later, and when the run comes again."""
    texts = Texts()
    texts.encoder.device.clear()
    first, second = (texts.run(*(request(f"text {n % 5}", n % PARTITIONS) for n in range(20))) for _ in range(2))
    async with texts.working():
        await soon(texts.read(first, second))
        await until(lambda: texts.agent.queued == 40 and texts.encoder.batches, "under way")
        texts.encoder.device.set()
        await soon(texts.agent.settle(5))
        assert texts.source.shared == 5 and texts.cache.misses == 5 and texts.cache.memory_hits == 0
        await texts.answer(texts.run(*(request(f"text {n}") for n in range(5))))
    assert sorted(texts.encoder.encoded) == [f"text {n}" for n in range(5)]
    assert len(texts.answers) == 45 and texts.cache.memory_hits == 5
    assert all(each.vector == vector_of(each.text_id.removeprefix("id of ")) for each in texts.answers)
    assert first.acked == second.acked == 1


async def test_what_another_worker_encoded_is_taken_from_redis() -> None:
    texts, later = Texts(), Texts()
    async with texts.working():
        await texts.answer(texts.run(request("a"), request("b")))
    later.cache._client = texts.cache._client
    async with later.working():
        await later.answer(later.run(request("a"), request("b"), request("c")))
    assert later.encoder.encoded == ["c"] and len(later.answers) == 3 and later.cache.redis_hits == 2


async def test_without_redis_answers_go_on() -> None:
    texts = Texts()
    texts.server.connected = False
    async with texts.working():
        await texts.answer(texts.run(request("a")))
        await texts.answer(texts.run(request("a")))
    assert len(texts.answers) == 2 and texts.encoder.encoded == ["a"]


async def test_a_text_that_cannot_be_encoded_is_answered_with_the_reason() -> None:
    texts = Texts()
    texts.encoder.poison["forward"] = {"bad"}
    run = texts.run(request("good"), request("bad"))
    async with texts.working():
        await texts.answer(run)
        good, bad = texts.answers
        assert good.vector == vector_of("good") and good.error is None
        assert bad.vector is None and bad.error == "cannot forward 'bad'" and run.acked == 1
        # It is no part of the cache: the next time it may do.
        texts.encoder.poison["forward"] = set()
        await texts.answer(texts.run(request("bad")))
    assert texts.answers[-1].vector == vector_of("bad") and texts.source.errors == 1


async def test_a_truncated_text_says_so_also_from_the_cache() -> None:
    texts = Texts()
    async with texts.working():
        for _ in range(2):
            await texts.answer(texts.run(request("word " * 1_500, text_id="long")))
    assert [each.truncated for each in texts.answers] == [True, True] and texts.source.truncated == 2


async def test_a_request_for_another_encoder_is_answered_with_an_error() -> None:
    texts = Texts()
    async with texts.working():
        await texts.answer(texts.run(request("a", 2, encoder="all-MiniLM-L6-v2")))
    (answer,) = texts.producer.decoded(NAMES.text_vectors, 2, TextVector)
    assert answer.encoder == "all-MiniLM-L6-v2" and answer.vector is None
    assert answer.error == "the text worker has the encoder fake, not all-MiniLM-L6-v2"
    assert texts.encoder.batches == []


async def test_each_encoder_gets_its_own_texts() -> None:
    other = Texts()
    other.encoder.name, other.encoder.version = "other", "7"  # type: ignore[misc]
    texts = Texts(other.source)
    # The ids are the same, which those of two encoders never are: even so nothing is mixed up.
    run = texts.run(request("a"), request("a", encoder="other"), request("b", encoder="other"))
    async with texts.working(), other.working():
        await texts.answer(run)
    answers = [(each.text_id, each.encoder, each.version, each.vector) for each in texts.answers]
    assert answers == [
        ("id of a", "fake", "1", vector_of("a")),
        ("id of a", "other", "7", vector_of("a")),
        ("id of b", "other", "7", vector_of("b")),
    ]
    assert texts.encoder.encoded == ["a"] and sorted(other.encoder.encoded) == ["a", "b"]
    reports = [(each["encoder"], each["requests"], each["answered"]) for each in texts.agent.reports()]
    assert reports == [("fake", 1, 1), ("other", 2, 2)] and run.acked == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record(b"{", 9), "not a text request: "),
        (record(b"\xff", 9), "not a text request: "),
        (record(None, 9), "not a text request: "),
        (record(b'{"text_id":"1"}', 9), "not a text request: "),
        (record(b" " * 10_001, 9), "record too large: 10,001 bytes"),
        (request("a", PARTITIONS, 9), "no such partition of answers: 3"),
        (request("", 0, 9, text_id=""), "not a text request: "),
    ],
)
async def test_bad_records_are_set_aside(bad: Any, reason: str) -> None:
    texts = Texts()
    alone, among = texts.run(bad), texts.run(request("a"), bad)
    async with texts.working():
        await texts.answer(alone, among)
    letters = texts.producer.decoded(NAMES.dead_letters, 0, DeadLetter)
    assert len(letters) == 2 and alone.acked == among.acked == 1
    assert all(each.reason.startswith(reason) and each.offset == 9 for each in letters)
    assert [each.text_id for each in texts.answers] == ["id of a"]
    assert texts.stats.dead_letters.total() == 2 and texts.source.requests == 1


async def test_nothing_is_acknowledged_before_all_of_its_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REQUESTS_PER_PART", 2)
    texts = Texts()
    run = texts.run(request("known"), record(b"{"), request("known"), request("unknown"), request("known"))
    async with texts.working():
        await texts.answer(texts.run(request("known")))
        texts.encoder.device.clear()
        await soon(texts.read(run))
        await until(lambda: len(texts.answers) == 3 and texts.agent.queued == 2, "answered in part")
        assert len(texts.producer.sent[NAMES.dead_letters, 0]) == 1 and run.acked == 0
        texts.encoder.device.set()
        await soon(texts.agent.settle(5))
    assert run.acked == 1 and texts.journal[-1] == "ack"


async def test_a_run_that_is_ready_does_not_wait_for_one_that_is_not() -> None:
    texts = Texts()
    slow, quick = texts.run(request("unknown")), texts.run(request("known"))
    async with texts.working():
        await texts.answer(texts.run(request("known")))
        texts.encoder.device.clear()
        await soon(texts.read(slow, quick))
        await until(lambda: quick.acked, "answered")
        assert not slow.acked
        texts.encoder.device.set()
        await soon(texts.agent.settle(5))
    assert slow.acked == 1


async def test_a_flood_is_read_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REQUESTS_PER_PART", 10)
    texts = Texts(max_queued_texts=45)
    texts.encoder.device.clear()
    runs = [texts.run(*(request(f"text {n}.{m}", m % PARTITIONS) for m in range(33))) for n in range(30)]
    async with texts.working():
        reading = texts.read(*runs)
        await until(lambda: texts.encoder.batches, "under way")
        await asyncio.sleep(0.05)
        # 10 + 10 + 10 + 3, and then there is room for one more.
        assert texts.agent.queued == 43 and texts.answers == []
        texts.encoder.device.set()
        await soon(reading)
        await soon(texts.agent.settle(5))
    assert len(texts.answers) == 990 and [run.acked for run in runs] == [1] * 30


async def test_runs_are_read_while_answers_are_written() -> None:
    """So that the encoder has work."""
    texts = Texts()
    gate = texts.producer.held[NAMES.text_vectors] = asyncio.Event()
    runs = [texts.run(request(f"text {n}")) for n in range(5)]
    async with texts.working():
        await soon(texts.read(*runs))
        await until(lambda: len(texts.encoder.encoded) == 5, "encoded")
        assert texts.agent.queued == 5
        gate.set()
        await soon(texts.agent.settle(5))
    assert [run.acked for run in runs] == [1] * 5


async def test_a_write_that_fails_is_tried_again() -> None:
    texts = Texts()
    texts.producer.errors[NAMES.text_vectors] = [NotLeaderForPartitionError(), NotLeaderForPartitionError()]
    run = texts.run(request("a"), request("b", 1))
    async with texts.working():
        await texts.answer(run)
    assert {each.text_id for each in texts.answers} == {"id of a", "id of b"}
    assert run.acked == 1 and texts.agent.queued == 0 and texts.source.answered == 2


async def test_an_error_that_trying_again_cannot_mend_ends_the_commit() -> None:
    texts = Texts()
    texts.producer.errors[NAMES.text_vectors] = [MessageSizeTooLargeError()]
    run = texts.run(request("a"))
    async with texts.working() as writing:
        texts.read(run)
        with pytest.raises(MessageSizeTooLargeError):
            await soon(asyncio.shield(writing))
    assert run.acked == 0


async def test_a_batcher_that_stops_ends_the_commit_and_nothing_is_acknowledged() -> None:
    texts = Texts()
    texts.encoder.tokenizer.clear()
    runs = [texts.run(request("a")), texts.run(request("a"), request("b"))]
    async with texts.working() as writing:
        await soon(texts.read(*runs))
        stopping = asyncio.create_task(texts.batcher.stop())
        texts.encoder.tokenizer.set()
        await soon(stopping)
        with pytest.raises(StreamProfilesError, match="has been stopped"):
            await soon(asyncio.shield(writing))
    assert [run.acked for run in runs] == [0, 0] and texts.answers == []


async def test_settling_takes_no_longer_than_it_may_and_waits_for_nothing_that_came_later() -> None:
    texts = Texts()
    await soon(texts.agent.settle(5))
    texts.encoder.device.clear()
    first, second = texts.run(request("a")), texts.run(request("b"))
    async with texts.working():
        await soon(texts.read(first))
        await soon(texts.agent.settle(0.01))
        assert first.acked == 0
        await until(lambda: texts.encoder.batches, "under way")
        settling = asyncio.create_task(texts.agent.settle(60))
        gate = texts.producer.held[NAMES.text_vectors] = asyncio.Event()
        gate.set()
        texts.encoder.device.set()
        await soon(settling)
        assert first.acked == 1
        gate.clear()
        await soon(texts.read(second))
        # What is left unsettled is answered all the same.
        await soon(texts.agent.settle(0.01))
        assert second.acked == 0
        gate.set()
        await until(lambda: second.acked, "answered")


async def test_the_agent_fails_when_its_encoder_does(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = Texts()
    assert not texts.agent.failing
    monkeypatch.setattr(Batcher, "failing", True)
    assert texts.agent.failing


async def test_the_line_of_rates() -> None:
    texts = Texts()
    texts.encoder.poison["forward"] = {"bad"}
    async with texts.working():
        await texts.answer(
            texts.run(request("a"), request("a"), request("bad"), request("word " * 1_500, text_id="long"))
        )
    line = texts.agent.line()
    assert line.endswith(" texts/s answered, 4 in all, 25% without encoding, 1 without a vector, 1 truncated")
    assert texts.agent.line().startswith("0 texts/s answered, 4 in all")
