"""How texts stand, added up over partitions and workers: by both clients, from what workers write into Redis."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import redis

from stream_profiles import Count, ProfileDefinition, TextEmbedding
from stream_profiles.client import AsyncProfileClient, EncoderMetrics, ProfileClient, TextMetrics, TextReport
from stream_profiles.client._text_metrics import read_text_report
from stream_profiles.dev.servers import EmbeddedRedis
from stream_profiles.errors import RedisUnavailable, SettingsError, StateError

NOW = 1_700_000_000_000
SHOP = ProfileDefinition("shop", features=[Count("views")], embeddings=[TextEmbedding("interests")])
COUNTERS = ("asked", "known", "dropped", "lost", "failed", "truncated")


def partition(name: str = "interests", **changes: Any) -> dict[str, Any]:
    """A partition's report, as it is in Redis."""
    return {name: {"waiting": 0, "since": None, **dict.fromkeys(COUNTERS, 0), **changes}}


def encoder(worker: str = "w", **changes: Any) -> dict[str, Any]:
    counters = [name for name, kind in EncoderMetrics.__annotations__.items() if kind == "int"]
    return {
        "worker": worker,
        "encoder": "hashing-384",
        "version": "1",
        **dict.fromkeys(counters, 0),
        "at": NOW,
    } | changes


def read(*partitions: Any, encoders: tuple[Any, ...] = (), now: int = NOW) -> TextReport:
    fields = {str(number).encode(): msgspec.json.encode(each) for number, each in enumerate(partitions)}
    fields |= {f"encoder {each['worker']} x".encode(): msgspec.json.encode(each) for each in encoders}
    return read_text_report(fields, now)


class TestReading:
    def test_nothing_yet(self) -> None:
        assert read() == TextReport(embeddings={}, encoders=())

    def test_partitions_are_added(self) -> None:
        # Each counter has a value of its own, so that none can stand for another.
        one = partition(waiting=3, since=NOW - 2_000, **{name: 10**n for n, name in enumerate(COUNTERS)})
        other = partition(waiting=2, since=NOW - 7_500, **{name: 2 * 10**n for n, name in enumerate(COUNTERS)})
        metrics = read(one, other, partition()).embeddings["interests"]
        assert metrics == TextMetrics(
            waiting=5,
            oldest_seconds=7.5,
            asked=3,
            known=30,
            dropped=300,
            lost=3_000,
            failed=30_000,
            truncated=300_000,
        )

    def test_nobody_waits_and_a_clock_that_is_behind(self) -> None:
        assert read(partition()).embeddings["interests"].oldest_seconds == 0.0
        assert read(partition(waiting=1, since=NOW + 60_000)).embeddings["interests"].oldest_seconds == 0.0

    def test_embeddings_are_told_apart(self) -> None:
        report = read(partition(asked=1) | partition("words", asked=5), partition("words", asked=7))
        assert {name: each.asked for name, each in report.embeddings.items()} == {"interests": 1, "words": 12}

    def test_workers_stay_apart_and_those_that_are_gone_are_left_out(self) -> None:
        report = read(
            encoders=(
                encoder("alive", at=NOW - 29_999, encoded=7),
                encoder("dead", at=NOW - 30_000),
                encoder("ahead", at=NOW + 5_000),
            )
        )
        assert [(each.worker, each.encoded) for each in report.encoders] == [("ahead", 0), ("alive", 7)]

    def test_what_a_newer_release_adds_is_passed_over(self) -> None:
        report = read(partition(asked=2, mood="good"), encoders=(encoder(temperature=70),))
        assert report.embeddings["interests"].asked == 2 and len(report.encoders) == 1

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            (b"0", b"no JSON"),
            (b"0", b"[1]"),
            (b"0", b'{"interests": {"waiting": 1}}'),
            (b"encoder w x", b"{}"),
            (b"encoder w x", b"\xff"),
            (b"0", b'{"\xff": {"waiting": 1}}'),
        ],
    )
    def test_what_is_no_report_is_an_error(self, field: bytes, value: bytes) -> None:
        with pytest.raises(StateError):
            read_text_report({field: value}, NOW)


@pytest.fixture
def store(store: redis.Redis) -> redis.Redis:
    """A Redis with nothing in it but the description."""
    store.set("shop:definition", json.dumps(SHOP.describe()))
    return store


def by_the_client(url: str, name: str) -> TextReport:
    with ProfileClient(url, name) as client:
        return client.text_metrics()


def by_the_asynchronous_client(url: str, name: str) -> TextReport:
    async def read() -> TextReport:
        async with AsyncProfileClient(url, name) as client:
            return await client.text_metrics()

    return asyncio.run(read())


@pytest.mark.parametrize("text_metrics", [by_the_client, by_the_asynchronous_client])
class TestClients:
    def test_the_report(
        self, text_metrics: Callable[..., TextReport], server: EmbeddedRedis, store: redis.Redis
    ) -> None:
        now = time.time_ns() // 1_000_000
        store.hset("shop:text-metrics", "0", msgspec.json.encode(partition(waiting=1, since=now - 60_000, asked=4)))
        store.hset("shop:text-metrics", "1", msgspec.json.encode(partition(asked=5)))
        store.hset("shop:text-metrics", "encoder w hashing-384", msgspec.json.encode(encoder(at=now, batches=9)))
        store.hset("shop:text-metrics", "encoder old hashing-384", msgspec.json.encode(encoder("old", at=now - 60_000)))
        report = text_metrics(server.url, "shop")
        metrics = report.embeddings["interests"]
        assert (metrics.waiting, metrics.asked) == (1, 9)
        assert 60.0 <= metrics.oldest_seconds < 90.0
        assert [(each.worker, each.batches) for each in report.encoders] == [("w", 9)]

    def test_none_yet(self, text_metrics: Callable[..., TextReport], server: EmbeddedRedis, store: redis.Redis) -> None:
        assert text_metrics(server.url, "shop") == TextReport(embeddings={}, encoders=())

    def test_no_such_profiles(
        self, text_metrics: Callable[..., TextReport], server: EmbeddedRedis, store: redis.Redis
    ) -> None:
        with pytest.raises(SettingsError, match="shpo"):
            text_metrics(server.url, "shpo")

    def test_what_is_no_report_is_an_error_that_says_where(
        self, text_metrics: Callable[..., TextReport], server: EmbeddedRedis, store: redis.Redis
    ) -> None:
        store.hset("shop:text-metrics", "0", "[]")
        with pytest.raises(StateError, match=r"shop:text-metrics of Redis at .* is not metrics of texts: "):
            text_metrics(server.url, "shop")

    def test_no_redis(self, text_metrics: Callable[..., TextReport]) -> None:
        with pytest.raises(RedisUnavailable):
            text_metrics("redis://127.0.0.1:1/0", "shop")
