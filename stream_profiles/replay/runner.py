"""A replay under way: rows through a mapping into a transport, with a place to go on from.

Reading is `files`, meaning is the mapping's, sending is the transport's, the clock of event time is `pacing`. Here they
are driven: what is refused is counted, and the checkpoint follows what Kafka has acknowledged, never more.

The order that makes a replay safe to kill at any moment:
1. Rows are mapped and queued in the file's order, in chunks. Each chunk knows its last row.
2. A chunk is done when all its events are acknowledged; chunks are done in order.
3. The checkpoint names the last row of the last chunk that is done, after the rejects up to it are written.
Events sent after the last checkpoint are sent again, with the same ids, and the engine drops the second ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, TextIO, cast

import msgspec

from ..contracts import Event
from ..durations import UNITS_MS
from ..errors import InvalidEvent, KafkaUnavailable, SettingsError, StreamProfilesError
from ..mapping import Dropped, EventMapping
from .checkpoint import Checkpoint, Place
from .files import BadRow, Row, RowFile, open_rows
from .pacing import Pacer
from .progress import Status, View
from .report import ReplayOptions, ReplayReport
from .transport import MAX_EVENT_BYTES, Transport

Lag = Callable[[], int | None]

#: Chunks on the way at once: one is being acknowledged while the next ones are mapped.
_CHUNKS_ON_THE_WAY = 4
#: No acknowledgement for this long means that the broker is gone; a restart of one takes less.
ACK_SECONDS = 60.0
#: What is on the way gets this long to be acknowledged when the replay is stopped.
_GRACE_SECONDS = 3.0
#: What a kill can have sent twice, against a file written through to the disk.
_SAVE_SECONDS = 0.25
_SHOW_SECONDS = 0.1
_LAG_SECONDS = 1.0
#: A shorter wait is not worth breaking a chunk for; the events are that much early.
_SHORTEST_WAIT_SECONDS = 0.005
#: A row this much older than one before it is no latecomer: the files are not in order.
_BACKWARDS_MS: Final = UNITS_MS["d"]


class _Chunk(NamedTuple):
    """Events on the way, and the row that is done with when they are acknowledged."""

    last_row: int
    events: int
    acknowledged: asyncio.Future[None] | None


class Runner:
    """One run over several files. Used as a context, it connects at the start and lets go of everything at the end.

    Parameters:
        lag: called in a thread, once a second.
        stop: set from outside to end the run early.
    """

    def __init__(
        self,
        mapping: EventMapping,
        options: ReplayOptions,
        transport: Transport,
        lag: Lag | None,
        view: View,
        stop: asyncio.Event,
    ) -> None:
        self.report = ReplayReport()
        self._mapping = mapping
        self._options = options
        self._transport = transport
        self._read_lag = lag
        self._view = view
        self._stop = stop
        self._pacer = Pacer(options.speed) if options.speed is not None else None
        self._checkpoint = Checkpoint(options.state)
        self._encode = msgspec.json.Encoder().encode
        self._rejects: TextIO | None = None
        self._on_the_way: deque[_Chunk] = deque()
        self._queued = 0
        self._gave_up = False
        self._latest_time = 0
        self._lag: int | None = None
        self._lag_task: asyncio.Task[None] | None = None
        self._destination = ""
        self._started = 0.0
        self._save_at = self._show_at = 0.0
        # Of the file being replayed:
        self._path = Path()
        self._prefix = ""
        self._rows: RowFile | None = None
        self._key = ""
        self._row = 0

    async def __aenter__(self) -> Runner:
        try:
            self._destination = await self._transport.start()
        except BaseException:
            await self._transport.stop()
            raise
        if self._read_lag is not None:
            self._lag_task = asyncio.create_task(self._watch_lag(self._read_lag))
        self._started = time.monotonic()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.report.seconds = time.monotonic() - self._started
        if self._lag_task is not None:
            self._lag_task.cancel()
        if self._rejects is not None:
            self._rejects.close()
        await self._transport.stop()

    async def files(self, paths: Sequence[Path], prefixes: Sequence[str]) -> None:
        """Replay files one after the other, each from where the checkpoint says.

        Raises:
            StreamProfilesError: a file is broken, or the transport is. What was acknowledged is remembered.
        """
        digest = self._mapping.config.digest
        keys = [Checkpoint.key(path, path.stat().st_size, digest, self._destination) for path in paths]
        places = [Place() if self._options.restart else self._checkpoint.place(key) for key in keys]
        if self._options.rejects is not None:
            # What an earlier run rejected is not rejected again by one that goes on.
            self._open_rejects(self._options.rejects, "a" if any(place.rows for place in places) else "w")
        for path, prefix, key, place in zip(paths, prefixes, keys, places, strict=True):
            self.report.skipped += place.rows
            self._path, self._prefix, self._key, self._row = path, prefix, key, place.rows
            if not place.finished:
                await self._file(path, place)
            if self.report.stopped is not None:
                self.report.resume = path, self._row
                return

    async def _file(self, path: Path, place: Place) -> None:
        # Fails now, and not after a second's events, where the place cannot be kept.
        self._save(finished=False)
        if self._pacer is not None:
            self._pacer.restart()
        with open_rows(path, self._mapping.config.source) as rows:
            self._rows = rows
            try:
                for chunk in rows.chunks(skip=place.rows):
                    await self._wait_for_workers()
                    if self._ending():
                        break
                    await self._replay(chunk)
                await self._drain(0, ACK_SECONDS)
                self._ending()
            except StreamProfilesError as error:
                await self._settle_after(error)
                raise
            finally:
                self._let_go()
            finished = self.report.stopped is None
            self._save(finished=finished)
            self._show(rows_total=self._row if finished else rows.rows_total())

    async def _replay(self, chunk: list[Row]) -> None:
        """Map a chunk of rows and queue its events."""
        records: list[tuple[bytes, bytes]] = []
        last_row = chunk[-1][0] if chunk else self._row
        to_event, encode, prefix = self._mapping.to_event, self._encode, self._prefix
        for number, row in chunk:
            try:
                if isinstance(row, BadRow):
                    raise InvalidEvent(row.reason)
                event = to_event(row, f"{prefix}-{number}")
                if isinstance(event, Dropped):
                    self.report.dropped[event.reason] += 1
                    continue
                value = encode(event)
                if len(value) > MAX_EVENT_BYTES:
                    raise InvalidEvent(f"the event is larger than {MAX_EVENT_BYTES:,} bytes: {len(value):,}")
                key = event.user_id.encode()
            except InvalidEvent as error:
                self._reject(number, row, str(error))
                continue
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                # A property that JSON cannot hold, such as half of a surrogate pair.
                self._reject(number, row, f"the event cannot be written as JSON: {error}")
                continue
            if self._pacer is not None:
                delay = self._pacer.delay(event.time)
                if delay > _SHORTEST_WAIT_SECONDS:
                    await self._send(records, number - 1)
                    records = []
                    await self._pause(delay)
                    if self._ending():
                        return
            self._note_time(event)
            records.append((key, value))
            self._queued += 1
            if self._queued == self._options.limit:
                last_row = number
                break
        await self._send(records, last_row)

    def _note_time(self, event: Event) -> None:
        if event.time > self._latest_time:
            self._latest_time = event.time
        elif event.time < self._latest_time - _BACKWARDS_MS:
            self.report.backwards += 1

    async def _send(self, records: list[tuple[bytes, bytes]], last_row: int) -> None:
        """Queue the events of the rows up to `last_row` behind those before them."""
        if self._gave_up:
            return
        acknowledged: asyncio.Future[None] | None = None
        if records:
            acknowledged = await self._unless_stopped(self._transport.send(records))
            if acknowledged is None:
                # The broker took nothing while somebody wants to leave. From here on all rows are for the next run.
                self._gave_up = True
                return
        self._on_the_way.append(_Chunk(last_row, len(records), acknowledged))
        await self._drain(_CHUNKS_ON_THE_WAY, ACK_SECONDS)
        await self._tick()

    async def _drain(self, left: int, seconds: float) -> None:
        """Wait until at most `left` chunks are on the way; not long when the run is being stopped.

        Raises:
            KafkaUnavailable: there are more after `seconds`.
        """
        count = len(self._on_the_way) - left
        waited_for = [chunk.acknowledged for chunk in islice(self._on_the_way, max(0, count)) if chunk.acknowledged]
        if waited_for:
            all_of_them = asyncio.ensure_future(asyncio.wait(waited_for))
            await self._first_of(all_of_them, seconds)
            if self._stop.is_set() and not all_of_them.done():
                grace = 0.0 if self._gave_up else min(seconds, _GRACE_SECONDS)
                await asyncio.wait([all_of_them], timeout=grace)
            all_of_them.cancel()
        self._collect()
        if len(self._on_the_way) > left and not self._stop.is_set():
            raise KafkaUnavailable(
                f"Kafka has acknowledged nothing for {seconds:.0f} seconds; "
                "run the same command again when it is back, to go on where it stopped"
            )

    def _collect(self) -> None:
        """Count the chunks that are done, in order."""
        while self._on_the_way and (
            self._on_the_way[0].acknowledged is None or self._on_the_way[0].acknowledged.done()
        ):
            chunk = self._on_the_way[0]
            if chunk.acknowledged is not None:
                chunk.acknowledged.result()
            self._on_the_way.popleft()
            self._row = chunk.last_row
            self.report.sent += chunk.events

    async def _settle_after(self, error: StreamProfilesError) -> None:
        """Remember what still can be after an error, without hiding it behind another one."""
        seconds = 0.0 if isinstance(error, KafkaUnavailable) else _GRACE_SECONDS
        with contextlib.suppress(StreamProfilesError):
            await self._drain(0, seconds)
        with contextlib.suppress(StreamProfilesError):
            self._save(finished=False)

    def _let_go(self) -> None:
        for chunk in self._on_the_way:
            # Of one that failed after another did, nobody will ask why.
            if (
                chunk.acknowledged is not None
                and not chunk.acknowledged.cancel()
                and not chunk.acknowledged.cancelled()
            ):
                chunk.acknowledged.exception()
        self._on_the_way.clear()

    async def _tick(self) -> None:
        now = time.monotonic()
        if now >= self._save_at:
            self._save(finished=False)
            self._save_at = now + _SAVE_SECONDS
        if now >= self._show_at:
            self._show()
            self._show_at = now + _SHOW_SECONDS
        await asyncio.sleep(0)

    def _save(self, *, finished: bool) -> None:
        if self._rejects is not None:
            self._rejects.flush()
        self._checkpoint.save(self._key, Place(self._row, finished))

    def _show(self, note: str = "", *, rows_total: int | None = None) -> None:
        report = self.report
        if rows_total is None and self._rows is not None:
            rows_total = self._rows.rows_total()
        self._view.show(
            Status(
                file=self._prefix,
                rows=self._row,
                rows_total=rows_total,
                sent=report.sent,
                rejected=report.rejected.total(),
                dropped=report.dropped.total(),
                lag=self._lag,
                note=note,
            )
        )

    def _ending(self) -> bool:
        if self._stop.is_set():
            self.report.stopped = "stopped"
        elif self._queued == self._options.limit:
            self.report.stopped = f"stopped after the {self._queued:,} events asked for"
        return self.report.stopped is not None

    async def _pause(self, seconds: float) -> None:
        """Wait for an event that is due later, keeping the checkpoint and the display up to date."""
        due = time.monotonic() + seconds
        while (left := due - time.monotonic()) > 0 and not self._stop.is_set():
            self._collect()
            await self._tick()
            await self._first_of(None, min(left, _SAVE_SECONDS))

    async def _wait_for_workers(self) -> None:
        bound = self._options.max_lag
        if self._lag_task is not None and self._lag_task.done():
            self._lag_task.result()  # It ends only by an error.
        while bound is not None and self._lag is not None and self._lag > bound and not self._stop.is_set():
            await self._drain(0, ACK_SECONDS)
            self._save(finished=False)
            self._show("waiting for the workers")
            await self._first_of(None, _LAG_SECONDS / 2)

    async def _watch_lag(self, read: Lag) -> None:
        while True:
            self._lag = await asyncio.to_thread(read)
            await asyncio.sleep(_LAG_SECONDS)

    async def _unless_stopped(self, sending: Coroutine[Any, Any, asyncio.Future[None]]) -> asyncio.Future[None] | None:
        """The outcome of a send; None where the run is stopped first and the send does not end soon."""
        task = asyncio.ensure_future(sending)
        await self._first_of(task, None)
        if not task.done():
            await asyncio.wait([task], timeout=_GRACE_SECONDS)
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, StreamProfilesError):
                await task
            return None
        return task.result()

    async def _first_of(self, future: asyncio.Future[Any] | None, seconds: float | None) -> None:
        """Wait for a future, for the stop, or for some seconds, whichever is first."""
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait(
                [stopped] if future is None else [stopped, future],
                timeout=seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            stopped.cancel()

    def _open_rejects(self, path: Path, mode: str) -> None:
        try:
            self._rejects = cast(TextIO, path.open(mode, encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"the rejects cannot be written to {path}: {error.strerror}") from None

    def _reject(self, number: int, row: dict[str, Any] | BadRow, reason: str) -> None:
        self.report.rejected[reason.partition(": ")[0]] += 1
        if self._rejects is None:
            return
        record: object = row.raw if isinstance(row, BadRow) else row
        line = {"file": str(self._path), "row": number, "reason": reason, "record": record}
        try:
            text = self._encode(line).decode()
        except (TypeError, ValueError, OverflowError, RecursionError):
            text = self._encode({**line, "reason": ascii(reason), "record": ascii(record)}).decode()
        self._rejects.write(f"{text}\n")
