"""Chunked delivery by itself: which runs are delivered and which given back, and what may be committed.

The consumer is made without Faust's around it; the two together are in tests/integration.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles.engine.chunks import ChunkedApp, ChunkedConsumer, RunSchema

from .fakes import record

TOPIC, CHANGELOG = "events", "changelog"
EVENTS, OTHER, RESTORED = TP(TOPIC, 0), TP(TOPIC, 1), TP(CHANGELOG, 0)


class App:
    def __init__(self) -> None:
        self.consumer_generation_id = 4
        self.rebalancing = False
        self.tables = SimpleNamespace(changelog_topics={CHANGELOG})


class Consumer(ChunkedConsumer):
    """The consumer's own part, over positions in a dict and records that lie ready."""

    should_stop = False

    def __init__(self) -> None:
        self.app: Any = App()
        self._runs = defaultdict(deque)
        self._acked, self._acked_index = defaultdict(list), defaultdict(set)
        self._committed_offset: Any = defaultdict(lambda: None)
        self._read_offset: Any = defaultdict(lambda: None)
        self._buffered_partitions: set[TP] = set()
        self.flow_active = True
        self.positions: dict[TP, int | None] = {}
        self.lost: set[TP] = set()
        self.sought: list[tuple[TP, int]] = []
        self.fetched: dict[TP, list[Any]] | None = {}
        self.active: set[TP] | None = {EVENTS, OTHER, RESTORED}
        self.meanwhile: Any = lambda: None

    async def _wait_next_records(self, timeout: float) -> Any:
        self.meanwhile()
        return self.fetched, self.active

    def assignment(self) -> set[TP]:
        return set(self.positions)

    async def position(self, tp: TP) -> int | None:
        if tp in self.lost:
            raise IllegalStateError("not assigned")
        return self.positions[tp]

    async def seek(self, tp: TP, offset: int) -> None:
        self.sought.append((tp, offset))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)

    # -- for the tests -----------------------------------------------------------------------------------------------

    def fetch(self, tp: TP, *offsets: int) -> None:
        """Have records ready, as after a fetch."""
        assert self.fetched is not None
        self.fetched[tp] = [record(b"", offset, topic=tp.topic, partition=tp.partition) for offset in offsets]
        self.positions[tp] = offsets[-1] + 1 if offsets else 0

    async def delivered(self) -> list[tuple[TP, int]]:
        """Fetch once: the runs that are delivered, by the offsets of their last records."""
        return [(tp, message.offset) async for tp, message in self.getmany(1.0)]

    def ack(self, tp: TP, offset: int) -> None:  # type: ignore[override]
        """Acknowledge as Faust does."""
        committed = self._committed_offset[tp]
        if (committed is None or offset >= committed) and offset not in self._acked_index[tp]:
            self._acked_index[tp].add(offset)
            self._acked[tp].append(offset)

    def commit_now(self, tp: TP) -> int | None:
        """Commit as Faust does when the broker takes it; what is committed then."""
        offset = self._new_offset(tp)
        committed = self._committed_offset[tp]
        if offset is not None and (committed is None or offset > committed):
            self._committed_offset[tp] = offset
        return self._committed_offset[tp]


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


# -- what may be committed -------------------------------------------------------------------------------------------


def test_runs_acknowledged_in_order_are_committed_past_their_last_record(consumer: Consumer) -> None:
    consumer._runs[EVENTS].extend([9, 19, 29])
    assert consumer._new_offset(EVENTS) is None
    consumer.ack(EVENTS, 9)
    assert consumer.commit_now(EVENTS) == 10
    consumer.ack(EVENTS, 19)
    consumer.ack(EVENTS, 29)
    assert consumer.commit_now(EVENTS) == 30


def test_a_run_waits_for_those_before_it(consumer: Consumer) -> None:
    consumer._runs[EVENTS].extend([9, 19, 29])
    consumer.ack(EVENTS, 29)
    consumer.ack(EVENTS, 19)
    assert consumer.commit_now(EVENTS) is None
    consumer.ack(EVENTS, 9)
    assert consumer.commit_now(EVENTS) == 30


def test_runs_are_kept_until_a_commit_has_passed_them(consumer: Consumer) -> None:
    """A commit may fail: it is tried again with the same offset."""
    consumer._runs[EVENTS].append(9)
    consumer.ack(EVENTS, 9)
    assert consumer._new_offset(EVENTS) == 10 == consumer._new_offset(EVENTS)
    assert list(consumer._runs[EVENTS]) == [9] and consumer._acked[EVENTS] == [9]
    consumer._committed_offset[EVENTS] = 10
    assert consumer._new_offset(EVENTS) is None
    assert not consumer._runs[EVENTS] and not consumer._acked_index[EVENTS] and consumer._acked[EVENTS] == []


def test_a_run_delivered_twice_is_acknowledged_once(consumer: Consumer) -> None:
    consumer._runs[EVENTS].extend([9, 9])
    consumer.ack(EVENTS, 9)
    assert consumer.commit_now(EVENTS) == 10
    consumer._runs[EVENTS].append(19)
    assert consumer.commit_now(EVENTS) == 10, "the second copy, behind the commit, holds nothing up"
    consumer.ack(EVENTS, 19)
    assert consumer.commit_now(EVENTS) == 20


def test_partitions_do_not_wait_for_each_other(consumer: Consumer) -> None:
    consumer._runs[EVENTS].append(9)
    consumer._runs[OTHER].append(4)
    consumer.ack(OTHER, 4)
    assert consumer._new_offset(EVENTS) is None and consumer._new_offset(OTHER) == 5


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], list[int], list[bool]]:
    """Last offsets of runs, the order in which they are acknowledged, and after which acknowledgements to commit."""
    ends = sorted(draw(st.sets(st.integers(0, 200), min_size=1, max_size=25)))
    order = draw(st.permutations(ends))
    commits = draw(st.lists(st.booleans(), min_size=len(ends), max_size=len(ends)))
    return ends, order, commits


@given(histories(), st.integers(0, 24))
def test_a_commit_never_passes_a_run_that_is_not_acknowledged(
    history: tuple[list[int], list[int], list[bool]], again: int
) -> None:
    """In whatever order runs are acknowledged, and if one is delivered twice; and all is committed in the end."""
    ends, order, commits = history
    consumer = Consumer()
    consumer._runs[EVENTS].extend([*ends[: again + 1], *ends[again:]])
    waiting, committed = set(ends), 0
    for end, commit in zip(order, commits, strict=True):
        consumer.ack(EVENTS, end)
        waiting.discard(end)
        if commit:
            before, committed = committed, consumer.commit_now(EVENTS) or 0
            assert committed >= before
        assert all(committed <= end for end in waiting)
    assert consumer.commit_now(EVENTS) == ends[-1] + 1
    consumer._new_offset(EVENTS)
    assert not consumer._runs[EVENTS] and not consumer._acked_index[EVENTS], "nothing is kept for ever"


@pytest.mark.parametrize("known", [None, 7])
async def test_a_commit_that_failed_is_not_taken_for_one(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch, known: int | None
) -> None:
    taken = False

    async def commit(self: Any, offsets: dict[TP, int], start_new_transaction: bool = True) -> bool:
        self._committed_offset.update(offsets)
        return taken

    monkeypatch.setattr(driver.Consumer, "_commit_offsets", commit)
    if known is not None:
        consumer._committed_offset[EVENTS] = known
    consumer._runs[EVENTS].append(9)
    consumer.ack(EVENTS, 9)
    assert not await consumer._commit_offsets({EVENTS: 10})
    assert consumer._committed_offset[EVENTS] == known and consumer._new_offset(EVENTS) == 10
    taken = True
    assert await consumer._commit_offsets({EVENTS: 10})
    assert consumer._committed_offset[EVENTS] == 10


async def test_revocation_settles_commits_and_forgets_in_this_order(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    async def step(name: str) -> None:
        order.append(name)

    monkeypatch.setattr(driver.Consumer, "on_partitions_revoked", lambda self, revoked: step("revoke"))
    monkeypatch.setattr(consumer, "commit", lambda: step("commit"), raising=False)
    consumer.app.before_revocation = lambda: step("settle")
    consumer._runs[EVENTS].append(9)
    consumer._runs[OTHER].append(9)
    await consumer.on_partitions_revoked({EVENTS})
    assert order == ["settle", "commit", "revoke"]
    assert EVENTS not in consumer._runs and list(consumer._runs[OTHER]) == [9]


async def test_gaps_between_offsets_mean_nothing(consumer: Consumer) -> None:
    """Compaction and transaction markers leave them."""
    await consumer._add_gap(EVENTS, 3, 1_000_000)
    consumer._runs[EVENTS].extend([2, 1_000_009])
    consumer.ack(EVENTS, 2)
    consumer.ack(EVENTS, 1_000_009)
    assert consumer.commit_now(EVENTS) == 1_000_010


# -- what is delivered -----------------------------------------------------------------------------------------------


async def test_a_run_is_one_message_with_the_offset_of_its_last_record(consumer: Consumer) -> None:
    consumer.fetch(EVENTS, 5, 6, 9)
    consumer.fetch(OTHER)
    ((tp, message),) = [each async for each in consumer.getmany(1.0)]
    assert tp == EVENTS == message.tp and (message.topic, message.partition, message.offset) == (TOPIC, 0, 9)
    assert message.value is consumer.fetched[EVENTS]  # type: ignore[index]
    assert message.generation_id == 4, "without it the stream skips the message"
    assert list(consumer._runs[EVENTS]) == [9] and consumer.sought == []


async def test_stream_records_are_held_back_while_rebalancing_and_changelog_records_are_not(
    consumer: Consumer,
) -> None:
    consumer.app.rebalancing = True
    consumer.fetch(EVENTS, 5, 6)
    consumer.fetch(RESTORED, 7, 8)
    assert await consumer.delivered() == [(RESTORED, 8)]
    assert consumer.sought == [(EVENTS, 5)] and not consumer._runs[EVENTS]


@pytest.mark.parametrize("change", ["generation", "flow"])
async def test_records_of_another_generation_are_given_back(consumer: Consumer, change: str) -> None:
    def rebalance() -> None:
        if change == "generation":
            consumer.app.consumer_generation_id += 1
        else:
            consumer.flow_active = False

    consumer.fetch(EVENTS, 5, 6)
    consumer.fetch(RESTORED, 7, 8)
    consumer.meanwhile = rebalance
    assert await consumer.delivered() == []
    assert consumer.sought == [(EVENTS, 5), (RESTORED, 7)] and not consumer._runs


async def test_a_rebalance_between_two_runs_gives_the_second_back(consumer: Consumer) -> None:
    consumer.fetch(EVENTS, 5, 6)
    consumer.fetch(OTHER, 7, 8)
    delivered = []
    async for tp, message in consumer.getmany(1.0):
        delivered.append((tp, message.offset))
        consumer.app.consumer_generation_id += 1
    assert delivered == [(EVENTS, 6)] and consumer.sought == [(OTHER, 7)]


async def test_a_partition_paused_meanwhile_is_given_back(consumer: Consumer) -> None:
    consumer.active = {OTHER}
    consumer.fetch(EVENTS, 5, 6)
    assert await consumer.delivered() == [] and consumer.sought == [(EVENTS, 5)]


async def test_a_partition_paused_for_its_full_queue_is_delivered(consumer: Consumer) -> None:
    """Faust takes what is fetched already; it only stops fetching more."""
    consumer.active, consumer._buffered_partitions = {OTHER}, {EVENTS}
    consumer.fetch(EVENTS, 5, 6)
    assert await consumer.delivered() == [(EVENTS, 6)]


@pytest.mark.parametrize(("read", "delivered"), [(None, True), (6, True), (5, True), (7, False)])
async def test_a_run_that_faust_would_drop_is_not_waited_for(
    consumer: Consumer, read: int | None, delivered: bool
) -> None:
    consumer._read_offset[EVENTS] = read
    consumer.fetch(EVENTS, 5, 6)
    assert await consumer.delivered() == ([(EVENTS, 6)] if delivered else [])
    assert list(consumer._runs[EVENTS]) == ([6] if delivered else []) and consumer.sought == []


async def test_nothing_fetched_and_stopping_deliver_nothing(consumer: Consumer) -> None:
    consumer.fetched = None
    assert await consumer.delivered() == []
    consumer.fetched, consumer.should_stop = {}, True
    consumer.fetch(EVENTS, 5)
    assert await consumer.delivered() == []


@pytest.mark.parametrize(
    ("position", "sought"),
    [
        (7, [(EVENTS, 5)]),  # past the records
        (None, [(EVENTS, 5)]),
        (5, []),
        (2, []),  # Faust has sought to the committed offset meanwhile
    ],
)
async def test_reading_again_goes_to_the_earlier_place(
    consumer: Consumer, position: int | None, sought: list[tuple[TP, int]]
) -> None:
    consumer.fetch(EVENTS, 5, 6)
    consumer.positions[EVENTS] = position
    await consumer._read_again(consumer.fetched or {})
    assert consumer.sought == sought


async def test_reading_again_leaves_partitions_that_are_gone(consumer: Consumer) -> None:
    consumer.fetch(EVENTS, 5)
    consumer.fetch(OTHER, 6)
    consumer.fetch(RESTORED)
    del consumer.positions[EVENTS]
    consumer.lost = {OTHER}
    await consumer._read_again(consumer.fetched or {})
    assert consumer.sought == []


# -- the rest --------------------------------------------------------------------------------------------------------


def test_the_schema_passes_runs_through() -> None:
    schema, run = RunSchema(), [record(b"x")]
    message = SimpleNamespace(key=b"k", value=run)
    assert schema.loads_key(None, message) is None
    assert schema.loads_value(None, message) is run


async def test_an_app_that_has_nothing_to_settle_gives_back_at_once() -> None:
    app, settled = object.__new__(ChunkedApp), []
    await app.before_revocation()

    async def settle() -> None:
        settled.append(True)

    app.settle = settle
    await app.before_revocation()
    assert settled == [True]
