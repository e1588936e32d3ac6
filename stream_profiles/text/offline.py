"""Vectors of texts where nothing is live: they are known before the events that need them are applied.

A backfill and an evaluation apply events in memory, without Kafka. An event whose text is known folds it in at once, so
all that is needed is to encode what a batch of events is about to ask for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..contracts import Event
from ..models.text_embeddings import TextEmbedding, embeddings_by_encoder
from ..partition import Partition
from .encoder import StagedEncoder
from .loading import load_encoder

_BATCH_TOKENS = 8_192


class OfflineTexts:
    """The encoders of a definition, loaded when the first text comes.

    Parameters:
        embeddings: Of the definition.
        device: Where to encode, in torch's words; None for a GPU if there is one.

    Raises:
        StreamProfilesError: of `prepare`, an encoder cannot be loaded.

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

    def prepare(self, partition: Partition, events: Iterable[Event]) -> None:
        """Make the vectors known that these events need."""
        known = partition.shared.known
        for name, embeddings in self._by_encoder.items():
            wanted: dict[str, str] = {}
            for embedding in embeddings:
                if not partition.shared.texts[embedding.key].has_labels:
                    wanted.update(embedding.label_texts)
            for event in events:
                for embedding in embeddings:
                    if embedding.on is None or event.type in embedding.on:
                        text = embedding.text_of(event)
                        if text is not None and known.get(name, text.text_id) is None:
                            wanted[text.text_id] = text.text
            if wanted:
                encoder = self._encoder(embeddings[0])
                vectors = encode_all(encoder, list(wanted.values()))
                for text_id, vector in zip(wanted, vectors, strict=True):
                    if not embeddings[0].accepts(vector):
                        continue  # As live: a text without a vector does not count.
                    known.put(name, text_id, encoder.version, vector)
                    for embedding in embeddings:
                        partition.shared.texts[embedding.key].set_label(text_id, encoder.version, vector)

    def _encoder(self, embedding: TextEmbedding) -> StagedEncoder:
        encoder = self._encoders.get(embedding.encoder_name)
        if encoder is None:
            encoder = load_encoder(embedding.encoder_given, dimension=embedding.dimension, device=self._device)
            self._encoders[embedding.encoder_name] = encoder
        return encoder


def encode_all(encoder: StagedEncoder, texts: Sequence[str], batch_tokens: int = _BATCH_TOKENS) -> list[bytes]:
    """The vectors of texts, little-endian float32, in their order. Short texts share batches with short ones.

    Parameters:
        encoder: Whose vectors.
        texts: Not empty.
        batch_tokens: Tokens of one batch at most, where the longest text counts for each.
    """
    tokens = encoder.tokenize(texts)
    order = sorted(range(len(texts)), key=lambda place: tokens[place].length)
    vectors = [b""] * len(texts)
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and tokens[order[end]].length * (end + 1 - start) <= batch_tokens:
            end += 1
        places = order[start:end]
        for place, vector in zip(places, encoder.collect(encoder.forward([tokens[n] for n in places])), strict=True):
            vectors[place] = vector.astype("<f4").tobytes()
        start = end
    return vectors
