"""The table of profiles: partitions in memory, recovered by Faust from the compacted changelog.

Faust decides what to recover and reads it; this says what a record means. A partition that a worker keeps through a
rebalance is not read again: everything up to `written` is in memory already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, cast

import faust
from faust.stores.base import Store
from faust.types import TP

from ..partition import Partition
from ..updater import ProfileUpdater

log = logging.getLogger(__name__)


class Owned:
    """A partition this worker owns, until it does not."""

    def __init__(self, number: int, updater: ProfileUpdater) -> None:
        self.number = number
        self.partition = Partition(updater)
        #: Whether events may be applied now: recovered, and not about to be given back.
        self.active = False
        #: The changelog offset up to which the partition in memory agrees with the changelog; None before recovery.
        self.written: int | None = None


class ProfileStore(Store[Any, Any]):
    """One `Owned` per partition of the changelog."""

    def __init__(self, *args: Any, updater: ProfileUpdater, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.updater = updater
        self.owned: dict[int, Owned] = {}
        #: Records read by recoveries so far.
        self.recovered = 0
        #: Called with the partitions that a recovery has made ready to apply events.
        self.on_ready: Callable[[list[Owned]], None] | None = None

    # -- what Faust asks for -----------------------------------------------------------------------------------------

    def persisted_offset(self, tp: TP) -> int | None:
        owned = self.owned.get(tp.partition)
        return None if owned is None else owned.written

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        topic = self.table.changelog_topic.get_topic_name()
        numbers = {tp.partition for tp in assigned if tp.topic == topic}
        for number in set(self.owned) - numbers:
            del self.owned[number]
        for number in numbers - set(self.owned):
            self.owned[number] = Owned(number, self.updater)

    def apply_changelog_batch(
        self, batch: Iterable[Any], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        for event in batch:
            message = event.message
            owned = self.owned.get(message.partition)
            if owned is None or owned.active:
                continue  # What is active is ahead of the changelog.
            restore = owned.partition.restore
            for record in message.value:
                restore(record.key, record.value)
            owned.written = message.offset
            self.recovered += len(message.value)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        ready = [owned for owned in self.owned.values() if not owned.active]
        for owned in ready:
            owned.partition.restored()
            owned.active = True
        if ready and self.on_ready is not None:
            self.on_ready(ready)

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

    def suspend(self) -> None:
        """Apply no more events until the next recovery has ended."""
        for owned in self.owned.values():
            owned.active = False

    def forget(self, owned: Owned) -> None:
        """Drop a partition whose memory is ahead of the changelog; it is recovered as a whole if it comes back."""
        if self.owned.get(owned.number) is owned:
            self.owned[owned.number] = Owned(owned.number, self.updater)


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
