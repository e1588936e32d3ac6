"""The first pass: rows become events as a replay sends them and workers take them, spilled by the user's partition.

What can be found wrong with a row is found here, where its file and number are known.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from ..contracts import Event
from ..errors import InvalidEvent, SettingsError
from ..mapping import Dropped, EventMapping
from ..partitioner import Partitioner
from ..replay.files import BadRow, Row, open_rows
from ..replay.progress import Status, View
from ..replay.run import id_prefixes
from ..replay.transport import MAX_EVENT_BYTES
from .report import BackfillOptions
from .spill import Spill

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Taken:
    """What the pass took in.

    Attributes:
        latest: time of the latest event; None when there is none.
        after: events left out because they came at `until` or later.
    """

    rejected: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    events: int = 0
    after: int = 0
    latest: int | None = None


def check_files(paths: Sequence[Path], mapping: EventMapping) -> list[str]:
    """Look at every file before the first row of any is read: a name mistyped last is as wrong as one mistyped first.

    Returns:
        What the ids of each file's events begin with.

    Raises:
        SettingsError: a file is missing, named twice or cannot be read.
        MappingError: the mapping is not for one of them.
    """
    prefixes = id_prefixes(paths)
    for path in paths:
        with open_rows(path, mapping.config.source) as rows:
            if rows.columns is not None:
                mapping.check_columns(rows.columns, path.name)
    return prefixes


class EventReader:
    """Reads files of events, one after the other.

    Parameters:
        mapping: How rows become events.
        allows: Whether the definition wants events of a type.
        spill: Takes the events.
        view: Shown how far it is.
    """

    def __init__(
        self,
        mapping: EventMapping,
        options: BackfillOptions,
        allows: Callable[[str], bool],
        spill: Spill,
        view: View,
    ) -> None:
        self.taken = Taken()
        self._mapping, self._options, self._allows, self._spill, self._view = mapping, options, allows, spill, view
        self._partitioner = Partitioner(options.partitions)
        self._latest_allowed = time.time_ns() // 1_000_000 + options.max_future_ms
        self._rejects: IO[bytes] | None = None

    def read(self, paths: Sequence[Path], prefixes: Sequence[str]) -> Taken:
        """Take in all files, in order.

        Parameters:
            prefixes: As `check_files` gave them.

        Raises:
            SettingsError: a file is broken, or the rejects cannot be written.
        """
        options = self._options
        try:
            if options.rejects is not None:
                self._rejects = _open_rejects(options.rejects)
            for path, prefix in zip(paths, prefixes, strict=True):
                self._read_file(path, prefix)
            self._spill.flush()
        finally:
            if self._rejects is not None:
                self._rejects.close()
        return self.taken

    def _read_file(self, path: Path, prefix: str) -> None:
        number = 0
        with open_rows(path, self._mapping.config.source) as rows:
            for chunk in rows.chunks():
                self._take_in(chunk, path, prefix)
                number = chunk[-1][0] if chunk else number
                self._show(prefix, number, rows.rows_total())
        if number:
            self._show(prefix, number, number)

    def _show(self, prefix: str, number: int, total: int | None) -> None:
        taken = self.taken
        rejected, dropped = taken.rejected.total(), taken.dropped.total()
        self._view.show(
            Status(file=prefix, rows=number, rows_total=total, sent=taken.events, rejected=rejected, dropped=dropped)
        )

    def _take_in(self, chunk: list[Row], path: Path, prefix: str) -> None:
        taken, add, partition = self.taken, self._spill.add, self._partitioner
        until, latest = self._options.until, taken.latest
        for number, row in chunk:
            try:
                event = self._event(row, f"{prefix}-{number}")
                if isinstance(event, Dropped):
                    taken.dropped[event.reason] += 1
                    continue
                line = self._line(event)
                user = event.user_id.encode()
            except InvalidEvent as error:
                self._reject(path, number, row, str(error))
                continue
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                # A property that JSON cannot hold, such as half of a surrogate pair.
                self._reject(path, number, row, f"the event cannot be written as JSON: {error}")
                continue
            if until is not None and event.time >= until:
                taken.after += 1
                continue
            if latest is None or event.time > latest:
                latest = event.time
            taken.events += 1
            add(partition(user), line)
        taken.latest = latest

    def _event(self, row: dict[str, Any] | BadRow, default_id: str) -> Event | Dropped:
        """As a replay makes it, and intake and the profile agent let it pass."""
        if isinstance(row, BadRow):
            raise InvalidEvent(row.reason)
        event = self._mapping.to_event(row, default_id)
        if isinstance(event, Dropped):
            return event
        if event.time > self._latest_allowed:
            raise InvalidEvent(f"time too far in the future: {event.time}")
        if not self._allows(event.type):
            raise InvalidEvent(f"unknown event type: {event.type!r}")
        return event

    def _line(self, event: Event) -> bytes:
        line = _encode(event)
        if len(line) > MAX_EVENT_BYTES:
            raise InvalidEvent(f"the event is larger than {MAX_EVENT_BYTES:,} bytes: {len(line):,}")
        if len(line) > self._options.max_record_bytes:
            raise InvalidEvent(f"record too large: {len(line):,} bytes")
        return line

    def _reject(self, path: Path, number: int, row: dict[str, Any] | BadRow, reason: str) -> None:
        self.taken.rejected[reason.partition(": ")[0]] += 1
        if self._rejects is None:
            return
        record: object = row.raw if isinstance(row, BadRow) else row
        line = {"file": str(path), "row": number, "reason": reason, "record": record}
        try:
            text = _encode(line)
        except (TypeError, ValueError, OverflowError, RecursionError):
            text = _encode({**line, "reason": ascii(reason), "record": ascii(record)})
        self._rejects.write(text + b"\n")


def _open_rejects(path: Path) -> IO[bytes]:
    try:
        return path.open("wb")
    except OSError as error:
        raise SettingsError(f"the rejects cannot be written to {path}: {error.strerror}") from None
