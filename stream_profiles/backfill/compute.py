"""One partition, computed as a worker would: the same `Partition`, fed with the same events in the same order.

It reads what the first pass has spilled and writes a part. It knows no other partition, so each can be computed in a
process of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from ..contracts import Event
from ..definition import load_definition
from ..errors import InvalidEvent
from ..mapping import Dropped, EventMapping
from ..partition import Partition
from ..text.offline import OfflineTexts
from ..updater import Change, ProfileUpdater
from .asked import Asked
from .columns import Columns, Row
from .moments import MOMENTS
from .parts import Answers, part_path, write_part
from .records import Records, records_path
from .spill import blocks, spill_path

#: What the spilled events' files are called.
EVENTS = "events"
#: What stands before the features in a row of a profile.
PROFILE_FIELDS = (pa.field("user_id", pa.string()), pa.field("version", pa.int64()), pa.field("event_time", pa.int64()))

#: Events applied before somebody may look up: a tenth of a second of a slow definition.
_EVENTS_PER_TURN = 200
#: Events between two times that the partition lets go of decoded profiles.
_TAKE_EVERY = 25_000

#: Called with the events that were applied since the last call; raises to end the computation.
Tick = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Task:
    """What to compute.

    Attributes:
        reference: the definition, as `load_definition` takes it.
        folder: where the spilled files are, and the part goes.
        out: whether rows are wanted.
        at: whether they are the features as of the moments that were asked for.
        as_of: the moment (ms) that final profiles are brought to.
        records: whether changelog records are wanted.
    """

    reference: str
    folder: Path
    partition: int
    out: bool
    at: bool
    as_of: int
    records: bool


@dataclass(slots=True)
class Outcome:
    """What was computed; see `BackfillReport`."""

    events: int = 0
    users: int = 0
    unknown: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)


def compute(task: Task, tick: Tick) -> Outcome:
    """Compute a partition and write its part, and its records.

    Raises:
        DefinitionError: the definition cannot be loaded.
        SettingsError: an encoder of its texts cannot be loaded.
    """
    computation = _Computation(task, tick)
    if task.at:
        computation.answer_moments()
    else:
        computation.apply_all(None)
        if task.out:
            computation.write_profiles()
    if task.records:
        computation.write_records()
    return computation.outcome


class _Computation:
    def __init__(self, task: Task, tick: Tick) -> None:
        self.outcome = Outcome()
        self._task, self._tick = task, tick
        updater = ProfileUpdater(load_definition(task.reference))
        self._partition = Partition(updater)
        self._texts = OfflineTexts(updater.text_embeddings)
        self._columns = Columns(updater)
        self._records = Records()
        self._to_event = EventMapping().to_event

    def apply_all(self, asked: Asked | None) -> None:
        """Apply all events of the partition; answer what is asked in between."""
        partition, outcome = self._partition, self.outcome
        since_taken = 0
        for events in self._events():
            self._texts.prepare(partition, events)
            for event in events:
                if asked is not None:
                    asked.before(event.user_id, event.time)
                try:
                    result = partition.apply(event)
                except Exception:  # as a worker does: the others go on
                    outcome.rejected["the definition failed"] += 1
                    continue
                if not isinstance(result, Change):
                    outcome.skipped[result.value] += 1
                    continue
                outcome.events += 1
                if result.failed:
                    outcome.failed.update(result.failed.keys())
                if asked is not None:
                    asked.after(event.user_id, event.time)
            self._texts.refuse(partition)
            for change in partition.take_timed():
                outcome.failed.update(change.failed.keys())
            since_taken += len(events)
            if since_taken >= _TAKE_EVERY:
                self._take()
                since_taken = 0
            self._tick(len(events))
        if asked is not None:
            asked.finish()
        self._take()
        outcome.users = len(partition)

    def answer_moments(self) -> None:
        """Apply all events, and write the features as of each moment as a part, in the order of the moments."""
        task, partition, columns, outcome = self._task, self._partition, self._columns, self.outcome
        answers: Answers

        def answer(number: int, user: str, time: int) -> None:
            state = partition.state(user)
            answers.put(number, [state is None, *columns.row(state, time)])

        def counted(rows: Iterator[Row]) -> Iterator[Row]:
            for unknown, *row in rows:
                outcome.unknown += unknown
                yield row

        asked = Asked(spill_path(task.folder, MOMENTS, task.partition), answer)
        with Answers(task.folder / f"answers-{task.partition}", len(asked)) as answers:
            self.apply_all(asked)
            self._write_part(columns.schema, counted(answers.rows()), columns.arrays)

    def write_profiles(self) -> None:
        """Write the profiles as a part, in the order of the users' ids."""
        partition, columns, as_of = self._partition, self._columns, self._task.as_of
        count = len(PROFILE_FIELDS)

        def rows() -> Iterator[Row]:
            for user in sorted(partition.users()):
                state = partition.state(user)
                assert state is not None
                yield [user, state.version, state.last_time, *columns.row(state, as_of)]

        def arrays(some: Sequence[Row]) -> list[Any]:
            before = [pa.array([row[n] for row in some], PROFILE_FIELDS[n].type) for n in range(count)]
            return before + columns.arrays([row[count:] for row in some])

        self._write_part(pa.schema([*PROFILE_FIELDS, *columns.schema]), rows(), arrays)

    def write_records(self) -> None:
        """Write what a worker would have written to the changelog, as compaction would leave it."""
        self._records.write(records_path(self._task.folder, self._task.partition))

    def _write_part(self, schema: Any, rows: Iterator[Row], arrays: Callable[[Sequence[Row]], list[Any]]) -> None:
        path = part_path(self._task.folder, self._task.partition)
        write_part(path, schema, rows, arrays, lambda: self._tick(0))

    def _take(self) -> None:
        """Let the partition encode what changed, so that it can let go of what is decoded."""
        records = self._partition.take()
        if self._task.records:
            self._records.add(records)

    def _events(self) -> Iterator[list[Event]]:
        """The spilled events as intake makes them of what a replay sent."""
        decode_lines = msgspec.json.Decoder(dict[str, Any]).decode_lines
        for block in blocks(spill_path(self._task.folder, EVENTS, self._task.partition)):
            rows = decode_lines(block)
            for start in range(0, len(rows), _EVENTS_PER_TURN):
                yield list(self._as_events(rows[start : start + _EVENTS_PER_TURN]))

    def _as_events(self, rows: Sequence[dict[str, Any]]) -> Iterator[Event]:
        for row in rows:
            try:
                event = self._to_event(row, "")
            except InvalidEvent as error:
                self.outcome.rejected[str(error).partition(": ")[0]] += 1
                continue
            assert not isinstance(event, Dropped)
            yield event
