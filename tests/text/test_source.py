"""Where vectors come from: each place is asked only for what the ones before it do not have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import fakeredis
import pytest

from stream_profiles.errors import StreamProfilesError
from stream_profiles.names import Names
from stream_profiles.text.batcher import Batcher, Encoded
from stream_profiles.text.cache import VectorCache
from stream_profiles.text.source import VectorSource

from .fake_encoder import FakeEncoder, vector_of

A, B, C = (Encoded(vector_of(text)) for text in "abc")


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
async def source(encoder: FakeEncoder) -> AsyncIterator[VectorSource]:
    client: Any = fakeredis.FakeAsyncRedis()
    batcher = Batcher(encoder)
    await batcher.start()
    yield VectorSource(batcher, VectorCache(client, Names("shop"), encoder, ttl_ms=60_000, max_items=100))
    encoder.device.set()
    encoder.tokenizer.set()
    await batcher.stop()


async def test_a_text_is_encoded_once_and_known_from_then_on(source: VectorSource, encoder: FakeEncoder) -> None:
    encoder.device.clear()
    known, [task] = source.look_up({"1": "a", "2": "b"})
    again, tasks = source.look_up({"2": "b", "3": "c"})
    assert known == again == {} and len(tasks) == 2 and tasks[0] is task and source.shared == 1
    encoder.device.set()
    assert await asyncio.gather(task, tasks[1]) == [{"1": A, "2": B}, {"3": C}]
    assert source.look_up({"3": "c", "1": "a"}) == ({"3": C, "1": A}, [])
    assert sorted(encoder.encoded) == ["a", "b", "c"]


async def test_what_was_encoded_is_stored_once(source: VectorSource, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[dict[str, Encoded]] = []

    async def store(encoded: dict[str, Encoded]) -> None:
        stored.append(encoded)

    monkeypatch.setattr(source.cache, "store", store)
    _, [task] = source.look_up({"1": "a"})
    await task
    await source.store()
    await source.store()
    assert stored == [{"1": A}, {}]


async def test_what_redis_has_is_not_encoded(source: VectorSource, encoder: FakeEncoder) -> None:
    await source.cache.store({"1": A})
    _, [task] = source.look_up({"1": "a", "2": "b"})
    assert await task == {"1": A, "2": B} and encoder.encoded == ["b"]


async def test_a_batcher_that_stops_is_told_to_all_who_wait(source: VectorSource, encoder: FakeEncoder) -> None:
    encoder.tokenizer.clear()
    _, [task] = source.look_up({"1": "a"})
    assert source.look_up({"1": "a"}) == ({}, [task])
    await asyncio.sleep(0.02)
    stopping = asyncio.create_task(source.batcher.stop())
    await asyncio.sleep(0.02)
    encoder.tokenizer.set()
    await stopping
    with pytest.raises(StreamProfilesError, match="has been stopped"):
        await task
    assert source._under_way == {}


async def test_a_report_says_where_vectors_came_from(source: VectorSource, encoder: FakeEncoder) -> None:
    encoder.poison["forward"] = {"b"}
    for _ in range(2):
        _, tasks = source.look_up({"1": "a", "2": "b"})
        await asyncio.gather(*tasks)
    report = source.report()
    assert {
        name: report[name] for name in ("encoder", "version", "memory_hits", "redis_hits", "shared", "encoded")
    } == {
        "encoder": "fake",
        "version": "1",
        "memory_hits": 1,
        "redis_hits": 0,
        "shared": 0,
        "encoded": 3,
    }
    assert report["batches"] == report["tokens"] == report["padded_tokens"] == 1 and report["budget"] == 16_384
