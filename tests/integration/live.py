"""A deployment under test: real workers in processes of their own, and the oracle they are compared with.

The oracle is the pure core, run over the same events in the same order in this process.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec
import redis

from stream_profiles import Change, Event, Partition, ProfileDefinition, ProfileUpdater
from stream_profiles.contracts import DeadLetter, ProfileDelta
from stream_profiles.definition import load_definition
from stream_profiles.dev.servers import EmbeddedServers
from stream_profiles.dev.shop import shop_events
from stream_profiles.engine.producer import BatchProducer
from stream_profiles.engine.topics import admin, create_topics, plan_topics
from stream_profiles.mapping import Dropped, EventMapping
from stream_profiles.names import Names
from stream_profiles.partition import Record
from stream_profiles.partitioner import Partitioner
from stream_profiles.replay.files import BadRow, open_rows
from stream_profiles.replay.lag import ConsumerLag
from stream_profiles.settings import load_settings
from stream_profiles.sinks.deltas import encode_delta
from stream_profiles.sinks.redis import Fields, encode_fields

ROOT = Path(__file__).parents[2]
RETAIL = ROOT.parent / "shared" / "data" / "online_retail.csv.gz"


def real_events(count: int) -> list[Event]:
    """The first events of the retail data where it is at hand, else of the synthetic shop."""
    if not RETAIL.is_file():
        return list(shop_events(seed=1, users=500, events=count))
    mapping = EventMapping.load(ROOT / "examples" / "online_retail.toml")
    events: list[Event] = []
    with open_rows(RETAIL, mapping.config.source) as rows:
        for chunk in rows.chunks():
            for number, row in chunk:
                assert not isinstance(row, BadRow)
                event = mapping.to_event(row, f"retail-{number}")
                if not isinstance(event, Dropped):
                    events.append(event)
            if len(events) >= count:
                return events[:count]
    return events


class Oracle:
    """What a deployment should have made of some events.

    Parameters:
        definition: Of the profiles.
        partitions: How many there are.
    """

    def __init__(self, definition: ProfileDefinition, partitions: int) -> None:
        self._partitioner = Partitioner(partitions)
        self._changelog: list[list[Record]] = [[] for _ in range(partitions)]
        #: All changes in their order, and which of them time alone made.
        self.changes: list[Change] = []
        self.timed: list[Change] = []
        #: Every user's deltas, as messages.
        self.deltas: dict[str, list[bytes]] = defaultdict(list)
        self.use(definition)

    def use(self, definition: ProfileDefinition) -> None:
        """Go on with another definition, from what the one before has left in the changelog."""
        self.definition, updater = definition, ProfileUpdater(definition)
        self.partitions = [Partition(updater) for _ in self._changelog]
        for partition, records in zip(self.partitions, self._changelog, strict=True):
            for key, value in records:
                partition.restore(key, value)
            partition.restored()

    def stop(self) -> None:
        """Write what is not written yet."""
        for partition, records in zip(self.partitions, self._changelog, strict=True):
            records += partition.take()

    def apply(self, events: Iterable[Event]) -> Oracle:
        for event in events:
            partition = self.partitions[self._partitioner(event.user_id.encode())]
            change = partition.apply(event)
            timed = partition.take_timed()
            self.timed += timed
            for each in (*timed, change):
                if isinstance(each, Change):
                    self.changes.append(each)
                    self.deltas[each.user_id].append(encode_delta(self.definition.name, each))
        return self

    def profiles(self) -> dict[str, Fields]:
        """Every profile as Redis should have it."""
        profiles = {}
        for partition in self.partitions:
            for user in partition.users():
                state, published = partition.state(user), partition.published(user)
                assert state is not None and published is not None
                meta = {"_version": str(state.version).encode(), "_event_time": str(state.last_time).encode()}
                profiles[user] = encode_fields(published) | meta
        return profiles


class Live:
    """Topics, keys and workers of one definition, which is the example shop under a name of its own."""

    def __init__(self, servers: EmbeddedServers, folder: Path, name: str, **settings: Any) -> None:
        assert servers.kafka is not None and servers.redis is not None
        self.kafka, self.redis_url, self.folder, self.names = servers.kafka, servers.redis, folder, Names(name)
        self.settings = load_settings(broker=self.kafka, redis=self.redis_url, **settings)
        self.redis = redis.Redis.from_url(self.redis_url)
        self.workers: list[subprocess.Popen[bytes]] = []
        self.log = folder / "workers.log"
        self.environment: dict[str, str] = {}
        #: Who the events are of, by their ids.
        self._users: dict[str, str] = {}
        self.use_definition(self.example(ROOT / "examples" / "shop.py"))
        self.create_topics()

    def create_topics(self) -> None:
        with admin(self.kafka) as client:
            create_topics(client, plan_topics(self.names, self.settings, texts=True), 1)

    def recreate_topics(self) -> None:
        """Delete the topics with all that is in them, and make them anew."""
        with admin(self.kafka) as client:
            names = [plan.name for plan in plan_topics(self.names, self.settings, texts=True)]
            client.delete_topics(names)
            self.wait_until(lambda: not set(names) & set(client.list_topics()), "deleted")
        self.create_topics()

    def example(self, file: Path) -> str:
        """The source of a definition called "shop", under the name of this deployment.

        Without texts: vectors come when they come, and between which events they do differs from run to run.
        """
        source = file.read_text().replace("        INTERESTS,\n", "", 1)
        return source.replace('"shop",', f'"{self.names.definition}",', 1)

    def use_definition(self, source: str) -> None:
        """What workers started from now on run, and the oracle of `assert_exact`."""
        file = self.folder / f"definition_{len(list(self.folder.glob('definition_*')))}.py"
        file.write_text(source)
        self.reference = f"{file}:shop"
        self.definition: ProfileDefinition = load_definition(self.reference)

    # -- workers -----------------------------------------------------------------------------------------------------

    def start(self, *options: str, redis: str | None = None) -> subprocess.Popen[bytes]:
        """A worker in a process of its own, with a way of its own to Redis if there is one."""
        command = [sys.executable, "-m", "stream_profiles", "worker", "--definition", self.reference, *options]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--broker", self.kafka, "--redis", redis or self.redis_url],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "STREAM_PROFILES_SESSION_TIMEOUT": "3s", **self.environment},
            )
        self.workers.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a worker as a power cut does."""
        process.kill()
        process.wait()

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """Stop a worker as a deployment does; returns its exit code."""
        process.send_signal(signal.SIGTERM)
        return process.wait(30)

    def kill_all(self) -> None:
        for process in self.workers:
            self.kill(process)
        self.redis.close()

    def wait_until(self, condition: Any, what: str, timeout_s: float = 60.0) -> None:
        until = time.monotonic() + timeout_s
        while not condition():
            for process in self.workers:
                assert process.poll() in (None, 0, -signal.SIGKILL), self.log.read_text()[-3000:]
            assert time.monotonic() < until, f"not {what} after {timeout_s} s; {self.log.read_text()[-3000:]}"
            time.sleep(0.1)

    def wait_until_applied(self, timeout_s: float = 60.0) -> None:
        """Wait until the groups have committed all that is in their topics."""
        with (
            ConsumerLag(self.kafka, self.names.intake_group, self.names.clicks) as unread,
            ConsumerLag(self.kafka, self.names.profiles_group, self.names.events) as unapplied,
        ):
            self.wait_until(lambda: unread() == 0 and unapplied() == 0, "all applied", timeout_s)

    def applied(self) -> int:
        """How many deltas there are, an event each as long as nothing is sent twice."""
        return sum(self._ends(self.names.deltas).values())

    # -- events ------------------------------------------------------------------------------------------------------

    def feed(self, events: Iterable[Event]) -> None:
        """Send events to the input topic, keyed by user."""
        encode = msgspec.json.encode
        events = list(events)
        self._users.update((event.event_id, event.user_id) for event in events)
        self.feed_raw([(event.user_id.encode(), encode(event)) for event in events])

    def feed_raw(self, records: Sequence[tuple[bytes, bytes]], topic: str | None = None) -> None:
        """Send records as they are; those with the same key to the partition of that key."""
        partitioner = Partitioner(self.settings.partitions)

        async def send() -> None:
            producer = BatchProducer(self.kafka, 4_000_000)
            await producer.start()
            try:
                parts: dict[int, list[tuple[bytes, bytes]]] = {}
                for key, value in records:
                    parts.setdefault(partitioner(key), []).append((key, value))
                sent = []
                for partition, some in parts.items():
                    sent += await producer.send(topic or self.names.clicks, partition, some)
                await asyncio.gather(*sent)
            finally:
                await producer.stop()

        asyncio.run(send())

    # -- what came of them -------------------------------------------------------------------------------------------

    def follow(self, events: Iterable[Event]) -> Oracle:
        """What the workers should have made of the events."""
        return Oracle(self.definition, self.settings.partitions).apply(events)

    def oracle_partitions(self, events: Iterable[Event]) -> list[Partition]:
        """The partitions as the workers should have them."""
        return self.follow(events).partitions

    def oracle(self, events: Iterable[Event]) -> dict[str, Fields]:
        """Every profile as Redis should have it."""
        return self.follow(events).profiles()

    def partitions(self) -> list[Partition]:
        """The partitions as the changelog has them."""
        updater = ProfileUpdater(self.definition)
        restored = []
        for records in self._read(self.names.changelog).values():
            partition = Partition(updater)
            for key, value in records:
                assert key is not None
                partition.restore(key, value)
            partition.restored()
            restored.append(partition)
        return restored

    def in_redis(self) -> dict[str, dict[str, bytes]]:
        """Every profile as Redis has it."""
        prefix = self.names.redis_profile("")
        keys = list(self.redis.scan_iter(f"{prefix}*", count=1000))
        pipeline = self.redis.pipeline(transaction=False)
        for key in keys:
            pipeline.hgetall(key)
        profiles = {}
        for key, fields in zip(keys, pipeline.execute(), strict=True):
            named = {name.decode(): value for name, value in fields.items()}
            assert int(named.pop("_updated_at")) > 0
            assert named.pop("_lineage")
            profiles[key.decode().removeprefix(prefix)] = named
        return profiles

    def from_deltas(self) -> dict[str, dict[str, bytes]]:
        """Every profile as its deltas, applied in order, make it.

        Versions rise by one; one that is sent again is the same as before.
        """
        profiles: dict[str, dict[str, bytes]] = {}
        sent: dict[tuple[str, int], bytes] = {}
        vectors = {embedding.name for embedding in self.definition.embeddings}
        decoder = msgspec.json.Decoder(ProfileDelta)
        for _, value in self.records(self.names.deltas):
            delta = decoder.decode(value)
            profile = profiles.setdefault(delta.user_id, {})
            version = int(profile.get("_version", b"0"))
            if delta.version <= version:
                assert sent[delta.user_id, delta.version] == value, "a version was sent again with another content"
                continue
            assert delta.version == version + 1
            sent[delta.user_id, delta.version] = value
            latest = int(profile.get("_event_time", b"0"))
            if self._users.get(delta.event_id, delta.user_id) == delta.user_id:  # else it only moved the clock
                latest = max(latest, delta.event_time)
            if delta.snapshot:
                profile.clear()
            for name in delta.removed:
                profile.pop(name, None)
            for name, changed in delta.changed.items():
                profile[name] = base64.b64decode(changed) if name in vectors else msgspec.json.encode(changed)
            profile["_version"], profile["_event_time"] = str(delta.version).encode(), str(latest).encode()
        return profiles

    def assert_exact(self, events: Sequence[Event]) -> None:
        """Redis and the deltas hold exactly what the oracle says."""
        self.assert_follows(self.follow(events))

    def assert_follows(self, oracle: Oracle) -> None:
        expected = oracle.profiles()
        assert_same(self.in_redis(), expected)
        assert_same(self.from_deltas(), expected)
        assert self.deltas() == oracle.deltas

    def deltas(self) -> dict[str, list[bytes]]:
        """Every user's deltas as messages; of those with the same version the first."""
        found: dict[str, dict[int, bytes]] = defaultdict(dict)
        decoder = msgspec.json.Decoder(ProfileDelta)
        for _, value in self.records(self.names.deltas):
            delta = decoder.decode(value)
            found[delta.user_id].setdefault(delta.version, value)
        return {user: list(versions.values()) for user, versions in found.items()}

    def dead_letters(self) -> list[DeadLetter]:
        return [msgspec.json.decode(value, type=DeadLetter) for _, value in self.records(self.names.dead_letters)]

    def records(self, topic: str) -> list[tuple[bytes | None, bytes]]:
        """All records of a topic, partition by partition."""
        return list(chain.from_iterable(self._read(topic).values()))

    def _read(self, topic: str) -> dict[int, list[tuple[bytes | None, Any]]]:
        """All records of a topic by partition."""
        from kafka import KafkaConsumer, TopicPartition

        ends = self._ends(topic)
        consumer = KafkaConsumer(bootstrap_servers=self.kafka, enable_auto_commit=False)
        found: dict[int, list[tuple[bytes | None, Any]]] = {partition: [] for partition in ends}
        try:
            for partition, end in ends.items():
                tp = TopicPartition(topic, partition)
                consumer.assign([tp])
                consumer.seek_to_beginning(tp)
                while consumer.position(tp) < end:
                    for records in consumer.poll(timeout_ms=1000).values():
                        found[partition] += [(record.key, record.value) for record in records]
        finally:
            consumer.close()
        return found

    def _ends(self, topic: str) -> dict[int, int]:
        from kafka import KafkaConsumer, TopicPartition

        consumer = KafkaConsumer(bootstrap_servers=self.kafka, enable_auto_commit=False)
        try:
            partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
            ends = consumer.end_offsets(partitions)
            return {tp.partition: ends[tp] for tp in partitions}
        finally:
            consumer.close()


def assert_same(found: dict[str, dict[str, bytes]], expected: dict[str, dict[str, bytes]]) -> None:
    """Two sets of profiles are equal; of a difference, show little enough to read."""
    assert found.keys() == expected.keys()
    wrong = {
        (user, name): (profile.get(name), found[user].get(name))
        for user, profile in expected.items()
        for name in profile.keys() | found[user].keys()
        if profile.get(name) != found[user].get(name)
    }
    assert not wrong, f"{len(wrong)} fields differ (expected, found): {dict(islice(wrong.items(), 5))}"
