"""How texts stand: what the workers report of the texts that wait and of the encoders at work, added up."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from ..errors import StateError

#: A text worker reports every second. One that has not for so long is gone, or as good as gone.
_GONE_MS = 30_000
ENCODER = "encoder "


class TextMetrics(Struct, kw_only=True, frozen=True):
    """How the texts of one text embedding stand, over all partitions. Counters begin anew with each worker."""

    #: Events that wait for the vector of their text, and how long the oldest has waited, seconds.
    waiting: int
    oldest_seconds: float
    #: Texts that an encoder was asked for, and events whose text was known without.
    asked: int
    known: int
    #: Events that were dropped because too many waited, and that got no answer in time.
    dropped: int
    lost: int
    #: Events whose text got an error for an answer.
    failed: int
    #: Texts of which only the beginning was taken.
    truncated: int


class EncoderMetrics(Struct, kw_only=True, frozen=True):
    """One encoder at work in one text worker. Counters begin with the worker."""

    worker: str
    encoder: str
    version: str
    #: Wall-clock time of the report, ms.
    at: int
    #: Requests read, and answers written.
    requests: int
    answered: int
    #: Where vectors came from: the worker's memory, Redis, another request under way, the encoder.
    memory_hits: int
    redis_hits: int
    shared: int
    encoded: int
    #: Texts without a vector, and texts of which only the beginning was encoded.
    errors: int
    truncated: int
    #: Batches, their tokens, and what was computed for them: the longest text of a batch times its texts.
    batches: int
    tokens: int
    padded_tokens: int
    #: Batches that did not fit into the device's memory, and the tokens that one may have now.
    out_of_memory: int
    budget: int
    #: Texts that wait for a batch.
    queued: int


class TextReport(Struct, kw_only=True, frozen=True):
    """How texts stand."""

    #: By the text embedding's name.
    embeddings: dict[str, TextMetrics]
    encoders: tuple[EncoderMetrics, ...]


class _Waiting(Struct):
    waiting: int
    since: int | None
    asked: int
    known: int
    dropped: int
    lost: int
    failed: int
    truncated: int


_decode_partition = msgspec.json.Decoder(dict[str, _Waiting]).decode
_decode_encoder = msgspec.json.Decoder(EncoderMetrics).decode


def read_text_report(fields: Mapping[bytes, bytes], now: int) -> TextReport:
    """The report in what Redis has.

    Parameters:
        fields: Of the hash: one of each partition, one of each encoder at work.
        now: Wall-clock time, ms.

    Raises:
        StateError: it is none.
    """
    by_embedding: dict[str, list[_Waiting]] = {}
    encoders = []
    try:
        for field, value in sorted(fields.items()):
            if field.startswith(ENCODER.encode()):
                encoder = _decode_encoder(value)
                if now - encoder.at < _GONE_MS:
                    encoders.append(encoder)
            else:
                for name, waiting in _decode_partition(value).items():
                    by_embedding.setdefault(name, []).append(waiting)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateError(str(error)) from None
    embeddings = {name: _merged(parts, now) for name, parts in by_embedding.items()}
    return TextReport(embeddings=embeddings, encoders=tuple(encoders))


def _merged(parts: list[_Waiting], now: int) -> TextMetrics:
    oldest = min((part.since for part in parts if part.since is not None), default=now)
    return TextMetrics(
        waiting=sum(part.waiting for part in parts),
        oldest_seconds=max(0, now - oldest) / 1000,
        asked=sum(part.asked for part in parts),
        known=sum(part.known for part in parts),
        dropped=sum(part.dropped for part in parts),
        lost=sum(part.lost for part in parts),
        failed=sum(part.failed for part in parts),
        truncated=sum(part.truncated for part in parts),
    )
