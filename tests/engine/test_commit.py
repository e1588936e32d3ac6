"""Group commit: one write in flight, all that comes meanwhile in the next, and nothing given up that can be mended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, NotLeaderForPartitionError
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles.engine import commit as module
from stream_profiles.engine.commit import GroupCommit
from stream_profiles.errors import KafkaUnavailable, RedisUnavailable

from .fakes import until


class Group:
    def __init__(self) -> None:
        self.events = 0
        self.numbers: list[int] = []


class Writer:
    """Writes that end when they are told to, with the errors they are told."""

    def __init__(self, max_events: int = 1_000) -> None:
        self.commit: GroupCommit[Group] = GroupCommit(Group, self.write, max_events)
        self.written: list[list[int]] = []
        self.tried: list[Group] = []
        self.errors: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = 0
        #: `failing` as it was at each attempt.
        self.failing: list[bool] = []

    def add(self, *numbers: int) -> None:
        self.commit.forming.numbers += numbers
        self.commit.forming.events += len(numbers)
        self.commit.notify()

    async def write(self, group: Group) -> None:
        self.at_once += 1
        assert self.at_once == 1, "two writes at once"
        try:
            self.tried.append(group)
            self.failing.append(self.commit.failing)
            await asyncio.sleep(0)
            await self.gate.wait()
            if self.errors:
                raise self.errors.pop(0)
            self.written.append(group.numbers)
        finally:
            self.at_once -= 1


@asynccontextmanager
async def running(writer: Writer) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(writer.commit.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_RETRY_S", 0.0001)
    monkeypatch.setattr(module, "_LAST_RETRY_S", 0.0002)


async def test_all_that_comes_during_a_write_forms_the_next() -> None:
    writer = Writer()
    writer.gate.clear()
    async with running(writer):
        writer.add(1)
        await until(lambda: writer.tried, "a write in flight")
        writer.add(2)
        writer.add(3)
        await asyncio.sleep(0.005)
        assert len(writer.tried) == 1 and writer.commit.waiting_events == 3
        writer.gate.set()
        assert await writer.commit.settled(1)
        assert writer.written == [[1], [2, 3]]
        assert writer.commit.waiting_events == 0


@given(st.lists(st.sampled_from(["add", "turn", "open", "close", "fail"]), max_size=40))
def test_everything_is_written_once_and_in_order(steps: list[str]) -> None:
    """Whatever is added when, and whichever writes fail, and `settled` says so no sooner than it is true."""

    async def play() -> None:
        writer, numbers = Writer(), 0
        async with running(writer):
            for step in steps:
                if step == "add":
                    numbers += 1
                    writer.add(numbers)
                elif step == "turn":
                    await asyncio.sleep(0)
                elif step == "open":
                    writer.gate.set()
                elif step == "close":
                    writer.gate.clear()
                else:
                    writer.errors.append(RedisUnavailable("gone"))
            writer.gate.set()
            assert await writer.commit.settled(5)
            assert [number for group in writer.written for number in group] == list(range(1, numbers + 1))
            assert writer.commit.waiting_events == 0

    module_delays = module._FIRST_RETRY_S, module._LAST_RETRY_S
    module._FIRST_RETRY_S = module._LAST_RETRY_S = 0.0
    try:
        asyncio.run(play())
    finally:
        module._FIRST_RETRY_S, module._LAST_RETRY_S = module_delays


@pytest.mark.parametrize("error", [RedisUnavailable("gone"), KafkaUnavailable("gone"), NotLeaderForPartitionError()])
async def test_what_can_be_mended_is_tried_again_with_the_same_group(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, module.__name__)
    writer = Writer()
    writer.errors = [error] * 3
    async with running(writer):
        writer.add(1)
        assert await writer.commit.settled(1)
    assert writer.failing == [False, True, True, True]
    assert writer.written == [[1]] and len(writer.tried) == 4
    assert all(group is writer.tried[0] for group in writer.tried)
    assert not writer.commit.failing
    said = [entry.message for entry in caplog.records]
    assert sum("nothing is lost and nothing is acknowledged" in line for line in said) == 3
    assert said[-1] == "writing again after 3 failed attempts"


@pytest.mark.parametrize("error", [MessageSizeTooLargeError(), ValueError("a bug")])
async def test_what_cannot_be_mended_ends_it(error: Exception) -> None:
    writer = Writer()
    writer.errors = [error]
    async with running(writer) as task:
        writer.add(1)
        with pytest.raises(type(error)):
            await asyncio.wait_for(asyncio.shield(task), 1)
        assert writer.written == []
        assert not await writer.commit.settled(0.01), "what was never written counted as settled"


async def test_a_partition_that_takes_no_batch_for_long_is_tried_again() -> None:
    writer = Writer()
    writer.errors = [KafkaTimeoutError()]
    async with running(writer):
        writer.add(1)
        assert await writer.commit.settled(1)


async def test_a_write_that_takes_long_counts_as_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer()
    writer.gate.clear()
    async with running(writer):
        assert writer.commit.writing_for_s == 0
        writer.add(1)
        await until(lambda: writer.tried, "a write in flight")
        assert not writer.commit.failing
        monkeypatch.setattr(module, "STALLED_S", 0.002)
        await until(lambda: writer.commit.failing, "failing")
        writer.gate.set()
        assert await writer.commit.settled(1)
        assert not writer.commit.failing and writer.commit.writing_for_s == 0


async def test_room_waits_for_the_write_that_makes_some() -> None:
    writer = Writer(max_events=3)
    writer.gate.clear()
    async with running(writer):
        writer.add(1, 2)
        await asyncio.wait_for(writer.commit.room(), 1)
        await until(lambda: writer.tried, "a write in flight")
        writer.add(3)
        waiting = asyncio.create_task(writer.commit.room())
        await asyncio.sleep(0.005)
        assert not waiting.done(), "events in flight and events that form the next write count together"
        writer.gate.set()
        await asyncio.wait_for(waiting, 1)
        assert writer.commit.waiting_events < 3


async def test_settled_is_false_while_a_write_hangs_and_true_when_it_ends() -> None:
    writer = Writer()
    async with running(writer):
        assert await writer.commit.settled(0.01), "nothing was ever applied"
        writer.gate.clear()
        writer.add(1)
        assert not await writer.commit.settled(0.01)
        writer.gate.set()
        assert await writer.commit.settled(1)


async def test_settled_waits_for_what_was_added_before_the_writer_woke() -> None:
    writer = Writer()
    writer.add(1)
    assert not await writer.commit.settled(0.01)
    async with running(writer):
        assert await writer.commit.settled(1)
        assert writer.written == [[1]]


async def test_delays_double_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def count(delay: float) -> None:
        if delay:
            slept.append(delay)
        await sleep(0)

    monkeypatch.setattr(module, "_FIRST_RETRY_S", 0.1)
    monkeypatch.setattr(module, "_LAST_RETRY_S", 0.5)
    writer = Writer()
    writer.errors = [RedisUnavailable("gone")] * 5
    writer.add(1)
    monkeypatch.setattr(module.asyncio, "sleep", count)
    async with running(writer):
        while not writer.written:
            await sleep(0)
    assert slept == [0.1, 0.2, 0.4, 0.5, 0.5]
