"""What is kept between events, and how it is stored.

A stored record starts with a header that recovery reads without decoding the rest: format, version, and the first
moment at which time alone changes the record. After it comes the body in MessagePack.
Records of older formats stay readable: fields are only ever added, at the end and with a default.
"""

from __future__ import annotations

import struct
from typing import Any, TypeVar

import msgspec

from .errors import StateError

T = TypeVar("T")

#: 1: no digest of the definition in profiles, no users changed by time in partitions. Both are read as empty.
_READABLE = (1, 2)
FORMAT = 2
NO_DEADLINE = 0
_HEADER = struct.Struct("<BQq")

#: Bytes of an event id's digest in a user's window of seen ids.
ID_DIGEST_BYTES = 8


class ProfileState(msgspec.Struct, array_like=True, gc=False):
    """Everything kept about one user."""

    version: int = 0
    last_time: int = 0
    #: Digests of the latest event ids, oldest first, `ID_DIGEST_BYTES` each.
    seen: bytes = b""
    #: State of each feature, target and embedding by its key.
    slots: dict[str, Any] = msgspec.field(default_factory=dict)
    #: Digest of the fields of the definition that last changed it; one with other fields has to look for what is gone.
    definition: bytes = b""


class PartitionState(msgspec.Struct, array_like=True, gc=False):
    """Everything kept about one partition apart from its users and items."""

    version: int = 0
    watermark: int = 0
    #: Last offset applied of each topic that the partition's events are read from.
    offsets: dict[str, int] = msgspec.field(default_factory=dict)
    #: Last offset taken in of each partition of the topics that intake made the events from.
    sources: dict[str, int] = msgspec.field(default_factory=dict)
    #: Users whose profiles were changed by the mere passing of time since the write before.
    timed: list[str] = msgspec.field(default_factory=list)


_encoder = msgspec.msgpack.Encoder()
_profile_decoder = msgspec.msgpack.Decoder(ProfileState)
_partition_decoder = msgspec.msgpack.Decoder(PartitionState)
_body_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder()


def encode(state: ProfileState | PartitionState, deadline: int = NO_DEADLINE) -> bytes:
    """One record: header and body."""
    return _HEADER.pack(FORMAT, state.version, deadline) + _encoder.encode(state)


def encode_body(version: int, body: Any) -> bytes:
    """A record of anything else that a partition keeps."""
    return _HEADER.pack(FORMAT, version, NO_DEADLINE) + _encoder.encode(body)


def header(record: bytes) -> tuple[int, int]:
    """Version and deadline (0 for none) of a record.

    Raises:
        StateError: the record is of a format this release does not know.
    """
    try:
        stored_format, version, deadline = _HEADER.unpack_from(record)
    except struct.error:
        raise StateError(f"a stored state of {len(record)} bytes is too short to be one") from None
    if stored_format not in _READABLE:
        raise StateError(
            f"a stored state has format {stored_format}, this release reads up to {FORMAT}: upgrade stream_profiles"
        )
    return version, deadline


def decode_profile(record: bytes) -> ProfileState:
    """Raises: StateError."""
    return _decode(_profile_decoder, record, "profile")


def decode_partition(record: bytes) -> PartitionState:
    """Raises: StateError."""
    return _decode(_partition_decoder, record, "partition")


def decode_body(record: bytes) -> tuple[int, Any]:
    """Version and content of what `encode_body` made. Raises: StateError."""
    return header(record)[0], _decode(_body_decoder, record, "learner or item")


def _decode(decoder: msgspec.msgpack.Decoder[T], record: bytes, what: str) -> T:
    header(record)
    try:
        return decoder.decode(memoryview(record)[_HEADER.size :])
    except msgspec.MsgspecError as error:
        raise StateError(f"the stored state of a {what} cannot be read: {error}") from error
