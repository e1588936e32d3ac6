"""Kafka and Redis in memory, as far as the agents see them. The real ones are met in tests/integration."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
from aiokafka.structs import ConsumerRecord

from stream_profiles import Count, Event, ProfileDefinition, ProfileUpdater
from stream_profiles.engine.stats import Stats
from stream_profiles.engine.table import ProfileStore
from stream_profiles.names import Names
from stream_profiles.sinks.redis import ProfileUpdate

#: Of the group; a rebalance raises it.
GENERATION = 4
NOW = 1_700_000_000_000
NAMES = Names("shop")
TOPIC_IDS = {
    NAMES.events: "events-id",
    NAMES.clicks: "clicks-id",
    NAMES.text_vectors: "vectors-id",
    "mine": "mine-id",
}


def event(number: int = 1, user: str = "ada", **fields: Any) -> Event:
    return Event(**{"event_id": str(number), "user_id": user, "type": "view", "time": NOW + number} | fields)


def record(
    value: Event | bytes | None,
    offset: int = 0,
    *,
    topic: str = NAMES.events,
    partition: int = 0,
    headers: Sequence[tuple[str, bytes]] = (),
    key: bytes | None = None,
    timestamp: int = NOW,
) -> Any:
    """A record as aiokafka gives it."""
    encoded = msgspec.json.encode(value) if isinstance(value, Event) else value
    return ConsumerRecord(topic, partition, offset, timestamp, 0, key, encoded, None, 0, 0, tuple(headers))


class Run:
    """A run of records as an agent's stream delivers it."""

    def __init__(self, records: Sequence[Any], journal: list[Any]) -> None:
        self.value = records
        self.message = SimpleNamespace(partition=records[0].partition, topic=records[0].topic, generation_id=GENERATION)
        self.acked = 0
        self._journal = journal

    def ack(self) -> None:
        self.acked += 1
        self._journal.append("ack")


class Stream:
    """What a Faust agent is given."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = runs

    def noack(self) -> Stream:
        return self

    async def events(self) -> AsyncIterator[Run]:
        for run in self._runs:
            yield run


class Producer:
    """Keeps what it is sent. Batches are acknowledged at once, or when `held` topics are released."""

    def __init__(self, journal: list[Any]) -> None:
        self.sent: dict[tuple[str, int], list[Any]] = defaultdict(list)
        #: Errors to raise, the next first, by topic.
        self.errors: dict[str, list[Exception]] = defaultdict(list)
        self.held: dict[str, asyncio.Event] = {}
        #: Records to a batch of `send_whole`.
        self.cut_at = 1_000_000
        self._journal = journal

    async def send(self, topic: str, partition: int, records: Iterable[Any]) -> list[asyncio.Future[Any]]:
        return self._send(topic, partition, list(records), 1_000_000)

    async def send_whole(self, topic: str, partition: int, records: Iterable[Any]) -> list[asyncio.Future[Any]]:
        return self._send(topic, partition, list(records), self.cut_at)

    def _send(self, topic: str, partition: int, records: list[Any], batch: int) -> list[asyncio.Future[Any]]:
        self._journal.append(("send", topic, len(records)))
        if self.errors[topic]:
            raise self.errors[topic].pop(0)
        kept, futures = self.sent[topic, partition], []
        for start in range(0, len(records), batch):
            some = records[start : start + batch]
            futures.append(asyncio.ensure_future(self._acknowledge(topic, len(kept))))
            kept += some
        return futures

    async def _acknowledge(self, topic: str, offset: int) -> Any:
        if topic in self.held:
            await self.held[topic].wait()
        self._journal.append(("acknowledged", topic))
        return SimpleNamespace(offset=offset)

    def decoded(self, topic: str, partition: int, type: Any = Any) -> list[Any]:
        return [msgspec.json.decode(sent[1], type=type) for sent in self.sent[topic, partition]]


class Redis:
    """A `RedisWriter` over a dict, with the rules of the script."""

    def __init__(self, journal: list[Any]) -> None:
        self.profiles: dict[str, dict[str, bytes]] = {}
        self.versions: dict[str, int] = {}
        self.writes: list[list[ProfileUpdate]] = []
        self.errors: list[Exception] = []
        self._journal = journal

    async def write(self, updates: Sequence[ProfileUpdate], now: int) -> list[ProfileUpdate]:
        if not updates:
            return []
        self._journal.append(("redis", len(updates)))
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        self.writes.append(list(updates))
        incomplete = []
        for update in updates:
            current = self.versions.get(update.key, 0)
            if current > update.version:
                continue
            if update.base and current < update.base:
                incomplete.append(update)
                continue
            if not update.base:
                self.profiles[update.key] = {}
            self.profiles[update.key].update(update.fields)
            self.versions[update.key] = update.version
        return incomplete


def new_store(definition: ProfileDefinition | None = None) -> ProfileStore:
    """The real store, of an app that is none."""
    recovery = SimpleNamespace(signal_recovery_start=asyncio.Event())
    app = SimpleNamespace(consumer_generation_id=GENERATION, tables=SimpleNamespace(recovery=recovery))
    table = SimpleNamespace(name="profiles", changelog_topic=SimpleNamespace(get_topic_name=lambda: NAMES.changelog))
    updater = ProfileUpdater(definition or ProfileDefinition("shop", features=[Count("views", on="view")]))
    return ProfileStore("memory://", app, table, table_name="profiles", updater=updater)


class Bench:
    """What an agent works with, and the order in which it used it."""

    def __init__(self) -> None:
        self.journal: list[Any] = []
        self.producer, self.redis, self.stats = Producer(self.journal), Redis(self.journal), Stats()

    def run(self, *records: Any) -> Run:
        return Run(records, self.journal)


async def until(condition: Any, what: str, timeout_s: float = 5.0) -> None:
    """Wait until a condition holds."""
    for _ in range(int(timeout_s / 0.001)):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"not {what} after {timeout_s} s")
