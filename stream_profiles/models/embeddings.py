"""BehaviourEmbedding: a vector of a user's taste, learned from what is seen together, one event at a time.

Incremental random indexing (Kanerva et al., CogSci 2000; Sahlgren, 2005): every session has a fixed sparse random index
vector; an item's context vector is the decayed sum of the index vectors of the sessions it was seen in; a user's is the
decayed mean of the items' directions. Items seen by the same people point the same way, and so do the people. All sums
are additive, so those of two partitions merge exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contracts import Event
from ..durations import Duration, label, to_ms
from ..errors import DefinitionError
from ..features import decay
from ..features.base import NUMBER_BYTES, Declared, check_name, field_getter, text

Vector = NDArray[np.float32]

#: How vectors are stored and published, on every machine.
_STORED = np.dtype("<f4")
#: Non-zero places of an index vector. Few against the dimension, so that two random ones are nearly orthogonal.
_NON_ZERO = 8


class BehaviourEmbedding(Declared):
    """Incremental embedding of users by what they do.

    Published: little-endian float32 of length `dimensions`, L2-normalised; nothing until the user has met an item that
    somebody was seen with before.

    Parameters:
        name: Field name.
        of: Event field with the item.
        on: Event type(s); None for all.
        half_life: How fast a user's past items fade.
        item_half_life: How fast the sessions an item was seen in fade.
        gap: Inactivity that ends a session, for events that carry no `session_id`.
        dimensions: Length of the vectors; a power of two from 16 to 256.
        max_items: Items remembered per partition; beyond it the one not seen for longest is forgotten.
    """

    def __init__(
        self,
        name: str,
        *,
        of: str = "item_id",
        on: str | Iterable[str] | None = None,
        half_life: Duration = "30d",
        item_half_life: Duration = "90d",
        gap: Duration = "30m",
        dimensions: int = 64,
        max_items: int = 50_000,
    ) -> None:
        check_name(name)
        if dimensions not in (16, 32, 64, 128, 256):
            raise DefinitionError(f'BehaviourEmbedding("{name}"): dimensions must be 16, 32, 64, 128 or 256')
        if max_items < 1:
            raise DefinitionError(f'BehaviourEmbedding("{name}"): max_items must be at least 1')
        self.name = name
        self.of = of
        self.on = (on,) if isinstance(on, str) else None if on is None else tuple(on)
        self.half_life, self.item_half_life, self.gap = label(half_life), label(item_half_life), label(gap)
        self.dimensions = dimensions
        self.max_items = max_items
        self._half_life_ms, self._item_half_life_ms = to_ms(half_life), to_ms(item_half_life)
        self._gap_ms = to_ms(gap)
        self._get = field_getter(self, of)

    def update(self, state: list[Any] | None, event: Event, items: ItemVectors) -> list[Any] | None:
        """State: `[time, weight, sum of directions as bytes, session start, session's last time]`."""
        item = text(self._get(event))
        if item is None:
            return None
        time = event.time
        if state is None:
            state = [time, 0.0, b"", time, time]
        elif time - state[4] > self._gap_ms:
            state[3] = state[4] = time
        elif time > state[4]:
            state[4] = time
        session = event.session_id or f"{event.user_id}:{state[3]}"
        direction = items.observe(item, _index_vector(session, self.dimensions), time, self._item_half_life_ms)
        if direction is None:
            return state
        elapsed = time - state[0]
        if not state[2]:
            state[0], state[1], total = time, 1.0, direction
        elif elapsed >= 0:
            kept = decay.factor(elapsed, self._half_life_ms)
            total = np.frombuffer(state[2], _STORED) * kept
            total += direction
            state[0], state[1] = time, state[1] * kept + 1.0
        else:
            weight = decay.factor(-elapsed, self._half_life_ms)
            direction *= weight
            total = np.frombuffer(state[2], _STORED) + direction
            state[1] += weight
        state[2] = _to_bytes(total)
        return state

    def snapshot(self, state: list[Any]) -> bytes | None:
        """The unit vector as bytes; None while there is none."""
        if not state[2]:
            return None
        unit = _direction(np.frombuffer(state[2], _STORED))
        return None if unit is None else _to_bytes(unit)

    def advance(self, value: Any, now: int) -> Any:
        return value

    @property
    def max_bytes(self) -> int:
        return 4 * self.dimensions + 5 * NUMBER_BYTES


@lru_cache(maxsize=4096)
def _index_vector(session: str, dimensions: int) -> Vector:
    """A session's own vector, made from its name, so nothing has to be kept. Read-only: all its events share it."""
    digest = np.frombuffer(blake2b(session.encode(), digest_size=2 * _NON_ZERO).digest(), np.uint8)
    vector = np.zeros(dimensions, np.float32)
    # Two places may fall together: the later sign wins, which is as random as any other.
    vector[digest[:_NON_ZERO].astype(np.intp) % dimensions] = np.where(
        digest[_NON_ZERO:] & 1, np.float32(1), np.float32(-1)
    )
    return vector


def _direction(vector: Vector) -> Vector | None:
    """The unit vector, a new array; None for a vector of zeros."""
    squared = float(vector.dot(vector))
    return vector * (1.0 / sqrt(squared)) if squared > 0.0 else None


def _to_bytes(vector: Vector) -> bytes:
    return vector.tobytes() if _STORED.isnative else vector.astype(_STORED).tobytes()


class ItemVectors:
    """The context vectors of one partition's items, those seen last at the end. Knows what changed since `take`."""

    def __init__(self, max_items: int) -> None:
        self._max_items = max_items
        #: item -> [sequence, time, vector]
        self._items: dict[str, list[Any]] = {}
        self._changed: dict[str, None] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._items)

    def observe(self, item: str, index_vector: Vector, time: int, half_life_ms: int) -> Vector | None:
        """The item's direction before this event (None when it is new); then add the session's index vector to it."""
        self._sequence += 1
        self._changed[item] = None
        known = self._items.pop(item, None)
        if known is None:
            if len(self._items) >= self._max_items:
                forgotten = next(iter(self._items))
                del self._items[forgotten]
                self._changed[forgotten] = None
            self._items[item] = [self._sequence, time, index_vector.copy()]
            return None
        self._items[item] = known
        vector: Vector = known[2]
        direction = _direction(vector)
        elapsed = time - known[1]
        if elapsed >= 0:
            vector *= decay.factor(elapsed, half_life_ms)
            vector += index_vector
            known[1] = time
        else:
            vector += index_vector * decay.factor(-elapsed, half_life_ms)
        known[0] = self._sequence
        return direction

    def take(self) -> list[tuple[str, int, list[Any] | None]]:
        """What changed since the last call: item, its version, and time and vector, or None when forgotten."""
        changed: list[tuple[str, int, list[Any] | None]] = []
        for item in self._changed:
            known = self._items.get(item)
            stored = None if known is None else [known[1], _to_bytes(known[2])]
            changed.append((item, self._sequence if known is None else known[0], stored))
        self._changed.clear()
        return changed

    def restore(self, stored: Mapping[str, tuple[int, list[Any]] | None]) -> None:
        """Take over what `take` gave, by item, on top of what is here."""
        for item, entry in stored.items():
            if entry is None:
                self._items.pop(item, None)
        kept = [(version, item, entry) for item, (version, entry) in _present(stored)]
        for version, item, (time, vector) in sorted(kept, key=lambda each: each[0]):
            self._items.pop(item, None)
            self._items[item] = [version, time, np.frombuffer(vector, _STORED).astype(np.float32)]
            self._sequence = max(self._sequence, version)


def _present(stored: Mapping[str, tuple[int, list[Any]] | None]) -> Iterable[tuple[str, tuple[int, list[Any]]]]:
    return ((item, entry) for item, entry in stored.items() if entry is not None)
