"""The profile agent: applies events to the partitions this worker owns, and writes what changed.

The order of a write is fixed, and each step begins when the one before it is acknowledged:

1. deltas, requests for vectors of texts, and dead letters
2. the changelog: one batch a partition, so that users, models and offsets are durable together or not at all
3. Redis
4. the messages are acknowledged, and Faust may commit their offsets

A worker killed after 1 applies the same events again and sends the same deltas and requests again. Killed after 2, it
finds in the changelog that the events were applied, skips them, and writes their profiles to Redis once more.

Vectors of texts are a second input: each answer comes to the partition that asked, and changes profiles as events do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Sequence
from itertools import islice
from typing import Any

import msgspec

from ..contracts import MAX_TEXT_LENGTH, PROSE_FIELDS, Event, TextRequest, TextVector
from ..errors import InvalidEvent
from ..names import Names
from ..partition import Partition
from ..partitioner import Partitioner
from ..sinks.deltas import encode_delta
from ..sinks.redis import Fields, ProfileUpdate, RedisWriter, encode_fields
from ..state import ProfileState
from ..updater import Change, Skipped
from .commit import GroupCommit
from .deadletters import encode_dead_letter
from .producer import BatchProducer, Record
from .provenance import decode_source
from .stats import Stats
from .table import Owned, ProfileStore

log = logging.getLogger(__name__)

#: Records applied before other tasks (heartbeats, commits, writes) get a turn.
_RECORDS_PER_TURN = 100
#: A partition's write is begun when its changelog batch is estimated to have this share of the largest one. The rest is
#: room for the estimate to be wrong, since a batch that is cut in two is not atomic.
_BATCH_SHARE = 8

_PROFILES_REFRESHED_AT_ONCE = 256

#: Between looks at whether texts that wait have got their vectors.
_TEXTS_POLL_S = 0.02
#: Reasons why texts got none, each of which is logged once.
_MAX_REASONS = 20

_decode = msgspec.json.Decoder(Event).decode
_decode_vector = msgspec.json.Decoder(TextVector).decode
_encode_request = msgspec.json.Encoder().encode


class _Part:
    """What is to be written of one partition."""

    def __init__(self, owned: Owned) -> None:
        self.owned = owned
        self.deltas: list[Record] = []
        self.requests: list[Record] = []
        #: Users with changes: version before the first one (0: write everything), and the fields' new values.
        self.updates: dict[str, tuple[int, dict[str, Any]]] = {}
        self.messages: list[Any] = []
        self.estimated_bytes = 0
        # Filled by the write:
        self.changelog: Sequence[Record] | None = None
        self.profiles: list[ProfileUpdate] = []


class ProfileGroup:
    """What one write holds."""

    def __init__(self) -> None:
        self.events = 0
        self.parts: dict[Owned, _Part] = {}
        self.dead_letters: list[tuple[int, Record]] = []
        #: Steps of the write that are done, so that trying again goes on where it failed.
        self.steps_done = 0

    def part(self, owned: Owned) -> _Part:
        part = self.parts.get(owned)
        if part is None:
            part = self.parts[owned] = _Part(owned)
        return part

    def estimated_bytes(self, owned: Owned) -> int:
        """How large the changelog batch of a partition may become."""
        part = self.parts.get(owned)
        return 0 if part is None else part.estimated_bytes + owned.partition.unasked_bytes


class ProfileAgent:
    """Runs one definition's updater over its events."""

    def __init__(
        self,
        names: Names,
        store: ProfileStore,
        producer: BatchProducer,
        redis: RedisWriter,
        partitioner: Partitioner,
        stats: Stats,
        *,
        topic_ids: dict[str, str],
        max_future_ms: int,
        max_record_bytes: int,
        max_batch_bytes: int,
        max_unwritten_events: int,
    ) -> None:
        self._names, self._store, self._producer, self._redis = names, store, producer, redis
        self._partitioner, self._stats, self._topic_ids = partitioner, stats, topic_ids
        self._max_future_ms, self._max_record_bytes = max_future_ms, max_record_bytes
        self._max_part_bytes = max_batch_bytes // _BATCH_SHARE
        #: The time of the turn. A record's own time alone is no measure: a producer with a wrong clock sets that too.
        self._now_ms = 0
        self._reasons: set[str] = set()
        self.commit: GroupCommit[ProfileGroup] = GroupCommit(ProfileGroup, self._write, max_unwritten_events)

    async def run(self, stream: Any) -> None:
        """The Faust agent: its stream delivers runs of records."""
        events: AsyncIterator[Any] = stream.noack().events()
        async for message in events:
            await self._apply_run(message)

    async def run_answers(self, stream: Any) -> None:
        """The Faust agent of the vectors of texts."""
        events: AsyncIterator[Any] = stream.noack().events()
        async for message in events:
            await self._apply_run(message, answers=True)

    async def settle(self, timeout_s: float) -> None:
        """Stop applying, write what was applied, and forget what could not be written in time."""
        self._store.suspend()
        if not await self.commit.settled(timeout_s):
            log.warning("what was applied could not be written in %.0f s: it is applied again", timeout_s)
            for owned in list(self._store.owned.values()):
                self._store.forget(owned)

    async def refresh_redis(self, owned: Owned) -> int:
        """Write every profile of a partition to Redis, as one that lost them needs it; returns how many.

        Raises:
            RedisUnavailable: Redis does not answer. Doing it again is safe.
        """
        written = 0
        users = owned.partition.users()
        while some := list(islice(users, _PROFILES_REFRESHED_AT_ONCE)):
            if not self._store.holds(owned):
                break
            profiles = [
                ProfileUpdate(self._names.redis_profile(user), state.version, state.last_time, 0, fields)
                for user in some
                for state, fields in [_whole(owned.partition, user)]
            ]
            await self._redis.write(profiles, time.time_ns() // 1_000_000)
            written += len(profiles)
        return written

    def give_up_texts(self) -> None:
        """Let go of events whose texts have waited longer than declared, in all partitions."""
        self._now_ms = time.time_ns() // 1_000_000
        lost = 0
        for owned in self._store.owned.values():
            if owned.active and (overdue := owned.partition.give_up_texts(self._now_ms)):
                lost += overdue
                self._ask(self.commit.forming.part(owned))
                self.commit.notify()
        if lost:
            log.warning(
                "%s events got no vector of their text in time and are given up; does a worker run with --only text?",
                f"{lost:,}",
            )

    async def _apply_run(self, message: Any, *, answers: bool = False) -> None:
        run, number, generation = message.value, message.message.partition, message.message.generation_id
        for start in range(0, len(run), _RECORDS_PER_TURN):
            await self.commit.room()
            owned = await self._store.wait_for(number, generation)
            # A part that is full waits for the write in flight, which takes it.
            while owned is not None and self.commit.forming.estimated_bytes(owned) > self._max_part_bytes:
                await asyncio.sleep(0.001)
                owned = await self._store.wait_for(number, generation)
            # By the definition events may have to wait for answers, but never answers for answers.
            while owned is not None and not answers and owned.partition.must_wait_for_texts:
                await asyncio.sleep(_TEXTS_POLL_S)
                owned = await self._store.wait_for(number, generation)
            if owned is None:
                return  # The run is not acknowledged: its next owner reads it again and skips what was applied.
            began = time.perf_counter()
            group = self.commit.forming
            part = group.part(owned)
            some = run[start : start + _RECORDS_PER_TURN]
            self._now_ms = time.time_ns() // 1_000_000
            for record in some:
                if answers:
                    self._answer(record, group, part)
                else:
                    self._apply(record, group, part)
            self._ask(part)
            group.events += len(some)
            if start + _RECORDS_PER_TURN >= len(run):
                part.messages.append(message)
            self._stats.seconds["apply"] += time.perf_counter() - began
            self.commit.notify()
            await asyncio.sleep(0)

    def _apply(self, record: Any, group: ProfileGroup, part: _Part) -> None:
        owned, stats = part.owned, self._stats
        partition = owned.partition
        try:
            event = self._event(record, owned.number)
        except InvalidEvent as error:
            self._set_aside(record, group, owned, str(error))
            return
        try:
            # Others may put anything into the headers of their own topics.
            source = decode_source(record.headers) if record.topic == self._names.events else None
            result = partition.apply(event, self._topic_ids[record.topic], record.offset, source, self._now_ms)
        except Exception as error:
            # Not the event's fault, but it must not stop the others either.
            log.exception("the definition failed on event %s", event.event_id)
            self._set_aside(record, group, owned, f"the definition failed: {type(error).__name__}: {error}")
            return
        finally:
            # Also when it failed: the clock has moved, and these profiles are in the group's changelog batch.
            for timed in partition.take_timed():
                self._note(timed, part)
        if isinstance(result, Change):
            stats.outcomes["applied"] += 1
            self._note(result, part)
            part.estimated_bytes += 4 * len(record.value)
            return
        user = event.user_id
        stats.outcomes[result.value] += 1
        if result is Skipped.REPLAYED and user not in part.updates:
            # Perhaps the last owner died before it wrote this profile to Redis.
            profile = partition.published(user)
            if profile is not None:
                part.updates[user] = (0, profile)

    def _answer(self, record: Any, group: ProfileGroup, part: _Part) -> None:
        """Take the vector of a text."""
        try:
            answer = _decode_vector(record.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._set_aside(record, group, part.owned, f"not a vector of a text: {error}")
            return
        if answer.error is not None and answer.error not in self._reasons and len(self._reasons) < _MAX_REASONS:
            self._reasons.add(answer.error)
            log.warning("a text got no vector, and its events do not count in %s: %s", answer.encoder, answer.error)
        try:
            changes = part.owned.partition.answer(
                answer.text_id,
                answer.encoder,
                answer.version,
                answer.vector,
                self._topic_ids[record.topic],
                record.offset,
            )
        except Exception as error:  # as of an event
            log.exception("the definition failed on the vector of text %s", answer.text_id)
            self._set_aside(record, group, part.owned, f"the definition failed: {type(error).__name__}: {error}")
            return
        self._stats.answers += 1
        self._stats.answer_ms += max(0, self._now_ms - answer.asked_at)
        for change in changes:
            self._note(change, part)
        part.estimated_bytes += len(record.value)

    def ask_again(self, owned: Owned) -> None:
        """Ask about the texts that queued in a partition that was just recovered."""
        self._now_ms = time.time_ns() // 1_000_000
        part = self.commit.forming.part(owned)
        self._ask(part)
        if part.requests:
            self.commit.notify()

    def _ask(self, part: _Part) -> None:
        """Take into the group what the partition wants the vectors of."""
        for request in part.owned.partition.take_requests():
            message = TextRequest(
                text_id=request.text_id,
                encoder=request.encoder,
                text=request.text,
                profile=self._names.definition,
                partition=part.owned.number,
                asked_at=self._now_ms,
            )
            part.requests.append((request.text_id.encode(), _encode_request(message)))
            part.estimated_bytes += len(request.text)

    def _note(self, change: Change, part: _Part) -> None:
        """Take a change into the group."""
        user, stats = change.user_id, self._stats
        part.deltas.append((user.encode(), self._encode_delta(change)))
        known = part.updates.get(user)
        if known is None:
            part.updates[user] = (0 if change.snapshot else change.version - 1, change.changed)
            part.estimated_bytes += part.owned.partition.stored_bytes(user) + 1024
        elif change.snapshot:
            part.updates[user] = (0, change.changed)
        else:
            known[1].update(change.changed)
        for name, reason in change.failed.items():
            stats.failed_fields[name] += 1
            log.warning("field %s failed on event %s and stays as it was: %s", name, change.event_id, reason)

    def publish_timed(self, owned: Owned) -> None:
        """Write to Redis again what time alone changed in the last write of a partition that was just recovered.

        Whoever made that write may have died between the changelog and Redis. For a user with an event of their own the
        event comes again and brings the profile to Redis; for these users none may ever come.
        """
        part = self.commit.forming.part(owned)
        for user in owned.partition.take_over_timed():
            profile = owned.partition.published(user)
            if profile is not None:
                part.updates[user] = (0, profile)
                self.commit.notify()

    def _event(self, record: Any, partition: int) -> Event:
        value = record.value or b""
        if len(value) > self._max_record_bytes:
            raise InvalidEvent(f"record too large: {len(value):,} bytes")
        try:
            try:
                event = _decode(value)
            except msgspec.ValidationError:
                event = self._with_texts_cut(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidEvent(f"not an event: {error}") from None
        if event.time > min(record.timestamp, self._now_ms) + self._max_future_ms:
            raise InvalidEvent(f"time too far in the future: {event.time}")
        if not self._store.updater.allows(event.type):
            raise InvalidEvent(f"unknown event type: {event.type!r}")
        if self._partitioner(event.user_id.encode()) != partition:
            raise InvalidEvent(f"not keyed by user_id: the topic {record.topic} has user {event.user_id!r} elsewhere")
        return event

    def _with_texts_cut(self, value: bytes) -> Event:
        """The event in a record that is none, but for a text that is too long."""
        fields, cut = msgspec.json.decode(value, type=dict[str, Any]), 0
        for name in PROSE_FIELDS:
            text = fields.get(name)
            if isinstance(text, str) and len(text) > MAX_TEXT_LENGTH:
                fields[name] = text[:MAX_TEXT_LENGTH]
                cut += 1
        event = msgspec.convert(fields, Event)
        self._stats.cut_texts += cut
        return event

    def _encode_delta(self, change: Change) -> bytes:
        """The delta of a change; a value that no message can hold is left out, and counts as failed."""
        name = self._names.definition
        try:
            return encode_delta(name, change)
        except Exception:
            fields = encode_fields(change.changed)
            unpublishable = change.changed.keys() - fields.keys()
            change.failed = change.failed | dict.fromkeys(unpublishable, "its value cannot be published as JSON")
            for field in unpublishable:
                del change.changed[field]
            return encode_delta(name, change)

    def _set_aside(self, record: Any, group: ProfileGroup, owned: Owned, reason: str) -> None:
        self._stats.dead_letter(reason)
        group.dead_letters.append((owned.number, encode_dead_letter(record, reason, self._max_record_bytes)))

    async def _write(self, group: ProfileGroup) -> None:
        if group.steps_done == 0:
            self._encode(group)
            group.steps_done = 1
        began = time.perf_counter()
        if group.steps_done == 1:
            sent, requests = [], defaultdict[int, list[Record]](list)
            for part in self._owned(group):
                sent += await self._producer.send(self._names.deltas, part.owned.number, part.deltas)
                for request in part.requests:
                    number = self._partitioner(request[0] or b"")
                    requests[number].append(request)
            for number, some in requests.items():
                sent += await self._producer.send(self._names.text_requests, number, some)
            for number, letter in group.dead_letters:
                sent += await self._producer.send(self._names.dead_letters, number, [letter])
            await asyncio.gather(*sent)
            group.steps_done = 2
            began = self._spent("deltas", began)
        if group.steps_done == 2:
            written: list[Awaitable[Any]] = []
            for part in self._owned(group):
                assert part.changelog is not None
                futures = await self._producer.send_whole(self._names.changelog, part.owned.number, part.changelog)
                if len(futures) > 1:
                    log.error("a changelog batch had to be cut in two and is not atomic: raise max_batch_bytes")
                written += [_note_written(part.owned, future, len(part.changelog)) for future in futures[:1]]
                written += futures[1:]
            await asyncio.gather(*written)
            group.steps_done = 3
            began = self._spent("changelog", began)
        if group.steps_done == 3:
            await self._write_redis(self._owned(group))
            group.steps_done = 4
            self._spent("redis", began)
        for part in self._owned(group):
            for message in part.messages:
                message.ack()
        self._stats.writes["profiles"] += 1

    def _encode(self, group: ProfileGroup) -> None:
        """Turn what was applied into what is written. No await: it is one moment of the partitions."""
        began = time.perf_counter()
        for part in group.parts.values():
            partition = part.owned.partition
            part.changelog = partition.take()
            for user, (base, values) in part.updates.items():
                state = partition.state(user)
                assert state is not None
                key = self._names.redis_profile(user)
                part.profiles.append(ProfileUpdate(key, state.version, state.last_time, base, encode_fields(values)))
        self._spent("encode", began)

    async def _write_redis(self, parts: list[_Part]) -> None:
        now = time.time_ns() // 1_000_000
        updates = [update for part in parts for update in part.profiles]
        incomplete = await self._redis.write(updates, now)
        if incomplete:
            keys = {update.key for update in incomplete}
            whole = [
                ProfileUpdate(self._names.redis_profile(user), state.version, state.last_time, 0, fields)
                for part in parts
                for user in part.updates
                if self._names.redis_profile(user) in keys
                for state, fields in [_whole(part.owned.partition, user)]
            ]
            await self._redis.write(whole, now)

    def _owned(self, group: ProfileGroup) -> list[_Part]:
        """The parts whose partitions are still here: one that was forgotten meanwhile must not be written."""
        return [part for part in group.parts.values() if self._store.owned.get(part.owned.number) is part.owned]

    def _spent(self, phase: str, began: float) -> float:
        now = time.perf_counter()
        self._stats.seconds[phase] += now - began
        return now


async def _note_written(owned: Owned, future: asyncio.Future[Any], records: int) -> None:
    """Note the changelog offset of the last of a batch's records, once it is acknowledged.

    When the batch does not follow upon what is known, somebody else wrote in between, a worker that took over while
    this one was paused: what they wrote is to be read at the next recovery, so the note stays where it was.
    """
    metadata = await future
    if metadata.offset == (-1 if owned.written is None else owned.written) + 1:
        owned.written = metadata.offset + records - 1


def _whole(partition: Partition, user: str) -> tuple[ProfileState, Fields]:
    state, profile = partition.state(user), partition.published(user)
    assert state is not None and profile is not None
    return state, encode_fields(profile)
