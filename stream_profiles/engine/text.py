"""The text agent: requests for texts' vectors become answers, each in the partition that asked.

It keeps no state: an answer is the same whenever it is given. A worker killed in the middle reads some requests again
and answers them again, and the profile agent makes nothing of the second answer. Encoding is the batcher's business.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from ..contracts import TextRequest, TextVector
from ..errors import InvalidEvent
from ..names import Names
from ..text.batcher import Encoded
from ..text.source import Vectors, VectorSource
from .commit import GroupCommit
from .deadletters import encode_dead_letter
from .producer import BatchProducer, Record
from .stats import Stats

#: Requests that are looked up, encoded and answered together. A run from Kafka may be much longer.
_REQUESTS_PER_PART = 500

_decode = msgspec.json.Decoder(TextRequest).decode
_encode = msgspec.json.Encoder().encode


class _Message:
    """A run of requests, to be acknowledged when all its parts are answered."""

    def __init__(self, message: Any, parts: int) -> None:
        self._message, self._parts = message, parts

    def part_written(self) -> None:
        self._parts -= 1
        if not self._parts:
            self._message.ack()


class _Part:
    """Some requests of a run."""

    def __init__(self, message: _Message, records: int, written: asyncio.Future[None]) -> None:
        self.message, self.records, self.written = message, records, written
        self.requests: list[TextRequest] = []
        #: By encoder: what is known of its texts, and what will have the rest.
        self.vectors: dict[str, Vectors] = {}
        self.tasks: list[tuple[str, asyncio.Task[Vectors]]] = []
        self.dead_letters: defaultdict[int, list[Record]] = defaultdict(list)


class TextGroup:
    """What one write holds."""

    def __init__(self) -> None:
        self.events = 0
        self.answers: defaultdict[int, list[Record]] = defaultdict(list)
        self.dead_letters: defaultdict[int, list[Record]] = defaultdict(list)
        self.parts: list[_Part] = []
        self.failure: Exception | None = None


class TextAgent:
    """Answers the requests for texts' vectors.

    Many runs are under way at once, so that the encoders have work while answers are written. They end in any order; a
    run is acknowledged when all its answers are.

    Parameters:
        names: Of the definition.
        producer: For answers and dead letters.
        sources: One for each encoder, their batchers started; they stay their owner's.
        stats: Counters of the worker.
        max_record_bytes: A record larger than this is set aside.
        partitions: Of the topic of answers and that of dead letters.
        max_queued_texts: No further requests are read while so many are not answered.
    """

    def __init__(
        self,
        names: Names,
        producer: BatchProducer,
        sources: Iterable[VectorSource],
        stats: Stats,
        *,
        max_record_bytes: int,
        partitions: int,
        max_queued_texts: int = 20_000,
    ) -> None:
        self._names, self._producer, self._stats = names, producer, stats
        self.sources = {source.batcher.encoder.name: source for source in sources}
        self._max_record_bytes, self._partitions, self._max_queued = max_record_bytes, partitions, max_queued_texts
        self._part_size = min(_REQUESTS_PER_PART, max_queued_texts)
        #: Requests read and not yet answered.
        self.queued = 0
        self._room = asyncio.Event()
        self._parts: set[_Part] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        #: To be run by the worker. An error that ends the agent comes out of it.
        self.commit: GroupCommit[TextGroup] = GroupCommit(TextGroup, self._write, max_queued_texts)
        self._said_at, self._answered_then = time.perf_counter(), 0

    @property
    def failing(self) -> bool:
        """Whether answers cannot be written or texts cannot be encoded."""
        return self.commit.failing or any(source.batcher.failing for source in self.sources.values())

    def reports(self) -> list[dict[str, Any]]:
        """What each encoder has done so far."""
        return [source.report() for source in self.sources.values()]

    def line(self) -> str:
        """The rate since the last call, and how much of all was known without encoding."""
        sources, now = self.sources.values(), time.perf_counter()
        answered = sum(source.answered for source in sources)
        rate = (answered - self._answered_then) / max(now - self._said_at, 1e-9)
        parts = [f"{rate:,.0f} texts/s answered, {answered:,} in all"]
        requests = sum(source.requests for source in sources)
        if requests:
            encoded = sum(source.cache.misses for source in sources)
            parts.append(f"{1 - encoded / requests:.0%} without encoding")
        for count, what in (
            (sum(source.errors for source in sources), "without a vector"),
            (sum(source.truncated for source in sources), "truncated"),
        ):
            if count:
                parts.append(f"{count:,} {what}")
        self._said_at, self._answered_then = now, answered
        return ", ".join(parts)

    async def run(self, stream: Any) -> None:
        """The Faust agent of the topic of requests: its stream delivers runs of records."""
        async for event in stream.noack().events():
            run, size = event.value, self._part_size
            message = _Message(event, -(-len(run) // size))
            for start in range(0, len(run), size):
                await self._until_room()
                self._take_in(run[start : start + size], message)
                # Other tasks (heartbeats, commits, writes) get a turn.
                await asyncio.sleep(0)

    async def settle(self, timeout_s: float) -> None:
        """Answer what was read so far, as far as that is quickly done."""
        if self._parts:
            await asyncio.wait([part.written for part in self._parts], timeout=timeout_s)

    async def _until_room(self) -> None:
        while self.queued and self.queued + self._part_size > self._max_queued:
            self._room.clear()
            await self._room.wait()

    def _take_in(self, records: list[Any], message: _Message) -> None:
        began = time.perf_counter()
        part = _Part(message, len(records), asyncio.get_running_loop().create_future())
        for record in records:
            try:
                part.requests.append(self._request(record))
            except InvalidEvent as error:
                self._stats.dead_letter(str(error))
                letter = encode_dead_letter(record, str(error), self._max_record_bytes)
                part.dead_letters[record.partition % self._partitions].append(letter)
        self.queued += part.records
        self._parts.add(part)
        self._look_up(part)
        task = asyncio.create_task(self._answer(part))
        # The event loop alone would let go of it.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._stats.seconds["text intake"] += time.perf_counter() - began

    def _request(self, record: Any) -> TextRequest:
        value = record.value or b""
        if len(value) > self._max_record_bytes:
            raise InvalidEvent(f"record too large: {len(value):,} bytes")
        try:
            request = _decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidEvent(f"not a text request: {error}") from None
        if request.partition >= self._partitions:
            raise InvalidEvent(f"no such partition of answers: {request.partition}")
        return request

    def _look_up(self, part: _Part) -> None:
        texts: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for request in part.requests:
            if request.encoder in self.sources:
                self.sources[request.encoder].requests += 1
                texts[request.encoder][request.text_id] = request.text
        for encoder, its in texts.items():
            part.vectors[encoder], tasks = self.sources[encoder].look_up(its)
            part.tasks += ((encoder, task) for task in tasks)

    async def _answer(self, part: _Part) -> None:
        try:
            found = await asyncio.gather(*(task for _, task in part.tasks))
            for (encoder, _), vectors in zip(part.tasks, found, strict=True):
                part.vectors[encoder] |= vectors
            self._add(part, self.commit.forming)
        except Exception as error:
            self.commit.forming.failure = error
        self.commit.notify()

    def _add(self, part: _Part, group: TextGroup) -> None:
        began = time.perf_counter()
        for request in part.requests:
            answer = self._answer_to(request, part.vectors)
            group.answers[request.partition].append((request.text_id.encode(), _encode(answer)))
        for partition, letters in part.dead_letters.items():
            group.dead_letters[partition] += letters
        group.parts.append(part)
        group.events += part.records
        self._stats.seconds["text answers"] += time.perf_counter() - began

    def _answer_to(self, request: TextRequest, vectors: dict[str, Vectors]) -> TextVector:
        source = self.sources.get(request.encoder)
        if source is None:
            version = ""
            has = ", ".join(self.sources)
            encoded = Encoded(None, f"the text worker has the encoder {has}, not {request.encoder}")
        else:
            version = source.batcher.encoder.version
            encoded = vectors[request.encoder][request.text_id]
            source.errors += encoded.error is not None
            source.truncated += encoded.truncated
        return TextVector(
            text_id=request.text_id,
            encoder=request.encoder,
            version=version,
            vector=encoded.vector,
            error=encoded.error,
            truncated=encoded.truncated,
            asked_at=request.asked_at,
        )

    async def _write(self, group: TextGroup) -> None:
        if group.failure is not None:
            raise group.failure
        began = time.perf_counter()
        sent = []
        for topic, by_partition in (
            (self._names.text_vectors, group.answers),
            (self._names.dead_letters, group.dead_letters),
        ):
            for partition, records in by_partition.items():
                sent += await self._producer.send(topic, partition, records)
        await asyncio.gather(*sent, *(source.store() for source in self.sources.values()))
        for part in group.parts:
            part.message.part_written()
            part.written.set_result(None)
            self._parts.discard(part)
            self.queued -= part.records
            for request in part.requests:
                if request.encoder in self.sources:
                    self.sources[request.encoder].answered += 1
        self._room.set()
        self._stats.seconds["text vectors"] += time.perf_counter() - began
        self._stats.writes["text"] += 1
