"""The cache of vectors: memory before Redis, nothing of another version, and no Redis is no error."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import fakeredis
import pytest

from stream_profiles.names import Names
from stream_profiles.text import cache as module
from stream_profiles.text.batcher import Encoded
from stream_profiles.text.cache import VectorCache, stored_vector

from .fake_encoder import FakeEncoder, vector_of

NAMES = Names("shop")
A, B, CUT = Encoded(vector_of("a")), Encoded(vector_of("b")), Encoded(vector_of("c"), None, True)


@pytest.fixture
def server() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


def cache_of(
    server: fakeredis.FakeServer, *, version: str = "1", max_items: int = 100, dimension: int = 4
) -> VectorCache:
    encoder = FakeEncoder()
    encoder.version, encoder.dimension = version, dimension
    client: Any = fakeredis.FakeAsyncRedis(server=server)
    return VectorCache(client, NAMES, encoder, ttl_ms=60_000, max_items=max_items)


async def find(cache: VectorCache, *text_ids: str) -> dict[str, Encoded]:
    found = cache.recall(text_ids)
    return found | await cache.fetch([text_id for text_id in text_ids if text_id not in found])


def counts(cache: VectorCache) -> tuple[int, int, int]:
    return cache.memory_hits, cache.redis_hits, cache.misses


async def test_what_one_worker_stored_another_finds(server: fakeredis.FakeServer) -> None:
    first, second = cache_of(server), cache_of(server)
    assert await find(first, "a", "b", "c") == {}
    await first.store({"a": A, "c": CUT})
    assert await find(second, "a", "b", "c") == {"a": A, "c": CUT}
    assert counts(second) == (0, 2, 1)
    # What came from Redis is in memory now.
    server.connected = False
    assert await find(second, "c", "a") == {"a": A, "c": CUT}
    assert counts(second) == (2, 2, 1)


async def test_memory_holds_what_was_used_last(server: fakeredis.FakeServer) -> None:
    cache = cache_of(server, max_items=2)
    cache.remember({"a": A, "b": B})
    assert await find(cache, "a") == {"a": A}
    cache.remember({"c": CUT})
    assert await find(cache, "a", "b", "c") == {"a": A, "c": CUT}
    assert counts(cache) == (3, 0, 1) and await cache._client.keys() == []


async def test_a_vector_in_redis_expires(server: fakeredis.FakeServer) -> None:
    cache = cache_of(server)
    await cache.store({"a": A})
    assert 0 < await cache._client.pttl(NAMES.redis_text("a")) <= 60_000


async def test_another_version_or_dimension_is_a_miss_and_is_overwritten(server: fakeredis.FakeServer) -> None:
    await cache_of(server).store({"a": A})
    newer = cache_of(server, version="2")
    assert await find(newer, "a") == {} and counts(newer) == (0, 0, 1)
    assert await find(cache_of(server, dimension=5), "a") == {}
    await newer.store({"a": B})
    assert await find(cache_of(server, version="2"), "a") == {"a": B}
    assert await find(cache_of(server), "a") == {}


@pytest.mark.parametrize("value", [b"", b"x", b"\0" * 25, b"\0" * 2_000])
async def test_anything_else_under_the_key_is_a_miss(server: fakeredis.FakeServer, value: bytes) -> None:
    cache = cache_of(server)
    await cache._client.set(NAMES.redis_text("a"), value)
    assert await find(cache, "a") == {}


async def test_what_redis_holds_can_be_read_by_others(server: fakeredis.FakeServer) -> None:
    cache = cache_of(server)
    await cache.store({"a": A, "c": CUT})
    values = [await cache._client.get(NAMES.redis_text(text_id)) for text_id in ("a", "c")]
    assert [stored_vector(value) for value in values] == [A.vector, CUT.vector]


async def test_a_text_without_a_vector_is_not_kept(server: fakeredis.FakeServer) -> None:
    cache = cache_of(server)
    failed = {"a": Encoded(None, "no")}
    cache.remember(failed)
    await cache.store(failed)
    assert await find(cache, "a") == {} and await cache._client.keys() == []


async def test_without_redis_the_memory_goes_on_alone_and_it_is_said_once(
    server: fakeredis.FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    server.connected = False
    cache = cache_of(server)
    cache.remember({"a": A})
    for _ in range(3):
        assert await find(cache, "a", "b") == {"a": A}
        await cache.store({"b": B})
    assert counts(cache) == (3, 0, 3)
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    server.connected = True
    await cache.store({"b": B})
    assert await find(cache, "b") == {"b": B}
    assert [each.levelname for each in caplog.records] == ["WARNING", "INFO"]


async def test_a_redis_that_hangs_holds_texts_up_once_in_a_while(
    server: fakeredis.FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    cache = cache_of(server)
    asked = 0

    async def hang(*_: Any) -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(60)

    cache._client.mget = hang  # type: ignore[method-assign, assignment]
    for _ in range(3):
        assert await asyncio.wait_for(find(cache, "a"), 5) == {}
    await cache.store({"a": A})
    assert asked == 1 and await cache._client.keys() == []
