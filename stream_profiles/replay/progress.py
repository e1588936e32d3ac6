"""A replay's progress as a person watches it. Counting is the runner's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


@dataclass(frozen=True, slots=True)
class Status:
    """How far a replay is.

    Attributes:
        file: the file being read, by the name its events' ids begin with.
        rows: its rows that are done with; those of earlier runs count.
        rows_total: all its rows, estimated; None while nobody can tell.
        sent: events acknowledged in this run, from all files.
        lag: records the workers have not committed; None when unknown.
        note: what it waits for, if it waits.
    """

    file: str
    rows: int
    rows_total: int | None
    sent: int
    rejected: int = 0
    dropped: int = 0
    lag: int | None = None
    note: str = ""


class View(Protocol):
    """Something that shows a status. `show` is called every tenth of a second and at the end of each file."""

    def show(self, status: Status) -> None: ...


class Silent:
    """Shows nothing."""

    def show(self, status: Status) -> None:
        pass


class ProgressBar:
    """A bar for each file, with rows, rate and lag, on a console.

    Examples:
        >>> import io
        >>> with ProgressBar(Console(file=io.StringIO())) as bar:
        ...     bar.show(Status(file="clicks.csv", rows=10, rows_total=100, sent=9))
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.fields[rows]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._since = (0, 0.0)

    def show(self, status: Status) -> None:
        task = self._tasks.get(status.file)
        if task is None:
            task = self._tasks[status.file] = self._progress.add_task(status.file, total=None, rows="", note="")
            self._since = status.rows, time.monotonic()
        rows_before, since = self._since
        seconds = time.monotonic() - since
        rate = f", {(status.rows - rows_before) / seconds:,.0f}/s" if seconds > 0.5 else ""
        lag = "" if status.lag is None else f"lag {status.lag:,}"
        # Parts of the whole: rich starts its estimate of the time left anew whenever the total changes.
        self._progress.update(
            task,
            completed=status.rows / status.rows_total if status.rows_total else 0,
            total=1 if status.rows_total else None,
            rows=f"{status.rows:,} rows{rate}",
            note=", ".join(part for part in (lag, status.note) if part),
        )

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
