"""Vectors of texts where nothing is live: they are known before the events that need them are applied.

A backfill and an evaluation apply events in memory, without Kafka. An event whose text is known folds it in at once, so
all that is needed is to encode what a batch of events is about to ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from ..contracts import Event
from ..errors import StreamProfilesError
from ..models.text_embeddings import TextEmbedding, embeddings_by_encoder
from ..partition import Partition
from .encoder import StagedEncoder, Tokens
from .loading import load_encoder

T = TypeVar("T")
R = TypeVar("R")

_BATCH_TOKENS = 8_192
#: Texts that failed with none in between that did not, until something must be wrong with the encoder.
_FAILING_TEXTS = 100


class OfflineTexts:
    """The encoders of a definition, loaded when the first text comes.

    Parameters:
        embeddings: Of the definition.
        device: Where to encode, in torch's words; None for a GPU if there is one.

    Raises:
        StreamProfilesError: of `prepare`, an encoder cannot be loaded, or fails on text after text.

    Examples:
        >>> from stream_profiles import Partition, ProfileDefinition, ProfileUpdater, TextEmbedding
        >>> definition = ProfileDefinition("shop", embeddings=[TextEmbedding("interests", half_life="30d")])
        >>> partition = Partition(ProfileUpdater(definition))
        >>> event = Event(event_id="1", user_id="ada", type="view", time=0, text="red shoes")
        >>> OfflineTexts(definition.text_embeddings).prepare(partition, [event])
        >>> list(partition.apply(event).changed)
        ['interests_30d', 'interests']
    """

    def __init__(self, embeddings: Sequence[TextEmbedding], device: str | None = None) -> None:
        self._by_encoder = embeddings_by_encoder(embeddings)
        self._device = device
        self._encoders: dict[str, StagedEncoder] = {}
        #: Of each encoder the texts that failed since one did not.
        self._failed: dict[str, set[str]] = {}

    def prepare(self, partition: Partition, events: Iterable[Event]) -> None:
        """Make the vectors known that these events need. `refuse` follows when they are applied."""
        known = partition.shared.known
        for name, embeddings in self._by_encoder.items():
            wanted: dict[str, str] = {}
            for embedding in embeddings:
                if not partition.shared.texts[embedding.key].has_labels:
                    wanted.update(embedding.label_texts)
            for event in events:
                for embedding in embeddings:
                    text = embedding.text_of(event)
                    if text is not None and known.get(name, text.text_id) is None:
                        wanted[text.text_id] = text.text
            if wanted:
                encoder = self._encoder(embeddings[0])
                vectors = encode_all(encoder, list(wanted.values()))
                for text_id, vector in zip(wanted, vectors, strict=True):
                    self._note(name, text_id, vector)
                    if isinstance(vector, bytes) and embeddings[0].accepts(vector):
                        known.put(name, text_id, encoder.version, vector)
                        for embedding in embeddings:
                            partition.shared.texts[embedding.key].set_label(text_id, encoder.version, vector)

    def refuse(self, partition: Partition) -> None:
        """Answer the events that found no vector that there is none: as live, they do not count, and wait no longer."""
        while requests := partition.take_requests():
            for request in requests:
                partition.answer(request.text_id, request.encoder, "", None)

    def _note(self, encoder: str, text_id: str, vector: bytes | str) -> None:
        failed = self._failed.setdefault(encoder, set())
        if isinstance(vector, bytes):
            failed.clear()
            return
        failed.add(text_id)
        if len(failed) >= _FAILING_TEXTS:
            raise StreamProfilesError(
                f"the encoder {encoder} failed on {len(failed)} texts in a row, on the last one since: {vector}"
            )

    def _encoder(self, embedding: TextEmbedding) -> StagedEncoder:
        encoder = self._encoders.get(embedding.encoder_name)
        if encoder is None:
            encoder = load_encoder(embedding.encoder_given, dimension=embedding.dimension, device=self._device)
            self._encoders[embedding.encoder_name] = encoder
        return encoder


def encode_all(encoder: StagedEncoder, texts: Sequence[str], batch_tokens: int = _BATCH_TOKENS) -> list[bytes | str]:
    """The vectors of texts, little-endian float32, in their order. Short texts share batches with short ones.

    A batch that fails is tried again in halves; of a text that fails alone the answer is the reason, as a `str`.

    Parameters:
        encoder: Whose vectors.
        texts: Not empty.
        batch_tokens: Tokens of one batch at most, where the longest text counts for each.
    """

    def encode(batch: Sequence[tuple[int, Tokens]]) -> list[bytes]:
        vectors = encoder.collect(encoder.forward([tokens for _, tokens in batch]))
        return [vector.astype("<f4").tobytes() for vector in vectors]

    answers: list[bytes | str] = [""] * len(texts)
    queue: list[tuple[int, Tokens]] = []
    for place, tokens in enumerate(_in_halves(encoder.tokenize, texts)):
        if isinstance(tokens, str):
            answers[place] = tokens
        else:
            queue.append((place, tokens))
    queue.sort(key=lambda each: each[1].length)
    start = 0
    while start < len(queue):
        end = start + 1
        while end < len(queue) and queue[end][1].length * (end + 1 - start) <= batch_tokens:
            end += 1
        batch = queue[start:end]
        for (place, _), answer in zip(batch, _in_halves(encode, batch), strict=True):
            answers[place] = answer
        start = end
    return answers


def _in_halves(work: Callable[[Sequence[T]], Sequence[R]], batch: Sequence[T]) -> list[R | str]:
    """What becomes of each of a batch; of what fails also alone, why."""
    try:
        results = work(batch)
        if len(results) != len(batch):
            raise ValueError(f"{len(results)} answers to {len(batch)} texts")
        return list(results)
    except Exception as error:
        if len(batch) == 1:
            return [str(error) or type(error).__name__]
    # Not while the error is handled: its traceback keeps the memory of the device.
    half = len(batch) // 2
    return _in_halves(work, batch[:half]) + _in_halves(work, batch[half:])
