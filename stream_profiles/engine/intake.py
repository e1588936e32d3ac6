"""The intake agent: records of any shape become events, keyed by user, or dead letters.

It keeps no state. A worker killed in the middle reads some records again and sends their events again, in the same
order and saying where they come from, so that the profile agent drops the second copies.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from typing import Any

import msgspec

from ..contracts import Event
from ..errors import InvalidEvent
from ..mapping import Dropped, EventMapping
from ..names import Names
from ..partitioner import Partitioner
from .commit import GroupCommit
from .deadletters import encode_dead_letter
from .producer import BatchProducer, Record
from .provenance import encode_source
from .stats import Stats

log = logging.getLogger(__name__)

#: Records mapped before other tasks (heartbeats, commits, writes) get a turn.
_RECORDS_PER_TURN = 200

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class IntakeGroup:
    """What one write holds."""

    def __init__(self) -> None:
        self.events = 0
        self.records: defaultdict[int, list[Record]] = defaultdict(list)
        self.dead_letters: defaultdict[int, list[Record]] = defaultdict(list)
        self.messages: list[Any] = []


class IntakeAgent:
    """Maps, cleans, checks and re-keys the records of the input topics."""

    def __init__(
        self,
        names: Names,
        producer: BatchProducer,
        partitioner: Partitioner,
        stats: Stats,
        *,
        topic_ids: dict[str, str],
        max_future_ms: int,
        max_record_bytes: int,
        max_unwritten_events: int,
        partitions: int,
    ) -> None:
        self._names, self._producer, self._partitioner, self._stats = names, producer, partitioner, stats
        self._max_future_ms, self._max_record_bytes = max_future_ms, max_record_bytes
        self._partitions, self._topic_ids = partitions, topic_ids
        #: The time of the turn. A record's own time alone is no measure: a producer with a wrong clock sets that too.
        self._now_ms = 0
        self.commit: GroupCommit[IntakeGroup] = GroupCommit(IntakeGroup, self._write, max_unwritten_events)

    async def run(self, stream: Any, mapping: EventMapping) -> None:
        """The Faust agent of one input topic: its stream delivers runs of records."""
        async for message in stream.noack().events():
            run = message.value
            for start in range(0, len(run), _RECORDS_PER_TURN):
                await self.commit.room()
                began = time.perf_counter()
                group = self.commit.forming
                some = run[start : start + _RECORDS_PER_TURN]
                self._now_ms = time.time_ns() // 1_000_000
                for record in some:
                    self._take_in(record, mapping, group)
                group.events += len(some)
                self._stats.received += len(some)
                if start + _RECORDS_PER_TURN >= len(run):
                    group.messages.append(message)
                self._stats.seconds["intake"] += time.perf_counter() - began
                self.commit.notify()
                await asyncio.sleep(0)

    async def settle(self, timeout_s: float) -> None:
        """Write what was taken in, as far as that is quickly done."""
        await self.commit.settled(timeout_s)

    def _take_in(self, record: Any, mapping: EventMapping, group: IntakeGroup) -> None:
        value = record.value or b""
        try:
            if len(value) > self._max_record_bytes:
                raise InvalidEvent(f"record too large: {len(value):,} bytes")
            try:
                fields = _decode(value)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise InvalidEvent(f"not a JSON object: {error}") from None
            cut = mapping.cut_texts
            event: Event | Dropped = mapping.to_event(fields, f"{record.topic}-{record.partition}-{record.offset}")
            self._stats.cut_texts += mapping.cut_texts - cut
            if isinstance(event, Dropped):
                self._stats.outcomes["dropped"] += 1
                return
            if event.time > min(record.timestamp, self._now_ms) + self._max_future_ms:
                raise InvalidEvent(f"time too far in the future: {event.time}")
        except InvalidEvent as error:
            self._stats.dead_letter(str(error))
            letter = encode_dead_letter(record, str(error), self._max_record_bytes)
            group.dead_letters[record.partition % self._partitions].append(letter)
            return
        key = event.user_id.encode()
        headers = encode_source(self._topic_ids[record.topic], record.partition, record.offset)
        group.records[self._partitioner(key)].append((key, _encode(event), headers))

    async def _write(self, group: IntakeGroup) -> None:
        began = time.perf_counter()
        sent = []
        for topic, by_partition in (
            (self._names.events, group.records),
            (self._names.dead_letters, group.dead_letters),
        ):
            for partition, records in by_partition.items():
                sent += await self._producer.send(topic, partition, records)
        await asyncio.gather(*sent)
        for message in group.messages:
            message.ack()
        self._stats.seconds["events"] += time.perf_counter() - began
        self._stats.writes["intake"] += 1
