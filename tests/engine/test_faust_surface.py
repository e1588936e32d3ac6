"""What `engine` leans on inside Faust. A new release that changes it must fail here, not at night.

Each check says what depends on it. What can be tried out is tried on Faust's own objects; the rest is read in its
source.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.agents import agent
from faust.stores.base import Store
from faust.streams import Stream
from faust.tables.base import Collection
from faust.tables.recovery import Recovery
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service
from mode.utils.queues import FlowControlEvent, FlowControlQueue

from stream_profiles import Count, ProfileDefinition, ProfileUpdater
from stream_profiles.engine.app import profiles_app
from stream_profiles.engine.chunks import ChunkedConsumer, ChunkedTransport, RunSchema
from stream_profiles.engine.table import ProfileStore
from stream_profiles.settings import load_settings

from .fakes import NAMES

EVENTS = TP(NAMES.events, 0)


def source(function: Any) -> str:
    return inspect.getsource(function)


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def in_order(text: str, *parts: str) -> bool:
    """Whether the parts follow one another in a text."""
    at = 0
    for part in parts:
        at = text.find(part, at) + 1
        if not at:
            return False
    return True


@pytest.fixture
def app() -> Any:
    updater = ProfileUpdater(ProfileDefinition("shop", features=[Count("views")]))
    made, _ = profiles_app(NAMES, load_settings(session_timeout="8s"), "localhost:1,other:2", updater)
    return made


@pytest.fixture
async def consumer(app: Any) -> Any:
    """Faust's consumer, not started: its thread has a loop, which nobody else closes."""
    made = app.consumer
    app.topics._acking_topics.add(NAMES.events)
    yield made
    made._thread.thread_loop.close()


@pytest.fixture
def message() -> Iterator[Any]:
    yield _message(9)


def _message(offset: int) -> ConsumerMessage:
    return ConsumerMessage(NAMES.events, 0, offset, 1.0, 0, [], None, b"x", None, 0, 0, EVENTS, generation_id=3)


# -- the consumer is ours --------------------------------------------------------------------------------------------


async def test_the_app_makes_our_transport_and_that_our_consumer(app: Any, consumer: Any) -> None:
    assert isinstance(app.transport, ChunkedTransport), "App.transport no longer comes from App._new_transport"
    assert isinstance(consumer, ChunkedConsumer), "Transport no longer makes the class in Transport.Consumer"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (driver.Consumer.getmany, ["self", "timeout"]),
        (driver.Consumer._wait_next_records, ["self", "timeout"]),
        (driver.Consumer._new_offset, ["self", "tp"]),
        (driver.Consumer._add_gap, ["self", "tp", "offset_from", "offset_to"]),
        (driver.Consumer._commit_offsets, ["self", "offsets", "start_new_transaction"]),
        (driver.Consumer.on_partitions_revoked, ["self", "revoked"]),
        (driver.Consumer.seek, ["self", "partition", "offset"]),
        (driver.Consumer.position, ["self", "tp"]),
        (driver.Consumer.assignment, ["self"]),
        (driver.Consumer.highwater, ["self", "tp"]),
        (driver.Consumer.perform_seek, ["self"]),
        (driver.Consumer.commit, ["self", "topics", "start_new_transaction"]),
        (faust.Schema.loads_key, ["self", "app", "message", "loads", "serializer"]),
        (faust.Schema.loads_value, ["self", "app", "message", "loads", "serializer"]),
        (Store.persisted_offset, ["self", "tp"]),
        (Store.on_rebalance, ["self", "assigned", "revoked", "newly_assigned", "generation_id"]),
        (Store.on_recovery_completed, ["self", "active_tps", "standby_tps"]),
        (Store.apply_changelog_batch, ["self", "batch", "to_key", "to_value"]),
        (Store.reset_state, ["self"]),
        (faust.App._new_transport, ["self"]),
        (Collection._new_store, ["self"]),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_what_is_called_and_overridden_takes_what_it_took(function: Any, expected: list[str]) -> None:
    assert parameters(function) == expected, f"engine overrides or calls {function.__qualname__}"


def test_a_message_is_built_from_what_it_was() -> None:
    assert parameters(ConsumerMessage.__init__) == [
        "self",
        "topic",
        "partition",
        "offset",
        "timestamp",
        "timestamp_type",
        "headers",
        "key",
        "value",
        "checksum",
        "serialized_key_size",
        "serialized_value_size",
        "tp",
        "time_in",
        "time_out",
        "time_total",
        "generation_id",
    ], "chunks.ChunkedConsumer.getmany gives these by place"


async def test_the_consumer_keeps_the_books_that_chunks_reads(consumer: Any) -> None:
    assert consumer._acked[EVENTS] == [] and consumer._acked_index[EVENTS] == set(), "_new_offset reads them"
    assert consumer._committed_offset[EVENTS] is None, "_new_offset takes None for nothing committed"
    assert consumer._read_offset[EVENTS] is None, "getmany takes None for anything may be read"
    assert consumer._buffered_partitions == set(), "getmany delivers partitions paused for a full queue"
    assert consumer.flow_active is True, "getmany asks it whether a rebalance has begun"
    assert consumer.should_stop is False


async def test_the_app_says_what_chunks_asks(app: Any) -> None:
    assert isinstance(app.consumer_generation_id, int), "messages carry it, and getmany compares it"
    assert app.tables.changelog_topics == {NAMES.changelog}, "getmany lets changelogs through while rebalancing"
    app.on_rebalance_start()
    assert app.rebalancing is True, "getmany holds records back from the start of a rebalance"
    app.on_rebalance_end()
    assert app.rebalancing is False, "getmany delivers again at its end"


# -- acknowledging and committing ------------------------------------------------------------------------------------


async def test_an_acknowledgement_enters_the_books(consumer: Any, message: Any) -> None:
    message.incref()
    message.ack(consumer)
    assert consumer._acked_index[EVENTS] == {9} and consumer._acked[EVENTS] == [9], "_new_offset looks runs up there"


async def test_an_acknowledgement_behind_the_commit_does_not(consumer: Any, message: Any) -> None:
    consumer._committed_offset[EVENTS] = 10
    message.incref()
    message.ack(consumer)
    assert consumer._acked_index[EVENTS] == set(), "a run delivered twice would be acknowledged for ever"


async def test_a_commit_asks_for_the_new_offset_of_every_partition_with_acknowledgements(
    consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed: dict[TP, int] = {}

    async def commit(offsets: dict[TP, int]) -> bool:
        committed.update(offsets)
        return True

    monkeypatch.setattr(consumer, "_commit", commit)
    monkeypatch.setattr(consumer, "assignment", lambda: {EVENTS})
    monkeypatch.setattr(consumer.app, "_producer", SimpleNamespace(flush=lambda: asyncio.sleep(0)))
    consumer._runs[EVENTS].append(9)
    first = _message(9)
    first.incref()
    first.ack(consumer)
    assert await consumer.commit() is True
    assert committed == {EVENTS: 10} and consumer._committed_offset[EVENTS] == 10
    assert await consumer.commit() is False, "the same offset is not committed twice"
    consumer._runs[EVENTS].append(19)
    second = _message(19)
    second.incref()
    second.ack(consumer)
    assert await consumer.commit() is True and committed == {EVENTS: 20}


async def test_a_commit_that_failed_counts_as_one_for_faust(consumer: Any) -> None:
    text = source(driver.Consumer._commit_offsets)
    assert in_order(text, "did_commit = await self._commit(", "self._committed_offset.update(", "return did_commit"), (
        "ChunkedConsumer._commit_offsets takes back what Faust notes although the commit failed"
    )


async def test_a_seek_says_from_where_to_read(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "_seek", lambda tp, offset: asyncio.sleep(0))
    await consumer.seek(EVENTS, 7)
    assert consumer._read_offset[EVENTS] == 7, "_read_again relies on it: else Faust drops what is read again"


async def test_performing_the_seek_says_what_is_committed(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def seek_to_committed() -> dict[TP, int]:
        return {EVENTS: 12, TP(NAMES.events, 1): 0}

    monkeypatch.setattr(consumer, "seek_to_committed", seek_to_committed)
    await consumer.perform_seek()
    assert consumer._read_offset[EVENTS] == 12 and consumer._committed_offset[EVENTS] == 12, (
        "_new_offset forgets runs before it, getmany skips them"
    )


async def test_revocation_clears_the_books_and_then_stops_the_flow_at_once(consumer: Any) -> None:
    consumer._acked[EVENTS], consumer._acked_index[EVENTS] = [9], {9}
    consumer._read_offset[EVENTS] = consumer._committed_offset[EVENTS] = 5
    seen = []

    async def revoked(tps: set[TP]) -> None:
        seen.append((tps, dict(consumer._acked), dict(consumer._committed_offset), dict(consumer._read_offset)))

    consumer._on_partitions_revoked = revoked
    consumer.app.settle = None
    await consumer.on_partitions_revoked({EVENTS})
    assert seen == [({EVENTS}, {}, {}, {})], "runs are forgotten together with what Faust forgets"
    text = source(faust.App._on_partitions_revoked)
    before_flow = text[: text.index("consumer.stop_flow")]
    assert "await T" not in before_flow, "runs fetched between the two would be delivered and never acknowledged"


# -- reading ---------------------------------------------------------------------------------------------------------


async def test_faust_drops_what_lies_before_the_read_offset(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    delivered: list[int] = []
    fetcher = SimpleNamespace(_stopped=asyncio.Event())

    async def getmany(timeout: float) -> Any:
        for offset in (4, 7, 9):
            yield EVENTS, _message(offset)
        fetcher._stopped.set()

    async def callback(message: Any) -> None:
        delivered.append(message.offset)

    async def wait_first(first: Any, *others: Any) -> None:
        await first
        for other in others:
            other.close()

    monkeypatch.setattr(consumer, "getmany", getmany)
    monkeypatch.setattr(consumer, "callback", callback)
    monkeypatch.setattr(consumer, "wait_first", wait_first)
    monkeypatch.setattr(consumer, "sleep", lambda seconds: asyncio.sleep(0))
    consumer._read_offset[EVENTS] = 7
    await consumer._drain_messages(fetcher)
    assert delivered == [7, 9], "getmany leaves out what is dropped here, and nothing else"
    assert consumer._read_offset[EVENTS] == 9


async def test_a_message_is_cut_off_when_the_flow_is_suspended() -> None:
    text = source(driver.Consumer._drain_messages)
    assert "self.wait_first(" in text and "self.suspend_flow.wait()" in text and "callback(message)" in text, (
        "a revocation waits for no full queue: the run is read again after it"
    )


def test_the_fetched_records_come_with_the_active_partitions() -> None:
    text = source(driver.Consumer._wait_next_records)
    assert "return records, active_partitions" in text, "getmany unpacks both"
    assert in_order(text, "if not self.flow_active", "self.can_resume_flow"), "getmany need not wait by itself"


@pytest.mark.parametrize("implementation", ["python", "cython"])
def test_a_stream_skips_what_is_of_another_generation(implementation: str) -> None:
    text = source(Stream._py_aiter) if implementation == "python" else _cython()
    assert "generation_id != " in text and "consumer_generation_id" in text, (
        "a run left over from before a rebalance must not reach an agent; ours are let through by their generation"
    )


def _cython() -> str:
    return Path(agent.__file__).parents[1].joinpath("_cython", "streams.pyx").read_text()


def test_a_stream_without_acks_leaves_them_to_the_agent() -> None:
    assert "enable_acks=False" in source(Stream.noack), "agents call event.ack() when all is written"


def test_an_agent_that_failed_is_started_again_on_the_next_message() -> None:
    text = source(agent.Agent._execute_actor)
    assert in_order(text, "except Exception", "await aref.crash(exc)", "self.supervisor.wakeup()"), (
        "nothing of the engine hears of it, so an agent must not fail for a record's sake"
    )


# -- recovery --------------------------------------------------------------------------------------------------------


def test_the_store_has_all_that_faust_asks_for() -> None:
    assert ProfileStore.__abstractmethods__ == frozenset(), "Faust asks the store for something new"
    for name in ("persisted_offset", "on_rebalance", "on_recovery_completed", "apply_changelog_batch"):
        assert parameters(getattr(ProfileStore, name)) == parameters(getattr(Store, name)), name


async def test_the_table_hands_everything_to_the_store(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table, asked = app.tables["profiles"], []
    assert isinstance(table.data, ProfileStore), "Collection.data no longer comes from _new_store"
    for name in ("on_rebalance", "on_recovery_completed"):
        monkeypatch.setattr(table.data, name, lambda *args, name=name: asyncio.sleep(0, asked.append(name)))
    monkeypatch.setattr(table.data, "apply_changelog_batch", lambda *args, **named: asked.append("apply"))
    await table.on_rebalance(set(), set(), set(), 1)
    await table.on_recovery_completed(set(), set())
    table.apply_changelog_batch([])
    assert asked == ["on_rebalance", "on_recovery_completed", "apply"]


def test_recovery_begins_at_what_the_store_says(app: Any) -> None:
    recovery, table, tp = app.tables.recovery, app.tables["profiles"], TP(NAMES.changelog, 0)
    recovery.active_offsets[tp] = 900
    recovery.add_active(table, tp)
    assert recovery.active_offsets[tp] == -1, "a partition without memory is recovered from the start"


def test_recovery_reads_on_only_with_a_buffer_of_one(app: Any) -> None:
    assert app.tables["profiles"].recovery_buffer_size == 2
    assert "recovery_buffer_size == 1" in source(Recovery._restart_recovery.fun), (
        "ProfileTable has a buffer of two so that its own writes do not come back"
    )


def test_recovery_applies_what_it_has_buffered_before_it_says_that_it_has_ended() -> None:
    text = source(Recovery._slurp_changelogs.fun)
    assert in_order(text, "not self.need_recovery()", "self.flush_buffers()", "self.signal_recovery_end.set()"), (
        "on_recovery_completed makes partitions active: all records must be in memory"
    )


def test_the_seek_comes_before_the_flow_and_the_end_of_the_rebalance_last() -> None:
    text = source(Recovery.on_recovery_completed)
    assert in_order(
        text,
        "table.on_recovery_completed(",
        "consumer.resume_partitions(",
        "consumer.perform_seek()",
        "self.app.flow_control.resume()",
        "consumer.resume_flow()",
        "self.app.on_rebalance_end()",
    ), "getmany holds records back until on_rebalance_end: what is delivered between the seek and resume would be lost"
    text = source(Recovery._resume_streams)
    assert in_order(
        text, "consumer.perform_seek()", "app.flow_control.resume()", "consumer.resume_flow()", "app.on_rebalance_end()"
    ), "the same for an app without tables: intake"


def test_recovery_tells_the_store_of_a_rebalance_before_it_begins_again(app: Any) -> None:
    assert hasattr(app.tables.recovery.signal_recovery_start, "is_set"), "the store asks it whether a rebalance came"
    assert in_order(source(type(app.tables).on_rebalance), "table.on_rebalance", "self.recovery.on_rebalance"), (
        "the store's partitions exist before Faust asks for their offsets"
    )


async def test_resuming_the_flow_empties_the_queues() -> None:
    flow = FlowControlEvent()
    queue: FlowControlQueue[int] = FlowControlQueue(flow_control=flow, clear_on_resume=True)
    queue.put_nowait(1)
    flow.resume()
    assert queue.empty(), "the reason why nothing is delivered before the end of a rebalance"


# -- the worker ------------------------------------------------------------------------------------------------------


async def test_the_worker_asks_for_what_there_is(app: Any, consumer: Any) -> None:
    assert app.tables.recovery.in_recovery is False, "Worker._still_to_restore"
    assert app.tables.recovery.active_remaining_total() == 0, "Worker._still_to_restore"
    assert app.started is False and app.crash_reason is None, "Worker._close, Worker._until_stopped"
    assert inspect.iscoroutinefunction(Service.wait_until_stopped)
    with pytest.raises(faust.exceptions.ConsumerNotStarted):
        consumer.assignment()  # Worker._lag


def test_the_settings_mean_what_they_meant(app: Any) -> None:
    conf = app.conf
    assert conf.stream_wait_empty is False, "revocation waits in before_revocation, not for the streams"
    assert conf.stream_recovery_delay == 0.0 and conf.broker_commit_interval == 0.5
    assert conf.topic_allow_declare is False and conf.topic_disable_leader is True, "topics are made by topics.py"
    assert conf.consumer_auto_offset_reset == "earliest", "with latest a new group would skip what lies in the topics"
    assert conf.broker_session_timeout == 8.0 and conf.broker_heartbeat_interval == 1.6
    assert conf.table_standby_replicas == 0, "the store has no standbys"
    assert [str(url) for url in conf.broker_consumer] == ["kafka://localhost:1", "kafka://other:2"]


def test_runs_pass_a_topic_of_ours_untouched(app: Any) -> None:
    topic = app.topic("t", schema=RunSchema())
    assert isinstance(topic.schema, RunSchema), "Topic no longer keeps the schema it is given"
