"""An evaluation from its files to its report: the files are read as a backfill reads them, and computed here."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from ..backfill import BackfillOptions
from ..backfill.events import EventReader, Taken, check_files
from ..backfill.spill import Spill, blocks, spill_path
from ..contracts import Event
from ..definition import ProfileDefinition, load_definition
from ..errors import InvalidEvent, SettingsError
from ..mapping import Dropped, EventMapping
from ..replay.progress import ProgressBar, Silent, Status, View
from .evaluator import Evaluator
from .examples import Examples
from .report import EvaluationReport

_EVENTS = "events"
#: Events applied between two looks up.
_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """How a definition is evaluated.

    Attributes:
        targets: names of the targets to report; none for all.
        partitions: how many the users are spread over. A model learns from the users of one partition.
        until: only events before this time (ms) count.
        slices: into how many spans of time the stream is cut.
        max_record_bytes, max_future_ms: what the deployment's settings say.
    """

    targets: tuple[str, ...] = ()
    partitions: int = 1
    until: int | None = None
    slices: int = 20
    max_record_bytes: int = 1_048_576
    max_future_ms: int = 300_000

    def __post_init__(self) -> None:
        if not 1 <= self.slices <= 1_000:
            raise SettingsError(f"the number of slices is from 1 to 1000, not {self.slices}")

    @property
    def reading(self) -> BackfillOptions:
        """As the reader of events takes them. Raises: SettingsError."""
        return BackfillOptions(
            records=True,
            partitions=self.partitions,
            until=self.until,
            max_record_bytes=self.max_record_bytes,
            max_future_ms=self.max_future_ms,
        )


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What an evaluation found.

    Attributes:
        report: all figures.
        examples: what they are made of, by target.
    """

    report: EvaluationReport
    examples: dict[str, Examples]


def evaluate(
    files: Sequence[str | Path],
    definition: str | ProfileDefinition,
    mapping: EventMapping | None = None,
    options: EvaluateOptions | None = None,
    *,
    console: Console | None = None,
) -> Evaluated:
    """Run a definition over files of events, and see how good its predictions were. All of it in this process.

    Every prediction is made before its label is known, by a model that has learned from what was known by then, as a
    worker would have made it.

    Parameters:
        files: CSV, JSON lines or Parquet, in order of time.
        definition: What the profiles are made of, or `path/to/file.py:variable` or `package.module:variable`.
        mapping: How rows become events; None for rows that are events already.
        options: See `EvaluateOptions`.
        console: Where the progress is drawn; None for nowhere.

    Raises:
        DefinitionError: the definition is wrong.
        SettingsError: a file, the mapping or an option is wrong, or there are no targets.
    """
    options = options if options is not None else EvaluateOptions()
    mapping = mapping if mapping is not None else EventMapping()
    loaded = load_definition(definition) if isinstance(definition, str) else definition
    evaluator, reading = Evaluator(loaded, options.targets), options.reading
    paths = [Path(file) for file in files]
    prefixes = check_files(paths, mapping)
    try:
        with tempfile.TemporaryDirectory(prefix="stream-profiles-evaluate-") as name, _view(console) as view:
            folder = Path(name)
            spill = Spill(folder, _EVENTS, reading.partitions)
            taken = EventReader(mapping, reading, evaluator.allows, spill, view).read(paths, prefixes)
            _apply(evaluator, folder, reading.partitions, taken.events, view)
    except OSError as error:
        raise SettingsError(
            f"temporary files cannot be kept in {tempfile.gettempdir()}: {error.strerror or error}"
        ) from error
    examples = evaluator.examples()
    return Evaluated(_report(loaded, paths, options, taken, evaluator, examples), examples)


def _view(console: Console | None) -> AbstractContextManager[View]:
    return ProgressBar(console) if console is not None else nullcontext(Silent())


def _apply(evaluator: Evaluator, folder: Path, partitions: int, events: int, view: View) -> None:
    """Run the partitions one after the other: none knows of another, as in a deployment."""
    applied = 0

    def show(more: int) -> None:
        nonlocal applied
        applied += more
        view.show(Status(file="predictions", rows=applied, rows_total=events, sent=applied))

    for number in range(partitions):
        evaluator.run(_batches(spill_path(folder, _EVENTS, number), evaluator.rejected), show)


def _batches(path: Path, rejected: Counter[str]) -> Iterator[list[Event]]:
    """The spilled events as intake makes them of what a replay sent."""
    decode_lines = msgspec.json.Decoder(dict[str, Any]).decode_lines
    to_event = EventMapping().to_event
    for block in blocks(path):
        events: list[Event] = []
        for fields in decode_lines(block):
            try:
                event = to_event(fields, "")
            except InvalidEvent as error:
                rejected[str(error).partition(": ")[0]] += 1
                continue
            assert not isinstance(event, Dropped)
            events.append(event)
        for start in range(0, len(events), _BATCH):
            yield events[start : start + _BATCH]


def _report(
    definition: ProfileDefinition,
    paths: Sequence[Path],
    options: EvaluateOptions,
    taken: Taken,
    evaluator: Evaluator,
    examples: dict[str, Examples],
) -> EvaluationReport:
    population = evaluator.population
    return EvaluationReport(
        definition=definition.name,
        files=[path.name for path in paths],
        partitions=options.partitions,
        events=evaluator.events,
        users=population.users,
        start=evaluator.start,
        end=evaluator.end,
        rejected=dict((taken.rejected + evaluator.rejected).most_common()),
        dropped=dict(taken.dropped.most_common()),
        skipped=dict(evaluator.skipped.most_common()),
        failed=dict(evaluator.failed.most_common()),
        after=taken.after,
        targets=evaluator.reports(options.slices, examples),
        segments=population.segments(),
        clusters=population.clusters(),
        anomalies=population.anomalies(),
    )
