"""The batcher: which texts go together, what happens to a batch that fails, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles.errors import StreamProfilesError
from stream_profiles.text import _queue as queue_module
from stream_profiles.text import batcher as module
from stream_profiles.text.batcher import Batcher, Encoded

from .fake_encoder import MAX_TOKENS, FakeEncoder, vector_of


@asynccontextmanager
async def running(encoder: FakeEncoder, **limits: Any) -> AsyncIterator[Batcher]:
    before = set(threading.enumerate())
    batcher = Batcher(encoder, **limits)
    await batcher.start()
    try:
        yield batcher
    finally:
        encoder.device.set()
        encoder.tokenizer.set()
        await batcher.stop()
        assert not [each for each in set(threading.enumerate()) - before if each.name.startswith("text_")]


async def until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(5_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"not {what}")


def words(number: int, length: int = 1) -> str:
    """A text of so many tokens, unlike those of other numbers."""
    return " ".join([f"w{number}"] * length)


async def test_each_text_gets_its_vector_in_order() -> None:
    encoder = FakeEncoder()
    texts = [words(number, number % 37 + 1) for number in range(1_000)]
    async with running(encoder, max_batch_tokens=512) as batcher:
        assert await batcher.encode(texts) == [Encoded(vector_of(text)) for text in texts]
        assert await batcher.encode([]) == []
        stats = batcher.stats
    assert sorted(encoder.encoded) == sorted(texts)
    assert encoder.threads == {"text_tokenize", "text_forward", "text_collect"}
    assert (stats.texts, stats.errors, stats.queued, stats.budget) == (1_000, 0, 0, 512)
    assert stats.batches == len(encoder.batches)
    assert stats.tokens == sum(len(text.split()) for text in texts) <= stats.padded_tokens <= 2 * stats.tokens


async def test_many_callers_share_batches() -> None:
    encoder = FakeEncoder()
    encoder.device.clear()
    async with running(encoder, max_wait_ms=1.0) as batcher:
        calls = [asyncio.create_task(batcher.encode([words(number), "all"])) for number in range(300)]
        await until(lambda: len(encoder.batches) > 0, "under way")
        encoder.device.set()
        answers = await asyncio.gather(*calls)
    assert answers == [[Encoded(vector_of(words(number))), Encoded(vector_of("all"))] for number in range(300)]
    assert len(encoder.batches) < 20


@pytest.mark.parametrize("budget", [1, 40, 100, 5_000])
async def test_a_batch_keeps_to_its_budget_and_a_longer_text_goes_alone(budget: int) -> None:
    encoder = FakeEncoder()
    async with running(encoder, max_batch_tokens=budget) as batcher:
        await batcher.encode([words(number, length) for number, length in enumerate([3, 200, 7, 41, 40, 39, 1] * 10)])
    for batch in encoder.batches:
        longest = max(len(text.split()) for text in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget


def queue_of(lengths: list[int], budget: int = 1_000, max_wait_s: float = 0.0) -> queue_module.TextQueue:
    queue = queue_module.TextQueue(budget, max_wait_s)
    add(queue, lengths, 0)
    return queue


def add(queue: queue_module.TextQueue, lengths: list[int], arrived: float) -> None:
    texts = [queue_module.WaitingText(Any, index, "", arrived) for index in range(len(lengths))]  # type: ignore[arg-type]
    for text, length in zip(texts, lengths, strict=True):
        text.length = length
    queue.put_ready(texts)


def next_batch(queue: queue_module.TextQueue) -> list[int]:
    batch = queue.take_batch()
    assert batch is not None
    queue.done(batch)
    return [text.length for text in batch.texts]


def test_the_oldest_goes_first_with_what_is_nearest_in_length() -> None:
    queue = queue_of([100], budget=400)
    add(queue, [10, 300, 60, 45, 110, 150], 1.0)
    assert next_batch(queue) == [60, 100, 110]
    assert [next_batch(queue) for _ in range(4)] == [[10], [45], [150], [300]] and queue.queued == 0


def test_texts_of_few_tokens_go_together_whatever_their_lengths() -> None:
    assert next_batch(queue_of([1, 32, 2, 16])) == [1, 2, 16, 32]
    assert next_batch(queue_of([1, 33])) == [1]


@given(st.lists(st.integers(1, 600), min_size=1, max_size=200), st.integers(1, 2_000))
def test_every_text_is_in_one_batch_and_half_of_a_batch_at_most_is_padding(lengths: list[int], budget: int) -> None:
    queue, batches = queue_of(lengths, budget), []
    while queue.queued:
        batches.append(next_batch(queue))
    assert sorted(length for batch in batches for length in batch) == sorted(lengths)
    for batch in batches:
        assert len(batch) == 1 or max(batch) * len(batch) <= budget
        assert max(batch) <= 32 or max(batch) <= 2 * min(batch)


def test_a_long_text_does_not_wait_for_ever() -> None:
    queue = queue_of([500], budget=200)
    for second in range(1, 4):
        add(queue, [5] * 100, float(second))
    assert next_batch(queue) == [500]


async def test_a_lone_text_does_not_wait_for_others() -> None:
    async with running(FakeEncoder(), max_wait_ms=60_000) as batcher:
        assert await asyncio.wait_for(batcher.encode(["alone"]), 5) == [Encoded(vector_of("alone"))]


async def test_while_the_device_works_texts_wait_for_others() -> None:
    encoder = FakeEncoder()
    encoder.device.clear()
    async with running(encoder, max_wait_ms=60_000, max_batch_tokens=10) as batcher:
        calls = [asyncio.create_task(batcher.encode(["first"]))]
        await until(lambda: encoder.batches == [["first"]], "begun")
        calls += [asyncio.create_task(batcher.encode([words(number)])) for number in range(9)]
        await until(lambda: batcher.stats.queued == 9, "queued")
        await asyncio.sleep(0.05)
        assert len(encoder.batches) == 1
        calls.append(asyncio.create_task(batcher.encode([words(9)])))
        await until(lambda: len(encoder.batches) == 2, "begun when the budget was full")
        encoder.device.set()
        await asyncio.gather(*calls)


async def test_a_text_that_has_waited_long_enough_goes_behind_a_busy_device() -> None:
    encoder = FakeEncoder()
    encoder.device.clear()
    async with running(encoder, max_wait_ms=20) as batcher:
        calls = [asyncio.create_task(batcher.encode(["first"]))]
        await until(lambda: encoder.batches == [["first"]], "begun")
        calls.append(asyncio.create_task(batcher.encode(["second"])))
        await until(lambda: encoder.batches == [["first"], ["second"]], "launched behind the first")
        encoder.device.set()
        await asyncio.gather(*calls)


async def test_what_waits_is_bounded_before_the_tokeniser_not_after() -> None:
    """A flood: tokenised texts take memory and are of no use before their batch."""
    encoder = FakeEncoder()
    encoder.device.clear()
    async with running(encoder, max_batch_tokens=1_000) as batcher:
        flood = asyncio.create_task(batcher.encode([words(number, 10) for number in range(20_000)]))
        await until(lambda: len(encoder.batches) == 3, "launched")
        await asyncio.sleep(0.05)
        ready = batcher._queue._ready_tokens
        assert 4_000 <= ready <= 4_000 + 10 * 256 and len(encoder.batches) == 3
        encoder.device.set()
        answers = await asyncio.wait_for(flood, 60)
    assert [answer.vector for answer in answers[::999]] == [vector_of(words(n, 10)) for n in range(0, 20_000, 999)]


@pytest.mark.parametrize("stage", ["tokenize", "forward", "collect"])
async def test_a_text_that_fails_alone_gets_the_error_and_the_others_their_vectors(stage: str) -> None:
    encoder = FakeEncoder()
    texts = [words(number, 3) for number in range(100)]
    encoder.poison[stage] = {texts[17], texts[64]}
    async with running(encoder) as batcher:
        answers = await batcher.encode(texts)
        for number, (text, answer) in enumerate(zip(texts, answers, strict=True)):
            error = f"cannot {stage} {text!r}" if number in (17, 64) else None
            assert answer == Encoded(None if error else vector_of(text), error)
        assert batcher.stats.errors == 2 and batcher.stats.budget == 16_384 and not batcher.failing
        # The batcher lives on, and a poisoned text costs few batches, not one for each of its neighbours.
        assert await batcher.encode(["more"]) == [Encoded(vector_of("more"))]
    assert len(encoder.batches) < 40


@pytest.mark.parametrize(("factor", "length"), [(np.nan, "nan"), (np.inf, "inf"), (0.0, "0"), (3e30, "inf"), (2, "2")])
async def test_a_vector_that_is_none_is_an_error_of_its_text(factor: float, length: str) -> None:
    encoder = FakeEncoder()
    encoder.wrong["bad"] = factor
    async with running(encoder) as batcher:
        good, bad = await batcher.encode(["good", "bad"])
    assert good == Encoded(vector_of("good"))
    assert bad == Encoded(None, f"the encoder gave a vector of length {length} instead of 1")


async def test_vectors_of_the_wrong_shape_are_an_error() -> None:
    encoder = FakeEncoder()
    encoder.collect = lambda output: np.ones((1, 3), np.float32)  # type: ignore[method-assign, assignment]
    async with running(encoder) as batcher:
        for answer in await batcher.encode(["a", "b"]):
            assert answer.error == "the encoder gave vectors of shape (1, 3) for 1 texts; its dimension is 4"


async def test_a_text_that_was_cut_says_so() -> None:
    async with running(FakeEncoder()) as batcher:
        texts = [words(1, MAX_TOKENS), words(2, MAX_TOKENS + 1)]
        assert [answer.truncated for answer in await batcher.encode(texts)] == [False, True]
        assert batcher.stats.truncated == 1


async def test_out_of_memory_halves_the_batches_and_they_grow_back(caplog: pytest.LogCaptureFixture) -> None:
    encoder = FakeEncoder()
    encoder.memory = 300
    texts = [words(number, 10) for number in range(400)]
    async with running(encoder, max_batch_tokens=1_000) as batcher:
        assert await batcher.encode(texts) == [Encoded(vector_of(text)) for text in texts]
        stats = batcher.stats
        assert stats.budget <= 300 and stats.out_of_memory >= 2 and stats.errors == 0
        assert "did not fit into the device's memory" in caplog.text
        encoder.memory = 1_000_000
        budgets = [stats.budget]
        while budgets[-1] < 1_000:
            await asyncio.gather(*(batcher.encode([words(number, 100)]) for number in range(200)))
            budgets.append(batcher.stats.budget)
        assert budgets == sorted(budgets) and len(budgets) > 3
        assert batcher.stats.budget == 1_000


def test_the_budget_grows_by_a_quarter_after_a_hundred_good_batches() -> None:
    queue = queue_of([500] * 1_000, budget=1_000)
    full = queue.take_batch()
    assert full is not None
    # Two batches of one size that were under way together count once.
    assert [queue.shrink(full), queue.shrink(full)] == [500, 500] and queue.out_of_memory == 2
    queue.split(full)
    for _ in range(99):
        next_batch(queue)
    assert queue.budget == 500
    next_batch(queue)
    assert queue.budget == 626
    # Another one, and the counting begins anew.
    for _ in range(60):
        next_batch(queue)
    queue.shrink(full)
    for _ in range(99):
        next_batch(queue)
    assert queue.budget == 500
    for _ in range(201):
        next_batch(queue)
    assert queue.budget == 979
    for _ in range(100):
        next_batch(queue)
    assert queue.budget == 1_000


async def test_a_text_too_long_for_the_memory_alone_gets_an_error() -> None:
    encoder = FakeEncoder()
    encoder.memory = 50
    async with running(encoder) as batcher:
        short, long = await batcher.encode([words(1, 40), words(2, 60)])
        assert short == Encoded(vector_of(words(1, 40)))
        assert long == Encoded(None, "too long for the device's memory: no more memory")
        assert batcher.stats.errors == 1


async def test_a_caller_that_gives_up_costs_the_others_nothing() -> None:
    encoder = FakeEncoder()
    encoder.device.clear()
    async with running(encoder, max_batch_tokens=10, max_wait_ms=0) as batcher:
        first = asyncio.create_task(batcher.encode([words(number, 10) for number in range(3)]))
        await until(lambda: len(encoder.batches) == 3, "under way")
        leaver = asyncio.create_task(batcher.encode([words(number, 10) for number in range(3, 100)]))
        stayer = asyncio.create_task(batcher.encode(["stays"]))
        await until(lambda: batcher.stats.queued == 98, "queued")
        first.cancel()
        leaver.cancel()
        await asyncio.gather(first, leaver, return_exceptions=True)
        assert batcher.stats.queued == 1
        encoder.device.set()
        assert await stayer == [Encoded(vector_of("stays"))]
    assert len(encoder.encoded) == 4


async def test_stop_finishes_what_is_under_way_and_fails_the_rest() -> None:
    encoder = FakeEncoder()
    encoder.device.clear()
    async with running(encoder, max_batch_tokens=10, max_wait_ms=0) as batcher:
        served = asyncio.create_task(batcher.encode([words(number, 10) for number in range(3)]))
        await until(lambda: len(encoder.batches) == 3, "under way")
        waiting = asyncio.create_task(batcher.encode([words(number, 10) for number in range(3, 9)]))
        await until(lambda: batcher.stats.queued == 6, "queued")
        stopping = asyncio.create_task(batcher.stop())
        await asyncio.sleep(0.02)
        assert not stopping.done() and not served.done()
        encoder.device.set()
        await stopping
        assert await served == [Encoded(vector_of(words(number, 10))) for number in range(3)]
        with pytest.raises(StreamProfilesError, match="has been stopped"):
            await waiting
        with pytest.raises(StreamProfilesError, match="has been stopped"):
            await batcher.encode(["late"])


async def test_a_device_that_hangs_does_not_keep_the_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_STOP_S", 0.05)
    monkeypatch.setattr(module, "_STALLED_S", 0.0)
    encoder = FakeEncoder()
    encoder.device.clear()
    async with running(encoder) as batcher:
        call = asyncio.create_task(batcher.encode(["a"]))
        await until(lambda: len(encoder.batches) == 1, "under way")
        assert batcher.failing
        await batcher.stop()
        assert "text_collect is left behind" in caplog.text
        with pytest.raises(StreamProfilesError, match="has been stopped"):
            await call


async def test_it_must_be_started() -> None:
    with pytest.raises(StreamProfilesError, match="call start"):
        await Batcher(FakeEncoder()).encode(["a"])


async def test_an_encoder_that_fails_at_everything_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    encoder = FakeEncoder()
    texts = [words(number) for number in range(100)]
    encoder.poison["forward"] = set(texts)
    async with running(encoder) as batcher:
        await batcher.encode(texts[:99])
        assert not batcher.failing
        await batcher.encode(texts[99:])
        assert batcher.failing and "100 texts in a row could not be encoded" in caplog.text
        await batcher.encode(["good"])
        assert not batcher.failing


async def test_a_thread_that_breaks_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    encoder = FakeEncoder()
    encoder.poison["collect"] = {"a"}

    def broken(error: BaseException) -> bool:
        raise RuntimeError("broken")

    encoder.is_out_of_memory = broken  # type: ignore[method-assign]
    async with running(encoder) as batcher:
        with caplog.at_level(logging.CRITICAL), pytest.raises(StreamProfilesError, match=r"cannot go on.*broken"):
            await asyncio.wait_for(batcher.encode(["a"]), 5)
        with pytest.raises(StreamProfilesError, match="broken"):
            await batcher.encode(["b"])
