"""A backfill from its files to its file: read and spill, compute the partitions, join what they give."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from ..definition import load_definition
from ..errors import SettingsError
from ..mapping import EventMapping
from ..replay.progress import ProgressBar, Silent, Status, View
from ..updater import ProfileUpdater
from .columns import Columns
from .compute import EVENTS, PROFILE_FIELDS, Outcome, Task
from .events import EventReader, Taken, check_files
from .moments import Moments, check_moments, read_moments
from .output import check_output, open_output
from .parts import PartReader, interleave, part_path
from .processes import compute_all
from .records import records_path
from .report import BackfillOptions, BackfillReport
from .spill import Spill

#: Called with the file of changelog records of each partition, before they are deleted.
Deliver = Callable[[Sequence[Path]], None]


def backfill(
    files: Sequence[str | Path],
    definition: str,
    mapping: EventMapping | None = None,
    options: BackfillOptions | None = None,
    *,
    deliver: Deliver | None = None,
    console: Console | None = None,
) -> BackfillReport:
    """Compute the profiles of the events in files, or the features as of given moments, and write them to a file.

    It may start processes: a program that calls it has its own start under `if __name__ == "__main__":`.

    Parameters:
        files: CSV, JSON lines or Parquet, in order of time.
        definition: What the profiles are made of, as `path/to/file.py:variable` or `package.module:variable`.
        mapping: How rows become events; None for rows that are events already.
        options: See `BackfillOptions`.
        deliver: Takes the changelog records, when `options.records` asks for them.
        console: Where the progress is drawn; None for nowhere.

    Raises:
        DefinitionError: the definition is wrong.
        SettingsError: a file, the mapping or an option is wrong. Nothing is left behind but the rejects.
    """
    options = options if options is not None else BackfillOptions()
    run = _Run([Path(file) for file in files], definition, mapping or EventMapping(), options)
    try:
        with _temporary_folder(options) as folder:
            with _view(console) as view:
                report = run.compute(folder, view)
            if deliver is not None:
                deliver([records_path(folder, number) for number in range(options.partitions)])
            return report
    except KeyboardInterrupt:
        if options.rejects is not None:
            options.rejects.unlink(missing_ok=True)
        raise


class _Run:
    """One backfill. Made, it has looked at all it was given.

    Raises:
        DefinitionError, SettingsError: something of it is wrong.
    """

    def __init__(self, files: Sequence[Path], reference: str, mapping: EventMapping, options: BackfillOptions) -> None:
        self._files, self._reference, self._mapping, self._options = files, reference, mapping, options
        self._updater = ProfileUpdater(load_definition(reference))
        if options.out is not None:
            check_output(options.out)
        self._prefixes = check_files(files, mapping)
        before = PROFILE_FIELDS if options.at is None else check_moments(options)
        self._columns = Columns(self._updater, [field if isinstance(field, str) else field.name for field in before])

    def compute(self, folder: Path, view: View) -> BackfillReport:
        """Do all of it, with temporary files in a folder."""
        options, began = self._options, time.monotonic()
        try:
            moments = read_moments(options, folder, view) if options.at is not None else None
            spill = Spill(folder, EVENTS, options.partitions)
            taken = EventReader(self._mapping, options, self._updater.allows, spill, view).read(
                self._files, self._prefixes
            )
            outcomes = self._compute_partitions(folder, taken, view)
            report = _report(taken, outcomes)
            if options.out is not None:
                self._join(folder, moments, report)
                if moments is None:
                    report.as_of = self._as_of(taken)
        except OSError as error:
            raise SettingsError(
                f"temporary files cannot be kept in {folder.parent}: {error.strerror or error}"
            ) from error
        report.seconds = time.monotonic() - began
        return report

    def _as_of(self, taken: Taken) -> int:
        """The moment that final profiles are brought to: where the events end."""
        return self._options.until or taken.latest or 0

    def _compute_partitions(self, folder: Path, taken: Taken, view: View) -> list[Outcome]:
        options = self._options
        tasks = [
            Task(
                reference=self._reference,
                folder=folder,
                partition=number,
                out=options.out is not None,
                at=options.at is not None,
                as_of=self._as_of(taken),
                records=options.records,
            )
            for number in range(options.partitions)
        ]

        def show(applied: int) -> None:
            view.show(Status(file="profiles", rows=applied, rows_total=taken.events, sent=applied))

        return compute_all(tasks, options.processes_for(taken.events), show)

    def _join(self, folder: Path, moments: Moments | None, report: BackfillReport) -> None:
        """Make one file of the parts."""
        path = self._options.out
        assert path is not None
        columns = self._columns.schema
        before = PROFILE_FIELDS if moments is None else moments.schema
        schema = pa.schema([*before, *columns])
        numbers = range(self._options.partitions)
        with open_output(path, schema, folder) as output:
            if moments is None:
                for number in numbers:
                    with PartReader(part_path(folder, number)) as part:
                        for batch in part.batches():
                            output.write(pa.Table.from_batches([batch]))
            else:
                with ExitStack() as stack:
                    parts = [stack.enter_context(PartReader(part_path(folder, number))) for number in numbers]
                    for rows, partitions in moments.batches():
                        answers = interleave(parts, partitions)
                        output.write(pa.table([*rows.columns, *answers.columns], schema=schema))
            report.rows, report.columns, report.out = output.rows, len(schema), path


def _report(taken: Taken, outcomes: Sequence[Outcome]) -> BackfillReport:
    report = BackfillReport(rejected=taken.rejected, dropped=taken.dropped, after=taken.after)
    for outcome in outcomes:
        report.events += outcome.events
        report.users += outcome.users
        report.unknown += outcome.unknown
        report.rejected += outcome.rejected
        report.skipped += outcome.skipped
        report.failed += outcome.failed
    return report


def _view(console: Console | None) -> AbstractContextManager[View]:
    return ProgressBar(console) if console is not None else nullcontext(Silent())


@contextmanager
def _temporary_folder(options: BackfillOptions) -> Iterator[Path]:
    """A folder beside the file that is to be written, so that moving it there takes no copy."""
    place = options.out.parent if options.out is not None else None
    try:
        temporary = tempfile.TemporaryDirectory(prefix=".stream-profiles-backfill-", dir=place)
    except OSError as error:
        raise SettingsError(f"{place or tempfile.gettempdir()} cannot be written to: {error.strerror}") from None
    with temporary as folder:
        yield Path(folder)
