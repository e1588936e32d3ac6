"""How texts stand: what a worker writes is what the client reads, and a line for the log."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import fakeredis
import pytest

from stream_profiles import Count, ProfileDefinition, ProfileUpdater, TextEmbedding
from stream_profiles.client import TextReport
from stream_profiles.client._text_metrics import read_text_report
from stream_profiles.engine.table import Owned
from stream_profiles.engine.text import TextAgent
from stream_profiles.engine.text_reports import TextReporter, waiting_line
from stream_profiles.text.batcher import Batcher
from stream_profiles.text.cache import VectorCache
from stream_profiles.text.encoder import Vectors
from stream_profiles.text.hashing import HashingEncoder
from stream_profiles.text.loading import Stages
from stream_profiles.text.source import VectorSource

from .fakes import GENERATION, NAMES, Bench, event

DEFINITION = ProfileDefinition(
    "shop",
    features=[Count("views")],
    embeddings=[
        TextEmbedding("interests", encoder="hashing-16", max_waiting=3),
        TextEmbedding("searches", of="query", encoder="hashing-32"),
    ],
)


def now() -> int:
    return time.time_ns() // 1_000_000


def owned(number: int = 0, *texts: str, since: int = 0, active: bool = True) -> Owned:
    """A partition in which one event for each text waits."""
    one = Owned(number, ProfileUpdater(DEFINITION), GENERATION)
    one.active = active
    for place, text in enumerate(texts):
        one.partition.apply(event(place, text=text), now=since + place)
    return one


def partitions(*all: Owned) -> dict[int, Owned]:
    return {one.number: one for one in all}


@pytest.fixture
def redis() -> Any:
    return fakeredis.FakeAsyncRedis()


async def read(redis: Any) -> TextReport:
    return read_text_report(await redis.hgetall("shop:text-metrics"), now())


class TestPartitions:
    async def test_the_client_reads_what_waits(self, redis: Any) -> None:
        reporter = TextReporter(NAMES, redis, "w1")
        began = now() - 60_000
        await reporter.of_partitions(
            partitions(owned(0, "tea", "milk", since=began), owned(7, "tea", since=began - 5_000))
        )
        found = (await read(redis)).embeddings
        assert set(found) == {"interests", "searches"}
        assert (found["interests"].waiting, found["interests"].asked) == (3, 3)
        assert 65.0 <= found["interests"].oldest_seconds < 95.0
        assert (found["searches"].waiting, found["searches"].oldest_seconds) == (0, 0.0)
        assert set(await redis.hgetall("shop:text-metrics")) == {b"0", b"7"}

    async def test_those_of_others_and_those_not_ready_are_left_alone(self, redis: Any) -> None:
        await TextReporter(NAMES, redis, "w2").of_partitions(partitions(owned(1, "tea")))
        await TextReporter(NAMES, redis, "w1").of_partitions(
            partitions(owned(0, "tea", "milk"), owned(1, active=False), owned(2, "x", active=False))
        )
        assert (await read(redis)).embeddings["interests"].waiting == 3
        assert set(await redis.hgetall("shop:text-metrics")) == {b"0", b"1"}

    async def test_none_is_owned(self, redis: Any) -> None:
        await TextReporter(NAMES, redis, "w1").of_partitions({})
        await TextReporter(NAMES, redis, "w1").of_partitions(partitions(owned(0, active=False)))
        assert await redis.keys() == []

    async def test_the_next_report_takes_the_place_of_the_last(self, redis: Any) -> None:
        one, reporter = owned(0, "tea"), TextReporter(NAMES, redis, "w1")
        await reporter.of_partitions(partitions(one))
        [request] = one.partition.take_requests()
        one.partition.answer(request.text_id, request.encoder, "1", None)
        await reporter.of_partitions(partitions(one))
        metrics = (await read(redis)).embeddings["interests"]
        assert (metrics.waiting, metrics.failed, metrics.oldest_seconds) == (0, 1, 0.0)


class Poisoned:
    """Fails on one text."""

    name, dimension = "poisoned", 2

    def encode(self, batch: Sequence[str]) -> Vectors:
        if "poison" in batch:
            raise ValueError("cannot")
        return HashingEncoder(2).encode(batch)


@pytest.fixture
async def agent(redis: Any) -> AsyncIterator[TextAgent]:
    """A text agent with two encoders."""
    sources = []
    for encoder in (HashingEncoder(16), Stages(Poisoned())):
        batcher = Batcher(encoder, max_batch_tokens=1_000)
        await batcher.start()
        cache = VectorCache(redis, NAMES, encoder, ttl_ms=60_000, max_items=100)
        sources.append(VectorSource(batcher, cache))
    bench = Bench()
    producer: Any = bench.producer
    yield TextAgent(NAMES, producer, sources, bench.stats, max_record_bytes=10_000, partitions=1)
    for source in sources:
        await source.batcher.stop()


class TestEncoders:
    async def test_the_client_reads_what_each_has_done(self, redis: Any, agent: TextAgent) -> None:
        hashing, poisoned = agent.sources.values()
        assert len(await hashing.batcher.encode(["red shoes", "a b c"])) == 2
        assert [each.vector is None for each in await poisoned.batcher.encode(["fine", "poison"])] == [False, True]
        await TextReporter(NAMES, redis, "w1").of_encoders(agent)
        report = await read(redis)
        assert report.embeddings == {}
        found = {each.encoder: each for each in report.encoders}
        assert set(found) == {"hashing-16", "poisoned"}
        one = found["hashing-16"]
        assert (one.worker, one.version, one.encoded, one.tokens, one.budget) == ("w1", "1", 2, 5, 1_000)
        assert abs(one.at - now()) < 20_000
        assert found["poisoned"].encoded == 2

    async def test_workers_do_not_overwrite_each_other(self, redis: Any, agent: TextAgent) -> None:
        for instance in ("w1", "w2", "w1"):
            await TextReporter(NAMES, redis, instance).of_encoders(agent)
        report = await read(redis)
        assert sorted((each.worker, each.encoder) for each in report.encoders) == [
            ("w1", "hashing-16"),
            ("w1", "poisoned"),
            ("w2", "hashing-16"),
            ("w2", "poisoned"),
        ]

    async def test_a_worker_without_a_name_is_known_by_its_machine_and_process(
        self, redis: Any, agent: TextAgent
    ) -> None:
        await TextReporter(NAMES, redis, None).of_encoders(agent)
        assert {each.worker for each in (await read(redis)).encoders} == {f"{socket.gethostname()}:{os.getpid()}"}


class TestLine:
    def test_nothing_to_say(self) -> None:
        assert waiting_line({}) == waiting_line(partitions(owned(0))) == ""
        assert waiting_line(partitions(owned(0, "tea", active=False))) == ""

    def test_who_waits_for_how_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "time", lambda: 1_000.0)
        all = partitions(owned(0, "tea", "milk", since=990_000), owned(1, "tea", since=987_500), owned(2))
        assert waiting_line(all) == "3 texts waiting for up to 12.5 s"
        assert waiting_line(partitions(owned(0, "tea", since=2_000_000))) == "1 texts waiting for up to 0.0 s"

    def test_who_waits_no_more(self) -> None:
        one = owned(0, "a", "b", since=0)
        assert one.partition.give_up_texts(10 * 3_600_000) == 2
        assert waiting_line(partitions(one)) == "2 texts given up"

    def test_both(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "time", lambda: 1.0)
        one = owned(0, "a", "b", "c", "d", "e")
        waiting = one.partition.text_metrics()["interests"]
        assert waiting["waiting"] == 3 and waiting["dropped"] == 2
        assert waiting_line(partitions(one)) == "3 texts waiting for up to 1.0 s, 2 texts given up"
