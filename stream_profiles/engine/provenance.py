"""Where an event came from, so that none is counted twice.

Intake that is killed reads some records again and sends their events again. Each event says, in a header, which record
it was made from. Topics are named by their id: one that is deleted and made anew has another, and starts at offset 0.
"""

from __future__ import annotations

from collections.abc import Sequence

HEADER = "stream_profiles-source"

Source = tuple[str, int]


def encode_source(topic_id: str, partition: int, offset: int) -> list[tuple[str, bytes]]:
    """Headers of an event made from the record at this place."""
    return [(HEADER, f"{topic_id}/{partition}/{offset}".encode())]


def decode_source(headers: Sequence[tuple[str, bytes]]) -> Source | None:
    """What identifies the partition, and the offset there; None for an event that intake did not make.

    Examples:
        >>> decode_source(encode_source("pH3nY", 2, 7))
        ('pH3nY/2', 7)
    """
    for name, value in headers:
        if name == HEADER:
            place, _, offset = value.decode(errors="replace").rpartition("/")
            return (place, int(offset)) if offset.isdecimal() else None
    return None
