"""`backfill`: files to profiles or training data, and into a deployment that starts with them."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ..backfill import BackfillOptions, backfill
from ..backfill.warm import load_changelog, require_cold
from ..durations import to_ms
from ..errors import InvalidEvent, MappingError, SettingsError
from ..mapping import EventMapping, time_reader
from ..replay.progress import ProgressBar, Status
from ..settings import Settings
from . import output
from .connect import Deployment


def run_backfill(
    deployment: Deployment,
    files: list[Path],
    mapping: Path | None,
    *,
    out: Path | None,
    at: Path | None,
    user_column: str,
    time_column: str,
    until: str | None,
    partitions: int | None,
    processes: int | None,
    rejects: Path | None,
    warm: bool,
) -> None:
    """Compute files and say what was done.

    Raises:
        SettingsError: a file, an option, or the deployment to be loaded, is wrong.
    """
    console, settings = output.console(stderr=True), deployment.settings
    if warm and partitions not in (None, settings.partitions):
        raise SettingsError(
            f"the deployment's settings say {settings.partitions} partitions: leave out --partitions with --warm"
        )
    options = BackfillOptions(
        out=out,
        at=at,
        user_column=user_column,
        time_column=time_column,
        until=None if until is None else _time(until),
        partitions=settings.partitions if partitions is None else partitions,
        processes=processes,
        rejects=rejects,
        records=warm,
        max_record_bytes=settings.max_record_bytes,
        max_future_ms=to_ms(settings.max_future),
    )
    compiled = None if mapping is None else EventMapping.load(mapping)
    _ = deployment.definition  # What is wrong with it is said with its line.
    # `kill` ends it as Ctrl-C does: with nothing left behind.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        if not warm:
            _run(deployment, files, compiled, options, console, None)
            return
        with deployment.with_servers() as complete:
            require_cold(deployment.names, complete, texts=bool(deployment.texts))
            _run(deployment, files, compiled, options, console, complete)
    except KeyboardInterrupt:
        console.print("backfill stopped; nothing is left of it")
        raise


def _run(
    deployment: Deployment,
    files: list[Path],
    mapping: EventMapping | None,
    options: BackfillOptions,
    console: Console,
    warmed: Settings | None,
) -> None:
    reference = deployment.settings.definition
    assert reference is not None
    loaded = 0

    def deliver(records: Sequence[Path]) -> None:
        nonlocal loaded
        assert warmed is not None
        loaded = _load(deployment, warmed, records, console)

    try:
        report = backfill(
            files,
            reference,
            mapping,
            options,
            deliver=deliver if warmed is not None else None,
            # A bar is for a terminal; the summary is for all.
            console=console if console.is_terminal else None,
        )
    except MappingError as error:
        if mapping is not None:
            raise
        raise MappingError(f"{error}; --mapping FILE.toml says how rows become events") from error
    console.print(report.summary())
    if warmed is not None:
        console.print(
            f"loaded {loaded:,} records into {deployment.names.changelog}; start the workers now, the first time with "
            "--refresh-redis, which brings the profiles to Redis"
        )


def _load(deployment: Deployment, settings: Settings, records: Sequence[Path], console: Console) -> int:
    names = deployment.names
    if not console.is_terminal:
        return load_changelog(names, settings, records, lambda _: None)
    with ProgressBar(console) as bar:

        def show(sent: int) -> None:
            bar.show(Status(file=names.changelog, rows=sent, rows_total=None, sent=sent))

        return load_changelog(names, settings, records, show)


def _time(text: str) -> int:
    try:
        return time_reader()(text)
    except InvalidEvent as error:
        raise SettingsError(f"--until: {error}") from None
