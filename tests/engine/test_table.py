"""The store behind the table: which partitions are owned, when events may be applied, and from where to recover."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from stream_profiles import Count, ProfileDefinition, ProfileUpdater
from stream_profiles.engine.app import profiles_app
from stream_profiles.engine.table import Owned, ProfileStore
from stream_profiles.partition import Partition
from stream_profiles.settings import load_settings

from .fakes import GENERATION, NAMES, event, new_store, until


def changelog(*numbers: int) -> set[TP]:
    return {TP(NAMES.changelog, number) for number in numbers}


async def assign(store: ProfileStore, *numbers: int, generation: int = GENERATION) -> None:
    """A rebalance, as far as the store sees it."""
    events = {TP(NAMES.events, number) for number in (*numbers, 7)}
    await store.on_rebalance(changelog(*numbers) | events, set(), changelog(*numbers), generation)


def run(
    records: list[tuple[bytes, bytes | None]], last_offset: int, partition: int = 0, generation: int = GENERATION
) -> Any:
    """A run of changelog records as recovery hands it over."""
    values = [SimpleNamespace(key=key, value=value) for key, value in records]
    return SimpleNamespace(
        message=SimpleNamespace(partition=partition, offset=last_offset, value=values, generation_id=generation)
    )


def restore(store: ProfileStore, *runs: Any) -> None:
    store.apply_changelog_batch(runs, to_key=None, to_value=None)  # type: ignore[arg-type]


def records_of(store: ProfileStore, *users: str) -> list[tuple[bytes, bytes | None]]:
    partition = Partition(store.updater)
    for number, user in enumerate(users, 1):
        partition.apply(event(number, user), "events-id", number)
    return partition.take()


async def test_a_rebalance_keeps_what_stays_and_drops_what_goes() -> None:
    store = new_store()
    await assign(store, 0, 1)
    kept, gone = store.owned[0], store.owned[1]
    await assign(store, 0, 2)
    assert store.owned.keys() == {0, 2}, "partitions of other topics do not count"
    assert store.owned[0] is kept
    await assign(store, 1)
    assert store.owned[1] is not gone, "what was lost meanwhile is recovered from the start"


async def test_nothing_is_active_before_the_recovery_has_ended() -> None:
    store = new_store()
    ready: list[list[Owned]] = []
    store.on_ready = ready.append
    await assign(store, 0, 1)
    assert not any(owned.active for owned in store.owned.values())
    await store.on_recovery_completed(changelog(0, 1), set())
    assert all(owned.active for owned in store.owned.values())
    assert ready == [[store.owned[0], store.owned[1]]]
    await store.on_recovery_completed(changelog(0, 1), set())
    assert len(ready) == 1, "what was ready before is not told again"


async def test_a_recovery_restores_profiles_and_offsets() -> None:
    store = new_store()
    await assign(store, 0)
    restore(store, run(records_of(store, "ada", "bob"), 12))
    await store.on_recovery_completed(changelog(0), set())
    owned = store.owned[0]
    assert owned.written == 12 and store.persisted_offset(TP(NAMES.changelog, 0)) == 12
    assert store.recovered == 3
    assert set(owned.partition.users()) == {"ada", "bob"}
    assert owned.partition.offsets == {"events-id": 2}


async def test_a_partition_kept_through_a_rebalance_goes_on_from_what_it_wrote() -> None:
    store = new_store()
    await assign(store, 0)
    await store.on_recovery_completed(changelog(0), set())
    owned = store.owned[0]
    owned.partition.apply(event(1), "events-id", 1)
    owned.partition.take()
    owned.written = 2
    store.suspend()
    await assign(store, 0)
    assert not owned.active and store.persisted_offset(TP(NAMES.changelog, 0)) == 2
    await store.on_recovery_completed(changelog(0), set())
    assert owned.active and owned.partition.published("ada") == {"views": {"total": 1}}


async def test_an_active_partition_takes_nothing_over_from_the_changelog() -> None:
    """Its memory is ahead of it."""
    store = new_store()
    await assign(store, 0)
    await store.on_recovery_completed(changelog(0), set())
    restore(store, run(records_of(store, "bob"), 5), run(records_of(store, "bob"), 5, partition=3))
    assert store.owned[0].written is None and list(store.owned[0].partition.users()) == []


async def test_suspend_stops_all_partitions_until_the_next_recovery() -> None:
    store = new_store()
    await assign(store, 0, 1)
    await store.on_recovery_completed(changelog(0, 1), set())
    store.suspend()
    assert not any(owned.active for owned in store.owned.values())
    await assign(store, 0, 1)
    await store.on_recovery_completed(changelog(0, 1), set())
    assert all(owned.active for owned in store.owned.values())


async def test_a_forgotten_partition_is_recovered_from_the_start() -> None:
    store = new_store()
    await assign(store, 0)
    restore(store, run(records_of(store, "ada"), 5))
    await store.on_recovery_completed(changelog(0), set())
    forgotten = store.owned[0]
    assert store.holds(forgotten)
    store.suspend()
    store.forget(forgotten)
    assert not store.holds(forgotten)
    assert store.persisted_offset(TP(NAMES.changelog, 0)) == -1
    await assign(store, 0, generation=GENERATION + 1)
    fresh = store.owned[0]
    assert fresh is not forgotten and not fresh.active and fresh.written is None and len(fresh.partition) == 0
    store.forget(forgotten)
    assert store.owned[0] is fresh, "forgetting twice forgets nothing more"


async def test_faust_recovers_a_forgotten_partition_from_the_start_too() -> None:
    """Given None, it would go on from the offset it remembers of the recovery before."""
    updater = ProfileUpdater(ProfileDefinition("shop", features=[Count("views")]))
    app, table = profiles_app(NAMES, load_settings(), "localhost:1", updater)
    store, recovery, tp = table.profiles, app.tables.recovery, TP(NAMES.changelog, 0)
    await assign(store, 0)
    recovery.add_active(table, tp)
    assert recovery.active_offsets[tp] == -1
    restore(store, run(records_of(store, "ada"), 500))
    recovery.active_offsets[tp] = 500
    await store.on_recovery_completed(changelog(0), set())
    store.forget(store.owned[0])
    await assign(store, 0, generation=GENERATION + 1)
    recovery.add_active(table, tp)
    assert recovery.active_offsets[tp] == -1


@pytest.mark.parametrize("flushed", ["before the assignment", "after the assignment"])
async def test_what_was_read_before_a_partition_was_forgotten_is_not_taken_over_after(flushed: str) -> None:
    """Faust flushes what it has read of the changelog after `settle` has forgotten the partition."""
    store = new_store()
    await assign(store, 0)
    restore(store, run(records_of(store, "ada"), 5))
    store.suspend()
    store.forget(store.owned[0])
    left_over = run(records_of(store, "bob"), 9)
    if flushed == "before the assignment":
        restore(store, left_over)
    await assign(store, 0, generation=GENERATION + 1)
    if flushed == "after the assignment":
        restore(store, left_over)
    assert store.persisted_offset(TP(NAMES.changelog, 0)) == -1 and len(store.owned[0].partition) == 0
    restore(store, run(records_of(store, "ada"), 5, generation=GENERATION + 1))
    assert store.persisted_offset(TP(NAMES.changelog, 0)) == 5


@pytest.mark.parametrize("begun", ["suspended", "signalled"])
async def test_a_recovery_that_a_rebalance_overtook_activates_nothing(begun: str) -> None:
    store = new_store()
    await assign(store, 0)
    if begun == "suspended":
        store.suspend()
    else:
        store.app.tables.recovery.signal_recovery_start.set()  # type: ignore[attr-defined]
    await store.on_recovery_completed(changelog(0), set())
    assert not store.owned[0].active


async def test_wait_for_gives_a_partition_once_it_is_ready() -> None:
    store = new_store()
    await assign(store, 0)
    waiting = asyncio.create_task(store.wait_for(0, GENERATION))
    await asyncio.sleep(0.03)
    assert not waiting.done()
    await store.on_recovery_completed(changelog(0), set())
    await until(waiting.done, "ready")
    assert waiting.result() is store.owned[0]


async def test_wait_for_gives_none_once_the_generation_has_passed() -> None:
    store = new_store()
    assert await store.wait_for(0, GENERATION - 1) is None
    waiting = asyncio.create_task(store.wait_for(0, GENERATION))
    await asyncio.sleep(0)
    store.app.consumer_generation_id = GENERATION + 1  # type: ignore[misc]
    await until(waiting.done, "given up")
    assert waiting.result() is None


async def test_reset_drops_everything() -> None:
    store = new_store()
    await assign(store, 0)
    store.reset_state()
    assert store.owned == {} and store.persisted_offset(TP(NAMES.changelog, 0)) == -1
