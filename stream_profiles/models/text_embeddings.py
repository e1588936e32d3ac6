"""TextEmbedding: a vector of what a user reads, searches and writes, and which interests it is near.

The vector of a text comes from an encoder in another process and arrives later than the event; `waiting_texts` keeps
what waits. Here an answer is folded in with the weight and the time of its event: an exponential mean for each
half-life, which is the same whatever the order of the answers (forward decay: Cormode et al., ICDE 2009).
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from math import cos, isfinite, radians, sqrt
from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ..contracts import MAX_TEXT_LENGTH, Event
from ..durations import Duration, to_ms
from ..durations import label as label_of
from ..errors import DefinitionError
from ..features import decay
from ..features.base import NUMBER_BYTES, Declared, check_name, condition_of, config_of, field_getter
from .waiting_texts import KnownVectors, Waiter, WaitingTexts

Vector = NDArray[np.float32]

#: How vectors are published, and how a profile keeps them: half the bytes, a hundredth of a degree.
_PUBLISHED, _KEPT = np.dtype("<f4"), np.dtype("<f2")
_HASHING = "hashing"
_HASHING_DIMENSION = 384
#: Length of the vectors of encoders that are known by name.
_DIMENSIONS = {
    "all-MiniLM-L6-v2": 384,
    "all-MiniLM-L12-v2": 384,
    "all-mpnet-base-v2": 768,
    "multi-qa-MiniLM-L6-cos-v1": 384,
    "paraphrase-multilingual-MiniLM-L12-v2": 384,
    "paraphrase-multilingual-mpnet-base-v2": 768,
}
_MAX_LABELS = 64
_MAX_WEIGHT = 1e6
_TOP = 5
#: What is shorter than the root of it has no direction that float32 could tell.
_LEAST_SQUARE = 1e-30


class Text(Struct, frozen=True, gc=False):
    """A text as an encoder gets it."""

    text_id: str
    text: str
    #: Whether the end was cut off.
    cut: bool


class TextEmbedding(Declared):
    """Embedding of users by the texts of their events.

    The worker asks an encoder for the vector of each text, once, and goes on; the answer is folded in when it comes. An
    answer that does not come within `answer_within` is given up, and counted.

    Published: `NAME_HALF_LIFE` for each half-life, such as `interests_30d`, little-endian float32 of length
    `dimension`, L2-normalised; and `NAME`: `{"encoder": "name@version", "texts": how many are in, "top": {"30d": [the
    five nearest labels]}, "cosines": {"30d": {label: cosine, ...}}}`, the last two where there are labels, the nearest
    first. Both are published when a vector has moved by more than `min_angle` since it was published.

    Parameters:
        name: Field name.
        of: Event field with the text, or several: the first that an event has.
        on: Event type(s); None for all.
        where: A condition that an event must meet, as in features.
        half_life: How fast past texts fade; one or several.
        weights: How much an event counts, by its type; one that is not named counts 1.
        labels: Interests in words or phrases, at most 64, which the profile is compared with: zero-shot, nothing is
            trained.
        encoder: `"hashing"` or `"hashing-256"` (character n-grams; needs no model), the name of a
            sentence-transformers model or the path of one, or an object with `name`, `dimension` and `encode(batch)`.
            With another encoder the vectors start afresh; the old ones stay until the first new one.
        dimension: Length of the vectors, for a model whose name the library does not know.
        min_angle: Movement that is worth publishing, degrees.
        answer_within: How long an answer may take (wall-clock time).
        max_waiting: Events of a partition that may wait for an answer.
        when_full: What to do when that many wait. "drop": drop those that count least, the oldest first, and count
            them; the profile goes on. "wait": the worker reads no further events until there is room.
        max_characters: What is read of a text at most.

    Raises:
        DefinitionError: of the constructor, with what is wrong.

    Examples:
        >>> from stream_profiles import Event, Partition, ProfileDefinition, ProfileUpdater, TextEmbedding
        >>> interests = TextEmbedding("interests", of="text", half_life=("1d", "30d"), weights={"purchase": 5})
        >>> partition = Partition(ProfileUpdater(ProfileDefinition("shop", embeddings=[interests])))
        >>> _ = partition.apply(Event(event_id="1", user_id="ada", type="view", time=0, text="red  shoes"))
        >>> [request] = partition.take_requests()
        >>> request.text
        'red shoes'
        >>> vector = np.full(384, 384**-0.5, np.float32).tobytes()
        >>> [change] = partition.answer(request.text_id, request.encoder, "1", vector)
        >>> list(change.changed), change.changed["interests"]
        (['interests_1d', 'interests_30d', 'interests'], {'encoder': 'hashing-384@1', 'texts': 1})
    """

    def __init__(
        self,
        name: str,
        *,
        of: str | Iterable[str] = "text",
        on: str | Iterable[str] | None = None,
        where: str | None = None,
        half_life: Duration | Iterable[Duration] = "30d",
        weights: Mapping[str, float] | None = None,
        labels: Iterable[str] = (),
        encoder: Any = _HASHING,
        dimension: int | None = None,
        min_angle: float = 2.0,
        answer_within: Duration = "1h",
        max_waiting: int = 20_000,
        when_full: Literal["drop", "wait"] = "drop",
        max_characters: int = 2_000,
    ) -> None:
        check_name(name)
        self.name = name
        self.of = [of] if isinstance(of, str) else list(of)
        self._getters = [field_getter(self, field) for field in self.of]
        self._check(bool(self.of), "of= takes an event field or a list of them")
        self.on = (on,) if isinstance(on, str) else None if on is None else tuple(on)
        self.where = where
        self._meets = condition_of(self, where)
        half_lives = decay.parse(self, half_life)
        self._check(bool(half_lives), "give it at least one half_life")
        self.half_life = list(half_lives)
        self.weights = {} if weights is None else dict(weights)
        for event_type, weight in self.weights.items():
            number = isinstance(weight, (int, float)) and 0 < weight <= _MAX_WEIGHT
            self._check(number, f"the weight of {event_type!r} must be above 0 and at most 1e6, not {weight!r}")
            fits = self.on is None or event_type in self.on
            self._check(fits, f"weights= has {event_type!r}, which on= leaves out")
        self.labels = [labels] if isinstance(labels, str) else list(labels)
        texts = [normalize(text, MAX_TEXT_LENGTH) if isinstance(text, str) else "" for text in self.labels]
        self._check(all(texts), "a label is a word or a phrase")
        self._check(len(set(texts)) == len(texts), "a label is given twice")
        self._check(len(texts) <= _MAX_LABELS, f"at most {_MAX_LABELS} labels, not {len(texts)}")
        self.encoder = encoder
        self.encoder_name, self.dimension = self._encoder(encoder, dimension)
        #: What a text worker loads.
        self.encoder_given = self.encoder_name if self.encoder_name.startswith(f"{_HASHING}-") else encoder
        self._check(16 <= self.dimension <= 4096, f"dimension must be from 16 to 4096, not {self.dimension}")
        self.min_angle = min_angle
        self._check(0 <= min_angle <= 90, "min_angle must be from 0 to 90 degrees")
        self._moved_below = cos(radians(min_angle)) if min_angle > 0 else 2.0
        self.answer_within = label_of(answer_within)
        self.answer_within_ms = to_ms(answer_within)
        self.max_waiting, self.when_full, self.max_characters = max_waiting, when_full, max_characters
        self._check(max_waiting >= 1, "max_waiting must be at least 1")
        self._check(when_full in ("drop", "wait"), f'when_full must be "drop" or "wait", not {when_full!r}')
        in_limits = 1 <= max_characters <= MAX_TEXT_LENGTH
        self._check(in_limits, f"max_characters must be from 1 to {MAX_TEXT_LENGTH:,}")
        self._texts_of_labels = {text_id(self.encoder_name, text): text for text in texts}
        #: The vectors, each a field of the profile.
        self.vectors = [TextVectorField(self, half_life, ms) for half_life, ms in half_lives.items()]
        declared = json.dumps([texts, self.half_life]).encode()
        self._labels_digest = blake2b(declared, digest_size=4).hexdigest()

    def _check(self, holds: bool, problem: str) -> None:
        if not holds:
            raise DefinitionError(f"{self!r}: {problem}")

    def _encoder(self, encoder: Any, dimension: int | None) -> tuple[str, int]:
        """Name of an encoder, and length of its vectors."""
        if not isinstance(encoder, str):
            name, own = getattr(encoder, "name", None), getattr(encoder, "dimension", None)
            fits = isinstance(name, str) and bool(name) and isinstance(own, int) and hasattr(encoder, "encode")
            self._check(fits, "encoder= takes a name, a path, or an object with name, dimension and encode(batch)")
            assert isinstance(name, str) and isinstance(own, int)
        elif encoder.partition("-")[0] == _HASHING:
            size = encoder.partition("-")[2] or str(dimension or _HASHING_DIMENSION)
            self._check(size.isdecimal(), f'after "hashing-" comes the dimension, as in "hashing-256", not {size!r}')
            name, own = f"{_HASHING}-{size}", int(size)
        else:
            name = encoder.rstrip("/").rpartition("/")[2]
            known = _DIMENSIONS.get(name, dimension)
            self._check(known is not None, f"say how long the vectors of {encoder!r} are: dimension=...")
            assert known is not None
            own = known
        self._check(dimension in (None, own), f"vectors of {name} have dimension {own}, not {dimension}")
        return name, own

    @property
    def config(self) -> dict[str, Any]:
        # An object of the user's own is known by its name.
        encoder = self.encoder if isinstance(self.encoder, str) else self.encoder_name
        return {**config_of(self), "encoder": encoder}

    @cached_property
    def key(self) -> str:
        """What is said about the vectors is stored under this, and survives a change of half-lives and labels."""
        return f"{self.name}:{self.digest()}"

    def digest(self, *more: object) -> str:
        """Of what makes a vector what it is; everything else may change under a stored state."""
        made_of = [self.encoder_name, self.dimension, self.of, self.on, self.where, self.weights, *more]
        return blake2b(json.dumps(made_of, sort_keys=True).encode(), digest_size=4).hexdigest()

    @property
    def kind(self) -> str:
        # Whoever reads profiles takes a kind that ends with "Embedding" for a vector; this is what is said about them.
        return "TextInterests"

    @property
    def max_bytes(self) -> int:
        """Of what is said about the vectors."""
        return 300 + 2 * NUMBER_BYTES + len(self.vectors) * (5 + NUMBER_BYTES * len(self.labels))

    def advance(self, value: Any, now: int) -> Any:
        return value

    def waiting(self) -> WaitingTexts:
        """What a partition keeps for it, empty."""
        drops = self.when_full == "drop"
        return WaitingTexts(self.encoder_name, self._texts_of_labels, self.max_waiting, drops=drops)

    @property
    def label_texts(self) -> dict[str, str]:
        """The labels as the encoder gets them, by text id."""
        return dict(self._texts_of_labels)

    def text_of(self, event: Event) -> Text | None:
        """The text of an event as the encoder gets it; None when the event does not count or has none."""
        if self.on is not None and event.type not in self.on:
            return None
        if self._meets is not None and not self._meets(event):
            return None
        for get in self._getters:
            given = get(event)
            if type(given) is str and (text := normalize(given, self.max_characters)):
                return Text(text_id(self.encoder_name, text), text, len(given) > self.max_characters)
        return None

    def see(
        self, slots: dict[str, Any], event: Event, waiting: WaitingTexts, known: KnownVectors, now: int
    ) -> dict[str, Any]:
        """Take in an event: at once where the vector of its text is known, else when the answer comes.

        Parameters:
            slots: The user's state, by key; changed in place.
            event: The event.
            waiting: Gets the event if it has to wait.
            known: Vectors of texts seen lately.
            now: Wall-clock time, ms.

        Returns:
            What is to be published: new values by field.
        """
        text = self.text_of(event)
        if text is None:
            return {}
        if text.cut:
            waiting.truncated += 1
        weight = float(self.weights.get(event.type, 1.0))
        vector = known.get(self.encoder_name, text.text_id)
        if vector is None:
            waiting.ask(Waiter(text.text_id, event.user_id, event.event_id, event.time, weight, now), text.text)
            return {}
        waiting.hits += 1
        self.fold(slots, *vector, event.time, weight)
        return self.publish(slots, waiting)

    def accepts(self, vector: bytes) -> bool:
        """Whether these bytes are a vector of the encoder's length that has a direction."""
        if len(vector) != _PUBLISHED.itemsize * self.dimension:
            return False
        with np.errstate(over="ignore", invalid="ignore"):
            return _direction(np.frombuffer(vector, _PUBLISHED)) is not None

    def fold(self, slots: dict[str, Any], version: str, vector: bytes, time: int, weight: float) -> None:
        """Add the vector of a text, which must be an accepted one, with the time and the weight of its event.

        With another version of the encoder the vectors start afresh.
        """
        new = np.frombuffer(vector, _PUBLISHED)
        encoder = f"{self.encoder_name}@{version}"
        summary = slots.get(self.key)
        if summary is None or summary[0] != encoder:
            summary = slots[self.key] = [encoder, 0, 0, []]
        summary[1] += 1
        for each in self.vectors:
            each.fold(slots, encoder, new, time, weight)

    def publish(self, slots: dict[str, Any], waiting: WaitingTexts) -> dict[str, Any]:
        """New values of the fields that have changed enough, noted as published; empty when none has.

        To be called when something was folded in.
        """
        changed: dict[str, Any] = {}
        for each in self.vectors:
            value = each.publish(slots, self._moved_below)
            if value is not None:
                changed[each.name] = value
        summary = slots[self.key]
        labels = waiting.labels(summary[0].rpartition("@")[2]) if self.labels else None
        if not changed and (labels is None or self._current_cosines(summary)):
            return {}
        summary[2], summary[3] = summary[1], []
        if labels is not None:
            cosines = (labels @ each.direction(slots) for each in self.vectors)
            summary[3] = [self._labels_digest, *(np.round(each.astype(np.float64), 4).tolist() for each in cosines)]
        _replace_older(slots, self.name, self.key)
        changed[self.name] = self.snapshot(summary)
        return changed

    def snapshot(self, summary: list[Any]) -> dict[str, Any]:
        """What is said about the vectors, as of when they were published last."""
        value: dict[str, Any] = {"encoder": summary[0], "texts": summary[2]}
        if self._current_cosines(summary):
            cosines = {
                each.half_life: dict(sorted(zip(self.labels, row, strict=True), key=lambda pair: -pair[1]))
                for each, row in zip(self.vectors, summary[3][1:], strict=True)
            }
            value["top"] = {half_life: list(islice(row, _TOP)) for half_life, row in cosines.items()}
            value["cosines"] = cosines
        return value

    def _current_cosines(self, summary: list[Any]) -> bool:
        """Whether there are cosines, of the labels and half-lives that are declared now."""
        return bool(summary[3]) and summary[3][0] == self._labels_digest


class TextVectorField:
    """One vector of a `TextEmbedding`: a field of the profile.

    State: `[encoder and version, time, decayed sum, what was published last]`.
    """

    kind = "TextEmbedding"

    def __init__(self, embedding: TextEmbedding, half_life: str, half_life_ms: int) -> None:
        self.name = f"{embedding.name}_{half_life}"
        self.key = f"{self.name}:{embedding.digest(half_life)}"
        self.on = embedding.on
        self.half_life = half_life
        self._half_life_ms = half_life_ms
        self._dimension = embedding.dimension
        #: What a reader has to know of the vector.
        self.config = {
            "summary": embedding.name,
            "half_life": half_life,
            "on": embedding.on,
            "encoder": embedding.encoder_name,
            "dimension": embedding.dimension,
        }

    @property
    def max_bytes(self) -> int:
        return 300 + NUMBER_BYTES + (_PUBLISHED.itemsize + _KEPT.itemsize) * self._dimension

    def fold(self, slots: dict[str, Any], encoder: str, new: Vector, time: int, weight: float) -> None:
        """Add a vector to the sum."""
        state = slots.get(self.key)
        if state is None or state[0] != encoder:
            slots[self.key] = [encoder, time, _to_bytes(new * np.float32(weight)), b""]
            return
        elapsed = time - state[1]
        total = np.frombuffer(state[2], _PUBLISHED)
        if elapsed >= 0:
            total = total * np.float32(decay.factor(elapsed, self._half_life_ms)) + new * np.float32(weight)
            state[1] = time
        else:
            total = total + new * np.float32(weight * decay.factor(-elapsed, self._half_life_ms))
        state[2] = _to_bytes(total)

    def publish(self, slots: dict[str, Any], moved_below: float) -> bytes | None:
        """The vector if its cosine with the published one is less than that, noted as published; None otherwise."""
        state = slots[self.key]
        unit = _direction(np.frombuffer(state[2], _PUBLISHED))
        if unit is None:
            # Texts that cancel each other out point nowhere; where it pointed last is as good as any.
            return None
        if state[3] and float(unit.dot(_widened(state[3]))) >= moved_below:
            return None
        state[3] = unit.astype(_KEPT).tobytes()
        _replace_older(slots, self.name, self.key)
        return self.snapshot(state)

    def direction(self, slots: dict[str, Any]) -> Vector:
        """What was published last; zeros when nothing was."""
        state = slots[self.key]
        return _widened(state[3]) if state[3] else np.zeros(self._dimension, np.float32)

    def snapshot(self, state: list[Any]) -> bytes | None:
        """What was published last; None when nothing was."""
        return _to_bytes(_widened(state[3])) if state[3] else None

    def advance(self, value: Any, now: int) -> Any:
        return value

    def __repr__(self) -> str:
        return f'TextEmbedding("{self.config["summary"]}")'


def normalize(text: str, max_characters: int) -> str:
    """A text as encoders get it: composed Unicode (NFC), single blanks between words, none at the ends, cut.

    Examples:
        >>> normalize("  red \\n shoes ", 100), normalize("  red shoes", 5)
        ('red shoes', 'red s')
    """
    # Blanks go away, so more is read at first than is left in the end; but never a whole novel.
    words = unicodedata.normalize("NFC", text[: 4 * max_characters]).split()
    joined = " ".join(words)[:max_characters].rstrip()
    # A lone surrogate is a letter in Python, and in no encoding.
    return joined if joined.isascii() else joined.encode("utf-8", "replace").decode("utf-8")


def text_id(encoder: str, text: str) -> str:
    """What identifies a text and the encoder its vector is wanted of: 32 hexadecimal digits."""
    return blake2b(f"{encoder}\0{text}".encode(), digest_size=16).hexdigest()


def embeddings_by_encoder(embeddings: Iterable[TextEmbedding]) -> dict[str, list[TextEmbedding]]:
    """Embeddings by the name of their encoder."""
    grouped: dict[str, list[TextEmbedding]] = {}
    for embedding in embeddings:
        grouped.setdefault(embedding.encoder_name, []).append(embedding)
    return grouped


def _replace_older(slots: dict[str, Any], name: str, key: str) -> None:
    """Drop what another encoder left of a field, which was published in its place until now."""
    for older in [each for each in slots if each != key and each.rpartition(":")[0] == name]:
        del slots[older]


def _widened(kept: bytes) -> Vector:
    """The unit vector that is kept in half precision, whose rounding also moves its length."""
    vector = np.frombuffer(kept, _KEPT).astype(np.float32)
    return vector * np.float32(1.0 / sqrt(float(vector.dot(vector))))


def _to_bytes(vector: Vector) -> bytes:
    return vector.astype(_PUBLISHED, copy=False).tobytes()


def _direction(vector: Vector) -> Vector | None:
    """The unit vector; None for one that has no direction."""
    squared = float(vector.dot(vector))
    return vector * np.float32(1.0 / sqrt(squared)) if isfinite(squared) and squared > _LEAST_SQUARE else None
