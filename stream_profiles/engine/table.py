"""The table of profiles: partitions in memory, recovered by Faust from the compacted changelog.

Faust decides what to recover and reads it; this says what a record means. A partition that a worker keeps through a
rebalance is not read again: everything up to `written` is in memory already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, cast

import faust
from faust.stores.base import Store
from faust.types import TP

from ..models.waiting_texts import KnownVectors
from ..partition import Partition
from ..updater import ProfileUpdater
from .chunks import ChunkedApp

log = logging.getLogger(__name__)

#: How long to wait before looking again whether a partition is ready.
_POLL_S = 0.02


class Owned:
    """A partition this worker owns, until it does not."""

    def __init__(
        self, number: int, updater: ProfileUpdater, generation: int, known: KnownVectors | None = None
    ) -> None:
        self.number = number
        #: The generation of the group in which the worker got it.
        self.generation = generation
        self.partition = Partition(updater, known)
        #: Whether events may be applied now: recovered, and not about to be given back.
        self.active = False
        #: The changelog offset up to which the partition in memory agrees with the changelog; None before recovery.
        self.written: int | None = None


class ProfileStore(Store[Any, Any]):
    """One `Owned` per partition of the changelog."""

    def __init__(self, *args: Any, updater: ProfileUpdater, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.updater = updater
        #: Vectors of texts seen lately, by any of the partitions.
        self.known = KnownVectors()
        self.owned: dict[int, Owned] = {}
        #: Whether the partitions are about to be given back: from `suspend` to the next assignment.
        self._suspended = False
        #: Records read by recoveries so far.
        self.recovered = 0
        #: Called with the partitions that a recovery has made ready to apply events.
        self.on_ready: Callable[[list[Owned]], None] | None = None

    # -- what Faust asks for -----------------------------------------------------------------------------------------

    def persisted_offset(self, tp: TP) -> int:
        owned = self.owned.get(tp.partition)
        # -1, not None: with None, Faust goes on from where it was when the partition was recovered before.
        return -1 if owned is None or owned.written is None else owned.written

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        topic = self.table.changelog_topic.get_topic_name()
        numbers = {tp.partition for tp in assigned if tp.topic == topic}
        for number in set(self.owned) - numbers:
            del self.owned[number]
        for number in numbers - set(self.owned):
            self.owned[number] = Owned(number, self.updater, generation_id, self.known)
        self._suspended = False

    def apply_changelog_batch(
        self, batch: Iterable[Any], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        try:
            self._take_over(batch)
        except Exception as error:  # Faust would log it and wait for ever.
            cast(ChunkedApp, self.app).fail(error)

    def _take_over(self, batch: Iterable[Any]) -> None:
        for event in batch:
            message = event.message
            owned = self.owned.get(message.partition)
            if owned is None or owned.active:
                continue  # What is active is ahead of the changelog.
            if message.generation_id < owned.generation:
                continue  # Left over from a recovery that a rebalance cut short: what lies before it is not in memory.
            restore = owned.partition.restore
            for record in message.value:
                restore(record.key, record.value)
            owned.written = message.offset
            self.recovered += len(message.value)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        recovery = cast(Any, self.app.tables).recovery
        if self._suspended or recovery.signal_recovery_start.is_set():
            return  # A rebalance has overtaken this recovery; another one follows.
        ready = [owned for owned in self.owned.values() if not owned.active]
        try:
            for owned in ready:
                owned.partition.restored()
                owned.active = True
            if ready and self.on_ready is not None:
                self.on_ready(ready)
        except Exception as error:  # Faust would not even log it.
            cast(ChunkedApp, self.app).fail(error)

    def reset_state(self) -> None:
        self.owned.clear()

    async def backup_partition(self, tp: Any, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        """Nothing to do: the changelog is the copy that counts."""

    def restore_backup(self, tp: Any, latest: bool = True, backup_id: int = 0) -> None:
        """Nothing to do, see `backup_partition`."""

    # -- what the engine asks for -------------------------------------------------------------------------------------

    def holds(self, owned: Owned) -> bool:
        """Whether events may be applied to the partition now."""
        return owned.active and self.owned.get(owned.number) is owned

    async def wait_for(self, number: int, generation: int) -> Owned | None:
        """The partition, once events of this generation may be applied to it; None when the generation has passed."""
        while self.app.consumer_generation_id == generation:
            owned = self.owned.get(number)
            if owned is not None and owned.active:
                return owned
            await asyncio.sleep(_POLL_S)
        return None

    def suspend(self) -> None:
        """Apply no more events until the next recovery has ended."""
        self._suspended = True
        for owned in self.owned.values():
            owned.active = False

    def forget(self, owned: Owned) -> None:
        """Drop a partition whose memory is ahead of the changelog; it is recovered as a whole if it comes back."""
        if self.owned.get(owned.number) is owned:
            del self.owned[owned.number]


class ProfileTable(faust.Table[Any, Any]):
    """The table whose store the profile agent works on directly."""

    def __init__(self, app: Any, *, updater: ProfileUpdater, **kwargs: Any) -> None:
        # With a buffer of one, Faust goes on reading the changelog after the recovery: our own writes would come back.
        super().__init__(app, recovery_buffer_size=2, **kwargs)
        self._updater = updater

    def _new_store(self) -> ProfileStore:
        return ProfileStore("memory://", self.app, self, table_name=self.name, updater=self._updater)

    @property
    def profiles(self) -> ProfileStore:
        return cast(ProfileStore, self.data)
