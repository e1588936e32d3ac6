"""One partition of profiles in memory: its users, what they share, its clock, and what has to be written next.

Pure like the updater it drives: no I/O, no wall clock. The engine feeds it events in the order of their offsets, writes
the records it asks to be written, all of a partition's at once, and restores it from them. Because one write holds the
users, the learners and the offsets up to which events were applied, they can never disagree after a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Any, TypeVar

from .contracts import Event
from .errors import StateError
from .models.journal import Journaled
from .models.waiting_texts import KnownVectors, Request
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
L = TypeVar("L", bound=Journaled)

_USER, _ITEM, _LEARNER, _TEXT, _PARTITION = b"u", b"i", b"l", b"t", b"p"
#: Users kept decoded per partition. A decoded profile takes several times the memory of an encoded one.
_MAX_DECODED = 20_000
#: What the clock does to users at one event. After a long silence it can be due for all of them at once: that many
#: changes would not fit into one write, and nothing else would get a turn.
_TIMERS_AN_EVENT = 1_000
#: Entries of timers that no longer hold, besides as many as there are users who wait.
_SPARE_TIMERS = 1_000


class Partition:
    """The profiles of one partition.

    Parameters:
        updater: The definition's.
        known: Vectors of texts seen lately, where partitions share them.

    Examples:
        >>> from stream_profiles import Count, Event, Partition, ProfileDefinition, ProfileUpdater
        >>> partition = Partition(ProfileUpdater(ProfileDefinition("shop", features=[Count("views")])))
        >>> change = partition.apply(Event(event_id="1", user_id="ada", type="view", time=1_000))
        >>> partition.published("ada")
        {'views': {'total': 1}}
    """

    def __init__(self, updater: ProfileUpdater, known: KnownVectors | None = None) -> None:
        self.updater = updater
        self.shared = Shared(updater, known)
        self._about = PartitionState()
        self._encoded: dict[str, bytes] = {}
        self._decoded: dict[str, ProfileState] = {}
        self._changed: dict[str, None] = {}
        #: (deadline, user); one entry holds for each user who waits for time, older ones may lie around.
        self._timers: list[tuple[int, str]] = []
        self._deadlines: dict[str, int] = {}
        #: What a recovery has read so far: vectors of items and states of learners, by key, None when deleted.
        self._read_items: dict[str, dict[str, tuple[int, list[Any]] | None]] = {}
        self._read_learners: dict[str, dict[int, tuple[int, Any]]] = {}
        self._read_texts: dict[str, dict[str, Any]] = {}
        #: Keys of records that nothing reads any more, to be deleted by the next write.
        self._obsolete: list[bytes] = []
        #: Changes that the passing of time made to profiles of users since `take_timed`.
        self._timed: list[Change] = []
        #: Those users since `take`.
        self._changed_by_time: dict[str, None] = {}
        #: What all users take in the next write, roughly, whom time or the vector of a text changed: an event that
        #: moves the clock by much, or a text that many wait for, makes many of them, and a write has a limit.
        self.unasked_bytes = 0
        #: What a recovery could not read, in words; those learners began anew.
        self.unreadable: list[str] = []

    def __len__(self) -> int:
        return len(self._encoded.keys() | self._changed.keys()) if self._changed else len(self._encoded)

    def apply(
        self,
        event: Event,
        topic: str = "",
        offset: int | None = None,
        source: tuple[str, int] | None = None,
        now: int = 0,
    ) -> Change | Skipped:
        """Apply the next event of the partition.

        Parameters:
            event: The event.
            topic: What identifies the topic it is read from.
            offset: Its offset there; one that was applied before is skipped.
            source: What identifies the partition that intake made the event from, and the offset there. Intake keeps
                their order, so one that is not larger than the last is a second copy.
            now: Wall-clock time (ms), for what waits for the vector of a text.
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
        if self._timers and self._timers[0][0] < about.watermark:
            self._run_timers(event.event_id)
        user = event.user_id
        state = self._decoded.get(user)
        if state is None:
            state = self._load(user)
        result = self.updater.apply(state, event, self.shared, now)
        if type(result) is Change:
            self._changed[user] = None
            if self.updater.waits:
                self._set_timer(user, state)
        return result

    def answer(
        self,
        text_id: str,
        encoder: str,
        version: str,
        vector: bytes | None,
        topic: str = "",
        offset: int | None = None,
    ) -> list[Change]:
        """Take the vector of a text, and fold it into the profiles of those who wait for it.

        Parameters:
            text_id: Which text.
            encoder: Name of the encoder.
            version: Its version.
            vector: Little-endian float32 of the encoder's dimension; None when the text has none.
            topic: What identifies the topic the answer is read from.
            offset: Its offset there; one that was taken before is skipped.

        Returns:
            The changes of profiles, in no particular order.
        """
        if offset is not None:
            if offset <= self._about.offsets.get(topic, -1):
                return []
            self._about.offsets[topic] = offset
        changes: list[Change] = []
        for embedding in self.updater.text_embeddings:
            if embedding.encoder_name != encoder:
                continue
            waiting = self.shared.texts[embedding.key]
            waiters = waiting.answered(text_id)
            if vector is None or not embedding.accepts(vector):
                waiting.failed += len(waiters)
                continue
            self.shared.known.put(encoder, text_id, version, vector)
            waiting.set_label(text_id, version, vector)
            by_user: dict[str, list[Any]] = {}
            for waiter in waiters:
                by_user.setdefault(waiter.user_id, []).append(waiter)
            for user, theirs in by_user.items():
                state = self._decoded.get(user) or self._load(user)
                change = self.updater.answer(state, embedding, theirs, version, vector, self.shared)
                if user not in self._changed:
                    self._changed[user] = None
                    self.unasked_bytes += len(self._encoded.get(user, b""))
                if change is not None:
                    changes.append(change)
                    if self.updater.waits:
                        self._set_timer(user, state)
        return changes

    def take_requests(self) -> list[Request]:
        """Texts whose vectors are to be asked for, since the last call."""
        return [request for waiting in self.shared.texts.values() for request in waiting.take_requests()]

    def give_up_texts(self, now: int) -> int:
        """Let go of events whose texts have waited longer than declared; returns how many.

        Parameters:
            now: Wall-clock time, ms.
        """
        return sum(
            self.shared.texts[embedding.key].give_up(now - embedding.answer_within_ms)
            for embedding in self.updater.text_embeddings
        )

    def text_metrics(self) -> dict[str, dict[str, int | None]]:
        """How the texts of each text embedding stand, by its name: `WaitingTexts.report`."""
        return {each.name: self.shared.texts[each.key].report() for each in self.updater.text_embeddings}

    @property
    def must_wait_for_texts(self) -> bool:
        """Whether, by the definition, no event may be applied until a text that waits has got its vector."""
        return any(
            embedding.when_full == "wait" and self.shared.texts[embedding.key].full
            for embedding in self.updater.text_embeddings
        )

    def take_timed(self) -> list[Change]:
        """The changes of profiles since the last call that time alone made: a stage, a segment.

        They come before the change of the event that moved the clock.
        """
        timed, self._timed = self._timed, []
        return timed

    @property
    def timed(self) -> list[str]:
        """Users whose profiles time alone changed in the last write: whoever wrote it may not have got to Redis."""
        return list(self._about.timed)

    def take_over_timed(self) -> list[str]:
        """`timed`, for who has just recovered the partition and brings them to Redis. The next write names them once
        more: it is the last one then, and whoever makes it may not get to Redis either."""
        self._changed_by_time.update(dict.fromkeys(self._about.timed))
        return self.timed

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
        records += ((key, None) for key in self._obsolete)
        self._obsolete.clear()
        for key, waiting in self.shared.texts.items():
            prefix = _TEXT + key.encode() + b"\0"
            for name, content in waiting.take():
                records.append((prefix + name.encode(), None if content is None else encode_body(0, content)))
        about.version += 1
        for key, learner in self.shared.journaled():
            if learner.changed:
                for batch, body in learner.take(about.version):
                    record = _LEARNER + key.encode() + (b"\0%d" % batch if batch else b"")
                    records.append((record, None if body is None else encode_body(about.version, body)))
        about.timed = list(self._changed_by_time)
        self._changed_by_time.clear()
        self.unasked_bytes = 0
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
                self._appoint(user, deadline)
            else:
                self._deadlines.pop(user, None)
        elif kind == _ITEM:
            embedding, _, item = rest.decode().partition("\0")
            read = self._read_items.setdefault(embedding, {})
            new, old = None if value is None else decode_body(value), read.get(item)
            if new is None or old is None or new[0] >= old[0]:
                read[item] = new
        elif kind == _LEARNER:
            name, _, batch = rest.decode().partition("\0")
            records = self._read_learners.setdefault(name, {})
            if value is None:
                records.pop(int(batch or 0), None)
            elif (body := decode_body(value))[0] >= records.get(int(batch or 0), (0, None))[0]:
                records[int(batch or 0)] = body
        elif kind == _TEXT:
            embedding, _, name = rest.decode().partition("\0")
            texts = self._read_texts.setdefault(embedding, {})
            if value is not None:
                texts[name] = decode_body(value)[1]
            elif name in self.shared.texts.get(embedding, ()):
                # A partition that was kept through a rebalance, and written by somebody else meanwhile.
                texts[name] = None
            else:
                texts.pop(name, None)
        elif kind == _PARTITION and value is not None:
            _merge(self._about, decode_partition(value))

    def restored(self) -> None:
        """Call after the last record of a recovery."""
        for target in self.updater.targets:
            self._resume(target.key, target.name, self.shared.learners, target.learner)
        for monitor in self.updater.monitors:
            self._resume(monitor.key, monitor.name, self.shared.watchers, monitor.watcher)
        for key, items in self.shared.items.items():
            items.restore(self._read_items.get(key, {}))
        for key, waiting in self.shared.texts.items():
            waiting.restore(self._read_texts.pop(key, {}))
        # What waits for an encoder that was replaced waits in vain.
        for key, texts in self._read_texts.items():
            self._obsolete += (_TEXT + f"{key}\0{name}".encode() for name in texts)
        self._read_items.clear()
        self._read_texts.clear()
        self._read_learners.clear()

    def _resume(self, key: str, name: str, learners: dict[str, L], start: Callable[[Any], L]) -> None:
        """Start a learner from what was read of it."""
        records = self._read_learners.get(key, {})
        if 0 not in records:
            return
        version, state = records.pop(0)
        try:
            learners[key] = start(state)
            learners[key].resume(version, {batch: lessons for batch, (_, lessons) in records.items()})
        except StateError as error:
            self.unreadable.append(f"{name}: {error}")

    def stored_bytes(self, user: str) -> int:
        """Size of the user's record when it was last taken or restored; 0 when it never was."""
        return len(self._encoded.get(user, b""))

    def metrics(self) -> dict[str, dict[str, Any]]:
        """How the learner of each target stands, by the target's name: `Learner.report`."""
        return {target.name: self.shared.learners[target.key].report() for target in self.updater.targets}

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

    def _set_timer(self, user: str, state: ProfileState, after: int = 0) -> None:
        deadline = self.updater.deadline(state, after)
        if not deadline:
            self._deadlines.pop(user, None)
        else:
            self._appoint(user, deadline)

    def _appoint(self, user: str, deadline: int) -> None:
        if self._deadlines.get(user) == deadline:
            return
        self._deadlines[user] = deadline
        timers = self._timers
        # A deadline that every event moves, such as that of an absence, would leave an entry of each event.
        if len(timers) > 2 * len(self._deadlines) + _SPARE_TIMERS:
            timers[:] = [(deadline, user) for user, deadline in self._deadlines.items()]
            heapify(timers)
        else:
            heappush(timers, (deadline, user))

    def _run_timers(self, event_id: str) -> None:
        """Do what was due before the watermark, in the order in which it was due; too much of it goes on next time."""
        timers, watermark, left = self._timers, self._about.watermark, _TIMERS_AN_EVENT
        while timers and left and timers[0][0] < watermark:
            deadline, user = heappop(timers)
            if self._deadlines.get(user) != deadline:
                continue
            left -= 1
            state = self._decoded.get(user) or self._load(user)
            # Just past its time: what is due later is done then, by the timer that is set for it.
            change = self.updater.expire(state, user, event_id, deadline + 1, self.shared)
            if change is not None:
                self._timed.append(change)
                self._changed_by_time[user] = None
            if user not in self._changed:
                self._changed[user] = None
                self.unasked_bytes += len(self._encoded.get(user, b""))
            del self._deadlines[user]
            self._set_timer(user, state, after=deadline)


def _merge(about: PartitionState, read: PartitionState) -> None:
    """Of two workers that wrote side by side each says what it applied, and what either did is applied."""
    # Only of the last write it is not known whether Redis has it.
    if read.version >= about.version:
        known = about.timed if read.version == about.version else []
        about.timed = list(dict.fromkeys([*known, *read.timed]))
    about.version = max(about.version, read.version)
    about.watermark = max(about.watermark, read.watermark)
    for mine, theirs in ((about.offsets, read.offsets), (about.sources, read.sources)):
        for place, offset in theirs.items():
            mine[place] = max(offset, mine.get(place, offset))
