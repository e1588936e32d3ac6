"""`replay`: files into a topic. The command line calls it; a test calls `run_replay` with a transport of its own.

What is wrong with files, mapping or options is found here, before the first event is sent; the rest is the `Runner`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from ..errors import SettingsError
from ..mapping import EventMapping
from .checkpoint import DEFAULT_PATH
from .files import open_rows, stem
from .lag import ConsumerLag
from .progress import ProgressBar, Silent, View
from .report import ReplayOptions, ReplayReport
from .runner import Lag, Runner
from .transport import KafkaTransport, Transport


def replay(
    files: Sequence[str | Path],
    mapping: EventMapping | None = None,
    *,
    bootstrap: str,
    topic: str,
    speed: float | None = None,
    limit: int | None = None,
    state: str | Path = DEFAULT_PATH,
    restart: bool = False,
    rejects: str | Path | None = None,
    group: str | None = None,
    lag: Lag | None = None,
    max_lag: int | None = 200_000,
    console: Console | None = None,
) -> ReplayReport:
    """Send the events in files to a topic, one file after the other, and remember how far that is.

    The first Ctrl-C (or SIGTERM) waits for what is on the way and returns; the second one raises `KeyboardInterrupt`.
    The next call with the same files, mapping and topic goes on after the last row that was acknowledged.

    Parameters:
        files: CSV, JSON lines or Parquet; see `open_rows`.
        mapping: how rows become events; None for rows that are events already. An event without an id gets
            "<file's name>-<row>".
        group: the consumer group of the workers; its lag is shown, and waited for.
        lag: gives the lag in the place of asking Kafka for the group's.
        console: where the progress is drawn; None for nowhere.
        speed, limit, state, restart, rejects, max_lag: see `ReplayOptions`.

    Raises:
        SettingsError: a file, the mapping or an option is wrong. Events before the place are sent and remembered.
        KafkaUnavailable: no broker answers, or none has acknowledged anything for a minute.
        TopicError: there is no such topic, or it refuses the events.
    """
    options = ReplayOptions(
        speed=speed,
        limit=limit,
        state=Path(state),
        restart=restart,
        rejects=Path(rejects) if rejects is not None else None,
        max_lag=max_lag,
    )
    with contextlib.ExitStack() as stack:
        if lag is None and group is not None:
            lag = stack.enter_context(ConsumerLag(bootstrap, group, topic))
        view = stack.enter_context(ProgressBar(console)) if console is not None else Silent()

        async def main() -> ReplayReport:
            with _stop_on_signals() as stop:
                return await run_replay(
                    files, mapping, options, KafkaTransport(bootstrap, topic), lag=lag, view=view, stop=stop
                )

        return asyncio.run(main())


async def run_replay(
    files: Sequence[str | Path],
    mapping: EventMapping | None,
    options: ReplayOptions,
    transport: Transport,
    *,
    lag: Lag | None = None,
    view: View | None = None,
    stop: asyncio.Event | None = None,
) -> ReplayReport:
    """`replay` over any transport, in a running event loop, stopped by an event.

    Parameters:
        lag: called in a thread, once a second.
    """
    paths = [Path(file) for file in files]
    mapping = mapping if mapping is not None else EventMapping()
    # Every file is looked at before the first event is sent: a name mistyped last is as wrong as one mistyped first.
    prefixes = id_prefixes(paths)
    for path in paths:
        with open_rows(path, mapping.config.source) as rows:
            if rows.columns is not None:
                mapping.check_columns(rows.columns, path.name)
    async with Runner(mapping, options, transport, lag, view or Silent(), stop or asyncio.Event()) as run:
        await run.files(paths, prefixes)
    return run.report


def id_prefixes(paths: Sequence[Path]) -> list[str]:
    """What the ids of the events in each file begin with: its name, and as much of its folder as tells two apart.

    Raises:
        SettingsError: there is no file, or one is named twice.

    Examples:
        >>> id_prefixes([Path("clicks.csv.gz"), Path("may/orders.csv"), Path("june/orders.csv")])
        ['clicks', 'may/orders', 'june/orders']
    """
    if not paths:
        raise SettingsError("no file to replay; name at least one")
    absolute = [path.absolute() for path in paths]
    twice = next((path for path in absolute if absolute.count(path) > 1), None)
    if twice is not None:
        raise SettingsError(f"{twice} is named twice; a file is replayed once")
    names = [stem(path) for path in paths]
    for folders in range(1, max(len(path.parts) for path in absolute)):
        alike = {name for name, count in Counter(names).items() if count > 1}
        if not alike:
            break
        for index, path in enumerate(absolute):
            if names[index] in alike:
                names[index] = "/".join((*path.parent.parts[-folders:], stem(path)))
    if len(set(names)) < len(names):  # Two formats of one name in one folder.
        names = ["/".join((*path.parent.parts[1:], path.name)) for path in absolute]
    return [name[-200:] for name in names]


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; the second one acts as if nobody listened."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    heard = (signal.SIGINT, signal.SIGTERM)

    def on_signal() -> None:
        stop.set()
        let_go()

    def let_go() -> None:
        # Not in a thread, and not on Windows: Ctrl-C then raises KeyboardInterrupt at once.
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            for number in heard:
                loop.remove_signal_handler(number)

    with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
        for number in heard:
            loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    finally:
        let_go()
