"""The heart: what one event does to one profile.

`ProfileUpdater.apply` is one pure function in effect. It reads no clock and does no I/O, so live traffic, replay and
tests give the same profile from the same events, bit for bit. What belongs to a partition (models, items, timers, the
order of its events) is in `partition`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from .contracts import Event
from .definition import ProfileDefinition
from .features import Feature
from .features.derived import Derivation, Derived
from .models.embeddings import BehaviourEmbedding, ItemVectors
from .models.journal import Journaled
from .models.learners import Learner
from .models.monitors import CompiledMonitor, Watcher
from .models.targets import CompiledTarget
from .models.text_embeddings import TextEmbedding
from .models.waiting_texts import KnownVectors, Waiter
from .segments import Segment
from .state import ID_DIGEST_BYTES, ProfileState


class Change(Struct, gc=False):
    """What an event did to a profile."""

    user_id: str
    version: int
    #: The event that caused the change: the user's own, or one that moved the partition's clock.
    event_id: str
    event_time: int
    #: New published value of each field that changed.
    changed: dict[str, Any]
    #: Fields that the profile lost because the definition did.
    removed: list[str]
    #: True when `changed` is the whole profile.
    snapshot: bool
    #: Fields that failed on this event and stayed as they were, with the error.
    failed: dict[str, str]


class Skipped(Enum):
    """Why an event did nothing."""

    #: Applied before; it came again after a restart.
    REPLAYED = "replayed"
    #: Another event with the same id was applied.
    DUPLICATE = "duplicate"
    #: Older than the definition's lateness allows.
    LATE = "late"


class Shared:
    """What the users of one partition have in common: learners of targets, watchers of monitors, embeddings' items,
    events that wait for the vectors of their texts.

    Parameters:
        updater: The definition's.
        known: Vectors of texts seen lately, which partitions may share.
    """

    def __init__(self, updater: ProfileUpdater, known: KnownVectors | None = None) -> None:
        self.learners: dict[str, Learner] = {target.key: target.learner() for target in updater.targets}
        self.watchers: dict[str, Watcher] = {monitor.key: monitor.watcher() for monitor in updater.monitors}
        behaviour = [each for each in updater.embeddings if isinstance(each, BehaviourEmbedding)]
        self.items = {embedding.key: ItemVectors(embedding.max_items) for embedding in behaviour}
        self.texts = {embedding.key: embedding.waiting() for embedding in updater.text_embeddings}
        self.known = KnownVectors() if known is None else known

    def journaled(self) -> Iterable[tuple[str, Journaled]]:
        """Everything that learns, by key."""
        yield from self.learners.items()
        yield from self.watchers.items()


class ProfileUpdater:
    """A definition, compiled.

    Examples:
        >>> from stream_profiles import Count, Event, ProfileDefinition, ProfileUpdater
        >>> updater = ProfileUpdater(ProfileDefinition("shop", features=[Count("views", on="view")]))
        >>> state = updater.new_state()
        >>> updater.apply(state, Event(event_id="1", user_id="ada", type="view", time=1_000)).changed
        {'views': {'total': 1}}
    """

    def __init__(self, definition: ProfileDefinition) -> None:
        self.definition = definition
        self.targets = [CompiledTarget(target, definition.features) for target in definition.targets]
        self.monitors = [CompiledMonitor(monitor, definition.features) for monitor in definition.monitors]
        self.embeddings: list[BehaviourEmbedding | TextEmbedding] = definition.embeddings
        self.text_embeddings: list[TextEmbedding] = definition.text_embeddings
        self.segments: list[Segment] = definition.segments
        self._features = [feature for feature in definition.features if not isinstance(feature, Derived)]
        fields: dict[str, Any] = {field.name: field for field in definition.fields}
        self._derived = [Derivation(each, fields) for each in definition.features if isinstance(each, Derived)]
        self._allowed = None if definition.event_types is None else frozenset(definition.event_types)
        self._plans: dict[str, _Plan] = {}
        vectors = {vector.name: vector for each in self.text_embeddings for vector in each.vectors}
        #: Fields whose former state, of another encoder, is published until there is a new one.
        self._outlasting: dict[str, Any] = {**{each.name: each for each in self.text_embeddings}, **vectors}
        stored: list[Any] = [*self._features, *self.targets, *self.monitors, *self.embeddings, *self.segments]
        stored += vectors.values()
        #: Name, and how to publish and to bring to a later time, of each field that keeps state.
        self._stored: dict[str, tuple[str, Callable[[Any], Any], Callable[[Any, int], Any]]] = {
            part.key: (part.name, part.snapshot, part.advance) for part in stored
        }
        self._keys = {part.name: part.key for part in stored}
        self._derivations = {each.derived.name: each for each in self._derived}
        #: Fields whose published value changes by the mere passing of time.
        self._moving = {feature.name for feature in self._features if type(feature).advance is not Feature.advance}
        self._moving |= {each.derived.name for each in self._derived if not self._moving.isdisjoint(each.stored)}
        self._timed = [feature for feature in self._features if type(feature).deadline is not Feature.deadline]
        self._timed_segments = [segment for segment in self.segments if segment.every_ms is not None]
        timed: list[Any] = [*self.targets, *self._timed, *self._timed_segments]
        self._deadlines: list[tuple[str, Callable[[Any], int | None]]] = [(part.key, part.deadline) for part in timed]
        keys = "".join([*self._stored, *(each.derived.key for each in self._derived)])
        self._digest = blake2b(keys.encode(), digest_size=ID_DIGEST_BYTES).digest()
        self._seen_bytes = ID_DIGEST_BYTES * definition.dedup
        #: The most bytes one encoded profile takes, whatever arrives.
        self.max_profile_bytes = 80 + self._seen_bytes + sum(p.max_bytes + len(p.key.encode()) + 2 for p in stored)

    def allows(self, event_type: str) -> bool:
        """Whether the definition wants events of this type at all."""
        return self._allowed is None or event_type in self._allowed

    @property
    def waits(self) -> bool:
        """Whether time alone can change anything."""
        return bool(self._deadlines)

    def new_state(self) -> ProfileState:
        return ProfileState()

    def apply(self, state: ProfileState, event: Event, shared: Shared | None = None, now: int = 0) -> Change | Skipped:
        """Update a profile by an event, in place.

        Parameters:
            state: The user's state.
            event: The event; `event.user_id` is not compared with anything.
            shared: What the user's partition shares; needed when the definition has targets, monitors or embeddings.
            now: Wall-clock time (ms), which only tells how long a text has waited for its vector.

        Returns:
            The change, or why there was none.
        """
        digest = blake2b(event.event_id.encode(), digest_size=ID_DIGEST_BYTES).digest()
        seen = state.seen
        if seen and digest in seen and any(seen[i : i + 8] == digest for i in range(0, len(seen), ID_DIGEST_BYTES)):
            return Skipped.DUPLICATE
        time = event.time
        if time < state.last_time - self.definition.lateness_ms:
            return Skipped.LATE
        state.seen = (seen + digest)[-self._seen_bytes :] if self._seen_bytes else b""

        other_definition = state.definition != self._digest
        forgotten = self._adopt(state) if other_definition else []
        slots, changed, failed = state.slots, dict[str, Any](), _NOTHING
        plan = self._plans.get(event.type) or self._plan(event.type)
        for target in plan.awaited:
            waiting = slots.get(target.key)
            if waiting is not None:
                assert shared is not None
                try:
                    target.see(waiting, event, shared.learners[target.key])
                except Exception as error:  # whatever a field does, the rest of the profile goes on
                    failed = {**failed, target.name: f"{type(error).__name__}: {error}"}
        for key, name, update, publish in plan.features:
            try:
                new = update(slots.get(key), event)
                if new is not None:
                    changed[name] = publish(new)
                    slots[key] = new
            except Exception as error:  # as above
                failed = {**failed, name: f"{type(error).__name__}: {error}"}
        for part in plan.learning:
            assert shared is not None
            try:
                key = part.key
                if isinstance(part, TextEmbedding):
                    changed.update(part.see(slots, event, shared.texts[key], shared.known, now))
                    continue
                if isinstance(part, BehaviourEmbedding):
                    new = part.update(slots.get(key), event, shared.items[key])
                elif isinstance(part, CompiledTarget):
                    new = part.predict(slots.get(key), slots, event, shared.learners[key])
                else:
                    new = part.observe(slots.get(key), slots, event, shared.watchers[key])
                if new is not None:
                    slots[key] = new
                    value = part.snapshot(new)
                    if value is not None:
                        changed[part.name] = value
            except Exception as error:  # a feature that fails to give its inputs, a model that fails on them
                failed = {**failed, part.name: f"{type(error).__name__}: {error}"}

        if time > state.last_time:
            state.last_time = time
        # What was never asked about may speak of those who did nothing yet, whatever the event.
        derived, segments = (self._derived, self.segments) if other_definition else (plan.derived, plan.segments)
        if derived or segments:
            failed = self._conclude(state, changed, derived, segments, state.last_time, failed, other_definition)
        return self._changed(state, event.user_id, event.event_id, time, changed, failed, forgotten, other_definition)

    def expire(self, state: ProfileState, user_id: str, event_id: str, now: int, shared: Shared) -> Change | None:
        """Do what the time up to `now` asks for: settle targets, and change what changes when nothing arrives.

        Parameters:
            state: The user's state, changed in place.
            user_id: The user.
            event_id: The event that moved the partition's clock.
            now: What is due before this moment (event time, ms) is done.
            shared: What the user's partition shares.

        Returns:
            The change of the published profile, when there is one.
        """
        other_definition = state.definition != self._digest
        slots, changed, failed = state.slots, dict[str, Any](), _NOTHING
        for target in self.targets:
            waiting = slots.get(target.key)
            if waiting is not None:
                try:
                    target.expire(waiting, now, shared.learners[target.key])
                except Exception as error:  # as in `apply`
                    failed = {**failed, target.name: f"{type(error).__name__}: {error}"}
        for feature in self._timed:
            try:
                slot = slots.get(feature.key)
                due = None if slot is None else feature.deadline(slot)
                if due is not None and due < now:
                    slots[feature.key] = new = feature.expire(slot, now)
                    changed[feature.name] = feature.snapshot(new)
            except Exception as error:  # as in `apply`
                failed = {**failed, feature.name: f"{type(error).__name__}: {error}"}
        asked = [s for s in self._timed_segments if (due := s.deadline(slots.get(s.key))) is not None and due < now]
        if changed or asked:
            moved = set(changed)
            derived = self._made_of(moved)
            others = [segment for segment in self.segments if segment not in asked]
            asked += [s for s in others if other_definition or not moved.isdisjoint(s.sources)]
            failed = self._conclude(state, changed, derived, asked, now, failed)
        if not changed and not failed:
            return None
        forgotten = self._adopt(state) if other_definition else []
        return self._changed(state, user_id, event_id, now, changed, failed, forgotten, other_definition)

    def answer(
        self,
        state: ProfileState,
        embedding: TextEmbedding,
        waiters: list[Waiter],
        version: str,
        vector: bytes,
        shared: Shared,
    ) -> Change | None:
        """Fold the vector of a text into a profile.

        Parameters:
            state: The user's state, changed in place.
            embedding: Whose vector it is.
            waiters: The user's events that have waited for it.
            version: Of the encoder.
            vector: The vector, little-endian float32.
            shared: What the user's partition shares.

        Returns:
            The change of the published profile, when there is one.
        """
        for each in waiters:
            embedding.fold(state.slots, version, vector, each.time, each.weight)
        changed = embedding.publish(state.slots, shared.texts[embedding.key])
        if not changed:
            return None
        last = waiters[-1]
        other_definition = state.definition != self._digest
        forgotten = self._adopt(state) if other_definition else []
        moved = set(changed)
        derived = self._made_of(moved)
        asked = [segment for segment in self.segments if other_definition or not moved.isdisjoint(segment.sources)]
        failed = self._conclude(state, changed, derived, asked, state.last_time, _NOTHING)
        return self._changed(
            state, last.user_id, last.event_id, last.time, changed, failed, forgotten, other_definition
        )

    def deadline(self, state: ProfileState, after: int = 0) -> int:
        """When time alone will next change this state, later than `after`; 0 for never."""
        slots, first = state.slots, 0
        for key, part_deadline in self._deadlines:
            slot = slots.get(key)
            if slot is not None:
                try:
                    deadline = part_deadline(slot)
                except Exception:  # of a field that fails there is nothing to wait for
                    continue
                if deadline is not None and deadline > after and (not first or deadline < first):
                    first = deadline
        return first

    def published(self, state: ProfileState) -> dict[str, Any]:
        """The whole profile as it is published: one value a field that has one."""
        values: dict[str, Any] = {}
        for key, (name, publish, _) in self._stored.items():
            slot = state.slots.get(key)
            if slot is not None:
                try:
                    value = publish(slot)
                except Exception:  # said when the event was applied; the rest of the profile is there
                    continue
                if value is not None:
                    values[name] = value
        if self._outlasting:
            for key, slot in state.slots.items():
                name = key.rpartition(":")[0]
                if key not in self._stored and name in self._outlasting:
                    value = self._outlasting[name].snapshot(slot)
                    if value is not None:
                        values.setdefault(name, value)
        for each in self._derived:
            try:
                value = each.value(values)
            except Exception:  # as above
                continue
            if value is not None:
                values[each.derived.name] = value
        return values

    def _changed(
        self,
        state: ProfileState,
        user_id: str,
        event_id: str,
        time: int,
        changed: dict[str, Any],
        failed: dict[str, str],
        forgotten: list[str],
        other_definition: bool,
    ) -> Change:
        """The next version of the profile; of one that another definition wrote last, all of it is published anew."""
        state.version += 1
        removed: list[str] = []
        if other_definition and state.version > 1:
            changed = self.published(state)
            removed = [name for name in forgotten if name not in changed]
        return Change(user_id, state.version, event_id, time, changed, removed, other_definition, failed)

    def _conclude(
        self,
        state: ProfileState,
        changed: dict[str, Any],
        derived: Iterable[Derivation],
        segments: Iterable[Segment],
        now: int,
        failed: dict[str, str],
        all_anew: bool = False,
    ) -> dict[str, str]:
        """Compute what is made of what has changed, or all; adds to `changed` and returns the failures."""
        for each in derived:
            feature = each.derived
            if not all_anew and changed.keys().isdisjoint(feature.sources):
                continue
            try:
                value = each.value(self._values(state, each.stored, changed))
                if value is not None:
                    changed[feature.name] = value
            except Exception as error:  # as in `apply`
                failed = {**failed, feature.name: f"{type(error).__name__}: {error}"}
        for segment in segments:
            try:
                slot = state.slots.get(segment.key)
                at = segment.moment(slot, now)
                new, moved = segment.ask(slot, self._values_at(state, segment.sources, changed, at), at)
                state.slots[segment.key] = new
                if moved:
                    changed[segment.name] = segment.snapshot(new)
            except Exception as error:  # as in `apply`
                failed = {**failed, segment.name: f"{type(error).__name__}: {error}"}
        return failed

    def _values(self, state: ProfileState, names: Iterable[str], changed: Mapping[str, Any]) -> dict[str, Any]:
        """Published values of fields that keep state."""
        values: dict[str, Any] = {}
        for name in names:
            value = changed.get(name)
            if value is None:
                key = self._keys[name]
                slot = state.slots.get(key)
                value = None if slot is None else self._stored[key][1](slot)
            if value is not None:
                values[name] = value
        return values

    def _values_at(
        self, state: ProfileState, names: Iterable[str], changed: Mapping[str, Any], now: int
    ) -> dict[str, Any]:
        """Values of any fields as of `now`."""
        values: dict[str, Any] = {}
        for name in names:
            derivation = self._derivations.get(name)
            if derivation is not None:
                value = derivation.value(self._values(state, derivation.stored, changed), now)
            else:
                value = self._values(state, (name,), changed).get(name)
                if value is not None and name in self._moving:
                    _, _, advance = self._stored[self._keys[name]]
                    value = advance(value, now)
            if value is not None:
                values[name] = value
        return values

    def _adopt(self, state: ProfileState) -> list[str]:
        """Make a state that another definition, or none, wrote last one of this: drop the state of fields that it does
        not have, or has otherwise; returns their names. What is to outlast its encoder stays, until it is replaced."""
        present = {key.rpartition(":")[0] for key in state.slots if key in self._stored}
        unknown = [
            key
            for key in state.slots
            if key not in self._stored and ((name := key.rpartition(":")[0]) not in self._outlasting or name in present)
        ]
        for key in unknown:
            del state.slots[key]
        state.definition = self._digest
        return sorted({key.rpartition(":")[0] for key in unknown})

    def _plan(self, event_type: str) -> _Plan:
        features = [f for f in self._features if f.on is None or event_type in f.on]
        embeddings = [e for e in self.embeddings if e.on is None or event_type in e.on]
        predicting: list[CompiledTarget | CompiledMonitor] = [*self.targets, *self.monitors]
        predicted = [each for each in predicting if each.predicts(event_type)]
        touched = {f.name for f in features} | {e.name for e in embeddings} | {each.name for each in predicted}
        touched |= {v.name for e in embeddings if isinstance(e, TextEmbedding) for v in e.vectors}
        derived = self._made_of(touched)
        plan = _Plan(
            [(f.key, f.name, f.conditional_update(), f.snapshot) for f in features],
            [*embeddings, *predicted],
            [t for t in self.targets if t.awaits(event_type)],
            derived,
            # What a rule says of a value that moves by itself can be another at any event.
            [s for s in self.segments if not (touched | self._moving).isdisjoint(s.sources)],
        )
        if len(self._plans) < _MAX_PLANS:
            self._plans[event_type] = plan
        return plan

    def _made_of(self, names: set[str]) -> list[Derivation]:
        """What is made of some fields, or of something that is; adds their names."""
        made = []
        for each in self._derived:
            if not names.isdisjoint(each.derived.sources):
                made.append(each)
                names.add(each.derived.name)
        return made


_NOTHING: dict[str, str] = {}
#: Types of event whose plan is kept; a stream with more types than this computes some of them anew.
_MAX_PLANS = 1024


class _Plan(Struct, frozen=True):
    """What an event type touches."""

    features: list[tuple[str, str, Callable[[Any, Event], Any], Callable[[Any], Any]]]
    #: What learns from the users of a partition together, in the order in which it looks at the profile.
    learning: list[BehaviourEmbedding | TextEmbedding | CompiledTarget | CompiledMonitor]
    awaited: list[CompiledTarget]
    derived: list[Derivation]
    segments: list[Segment]
