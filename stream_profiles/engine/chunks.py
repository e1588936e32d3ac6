"""Chunked delivery: one Faust message for each fetched run of records of a partition.

Faust spends most of its time per message. Here a message is a run: its value is the list of records, its offset the
last record's. Groups, rebalancing, recovery and commits stay Faust's. This is the one place that leans on what Faust
does inside; `tests/engine/test_faust_surface.py` fails when a new release changes it.

An agent reads runs with `stream.noack().events()` and calls `event.ack()` itself: what Faust acknowledges by itself it
acknowledges also when the agent failed.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import faust
from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

#: How long to wait for the end of a rebalance before fetching again.
_REBALANCE_POLL_S = 0.01


class ChunkedConsumer(driver.Consumer):
    """Faust's consumer, delivering runs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Offsets of the last records of the runs that are not committed yet, oldest first.
        self._runs: dict[TP, deque[int]] = defaultdict(deque)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        generation = self.app.consumer_generation_id
        records, active = await self._wait_next_records(timeout)
        if records is None or self.should_stop:
            return
        if not self.flow_active or self.app.consumer_generation_id != generation:
            # A rebalance began, or even ended, while the records were on their way.
            await self._read_again(records)
            return
        changelogs = self.app.tables.changelog_topics
        for topic_partition, run in records.items():
            tp = TP(topic_partition.topic, topic_partition.partition)
            if not self.flow_active or self.app.consumer_generation_id != generation:
                await self._read_again({tp: run})
                continue
            if not run:
                continue
            if active is not None and tp not in active and tp not in self._buffered_partitions:
                # Paused while the records were on their way.
                await self._read_again({tp: run})
                continue
            if self.app.rebalancing and tp.topic not in changelogs:
                # At the end of a rebalance Faust seeks the partitions to where they are to be read from, and after that
                # it empties the agents' queues: what it was given between the two would be lost.
                await self._read_again({tp: run})
                await self.sleep(_REBALANCE_POLL_S)
                continue
            read = self._read_offset[tp]
            if read is not None and run[-1].offset < read:
                continue  # Faust has delivered it already and would drop it, so it will never be acknowledged.
            last = run[-1]
            self._runs[tp].append(last.offset)
            yield (
                tp,
                ConsumerMessage(
                    tp.topic,
                    tp.partition,
                    last.offset,
                    last.timestamp / 1000,
                    last.timestamp_type,
                    [],
                    None,
                    cast(Any, run),
                    None,
                    0,
                    0,
                    tp,
                    # Without it, the stream skips the message without a word.
                    generation_id=generation,
                ),
            )

    async def _read_again(self, records: Mapping[Any, list[Any]]) -> None:
        """Have records that were fetched and not delivered be fetched again.

        Meanwhile Faust may have sought the partition, to the committed offset or to where a recovery begins. That is
        before the records, or it was before they were fetched: so the earlier of the two places is right.
        """
        assigned = self.assignment()
        for topic_partition, run in records.items():
            tp = TP(topic_partition.topic, topic_partition.partition)
            if run and tp in assigned:
                with suppress(IllegalStateError):
                    position = await self.position(tp)
                    if position is None or position > run[0].offset:
                        await self.seek(tp, run[0].offset)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Faust counts every offset; here only runs count."""

    def _new_offset(self, tp: TP) -> int | None:
        """The offset to commit: past the last run that, with all before it, is acknowledged.

        A run is forgotten when a commit has passed it, not before: commits fail. It was delivered twice when it lies
        before the committed offset; then it is acknowledged once at most.
        """
        acked, runs, committed = self._acked_index[tp], self._runs[tp], self._committed_offset[tp] or 0
        while runs and runs[0] < committed:
            acked.discard(runs.popleft())
        offset = None
        for run in runs:
            if run not in acked:
                break
            offset = run
        self._acked[tp] = sorted(acked)
        return None if offset is None else offset + 1

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        known = {tp: self._committed_offset[tp] for tp in offsets}
        committed: bool = await super()._commit_offsets(offsets, start_new_transaction)
        if not committed:
            # Faust takes what it tried to commit for committed.
            self._committed_offset.update(known)
        return committed

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await cast(ChunkedApp, self.app).before_revocation()
        await self.commit()
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self._runs.pop(tp, None)


class ChunkedTransport(driver.Transport):
    Consumer = ChunkedConsumer


def _raise(error: Exception) -> None:
    raise error


class ChunkedApp(faust.App):
    """A Faust app all of whose topics are delivered in runs."""

    #: Awaited before partitions are given back: applied events are to be written or forgotten by its end.
    settle: Callable[[], Awaitable[None]] | None = None

    #: Told of an error that must end the worker, where Faust would only log it.
    fail: Callable[[Exception], None] = staticmethod(_raise)

    def _new_transport(self) -> Any:
        return ChunkedTransport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Faust would make folders for stores on disk; there are none."""

    async def before_revocation(self) -> None:
        if self.settle is not None:
            await self.settle()


class RunSchema(faust.Schema[Any, Any]):
    """Passes runs through as they are."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> None:
        return None

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> Any:
        return message.value
