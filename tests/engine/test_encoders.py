"""The encoders of a definition at work: each once, as the settings say, or a sentence where one cannot be loaded."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import fakeredis
import numpy as np
import pytest

from stream_profiles import Count, ProfileDefinition, TextEmbedding
from stream_profiles.engine import encoders as module
from stream_profiles.engine.encoders import start_sources
from stream_profiles.errors import SettingsError
from stream_profiles.settings import Settings
from stream_profiles.text.encoder import Vectors
from stream_profiles.text.hashing import HashingEncoder
from stream_profiles.text.source import VectorSource

Start = Callable[..., Coroutine[Any, Any, list[VectorSource]]]


class Own:
    """An encoder of a user's own."""

    name, dimension = "own", 16

    def encode(self, batch: Sequence[str]) -> Vectors:
        return np.eye(16, dtype=np.float32)[[len(text) % 16 for text in batch]]


def definition(*embeddings: TextEmbedding) -> ProfileDefinition:
    return ProfileDefinition("shop", embeddings=embeddings)


@pytest.fixture
def redis() -> Any:
    return fakeredis.FakeAsyncRedis()


@pytest.fixture
async def start(redis: Any) -> AsyncIterator[Start]:
    started: list[VectorSource] = []

    async def start(*embeddings: TextEmbedding, **settings: Any) -> list[VectorSource]:
        sources = await start_sources(definition(*embeddings), Settings.model_construct(**settings), redis)
        started.extend(sources)
        return sources

    yield start
    for source in started:
        await source.batcher.stop()


async def vector(source: VectorSource, text: str) -> Any:
    """The vector of a text; None for none."""
    known, tasks = source.look_up({"id": text})
    for task in tasks:
        known = {**known, **await task}
    found = known["id"].vector
    return None if found is None else np.frombuffer(found, "<f4")


async def test_two_encoders_work_side_by_side(start: Start) -> None:
    hashing, own = await start(
        TextEmbedding("interests", encoder="hashing-32"), TextEmbedding("sizes", encoder=Own(), of="query")
    )
    assert (hashing.batcher.encoder.name, own.batcher.encoder.name) == ("hashing-32", "own")
    np.testing.assert_allclose(await vector(hashing, "red shoes"), HashingEncoder(32).encode(["red shoes"])[0], 1e-6)
    assert (await vector(own, "abc")).tolist() == np.eye(16)[3].tolist()


async def test_embeddings_of_one_encoder_share_it(start: Start) -> None:
    sources = await start(
        TextEmbedding("short", half_life="1d"),
        TextEmbedding("long", half_life="90d", encoder="hashing-384"),
        TextEmbedding("other", encoder="hashing-64"),
    )
    assert [source.batcher.encoder.name for source in sources] == ["hashing-384", "hashing-64"]


async def test_no_text_embeddings(redis: Any) -> None:
    plain = ProfileDefinition("shop", features=[Count("views")])
    assert await start_sources(plain, Settings.model_construct(), redis) == []


async def test_the_settings_get_to_the_encoder_the_batcher_and_the_cache(
    start: Start, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def load(spec: Any, **how: Any) -> Any:
        asked.append((spec, how, threading.current_thread() is threading.main_thread()))
        return HashingEncoder(16)

    monkeypatch.setattr(module, "load_encoder", load)
    [source] = await start(
        TextEmbedding("interests", encoder="my/model", dimension=16),
        text_device="cuda:1",
        text_precision="bfloat16",
        text_batch_tokens=321,
        text_max_wait="20ms",
        text_cache_ttl="1h",
        text_cache_size=2,
    )
    how = {"dimension": 16, "device": "cuda:1", "dtype": "bfloat16"}
    assert asked == [("my/model", how, False)], "it is loaded in a thread, while others are answered"
    assert source.batcher.stats.budget == 321 and source.batcher._queue._max_wait_s == 0.02
    for text in ("one", "two", "three"):
        known, tasks = source.look_up({text: text})
        assert not known and [await task for task in tasks]
    assert list(source.cache.recall(["one", "two", "three"])) == ["two", "three"]
    await source.store()
    assert sorted(await redis.keys()) == [b"shop:text:one", b"shop:text:three", b"shop:text:two"]
    assert 0 < await redis.pttl("shop:text:one") <= 3_600_000


async def test_one_that_cannot_be_loaded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_profiles.text.loading.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r'needs torch, .*pip install "stream-profiles\[text\]"'):
        await start(TextEmbedding("interests", encoder="all-MiniLM-L6-v2"))


async def test_with_one_that_cannot_be_loaded_nothing_goes_on_running(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_profiles.text.loading.find_spec", lambda name: None)
    before = set(threading.enumerate())
    with pytest.raises(SettingsError):
        await start(TextEmbedding("short"), TextEmbedding("interests", encoder="all-MiniLM-L6-v2"))
    left = {thread for thread in set(threading.enumerate()) - before if not thread.name.startswith("asyncio")}
    assert not left, "the batcher of the first still runs, and nobody has it to stop it"
