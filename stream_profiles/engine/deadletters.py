"""Dead letters: records that could not become events, set aside with all it takes to try again."""

from __future__ import annotations

from typing import Any

import msgspec

from ..contracts import DeadLetter

_encode = msgspec.json.Encoder().encode


def encode_dead_letter(record: Any, reason: str, max_value_bytes: int) -> tuple[bytes | None, bytes]:
    """Key and value of the dead letter of a Kafka record; the value is cut at `max_value_bytes`."""
    value = record.value
    letter = DeadLetter(
        reason=reason,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        key=record.key,
        value=None if value is None else value[:max_value_bytes],
        size=0 if value is None else len(value),
    )
    return record.key, _encode(letter)
