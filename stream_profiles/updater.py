"""The heart: what one event does to one profile.

`ProfileUpdater.apply` is one pure function in effect. It reads no clock and does no I/O, so live traffic, replay and
tests give the same profile from the same events, bit for bit. What belongs to a partition (models, items, timers, the
order of its events) is in `partition`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from .contracts import Event
from .definition import ProfileDefinition
from .features import Feature
from .models.embeddings import BehaviourEmbedding, ItemVectors
from .models.targets import CompiledTarget, Learner
from .state import ID_DIGEST_BYTES, ProfileState


class Change(Struct, gc=False):
    """What an event did to a profile."""

    user_id: str
    version: int
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
    """What the users of one partition have in common: the targets' learners and the embeddings' items."""

    def __init__(self, updater: ProfileUpdater) -> None:
        self.learners = {target.key: Learner(target.target) for target in updater.targets}
        self.items = {embedding.key: ItemVectors(embedding.max_items) for embedding in updater.embeddings}


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
        self.targets = [CompiledTarget(target, definition.inputs_of(target)) for target in definition.targets]
        self.embeddings: list[BehaviourEmbedding] = definition.embeddings
        self._allowed = None if definition.event_types is None else frozenset(definition.event_types)
        self._plans: dict[str, _Plan] = {}
        parts: list[Feature | CompiledTarget | BehaviourEmbedding] = [
            *definition.features,
            *self.targets,
            *self.embeddings,
        ]
        self._snapshots: dict[str, tuple[str, Callable[[Any], Any]]] = {
            part.key: (part.name, part.snapshot) for part in parts
        }
        self._seen_bytes = ID_DIGEST_BYTES * definition.dedup
        #: The most bytes one encoded profile takes, whatever arrives.
        self.max_profile_bytes = 64 + self._seen_bytes + sum(p.max_bytes + len(p.key.encode()) + 2 for p in parts)

    def allows(self, event_type: str) -> bool:
        """Whether the definition wants events of this type at all."""
        return self._allowed is None or event_type in self._allowed

    def new_state(self) -> ProfileState:
        return ProfileState()

    def apply(self, state: ProfileState, event: Event, shared: Shared | None = None) -> Change | Skipped:
        """Update a profile by an event, in place.

        Parameters:
            state: The user's state.
            event: The event; `event.user_id` is not compared with anything.
            shared: What the user's partition shares; needed when the definition has targets or embeddings.

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

        forgotten = (
            self._forget_unknown(state) if state.version and not state.slots.keys() <= self._snapshots.keys() else []
        )
        snapshot = bool(forgotten) or state.version == 0
        slots, changed, failed = state.slots, {}, _NOTHING
        plan = self._plans.get(event.type) or self._plan(event.type)
        for target in plan.awaited:
            waiting = slots.get(target.key)
            if waiting is not None:
                assert shared is not None
                target.happened(waiting, event, shared.learners[target.key])
        for key, name, update, publish in plan.features:
            try:
                new = update(slots.get(key), event)
                if new is not None:
                    changed[name] = publish(new)
                    slots[key] = new
            except Exception as error:  # whatever a field does, the rest of the profile goes on
                failed = {**failed, name: f"{type(error).__name__}: {error}"}
        for embedding_key, embedding in plan.embeddings:
            assert shared is not None
            new = embedding.update(slots.get(embedding_key), event, shared.items[embedding_key])
            if new is not None:
                slots[embedding_key] = new
                vector = embedding.snapshot(new)
                if vector is not None:
                    changed[embedding.name] = vector
        for target in plan.predicted:
            assert shared is not None
            key = target.key
            try:
                slots[key] = predicted = target.predict(slots.get(key), slots, event, shared.learners[key])
                changed[target.name] = target.snapshot(predicted)
            except Exception as error:  # a feature that fails to give its inputs
                failed = {**failed, target.name: f"{type(error).__name__}: {error}"}

        if time > state.last_time:
            state.last_time = time
        state.version += 1
        removed = forgotten
        if forgotten:
            changed = self.published(state)
            removed = [name for name in forgotten if name not in changed]
        return Change(event.user_id, state.version, event.event_id, time, changed, removed, snapshot, failed)

    def expire(self, state: ProfileState, watermark: int, shared: Shared) -> bool:
        """Settle the targets whose time was up before the watermark; returns whether the state changed."""
        settled = False
        for target in self.targets:
            waiting = state.slots.get(target.key)
            if waiting is not None and target.expire(waiting, watermark, shared.learners[target.key]):
                settled = True
        return settled

    def deadline(self, state: ProfileState) -> int:
        """When time alone will next change this state; 0 for never."""
        first = 0
        for target in self.targets:
            deadline = target.deadline(state.slots.get(target.key))
            if deadline is not None and (not first or deadline < first):
                first = deadline
        return first

    def published(self, state: ProfileState) -> dict[str, Any]:
        """The whole profile as it is published: one value a field that has one."""
        values: dict[str, Any] = {}
        for key, (name, publish) in self._snapshots.items():
            slot = state.slots.get(key)
            if slot is not None:
                try:
                    value = publish(slot)
                except Exception:  # said when the event was applied; the rest of the profile is there
                    continue
                if value is not None:
                    values[name] = value
        return values

    def _forget_unknown(self, state: ProfileState) -> list[str]:
        """Drop the state of fields that the definition no longer has, or has otherwise now; returns their names."""
        unknown = [key for key in state.slots if key not in self._snapshots]
        for key in unknown:
            del state.slots[key]
        return sorted({key.rpartition(":")[0] for key in unknown})

    def _plan(self, event_type: str) -> _Plan:
        definition = self.definition
        features = [f for f in definition.features if f.on is None or event_type in f.on]
        plan = _Plan(
            [(f.key, f.name, f.update, f.snapshot) for f in features],
            [(e.key, e) for e in self.embeddings if e.on is None or event_type in e.on],
            [t for t in self.targets if t.target.on is None or event_type in t.target.on],
            [t for t in self.targets if t.target.label.type == event_type],
        )
        if len(self._plans) < _MAX_PLANS:
            self._plans[event_type] = plan
        return plan


_NOTHING: dict[str, str] = {}
#: Types of event whose plan is kept; a stream with more types than this computes some of them anew.
_MAX_PLANS = 1024


class _Plan(Struct, frozen=True):
    """What an event type touches."""

    features: list[tuple[str, str, Callable[[Any, Event], Any], Callable[[Any], Any]]]
    embeddings: list[tuple[str, BehaviourEmbedding]]
    predicted: list[CompiledTarget]
    awaited: list[CompiledTarget]
