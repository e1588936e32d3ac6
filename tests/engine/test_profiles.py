"""The profile agent: the order of a write, what a failure leaves undone, and what becomes of every kind of record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import pytest
from aiokafka.errors import NotLeaderForPartitionError
from faust.types import TP

from stream_profiles import Count, Event, Last, ProfileDefinition
from stream_profiles.contracts import DeadLetter, ProfileDelta
from stream_profiles.engine import commit as commit_module
from stream_profiles.engine import profiles as module
from stream_profiles.engine.profiles import ProfileAgent
from stream_profiles.engine.provenance import HEADER, encode_source
from stream_profiles.engine.table import Owned
from stream_profiles.errors import RedisUnavailable
from stream_profiles.features import Feature
from stream_profiles.partitioner import Partitioner

from .fakes import GENERATION, NAMES, NOW, TOPIC_IDS, Bench, Run, Stream, event, new_store, record, until

DELTAS, CHANGELOG, LETTERS = NAMES.deltas, NAMES.changelog, NAMES.dead_letters
KEY = NAMES.redis_profile("ada")


class Fails(Feature):
    """Fails on the events it is told to, and gives whatever their properties say else."""

    max_bytes = 100

    def update(self, state: Any, event: Event) -> Any:
        if event.properties.get("fail"):
            raise ZeroDivisionError("as told")
        return event.properties.get("gives", 1)

    def snapshot(self, state: Any) -> Any:
        return 1j if state == "a complex number" else state


DEFINITION = ProfileDefinition(
    "shop",
    features=[Count("views", on="view"), Last("device", of="device"), Fails("fragile", on="fragile")],
    event_types=["view", "fragile"],
    lateness="1h",
)


class Profiles(Bench):
    """An agent that owns partition 0 of one, unless told otherwise."""

    def __init__(self, partitions: int = 1, **limits: Any) -> None:
        super().__init__()
        self.store = new_store(DEFINITION)
        self.agent = self.another(partitions, **limits)

    def another(self, partitions: int = 1, **limits: Any) -> ProfileAgent:
        """An agent on the same servers, with a memory of its own."""
        self.store = new_store(DEFINITION)
        self.agent = ProfileAgent(
            NAMES,
            self.store,
            self.producer,  # type: ignore[arg-type]
            self.redis,  # type: ignore[arg-type]
            Partitioner(partitions),
            self.stats,
            topic_ids=TOPIC_IDS,
            **{
                "max_future_ms": 60_000,
                "max_record_bytes": 10_000,
                "max_batch_bytes": 16_000_000,
                "max_unwritten_events": 1_000,
            }
            | limits,
        )
        return self.agent

    @property
    def owned(self) -> Owned:
        return self.store.owned[0]

    async def assign(self, *numbers: int) -> None:
        await self.store.on_rebalance({TP(CHANGELOG, number) for number in numbers}, set(), set(), GENERATION)
        for number, owned in self.store.owned.items():
            for key, value in self.producer.sent[CHANGELOG, number]:
                owned.partition.restore(key, value)
        await self.store.on_recovery_completed(set(), set())

    def pass_generation(self) -> None:
        """A rebalance has ended."""
        self.store.app.consumer_generation_id = GENERATION + 1  # type: ignore[misc]

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[asyncio.Task[None]]:
        """With the agent's writes going on."""
        task = asyncio.create_task(self.agent.commit.run())
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task

    async def apply(self, *runs: Run) -> None:
        await asyncio.wait_for(self.agent.run(Stream(runs)), 5)

    async def apply_and_write(self, *runs: Run) -> None:
        async with self.writing():
            await self.apply(*runs)
            assert await self.agent.commit.settled(5)

    def deltas(self, partition: int = 0) -> list[ProfileDelta]:
        return self.producer.decoded(DELTAS, partition, ProfileDelta)

    def letters(self, partition: int = 0) -> list[DeadLetter]:
        return self.producer.decoded(LETTERS, partition, DeadLetter)


@pytest.fixture
async def profiles() -> Profiles:
    bench = Profiles()
    await bench.assign(0)
    return bench


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_module, "_FIRST_RETRY_S", 0.0001)


async def test_each_step_begins_when_the_one_before_is_acknowledged(profiles: Profiles) -> None:
    run = profiles.run(record(event(1), 0), record(event(2), 1), record(b"no event", 2))
    await profiles.apply_and_write(run)
    assert profiles.journal == [
        ("send", DELTAS, 2),
        ("send", LETTERS, 1),
        ("acknowledged", DELTAS),
        ("acknowledged", LETTERS),
        ("send", CHANGELOG, 2),  # the user and the partition
        ("acknowledged", CHANGELOG),
        ("redis", 1),
        "ack",
    ]
    assert [delta.version for delta in profiles.deltas()] == [1, 2]
    assert profiles.redis.versions == {KEY: 2} and profiles.redis.profiles[KEY]["views"] == b'{"total":2}'
    assert profiles.owned.written == 1


async def test_a_redis_that_fails_is_tried_again_and_nothing_else_is(profiles: Profiles) -> None:
    profiles.redis.errors = [RedisUnavailable("gone")] * 2
    run = profiles.run(record(event(1), 0))
    await profiles.apply_and_write(run)
    assert profiles.journal == [
        ("send", DELTAS, 1),
        ("acknowledged", DELTAS),
        ("send", CHANGELOG, 2),
        ("acknowledged", CHANGELOG),
        ("redis", 1),
        ("redis", 1),
        ("redis", 1),
        "ack",
    ]
    assert run.acked == 1


@pytest.mark.parametrize("topic", [DELTAS, CHANGELOG])
async def test_a_kafka_that_fails_is_sent_the_same_again(profiles: Profiles, topic: str) -> None:
    profiles.producer.errors[topic] = [NotLeaderForPartitionError()]
    run = profiles.run(record(event(1), 0))
    await profiles.apply_and_write(run)
    assert run.acked == 1 and profiles.redis.versions == {KEY: 1}
    assert profiles.journal.count(("send", DELTAS, 1)) == (2 if topic == DELTAS else 1)
    assert [delta.version for delta in profiles.deltas()] == [1]


async def test_a_run_is_acknowledged_with_its_last_events_only(
    profiles: Profiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RECORDS_PER_TURN", 2)
    run = profiles.run(*(record(event(number), number) for number in range(5)))
    profiles.producer.held[CHANGELOG] = asyncio.Event()
    async with profiles.writing():
        await profiles.apply(run)
        await until(lambda: ("redis", 1) in profiles.journal or ("send", CHANGELOG, 2) in profiles.journal, "writing")
        assert run.acked == 0
        profiles.producer.held[CHANGELOG].set()
        assert await profiles.agent.commit.settled(5)
    assert run.acked == 1 and profiles.journal[-1] == "ack"
    assert profiles.stats.writes["profiles"] == 2, "all that was applied during the first write is in the second"
    assert profiles.owned.partition.offsets == {"events-id": 4}


BAD = {
    "not an event: Input data was truncated": b"{",
    "not an event: Object missing required field `event_id`": b"{}",
    "not an event: Expected `str`": b'{"event_id": 1}',
    "not an event: ": None,
    "not an event: Invalid UTF-8": b'"\xff\xfe"',
    "record too large: 20,000 bytes": b"x" * 20_000,
    "time too far in the future: ": event(1, time=NOW + 60_001),
    "unknown event type: 'buy'": event(1, type="buy"),
}


@pytest.mark.parametrize("reason", BAD)
async def test_bad_records_are_set_aside(profiles: Profiles, reason: str) -> None:
    bad, good = record(BAD[reason], 7, key=b"k"), record(event(2), 8)
    run = profiles.run(bad, good)
    await profiles.apply_and_write(run)
    (letter,) = profiles.letters()
    if reason == "not an event: Invalid UTF-8":
        assert letter.reason.startswith("not an event: ")
    else:
        assert letter.reason.startswith(reason)
    assert (letter.topic, letter.partition, letter.offset, letter.key) == (NAMES.events, 0, 7, b"k")
    assert letter.size == len(bad.value or b"") and letter.value == (bad.value and bad.value[:10_000])
    assert profiles.stats.dead_letters.total() == 1
    assert run.acked == 1 and [delta.event_id for delta in profiles.deltas()] == ["2"]


async def test_the_latest_time_allowed_is_no_future(profiles: Profiles) -> None:
    await profiles.apply_and_write(profiles.run(record(event(1, time=NOW + 60_000), 0)))
    assert len(profiles.deltas()) == 1 and profiles.letters() == []


async def test_a_user_of_another_partition_is_set_aside() -> None:
    """A topic that says it is keyed and is not would spread a user over several partitions."""
    profiles, partitioner = Profiles(partitions=2), Partitioner(2)
    await profiles.assign(0, 1)
    here, there = (next(u for u in map(str, count()) if partitioner(u.encode()) == number) for number in (0, 1))
    await profiles.apply_and_write(
        profiles.run(record(event(1, here), 0, topic="mine"), record(event(2, there), 1, topic="mine"))
    )
    assert [delta.user_id for delta in profiles.deltas()] == [here]
    assert profiles.letters()[0].reason == f"not keyed by user_id: the topic mine has user {there!r} elsewhere"


async def test_a_field_that_fails_is_counted_and_the_rest_goes_on(profiles: Profiles) -> None:
    broken = event(1, type="fragile", device="phone", properties={"fail": True})
    await profiles.apply_and_write(profiles.run(record(broken, 0)))
    (delta,) = profiles.deltas()
    assert delta.changed.keys() == {"device"} and delta.version == 1
    assert profiles.stats.failed_fields == {"fragile": 1} and profiles.letters() == []
    assert profiles.stats.outcomes == {"applied": 1}


async def test_a_definition_that_fails_costs_the_event_and_not_the_others(
    profiles: Profiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = profiles.owned.partition.apply

    def fail(event: Event, *rest: Any) -> Any:
        if event.event_id == "1":
            raise ZeroDivisionError("a bug")
        return apply(event, *rest)

    monkeypatch.setattr(profiles.owned.partition, "apply", fail)
    run = profiles.run(record(event(1), 0), record(event(2), 1))
    await profiles.apply_and_write(run)
    assert profiles.letters()[0].reason == "the definition failed: ZeroDivisionError: a bug"
    assert [delta.event_id for delta in profiles.deltas()] == ["2"] and run.acked == 1


async def test_a_record_nested_too_deep_is_set_aside(profiles: Profiles) -> None:
    deep = b'{"event_id":"1","user_id":"ada","type":"view","time":1,"properties":{"a":' + b"[" * 3_000 + b"]" * 3_000
    run = profiles.run(record(deep + b"}}", 0), record(event(2), 1))
    await profiles.apply_and_write(run)
    assert len(profiles.letters()) == 1 and run.acked == 1


async def test_a_value_that_cannot_be_published_does_not_end_the_agent(profiles: Profiles) -> None:
    unpublishable = event(1, type="fragile", device="phone", properties={"gives": "a complex number"})
    run = profiles.run(record(unpublishable, 0), record(event(2), 1))
    await profiles.apply_and_write(run)
    assert run.acked == 1 and [delta.event_id for delta in profiles.deltas()] == ["1", "2"]
    assert profiles.deltas()[0].changed == {"device": "phone"} and profiles.stats.failed_fields == {"fragile": 1}
    assert profiles.redis.profiles[KEY].keys() == {"device", "views"}


@pytest.mark.parametrize("value", [b"web", b"app/7", None])
async def test_headers_of_others_mean_nothing(profiles: Profiles, value: Any) -> None:
    """Not in their own topics, whatever they call them."""
    headers = [(HEADER, value)]
    run = profiles.run(*(record(event(n), n, topic="mine", headers=headers) for n in range(3)))
    await profiles.apply_and_write(run)
    assert profiles.stats.outcomes == {"applied": 3} and profiles.letters() == []


async def test_what_intake_sent_twice_is_applied_once(profiles: Profiles) -> None:
    """The ids differ so that provenance alone can tell."""
    first, second = encode_source("clicks-id", 3, 10), encode_source("clicks-id", 3, 11)
    other = encode_source("clicks-id", 4, 10)
    sent = [first, second, first, second, other]
    await profiles.apply_and_write(
        profiles.run(*(record(event(number), number, headers=headers) for number, headers in enumerate(sent)))
    )
    assert [delta.event_id for delta in profiles.deltas()] == ["0", "1", "4"]
    assert profiles.stats.outcomes == {"applied": 3, "duplicate": 2}


async def test_duplicates_and_late_events_change_nothing_and_are_acknowledged(profiles: Profiles) -> None:
    late = event(3, time=NOW - 3_600_000)
    run = profiles.run(record(event(2), 0), record(event(2), 1), record(late, 2))
    await profiles.apply_and_write(run)
    assert profiles.stats.outcomes == {"applied": 1, "duplicate": 1, "late": 1}
    assert len(profiles.deltas()) == 1 and run.acked == 1
    assert profiles.owned.partition.offsets == {"events-id": 2}


async def test_what_is_replayed_refreshes_redis_with_whole_profiles(profiles: Profiles) -> None:
    """The last owner died after the changelog and before Redis."""
    run = profiles.run(record(event(1, device="phone"), 0), record(event(2, "bob"), 1))
    await profiles.apply_and_write(run)
    profiles.redis.versions.clear()
    profiles.redis.profiles.clear()
    profiles.another()
    await profiles.assign(0)
    again = profiles.run(*run.value)
    await profiles.apply_and_write(again)
    assert profiles.stats.outcomes == {"applied": 2, "replayed": 2}
    assert len(profiles.deltas()) == 2, "deltas are not sent again"
    assert all(update.base == 0 for update in profiles.redis.writes[-1])
    assert profiles.redis.profiles == {
        KEY: {"views": b'{"total":1}', "device": b'"phone"'},
        NAMES.redis_profile("bob"): {"views": b'{"total":1}'},
    }
    assert again.acked == 1


async def test_a_replayed_profile_that_goes_on_in_the_same_write_is_written_whole(profiles: Profiles) -> None:
    first = record(event(1, device="phone"), 0)
    await profiles.apply_and_write(profiles.run(first))
    profiles.another()
    await profiles.assign(0)
    await profiles.apply_and_write(profiles.run(first, record(event(2), 1)))
    (update,) = profiles.redis.writes[-1]
    assert (update.base, update.version) == (0, 2)
    assert update.fields == {"views": b'{"total":2}', "device": b'"phone"'}


async def test_an_update_says_what_it_builds_upon(profiles: Profiles) -> None:
    await profiles.apply_and_write(profiles.run(record(event(1, device="phone"), 0)))
    await profiles.apply_and_write(profiles.run(record(event(2), 1), record(event(3, time=NOW), 2)))
    first, second = (writes[0] for writes in profiles.redis.writes)
    assert (first.base, first.version, first.fields.keys()) == (0, 1, {"views", "device"})
    assert (second.base, second.version, second.fields) == (1, 3, {"views": b'{"total":3}'})
    assert second.event_time == NOW + 2, "the latest, not the last"


async def test_a_redis_that_lost_a_profile_is_given_all_of_it(profiles: Profiles) -> None:
    await profiles.apply_and_write(profiles.run(record(event(1, device="phone"), 0), record(event(1, "bob"), 1)))
    del profiles.redis.versions[KEY], profiles.redis.profiles[KEY]
    await profiles.apply_and_write(profiles.run(record(event(2), 2), record(event(2, "bob"), 3)))
    assert profiles.redis.profiles[KEY] == {"views": b'{"total":2}', "device": b'"phone"'}
    assert [update.key for update in profiles.redis.writes[-1]] == [KEY], "only what was lost is written again"


async def test_refresh_writes_every_profile_of_a_partition(profiles: Profiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROFILES_REFRESHED_AT_ONCE", 4)
    users = [f"u{number}" for number in range(10)]
    await profiles.apply_and_write(profiles.run(*(record(event(1, user), n) for n, user in enumerate(users))))
    expected = dict(profiles.redis.profiles)
    profiles.redis.profiles.clear()
    profiles.redis.versions.clear()
    assert await profiles.agent.refresh_redis(profiles.owned) == 10
    assert profiles.redis.profiles == expected
    profiles.store.suspend()
    assert await profiles.agent.refresh_redis(profiles.owned) == 0, "a partition that is given back is not refreshed"


async def test_a_run_waits_for_its_partition_until_its_generation_has_passed(profiles: Profiles) -> None:
    profiles.store.suspend()
    run = profiles.run(record(event(1), 0))
    async with profiles.writing():
        applying = asyncio.create_task(profiles.apply(run))
        await asyncio.sleep(0.03)
        assert not applying.done() and profiles.agent.commit.waiting_events == 0
        profiles.pass_generation()
        await applying
        assert await profiles.agent.commit.settled(5)
    assert run.acked == 0 and profiles.journal == []


async def test_settle_writes_what_was_applied_and_stops(profiles: Profiles) -> None:
    owned, run = profiles.owned, profiles.run(record(event(1), 0))
    async with profiles.writing():
        await profiles.apply(run)
        await profiles.agent.settle(5)
        assert run.acked == 1 and profiles.owned is owned and not owned.active


async def test_settle_forgets_what_could_not_be_written_in_time(
    profiles: Profiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles.redis.errors = [RedisUnavailable("gone")] * 1_000_000
    monkeypatch.setattr(commit_module, "_LAST_RETRY_S", 0.0001)
    run = profiles.run(record(event(1), 0))
    async with profiles.writing():
        await profiles.apply(run)
        await until(lambda: profiles.agent.commit.failing, "failing")
        await profiles.agent.settle(0.01)
        assert profiles.store.owned == {}
        assert await profiles.agent.commit.settled(5), "what is forgotten holds nothing up"
    assert run.acked == 0 and profiles.redis.versions == {}


@pytest.mark.parametrize("held", [DELTAS, pytest.param(CHANGELOG, id="changelog")])
async def test_a_partition_forgotten_in_mid_write_goes_no_further(profiles: Profiles, held: str) -> None:
    gate = profiles.producer.held[held] = asyncio.Event()
    run = profiles.run(record(event(1), 0))
    async with profiles.writing():
        await profiles.apply(run)
        await until(lambda: any(entry[:2] == ("send", held) for entry in profiles.journal), "in mid-write")
        await profiles.agent.settle(0.01)
        gate.set()
        assert await profiles.agent.commit.settled(5)
    assert run.acked == 0 and profiles.redis.versions == {}
    if held == DELTAS:
        assert profiles.producer.sent[CHANGELOG, 0] == []


async def test_a_run_in_hand_is_not_applied_further_once_settled(
    profiles: Profiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RECORDS_PER_TURN", 1)
    run = profiles.run(*(record(event(number), number) for number in range(50)))
    async with profiles.writing():
        applying = asyncio.create_task(profiles.apply(run))
        while profiles.stats.outcomes["applied"] < 3:
            await asyncio.sleep(0)
        await profiles.agent.settle(5)
        applied = profiles.stats.outcomes["applied"]
        profiles.pass_generation()
        await applying
        assert profiles.stats.outcomes["applied"] == applied < 50
    assert run.acked == 0
    assert profiles.owned.partition.offsets == {"events-id": applied - 1}
    assert [delta.version for delta in profiles.deltas()] == list(range(1, applied + 1))


async def test_unwritten_events_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RECORDS_PER_TURN", 10)
    profiles = Profiles(max_unwritten_events=30)
    await profiles.assign(0)
    gate = profiles.producer.held[DELTAS] = asyncio.Event()
    run = profiles.run(*(record(event(number), number) for number in range(100)))
    async with profiles.writing():
        applying = asyncio.create_task(profiles.apply(run))
        await asyncio.sleep(0.02)
        assert profiles.stats.outcomes["applied"] == 30 == profiles.agent.commit.waiting_events
        gate.set()
        await asyncio.wait_for(applying, 5)
        assert await profiles.agent.commit.settled(5)
    assert run.acked == 1 and profiles.redis.versions == {KEY: 100}


async def test_a_part_that_may_fill_a_batch_waits_for_the_next_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """A changelog batch that is cut in two is not atomic."""
    monkeypatch.setattr(module, "_RECORDS_PER_TURN", 1)
    profiles = Profiles(max_batch_bytes=8 * 5_000)
    await profiles.assign(0)
    users = [f"u{number}" for number in range(40)]
    gate = profiles.producer.held[DELTAS] = asyncio.Event()
    run = profiles.run(*(record(event(1, user), n) for n, user in enumerate(users)))
    async with profiles.writing():
        applying = asyncio.create_task(profiles.apply(run))
        await asyncio.sleep(0.02)
        stuck = profiles.stats.outcomes["applied"]
        assert 2 < stuck < 12
        gate.set()
        await asyncio.wait_for(applying, 5)
        assert await profiles.agent.commit.settled(5)
    sizes = [entry[2] for entry in profiles.journal if entry[:2] == ("send", CHANGELOG)]
    assert sum(sizes) == 40 + len(sizes) and max(sizes) < 10
    assert run.acked == 1


async def test_a_batch_that_is_cut_never_counts_more_as_written_than_there_is(profiles: Profiles) -> None:
    profiles.producer.cut_at = 3
    await profiles.apply_and_write(profiles.run(*(record(event(1, f"u{number}"), number) for number in range(9))))
    end = len(profiles.producer.sent[CHANGELOG, 0])
    assert end == 10 and profiles.owned.written is not None and profiles.owned.written < end


async def test_a_changelog_that_another_wrote_to_is_read_again(profiles: Profiles) -> None:
    """A worker that was paused for longer than its session and did not know."""
    await profiles.apply_and_write(profiles.run(record(event(1), 0)))
    assert profiles.owned.written == 1
    profiles.producer.sent[CHANGELOG, 0] += [(b"of another worker", b"")] * 5
    await profiles.apply_and_write(profiles.run(record(event(2), 1)))
    start = profiles.store.persisted_offset(TP(CHANGELOG, 0))
    assert start is None or start <= 2


async def test_a_wrong_clock_that_stamps_its_records_too_is_found_out(profiles: Profiles) -> None:
    """One such event would move the clock of the partition, and with it the time that is up for every label."""
    far = 4_102_444_800_000  # 2100
    run = profiles.run(record(event(1, time=far), 0, timestamp=far), record(event(2), 1))
    await profiles.apply_and_write(run)
    assert [letter.reason for letter in profiles.letters()] == [f"time too far in the future: {far}"]
    assert run.acked == 1 and profiles.owned.partition.watermark == NOW + 2
