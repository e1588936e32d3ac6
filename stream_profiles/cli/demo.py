"""`demo`: everything live on one machine, from events to profiles a person can read.

A worker runs as a process of its own, as it does in a deployment; this process feeds it, and shows what the client reads
back from Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path

import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..client import ProfileClient
from ..definition import ProfileDefinition, load_definition
from ..dev._process import GuardedProcess
from ..dev.servers import embedded_servers
from ..dev.shop import shop_events
from ..engine.topics import admin, create_topics, plan_topics
from ..errors import MappingError, SettingsError, StreamProfilesError
from ..mapping import EventMapping
from ..names import Names
from ..replay.files import open_rows
from ..replay.lag import ConsumerLag
from ..replay.progress import Status
from ..replay.report import ReplayOptions, ReplayReport
from ..replay.run import run_replay
from ..replay.transport import KafkaTransport
from ..settings import load_settings
from . import show

_EXAMPLES = next(
    folder
    for folder in (Path(__file__).parents[1] / "examples", Path(__file__).parents[2] / "examples")
    if folder.is_dir()
)
#: Profiles printed at the end.
_PROFILES_SHOWN = 3
#: The shop waits while the worker is further behind: what is shown is to be live.
_MAX_LAG = 20_000
_EVENTS_AT_ONCE = 500
_DRAIN_TIMEOUT_S = 300.0


def run_demo(
    definition: str | None, *, data: Path | None, mapping: Path | None, speed: float | None, seconds: float, seed: int
) -> None:
    """Run the whole of it.

    Raises:
        SettingsError: the file, its mapping or the definition is wrong.
        StreamProfilesError: the worker or a server did not start or stopped.
    """
    console = Console()
    reference = definition or f"{_EXAMPLES / 'shop.py'}:shop"
    declared = load_definition(reference)
    compiled = None if data is None else _mapping_of(data, mapping)
    with (
        embedded_servers(console=console) as servers,
        tempfile.TemporaryDirectory(prefix="stream_profiles-demo-") as folder,
    ):
        assert servers.kafka is not None and servers.redis is not None
        names, settings = Names(declared.name), load_settings(broker=servers.kafka, redis=servers.redis)
        with admin(servers.kafka) as client:
            create_topics(client, plan_topics(names, settings), 1)
        with (
            _worker(reference, servers.kafka, servers.redis, Path(folder)) as worker,
            ProfileClient(servers.redis, declared.name) as client,
        ):
            demo = _Demo(console, declared, servers.kafka, settings.inputs_of(names)[0].topic, client, worker)
            source = data.name if data is not None else "a synthetic shop"
            console.print(f"A worker keeps profiles of [bold]{declared.name}[/], fed with {source}.")
            if data is None:
                asyncio.run(demo.feed_shop(seed, seconds))
            else:
                asyncio.run(demo.feed_file(data, compiled, speed, Path(folder)))
            demo.show_profiles()


class _Demo:
    """Feeds, watches and shows."""

    def __init__(
        self,
        console: Console,
        definition: ProfileDefinition,
        bootstrap: str,
        topic: str,
        client: ProfileClient,
        worker: _WorkerProcess,
    ) -> None:
        self._console, self._definition, self._client, self._worker = console, definition, client, worker
        self._bootstrap, self._topic = bootstrap, topic
        self._sent = 0
        self._lag: int | None = None
        self._events_of: Counter[str] = Counter()

    async def feed_shop(self, seed: int, seconds: float) -> None:
        """Send the shop's events for so many seconds, then wait for the worker."""
        async with self._watching():
            transport = KafkaTransport(self._bootstrap, self._topic)
            await transport.start()
            try:
                events, until = shop_events(seed), time.monotonic() + seconds
                while time.monotonic() < until:
                    some = list(islice(events, _EVENTS_AT_ONCE))
                    await (await transport.send([(event.user_id.encode(), _encode(event)) for event in some]))
                    self._sent += len(some)
                    self._events_of.update(event.user_id for event in some)
                    self._check_worker()
                    while (self._lag or 0) > _MAX_LAG and time.monotonic() < until:
                        await asyncio.sleep(0.02)
            finally:
                await transport.stop()
            await self._drain()

    async def feed_file(self, data: Path, mapping: EventMapping | None, speed: float | None, folder: Path) -> None:
        """Replay the file, then wait for the worker."""
        options = ReplayOptions(speed=speed, state=folder / "replay.json")
        async with self._watching():
            transport = _Counting(self._bootstrap, self._topic, self._events_of)
            report = await run_replay([data], mapping, options, transport, lag=lambda: self._lag, view=self)
            self._sent = report.sent
            await self._drain()
        self._console.print(report.summary(), highlight=False, markup=False)

    def show(self, status: Status) -> None:
        """Called by the replay as it goes on."""
        self._sent = status.sent

    def show_profiles(self) -> None:
        """Print how good the models are, and a few of the busiest users' profiles, as Redis has them."""
        for name, values in self._client.metrics().items():
            self._console.print(show.metrics_line(name, values), highlight=False)
        busiest = [user for user, _ in self._events_of.most_common(_PROFILES_SHOWN)]
        for profile in self._client.get_many(busiest).values():
            if profile is not None:
                self._console.print(show.profile_panel(profile))
        self._console.print(
            f"\nYours next: `stream-profiles worker --definition {_EXAMPLES.name}/shop.py:shop` in one terminal, "
            "`stream-profiles replay FILE` and `stream-profiles get USER` in another.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        """Keep the lag known and the line on the screen up to date."""
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    async def _watch(self) -> None:
        names = Names(self._definition.name)
        began, last_at, last_applied = time.monotonic(), time.monotonic(), 0
        with (
            ConsumerLag(self._bootstrap, names.intake_group, self._topic) as unread,
            ConsumerLag(self._bootstrap, names.profiles_group, names.events) as unapplied,
            Live(console=self._console, auto_refresh=False) as live,
        ):
            while True:
                lag, metrics = await asyncio.to_thread(self._look, unread, unapplied)
                self._lag = lag
                now, applied = time.monotonic(), max(0, self._sent - (lag or 0))
                rate = max(0.0, (applied - last_applied) / max(now - last_at, 1e-9))
                last_at, last_applied = now, applied
                line = f"{now - began:4.0f} s  {applied:,} events in profiles  {rate:,.0f}/s  lag {lag or 0:,}"
                live.update(Text("\n".join([line, *metrics])), refresh=True)
                await asyncio.sleep(0.25)

    def _look(self, unread: ConsumerLag, unapplied: ConsumerLag) -> tuple[int | None, list[str]]:
        behind = [unread(), unapplied()]
        known = [each for each in behind if each is not None]
        metrics = [show.metrics_line(name, values) for name, values in self._client.metrics().items()]
        return (sum(known) if known else None), metrics

    async def _drain(self) -> None:
        """Wait until the worker has committed everything.

        Raises:
            StreamProfilesError: it stopped, or did not get there.
        """
        until = time.monotonic() + _DRAIN_TIMEOUT_S
        # The lag is looked at from time to time: what it says must be later than the last event.
        settled = 0
        while settled < 3:
            await asyncio.sleep(0.3)
            settled = settled + 1 if self._lag == 0 else 0
            self._check_worker()
            if time.monotonic() > until:
                raise StreamProfilesError(f"the worker is still {self._lag} events behind after {_DRAIN_TIMEOUT_S:.0f} s")

    def _check_worker(self) -> None:
        if self._worker.process.ended():
            raise StreamProfilesError(f"the worker stopped: {self._worker.last_words()}")


class _Counting(KafkaTransport):
    """Counts the events of each user on their way."""

    def __init__(self, bootstrap: str, topic: str, events_of: Counter[str]) -> None:
        super().__init__(bootstrap, topic)
        self._events_of = events_of

    async def send(self, records: Sequence[tuple[bytes, bytes]]) -> asyncio.Future[None]:
        self._events_of.update(key.decode() for key, _ in records)
        return await super().send(records)


class _WorkerProcess(msgspec.Struct):
    """A worker in a process of its own, and its log."""

    process: GuardedProcess
    log: Path

    def last_words(self) -> str:
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"


@contextmanager
def _worker(reference: str, kafka: str, redis: str, folder: Path) -> Iterator[_WorkerProcess]:
    log = folder / "worker.log"
    command = [sys.executable, "-m", "stream_profiles", "worker", "--broker", kafka, "--redis", redis]
    file, colon, name = reference.rpartition(":") if ":" in reference else (reference, "", "")
    if file.endswith(".py"):
        file = str(Path(file).resolve())
    command += ["--definition", f"{file}{colon}{name}"]
    process = GuardedProcess([command], folder=folder, log=log, throw_away=False, grace_s=10.0)
    try:
        yield _WorkerProcess(process, log)
    finally:
        process.stop()


def _mapping_of(data: Path, given: Path | None) -> EventMapping | None:
    """The mapping that is given, else the example's whose columns the file has, else none: rows are events already.

    Raises:
        SettingsError: there is no such file.
        MappingError: the mapping is wrong or not for this file.
    """
    if given is not None:
        return EventMapping.load(given)
    if not data.is_file():
        raise SettingsError(f"there is no file {data}")
    for file in sorted(_EXAMPLES.glob("*.toml")):
        mapping = EventMapping.load(file)
        with contextlib.suppress(MappingError), open_rows(data, mapping.config.source) as rows:
            if rows.columns is not None:
                mapping.check_columns(rows.columns, data.name)
                return mapping
    with open_rows(data) as rows:
        if rows.columns is not None:
            EventMapping().check_columns(rows.columns, data.name)
    return None


_encode = msgspec.json.Encoder().encode
