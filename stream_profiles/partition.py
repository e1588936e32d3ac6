"""One partition of profiles in memory: its users, what they share, its clock, and what has to be written next.

Pure like the updater it drives: no I/O, no wall clock. The engine feeds it events in the order of their offsets, writes
the records it asks to be written, all of a partition's at once, and restores it from them. Because one write holds the
users, the learners and the offsets up to which events were applied, they can never disagree after a failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any

from .contracts import Event
from .models.targets import Learner
from .state import (
    PartitionState,
    ProfileState,
    decode_body,
    decode_partition,
    decode_profile,
    encode,
    encode_body,
    header,
)
from .updater import Change, ProfileUpdater, Shared, Skipped

Record = tuple[bytes, bytes | None]

_USER, _ITEM, _LEARNER, _PARTITION = b"u", b"i", b"l", b"p"
#: Users kept decoded per partition. A decoded profile takes several times the memory of an encoded one.
_MAX_DECODED = 20_000


class Partition:
    """The profiles of one partition.

    Examples:
        >>> from stream_profiles import Count, Event, Partition, ProfileDefinition, ProfileUpdater
        >>> partition = Partition(ProfileUpdater(ProfileDefinition("shop", features=[Count("views")])))
        >>> change = partition.apply(Event(event_id="1", user_id="ada", type="view", time=1_000))
        >>> partition.published("ada")
        {'views': {'total': 1}}
    """

    def __init__(self, updater: ProfileUpdater) -> None:
        self.updater = updater
        self.shared = Shared(updater)
        self._about = PartitionState()
        self._encoded: dict[str, bytes] = {}
        self._decoded: dict[str, ProfileState] = {}
        self._changed: dict[str, None] = {}
        #: (deadline, user); one entry holds for each user who waits for time, older ones may lie around.
        self._timers: list[tuple[int, str]] = []
        self._deadlines: dict[str, int] = {}
        #: What a recovery has read so far: vectors of items and states of learners, by key, None when deleted.
        self._read_items: dict[str, dict[str, tuple[int, list[Any]] | None]] = {}
        self._read_learners: dict[str, tuple[int, list[Any]]] = {}

    def __len__(self) -> int:
        return len(self._encoded.keys() | self._changed.keys()) if self._changed else len(self._encoded)

    def apply(
        self, event: Event, topic: str = "", offset: int | None = None, source: tuple[str, int] | None = None
    ) -> Change | Skipped:
        """Apply the next event of the partition.

        Parameters:
            event: The event.
            topic: What identifies the topic it is read from.
            offset: Its offset there; one that was applied before is skipped.
            source: What identifies the partition that intake made the event from, and the offset there. Intake keeps
                their order, so one that is not larger than the last is a second copy.
        """
        about = self._about
        if offset is not None:
            if offset <= about.offsets.get(topic, -1):
                return Skipped.REPLAYED
            about.offsets[topic] = offset
        if source is not None:
            if source[1] <= about.sources.get(source[0], -1):
                return Skipped.DUPLICATE
            about.sources[source[0]] = source[1]
        if event.time > about.watermark:
            about.watermark = event.time
            if self._timers and self._timers[0][0] < event.time:
                self._run_timers()
        user = event.user_id
        state = self._decoded.get(user)
        if state is None:
            state = self._load(user)
        result = self.updater.apply(state, event, self.shared)
        if type(result) is Change:
            self._changed[user] = None
            if self.updater.targets:
                self._set_timer(user, state)
        return result

    def state(self, user: str) -> ProfileState | None:
        """The state of a user; None when there is none."""
        state = self._decoded.get(user)
        if state is None:
            encoded = self._encoded.get(user)
            # Not kept decoded: a look at all users must not take the memory of all of them decoded.
            state = None if encoded is None else decode_profile(encoded)
        return state if state is not None and state.version else None

    def published(self, user: str) -> dict[str, object] | None:
        """The profile of a user as it is published; None when there is none."""
        state = self.state(user)
        return None if state is None else self.updater.published(state)

    def users(self) -> Iterator[str]:
        """The users of the partition, in no particular order."""
        yield from self._encoded.keys() | {user for user, state in self._decoded.items() if state.version}

    def take(self) -> list[Record]:
        """The changelog records, key and value (None deletes), of everything that changed since the last call."""
        about = self._about
        records: list[Record] = []
        for user in self._changed:
            encoded = encode(self._decoded[user], self._deadlines.get(user, 0))
            self._encoded[user] = encoded
            records.append((_USER + user.encode(), encoded))
        self._changed.clear()
        for key, items in self.shared.items.items():
            prefix = _ITEM + key.encode() + b"\0"
            for item, version, body in items.take():
                records.append((prefix + item.encode(), None if body is None else encode_body(version, body)))
        about.version += 1
        for key, learner in self.shared.learners.items():
            if learner.changed:
                records.append((_LEARNER + key.encode(), encode_body(about.version, learner.state())))
                learner.changed = False
        records.append((_PARTITION, encode(about)))
        self._forget_decoded()
        return records

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take over one changelog record, in the order of the changelog. Call `restored` after the last.

        A record with a lower version than one seen before comes from a worker that had lost the partition: it is
        ignored.

        Raises:
            StateError: the record is of a format this release does not know.
        """
        kind, rest = key[:1], key[1:]
        if kind == _USER:
            user = rest.decode()
            self._decoded.pop(user, None)
            if value is None:
                self._encoded.pop(user, None)
                self._deadlines.pop(user, None)
                return
            version, deadline = header(value)
            known = self._encoded.get(user)
            if known is not None and header(known)[0] > version:
                return
            self._encoded[user] = value
            if deadline:
                if self._deadlines.get(user) != deadline:
                    self._deadlines[user] = deadline
                    heappush(self._timers, (deadline, user))
            else:
                self._deadlines.pop(user, None)
        elif kind == _ITEM:
            embedding, _, item = rest.decode().partition("\0")
            read = self._read_items.setdefault(embedding, {})
            new, old = None if value is None else decode_body(value), read.get(item)
            if new is None or old is None or new[0] >= old[0]:
                read[item] = new
        elif kind == _LEARNER and value is not None:
            version, learner = decode_body(value)
            if version >= self._read_learners.get(rest.decode(), (0, []))[0]:
                self._read_learners[rest.decode()] = version, learner
        elif kind == _PARTITION and value is not None:
            _merge(self._about, decode_partition(value))

    def restored(self) -> None:
        """Call after the last record of a recovery."""
        for target in self.updater.targets:
            if target.key in self._read_learners:
                _, state = self._read_learners[target.key]
                self.shared.learners[target.key] = Learner(target.target, state)
        for embedding in self.updater.embeddings:
            self.shared.items[embedding.key].restore(self._read_items.get(embedding.key, {}))
        self._read_items.clear()
        self._read_learners.clear()

    def stored_bytes(self, user: str) -> int:
        """Size of the user's record when it was last taken or restored; 0 when it never was."""
        return len(self._encoded.get(user, b""))

    def metrics(self) -> dict[str, list[Any]]:
        """State of the progressive metrics of each target, by the target's name."""
        return {target.name: self.shared.learners[target.key].metrics.state() for target in self.updater.targets}

    @property
    def offsets(self) -> dict[str, int]:
        """Last offset applied of each input topic."""
        return dict(self._about.offsets)

    @property
    def watermark(self) -> int:
        """Latest event time seen, in ms."""
        return self._about.watermark

    def _load(self, user: str) -> ProfileState:
        encoded = self._encoded.get(user)
        state = self.updater.new_state() if encoded is None else decode_profile(encoded)
        self._decoded[user] = state
        return state

    def _forget_decoded(self) -> None:
        """Let go of the profiles decoded first. Everything decoded is encoded too at this point."""
        surplus = len(self._decoded) - _MAX_DECODED
        if surplus > 0:
            for user in list(self._decoded)[: surplus + _MAX_DECODED // 10]:
                del self._decoded[user]

    def _set_timer(self, user: str, state: ProfileState) -> None:
        deadline = self.updater.deadline(state)
        if not deadline:
            self._deadlines.pop(user, None)
        elif self._deadlines.get(user) != deadline:
            self._deadlines[user] = deadline
            heappush(self._timers, (deadline, user))

    def _run_timers(self) -> None:
        timers, watermark = self._timers, self._about.watermark
        while timers and timers[0][0] < watermark:
            deadline, user = heappop(timers)
            if self._deadlines.get(user) != deadline:
                continue
            state = self._decoded.get(user) or self._load(user)
            self.updater.expire(state, watermark, self.shared)
            self._changed[user] = None
            del self._deadlines[user]
            self._set_timer(user, state)


def _merge(about: PartitionState, read: PartitionState) -> None:
    """Of two workers that wrote side by side each says what it applied, and what either did is applied."""
    about.version = max(about.version, read.version)
    about.watermark = max(about.watermark, read.watermark)
    for mine, theirs in ((about.offsets, read.offsets), (about.sources, read.sources)):
        for place, offset in theirs.items():
            mine[place] = max(offset, mine.get(place, offset))
