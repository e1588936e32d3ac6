"""The profile agent and texts: what it asks, what it makes of answers, and that no flood of texts holds features up."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import numpy as np
import pytest
from faust.types import TP

from stream_profiles import Count, Event, ProfileDefinition, TextEmbedding
from stream_profiles.contracts import MAX_TEXT_LENGTH, DeadLetter, ProfileDelta, TextRequest, TextVector
from stream_profiles.engine import profiles as module
from stream_profiles.engine.profiles import ProfileAgent
from stream_profiles.partitioner import Partitioner

from .fakes import GENERATION, NAMES, NOW, TOPIC_IDS, Bench, Run, Stream, event, new_store, record, until


def definition(**options: Any) -> ProfileDefinition:
    interests = TextEmbedding("interests", encoder="hashing-16", min_angle=0, **options)
    return ProfileDefinition("shop", features=[Count("views")], embeddings=[interests], dedup=1_000)


class Texts(Bench):
    """An agent that owns the one partition, and the answers to what it asks."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.definition = definition(**options)
        self._answered = 0
        self.restart()

    def restart(self) -> None:
        self.store = new_store(self.definition)
        self.agent = ProfileAgent(
            NAMES,
            self.store,
            self.producer,  # type: ignore[arg-type]
            self.redis,  # type: ignore[arg-type]
            Partitioner(1),
            self.stats,
            topic_ids=TOPIC_IDS,
            max_future_ms=60_000,
            max_record_bytes=2_000_000,
            max_batch_bytes=16_000_000,
            max_unwritten_events=10_000,
        )

    async def assign(self) -> None:
        await self.store.on_rebalance({TP(NAMES.changelog, 0)}, set(), set(), GENERATION)
        for key, value in self.producer.sent[NAMES.changelog, 0]:
            self.store.owned[0].partition.restore(key, value)
        await self.store.on_recovery_completed(set(), set())
        self.agent.ask_again(self.store.owned[0])

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.agent.commit.run())
        try:
            yield
            assert await self.agent.commit.settled(5)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def see(self, *events: Event | bytes, start: int = 0) -> Run:
        run = self.run(*(record(each, start + number) for number, each in enumerate(events)))
        async with self.writing():
            await asyncio.wait_for(self.agent.run(Stream([run])), 10)
        return run

    async def answer(self, *answers: TextVector | bytes) -> Run:
        run = self.answers(*answers)
        async with self.writing():
            await asyncio.wait_for(self.agent.run_answers(Stream([run])), 10)
        return run

    def answers(self, *answers: TextVector | bytes) -> Run:
        values = [each if isinstance(each, bytes) else msgspec.json.encode(each) for each in answers]
        start, self._answered = self._answered, self._answered + len(values)
        records = [record(each, start + number, topic=NAMES.text_vectors) for number, each in enumerate(values)]
        return self.run(*records)

    @property
    def requests(self) -> list[TextRequest]:
        return self.producer.decoded(NAMES.text_requests, 0, TextRequest)

    @property
    def deltas(self) -> list[ProfileDelta]:
        return self.producer.decoded(NAMES.deltas, 0, ProfileDelta)

    @property
    def profile(self) -> dict[str, bytes]:
        return self.redis.profiles[NAMES.redis_profile("ada")]


def answer_to(request: TextRequest, place: int = 0, error: str | None = None) -> TextVector:
    return TextVector(
        text_id=request.text_id,
        encoder=request.encoder,
        version="1",
        vector=None if error else np.eye(16, dtype="<f4")[place].tobytes(),
        error=error,
        truncated=False,
        asked_at=request.asked_at,
    )


@pytest.fixture
async def texts() -> Texts:
    bench = Texts()
    await bench.assign()
    return bench


async def test_a_text_is_asked_for_before_the_changelog_says_that_it_waits(texts: Texts) -> None:
    run = await texts.see(event(1, text="red shoes"), event(2, user="bob", text="red  shoes "))
    [request] = texts.requests
    assert (request.text, request.encoder, request.partition, request.profile) == ("red shoes", "hashing-16", 0, "shop")
    assert request.asked_at > NOW
    assert run.acked == 1
    order = [step[1] for step in texts.journal if step[0] == "acknowledged"]
    assert order.index(NAMES.text_requests) < order.index(NAMES.changelog)


async def test_how_long_answers_take_is_said(texts: Texts) -> None:
    def said() -> list[str]:
        line = texts.stats.line(0, 0, intake=False, profiles=True)
        return re.findall(r"texts answered within ([\d,]+) ms on average", line)

    await texts.see(event(1, text="red shoes"), event(2, text="tea pot"))
    asked_at = module.time.time_ns() // 1_000_000 - 40_000
    await texts.answer(*(msgspec.structs.replace(answer_to(each), asked_at=asked_at) for each in texts.requests))
    [mean] = said()
    assert 40_000 <= int(mean.replace(",", "")) < 60_000
    assert said() == [], "it is since the line before"


async def test_an_answer_becomes_a_delta_and_gets_to_redis(texts: Texts) -> None:
    await texts.see(event(1, text="red shoes"))
    run = await texts.answer(answer_to(texts.requests[0], place=3))
    assert run.acked == 1
    first, second = texts.deltas
    assert "interests" not in first.changed
    assert (second.version, second.event_id, second.event_time) == (2, "1", NOW + 1)
    assert second.changed["interests"] == {"encoder": "hashing-16@1", "texts": 1}
    assert np.frombuffer(texts.profile["interests_30d"], "<f4").tolist() == np.eye(16)[3].tolist()


async def test_an_answer_that_was_applied_by_a_dead_worker_is_not_applied_again(texts: Texts) -> None:
    await texts.see(event(1, text="red shoes"), event(2, text="tea pot"))
    answers = texts.answers(*(answer_to(request, place) for place, request in enumerate(texts.requests)))
    async with texts.writing():
        await texts.agent.run_answers(Stream([answers]))
    before = dict(texts.profile)
    texts.restart()
    await texts.assign()
    async with texts.writing():
        await texts.agent.run_answers(Stream([answers]))
    assert texts.profile == before
    assert len(texts.deltas) == 4
    assert len(texts.requests) == 2


async def test_answers_find_who_waited_when_the_worker_was_killed_in_between(texts: Texts) -> None:
    await texts.see(event(1, text="red shoes"))
    texts.restart()
    await texts.assign()
    await texts.answer(answer_to(texts.requests[0]))
    assert texts.deltas[-1].changed["interests"]["texts"] == 1


async def test_what_is_no_answer_is_set_aside(texts: Texts) -> None:
    run = await texts.answer(b"{", b"\xff", b'{"text_id": 3}')
    assert run.acked == 1
    letters = texts.producer.decoded(NAMES.dead_letters, 0, DeadLetter)
    assert [letter.reason.partition(":")[0] for letter in letters] == ["not a vector of a text"] * 3


async def test_a_reason_for_no_vector_is_said_once(texts: Texts, caplog: pytest.LogCaptureFixture) -> None:
    await texts.see(*(event(number, text=f"text {number}") for number in range(5)))
    await texts.answer(*(answer_to(request, error="it is cursed") for request in texts.requests))
    assert [message for message in caplog.messages if "cursed" in message] == [
        "a text got no vector, and its events do not count in hashing-16: it is cursed"
    ]
    assert list(texts.profile) == ["views"]


async def test_a_flood_of_texts_never_holds_features_up_and_stays_bounded() -> None:
    texts = Texts(max_waiting=3_000, weights={"purchase": 5})
    await texts.assign()
    flood = [event(n, text=f"text {n}", type="purchase" if n % 50 == 0 else "view") for n in range(20_000)]
    # Nobody answers, and all events are applied.
    run = await asyncio.wait_for(texts.see(*flood), 60)
    assert run.acked == 1
    assert msgspec.json.decode(texts.profile["views"])["total"] == 20_000
    [waiting] = texts.store.owned[0].partition.shared.texts.values()
    assert len(waiting) == 3_000
    assert waiting.dropped == 17_000
    # No more is asked for than may be under way, so nothing that was dropped is encoded.
    assert len(texts.requests) == 2_048
    waiters = list(waiting._waiters.values())
    assert sum(each.weight == 5 for each in waiters) == 400
    # When answers come, what counts most goes first.
    await texts.answer(*(answer_to(request) for request in texts.requests))
    assert {request.text for request in texts.requests[2_048:2_058]} <= {f"text {n}" for n in range(0, 20_000, 50)}


async def test_by_the_definition_events_wait_until_texts_are_answered() -> None:
    # Events are applied a hundred at a time; those that are under way are not dropped either.
    texts = Texts(max_waiting=50, when_full="wait")
    await texts.assign()
    run = texts.run(*(record(event(n, text=f"text {n}"), n) for n in range(500)))
    applying = asyncio.create_task(texts.agent.run(Stream([run])))
    answered = 0
    async with texts.writing():
        await until(lambda: len(texts.requests) == 100, "asked")
        await asyncio.sleep(0.1)
        assert len(texts.requests) == 100
        assert texts.stats.outcomes["applied"] == 100
        while answered < 500:
            some = texts.requests[answered : answered + 30]
            answered += len(some)
            if some:
                await texts.agent.run_answers(Stream([texts.answers(*map(answer_to, some))]))
            await asyncio.sleep(0.001)
        await applying
    assert run.acked == 1
    assert texts.deltas[-1].changed["interests"]["texts"] == 500


async def test_who_is_given_up_is_forgotten_in_the_changelog_too(
    texts: Texts, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await texts.see(event(1, text="red shoes"))
    real = module.time.time_ns
    monkeypatch.setattr(module.time, "time_ns", lambda: real() + 3_601 * 10**9)
    async with texts.writing():
        texts.agent.give_up_texts()
    assert "1 events got no vector of their text in time" in caplog.text
    texts.restart()
    await texts.assign()
    await texts.answer(answer_to(texts.requests[0]))
    assert "interests" not in texts.profile


async def test_a_text_that_is_too_long_is_cut_on_keyed_topics_too(texts: Texts) -> None:
    value = msgspec.json.encode({**msgspec.to_builtins(event(1)), "text": "x" * 1_000_000})
    await texts.see(value)
    assert [len(request.text) for request in texts.requests] == [2_000]
    assert texts.stats.cut_texts == 1
    assert len("x" * MAX_TEXT_LENGTH) < 1_000_000


async def test_another_field_that_is_too_long_is_an_error_all_the_same(texts: Texts) -> None:
    await texts.see(msgspec.json.encode({**msgspec.to_builtins(event(1)), "text": "x" * 20_000, "item_id": "x" * 300}))
    [letter] = texts.producer.decoded(NAMES.dead_letters, 0, DeadLetter)
    assert "item_id" in letter.reason
    assert texts.stats.cut_texts == 0
