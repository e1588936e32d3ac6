"""A worker: one process that takes events in, keeps profiles, encodes texts, or all of it, until it is told to stop.

It connects and checks first, so that what is wrong is said in one sentence before anything runs. When it stops, it
writes what it has applied, acknowledges it, and leaves the groups.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from typing import Any, cast

import msgspec
import redis.asyncio
import redis.exceptions
from faust.exceptions import ConsumerNotStarted

from ..definition import ProfileDefinition
from ..durations import to_ms
from ..errors import RedisUnavailable, SettingsError, StreamProfilesError
from ..names import Names
from ..partitioner import Partitioner
from ..settings import Settings
from ..sinks.redis import RedisWriter
from ..text.source import VectorSource
from ..updater import ProfileUpdater
from .app import intake_app, profiles_app, read_events, text_app
from .commit import STALLED_S
from .encoders import start_sources
from .intake import IntakeAgent
from .producer import BatchProducer
from .profiles import ProfileAgent
from .reports import ReportPublisher, every
from .stats import Stats
from .table import Owned, ProfileTable
from .text import TextAgent
from .text_reports import TextReporter, waiting_line
from .topics import admin, plan_topics, require_topics

log = logging.getLogger(__name__)

_HEARTBEAT_S = 2.0
_PUBLISH_S = 1.0
#: Between two reports of a partition on the topic, at least.
_REPORT_S = 5.0
_STOP_STEP_S = 10.0
_GC_THRESHOLD = 50_000
#: A worker that could not write for this share of the session timeout gives its partitions back unwritten.
_SETTLE_SHARE = 0.6


class Role(StrEnum):
    """What a worker does."""

    ALL = "all"
    INTAKE = "intake"
    PROFILES = "profiles"
    TEXT = "text"

    @property
    def takes_in(self) -> bool:
        return self in (Role.ALL, Role.INTAKE)

    @property
    def keeps_profiles(self) -> bool:
        return self in (Role.ALL, Role.PROFILES)

    @property
    def encodes_texts(self) -> bool:
        return self in (Role.ALL, Role.TEXT)


class Worker:
    """One worker of one definition.

    Parameters:
        definition: What the profiles are made of.
        settings: With `broker` and `redis` set.
        role: Which part of the work to do.
        refresh_redis: Write every profile to Redis once, for a Redis that lost them.
    """

    def __init__(
        self, definition: ProfileDefinition, settings: Settings, role: Role = Role.ALL, *, refresh_redis: bool = False
    ) -> None:
        assert settings.broker is not None and settings.redis is not None
        self.definition, self.settings, self.role = definition, settings, role
        self.names = Names(definition.name)
        self.stats = Stats()
        self._refresh_redis = refresh_redis
        self._refreshing: set[asyncio.Task[None]] = set()
        self._profiles: ProfileAgent | None = None
        self._text: TextAgent | None = None
        self._sources: list[VectorSource] = []
        self.table: ProfileTable | None = None
        self._bootstrap, self._redis_url = settings.broker, settings.redis
        self._topic_ids: dict[str, str] = {}
        self._stop = asyncio.Event()
        self._failure: Exception | None = None
        self._apps: list[Any] = []
        self._takes_in = False
        self._commits: list[Any] = []
        self._settle_s = _SETTLE_SHARE * to_ms(settings.session_timeout) / 1000

    def stop(self) -> None:
        """Ask the worker to stop; `run` returns when it has."""
        self._stop.set()

    def _fail(self, error: Exception) -> None:
        """Something broke inside Faust's tasks that must end the worker."""
        log.error("the worker cannot go on: %s", error, exc_info=not isinstance(error, StreamProfilesError))
        self._failure = self._failure or error
        self._stop.set()

    async def run(self) -> None:
        """Work until `stop` is called.

        Raises:
            TopicError, KafkaUnavailable, RedisUnavailable: before anything is read.
            StreamProfilesError: something broke that trying again cannot mend.
        """
        names, settings = self.names, self.settings
        # Profiles in memory are many objects without cycles: going through all of them again and again finds nothing.
        gc.set_threshold(_GC_THRESHOLD, 20, 50)
        self._topic_ids = await asyncio.to_thread(self._check_topics)
        client = await self._connect_redis()
        producer = BatchProducer(self._bootstrap, settings.max_batch_bytes)
        await producer.start()
        log.info("connected to Kafka at %s and Redis at %s", self._bootstrap, _without_password(self._redis_url))
        tasks: list[asyncio.Task[None]] = []
        try:
            partitioner = Partitioner(settings.partitions)
            sources = settings.inputs_of(names)
            raw = [source for source in sources if not source.keyed]
            texts = bool(self.definition.text_embeddings)
            if self.role is Role.INTAKE and not raw:
                raise SettingsError("every input is keyed, so there is nothing to take in: run --only profiles alone")
            if self.role is Role.TEXT and not texts:
                raise SettingsError(f"{self.definition!r} has no TextEmbedding, so there are no texts to encode")
            if self.role.takes_in and raw:
                self._takes_in = True
                tasks.append(self._add_intake(producer, partitioner, raw))
            if self.role.keeps_profiles:
                keyed = [source for source in sources if source.keyed]
                tasks.append(self._add_profiles(producer, partitioner, client, keyed))
                tasks.append(asyncio.create_task(self._publish(client, producer), name="publish"))
            if self.role.encodes_texts and texts:
                tasks.append(await self._add_text(producer, client))
            if texts and self.role is not Role.INTAKE:
                tasks.append(asyncio.create_task(self._watch_texts(client), name="texts"))
            tasks.append(asyncio.create_task(self._report(), name="report"))
            tasks.append(asyncio.create_task(self._beat(), name="heartbeat"))
            for app in self._apps:
                app.fail = self._fail
                app.finalize()
                await app.start()
                tasks.append(asyncio.create_task(_until_stopped(app), name="faust"))
            await self._until_stopped(tasks)
        finally:
            await self._close(tasks, producer, client)

    def _check_topics(self) -> dict[str, str]:
        with admin(self._bootstrap) as client:
            plans = plan_topics(self.names, self.settings, texts=bool(self.definition.text_embeddings))
            return require_topics(client, plans)

    def _description(self) -> bytes:
        """What readers need to know: what the fields are, and over how many partitions users are spread."""
        return msgspec.json.encode({**self.definition.describe(), "partitions": self.settings.partitions})

    async def _connect_redis(self) -> redis.asyncio.Redis:
        try:
            client = redis.asyncio.from_url(self._redis_url, socket_connect_timeout=5.0, socket_timeout=10.0)
            await client.ping()
            await client.set(self.names.redis_description, self._description())
        except (redis.exceptions.RedisError, OSError, ValueError) as error:
            raise RedisUnavailable(
                f"Redis at {_without_password(self._redis_url)} does not answer ({error}); check the setting redis "
                "or leave it out to use the embedded one"
            ) from error
        return client

    def _add_intake(self, producer: BatchProducer, partitioner: Partitioner, raw: list[Any]) -> asyncio.Task[None]:
        settings = self.settings
        agent = IntakeAgent(
            self.names,
            producer,
            partitioner,
            self.stats,
            topic_ids=self._topic_ids,
            max_future_ms=to_ms(settings.max_future),
            max_record_bytes=settings.max_record_bytes,
            max_unwritten_events=settings.max_unwritten_events,
            partitions=settings.partitions,
        )
        app = intake_app(self.names, settings, self._bootstrap, raw, agent)
        app.settle = self._settling(agent.settle)
        self._apps.append(app)
        self._commits.append(agent.commit)
        log.info("taking in %s", ", ".join(source.topic for source in raw))
        return asyncio.create_task(agent.commit.run(), name="intake commit")

    def _add_profiles(
        self, producer: BatchProducer, partitioner: Partitioner, client: redis.asyncio.Redis, keyed: list[Any]
    ) -> asyncio.Task[None]:
        settings, names = self.settings, self.names
        app, table = profiles_app(names, settings, self._bootstrap, ProfileUpdater(self.definition))
        self.table = table
        agent = self._profiles = ProfileAgent(
            names,
            table.profiles,
            producer,
            RedisWriter(client, to_ms(settings.redis_ttl), self._topic_ids[names.changelog]),
            partitioner,
            self.stats,
            topic_ids=self._topic_ids,
            max_future_ms=to_ms(settings.max_future),
            max_record_bytes=settings.max_record_bytes,
            max_batch_bytes=settings.max_batch_bytes,
            max_unwritten_events=settings.max_unwritten_events,
        )
        table.profiles.on_ready = partial(self._ready, agent)
        texts = bool(self.definition.text_embeddings)
        read_events(app, names, keyed, agent, texts=texts)
        app.settle = self._settling(agent.settle)
        # Profiles start before intake, so that they are ready when the first events come.
        self._apps.insert(0, app)
        self._commits.insert(0, agent.commit)
        log.info("keeping profiles of %s", self.definition.name)
        return asyncio.create_task(agent.commit.run(), name="profiles commit")

    async def _add_text(self, producer: BatchProducer, client: redis.asyncio.Redis) -> asyncio.Task[None]:
        settings = self.settings
        self._sources = await start_sources(self.definition, settings, client)
        agent = self._text = TextAgent(
            self.names,
            producer,
            self._sources,
            self.stats,
            max_record_bytes=settings.max_record_bytes,
            partitions=settings.partitions,
        )
        app = text_app(self.names, settings, self._bootstrap, agent)
        app.settle = self._settling(agent.settle)
        self._apps.append(app)
        self._commits.append(agent.commit)
        log.info("encoding texts with %s", ", ".join(source.batcher.encoder.name for source in self._sources))
        return asyncio.create_task(agent.commit.run(), name="text commit")

    def _ready(self, agent: ProfileAgent, ready: list[Owned]) -> None:
        """A recovery has ended."""
        profiles = sum(len(owned.partition) for owned in ready)
        numbers = ", ".join(str(owned.number) for owned in sorted(ready, key=lambda owned: owned.number))
        log.info("ready: %s profiles in partitions %s", f"{profiles:,}", numbers)
        for owned in ready:
            for problem in owned.partition.unreadable:
                log.warning("partition %s: the model of %s begins anew", owned.number, problem)
            agent.publish_timed(owned)
            agent.ask_again(owned)
        if self._refresh_redis:
            task = asyncio.create_task(self._refresh(agent, ready))
            self._refreshing.add(task)
            task.add_done_callback(self._refreshing.discard)

    async def _refresh(self, agent: ProfileAgent, ready: list[Owned]) -> None:
        for owned in ready:
            try:
                written = await agent.refresh_redis(owned)
            except RedisUnavailable as error:
                log.error("the profiles of partition %s are not all written to Redis again: %s", owned.number, error)
            else:
                log.info("wrote %s profiles of partition %s to Redis again", f"{written:,}", owned.number)

    def _settling(self, settle: Callable[[float], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def settle_in_time() -> None:
            await settle(self._settle_s)

        return settle_in_time

    async def _until_stopped(self, tasks: list[asyncio.Task[None]]) -> None:
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if isinstance(self._failure, StreamProfilesError):
            raise self._failure
        if self._failure is not None:
            raise StreamProfilesError(f"the worker cannot go on: {self._failure!r}") from self._failure
        for task in done - {stopping}:
            error = task.exception()
            if isinstance(error, StreamProfilesError):
                raise error
            raise StreamProfilesError(f"the worker's {task.get_name()} ended: {error!r}") from error

    async def _close(
        self, tasks: list[asyncio.Task[None]], producer: BatchProducer, client: redis.asyncio.Redis
    ) -> None:
        for app in self._apps:
            if app.settle is not None and app.started:
                await _in_time(app.settle(), "writing what was applied")
                await _in_time(_commit(app), "committing offsets")
        for app in reversed(self._apps):
            await _in_time(app.stop(), "leaving the group")
        for task in (*tasks, *self._refreshing):
            task.cancel()
        if tasks:
            # Not gathered: Faust's own tasks may catch their cancellation and go on.
            await asyncio.wait([*tasks, *self._refreshing], timeout=_STOP_STEP_S)
        for source in self._sources:
            await _in_time(source.batcher.stop(), "stopping an encoder")
        await _in_time(producer.stop(), "closing the producer")
        await _in_time(client.aclose(), "closing the connection to Redis")
        log.info("stopped; %s", self._line())

    async def _report(self) -> None:
        """Log what is restored, then a line of rates every few seconds while there is something to say."""
        interval = to_ms(self.settings.log_every) / 1000
        said, restoring = "", False
        while True:
            await asyncio.sleep(interval)
            remaining = self._still_to_restore()
            if remaining:
                restoring = True
                assert self.table is not None
                log.info(
                    "restoring profiles: %s read, %s to go", f"{self.table.profiles.recovered:,}", f"{remaining:,}"
                )
                continue
            if restoring:
                restoring = False
                assert self.table is not None
                log.info("restored profiles from %s records", f"{self.table.profiles.recovered:,}")
            stalled = max(commit.writing_for_s for commit in self._commits)
            if stalled > STALLED_S:
                log.warning(
                    "nothing could be written for %.0f s: Kafka or Redis does not answer; nothing is lost", stalled
                )
            line = self._line()
            if line != said:
                log.info(line)
            said = line

    def _line(self) -> str:
        waiting = sum(commit.waiting_events for commit in self._commits)
        line = self.stats.line(self._lag(), waiting, intake=self._takes_in, profiles=self.table is not None)
        texts = "" if self.table is None else waiting_line(self.table.profiles.owned)
        encoders = "" if self._text is None else self._text.line()
        return ", ".join(part for part in (line, texts, encoders) if part)

    def _still_to_restore(self) -> int:
        for app in self._apps:
            if self.table is not None and app is self.table.app and cast(Any, app.tables).recovery.in_recovery:
                return int(cast(Any, app.tables).recovery.active_remaining_total())
        return 0

    def _lag(self) -> int | None:
        """Records in the assigned partitions that no agent has acknowledged, as far as the consumers know."""
        lag = 0
        for app in self._apps:
            changelogs = app.tables.changelog_topics
            try:
                assigned = app.consumer.assignment()
            except ConsumerNotStarted:
                return None
            for tp in assigned:
                if tp.topic not in changelogs:
                    end, at = app.consumer.highwater(tp), app.consumer._committed_offset.get(tp)
                    lag += max(0, (end or 0) - (at or 0))
        return lag

    async def _beat(self) -> None:
        """Touch the heartbeat file while writes succeed."""
        file = self.settings.heartbeat_file
        while True:
            failing = any(commit.failing for commit in self._commits) or (self._text is not None and self._text.failing)
            if file is not None and not failing:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
            await asyncio.sleep(_HEARTBEAT_S)

    async def _publish(self, client: redis.asyncio.Redis, producer: BatchProducer) -> None:
        """Keep up to date what readers need besides profiles: what the fields are, and how good the models are."""
        assert self.table is not None
        description = self._description()
        reports = ReportPublisher(self.names, self.table.profiles.owned, client, producer)
        # Side by side: while Kafka is away, what is for Redis gets there.
        await asyncio.gather(
            every(_PUBLISH_S, lambda: client.set(self.names.redis_description, description)),
            every(_PUBLISH_S, reports.to_redis),
            every(_REPORT_S, reports.to_topic),
        )

    async def _watch_texts(self, client: redis.asyncio.Redis) -> None:
        """Give up on texts that waited too long, and keep what is said of texts up to date."""
        reporter, table, agent = TextReporter(self.names, client, self.settings.instance_id), self.table, self._text

        async def publish() -> None:
            if table is not None:
                await reporter.of_partitions(table.profiles.owned)
            if agent is not None:
                await reporter.of_encoders(agent)

        async def give_up() -> None:
            if self._profiles is not None:
                self._profiles.give_up_texts()

        await asyncio.gather(every(_PUBLISH_S, publish), every(_PUBLISH_S, give_up))


async def _in_time(step: Awaitable[Any], what: str) -> None:
    """Wait for a step of stopping, but not for ever: a broker that is gone must not keep the process."""
    try:
        await asyncio.wait_for(step, _STOP_STEP_S)
    except TimeoutError:
        log.warning("%s took longer than %.0f s and was given up", what, _STOP_STEP_S)
    except Exception as error:  # the other steps matter all the same
        log.warning("%s failed: %r", what, error)


async def _commit(app: Any) -> None:
    await app.consumer.commit()


async def _until_stopped(app: Any) -> None:
    """Ends when a Faust app does, with the error that ended it."""
    await app.wait_until_stopped()
    if app.crash_reason is not None:
        raise StreamProfilesError(f"Faust stopped: {app.crash_reason!r}") from app.crash_reason


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
