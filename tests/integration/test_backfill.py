"""Offline and live are one: a worker's profiles are a backfill's, and a worker goes on from a backfill's profiles."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from stream_profiles import Event, Partition
from stream_profiles.backfill import BackfillOptions, backfill
from stream_profiles.backfill.warm import load_changelog
from stream_profiles.dev.shop import shop_events
from stream_profiles.engine.producer import BatchProducer
from stream_profiles.errors import KafkaUnavailable, StreamProfilesError
from stream_profiles.sinks.redis import encode_fields
from tests.backfill.oracle import restored, write_events

from .live import ROOT, Live, assert_same, real_events

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


def command(live: Live, *words: str | Path) -> tuple[int, str]:
    """Run `backfill` on the deployment."""
    servers = ("--broker", live.kafka, "--redis", live.redis_url)
    done = subprocess.run(
        [sys.executable, "-m", "stream_profiles", "backfill", *map(str, words), "-d", live.reference, *servers],
        capture_output=True,
        text=True,
        cwd=live.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return done.returncode, done.stderr


def test_a_worker_and_a_backfill_give_the_same_profiles(live: Live) -> None:
    events = real_events(5_000)
    live.start()
    live.feed(events)
    file = write_events(live.folder / "events.jsonl", events)
    partitions: list[Partition] = []
    backfill(
        [file],
        live.reference,
        options=BackfillOptions(records=True, partitions=live.settings.partitions),
        deliver=lambda files: partitions.extend(restored(live.definition, files)),
    )
    live.wait_until_applied()
    expected = {}
    for partition in partitions:
        for user in partition.users():
            state, published = partition.state(user), partition.published(user)
            assert state is not None and published is not None
            meta = {"_version": str(state.version).encode(), "_event_time": str(state.last_time).encode()}
            expected[user] = encode_fields(published) | meta
    assert len(expected) > 100
    assert_same(live.in_redis(), expected)


def test_workers_go_on_from_loaded_profiles(live: Live) -> None:
    events = list(shop_events(seed=11, users=100, events=5_000))
    split = events[3_000].time
    before, after = [each for each in events if each.time < split], [each for each in events if each.time >= split]
    file = write_events(live.folder / "events.jsonl", events)
    code, said = command(live, file, "--warm", "--until", str(split), "--out", "profiles.parquet")
    assert code == 0, said
    assert f"from {len(before):,} events" in said and "--refresh-redis" in said.splitlines()[-1]
    profiles = pl.read_parquet(live.folder / "profiles.parquet")
    assert set(profiles["user_id"]) == live.oracle(before).keys()

    code, said = command(live, file, "--warm")
    assert code == 2 and f"{live.names.changelog} holds records already" in said and said.count("\n") == 1

    worker = live.start("--refresh-redis")
    live.wait_until(lambda: len(live.in_redis()) == len(profiles), "in Redis")
    assert_same(live.in_redis(), live.oracle(before))
    code, said = command(live, file, "--warm")
    assert code == 2 and "stop all workers, then load the profiles" in said
    live.feed(after)
    live.wait_until_applied()
    assert_same(live.in_redis(), live.oracle(events))
    assert live.stop(worker) == 0


def test_loading_that_is_cut_short_says_what_to_do(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_events(live.folder / "events.jsonl", shop_events(seed=12, users=50, events=1_000))
    send = BatchProducer.send

    async def fails_after_the_first(self: BatchProducer, topic: str, partition: int, records: object) -> object:
        if partition > 0:
            raise KafkaUnavailable("Kafka went away")
        return await send(self, topic, partition, records)  # type: ignore[arg-type]

    def deliver(files: Sequence[Path]) -> None:
        load_changelog(live.names, live.settings, files, lambda _: None)

    def load() -> None:
        backfill([file], live.reference, options=BackfillOptions(records=True, processes=1), deliver=deliver)

    with monkeypatch.context() as patched:
        patched.setattr(BatchProducer, "send", fails_after_the_first)
        with pytest.raises(StreamProfilesError) as error:
            load()
    assert str(error.value).startswith("Kafka went away; ") and "start no worker" in str(error.value)
    with pytest.raises(
        StreamProfilesError, match="holds records already, of workers or of a --warm that was cut short"
    ):
        load()
    live.recreate_topics()
    load()
    live.start("--refresh-redis")
    events = list[Event](shop_events(seed=12, users=50, events=1_000))
    live.wait_until(lambda: live.in_redis() == live.oracle(events), "in Redis")
