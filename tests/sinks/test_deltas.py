"""Deltas as other services read them."""

from __future__ import annotations

import base64
import struct

import msgspec

from stream_profiles.contracts import ProfileDelta
from stream_profiles.sinks.deltas import encode_delta
from stream_profiles.updater import Change


def change(**fields: object) -> Change:
    given = {
        "user_id": "ada",
        "version": 3,
        "event_id": "e3",
        "event_time": 1_700_000_000_000,
        "changed": {"views": {"total": 3}},
        "removed": [],
        "snapshot": False,
        "failed": {},
    }
    return Change(**(given | fields))  # type: ignore[arg-type]


def test_a_delta_decodes_as_the_contract_says() -> None:
    encoded = encode_delta("shop", change(removed=["old"], snapshot=True))
    assert msgspec.json.decode(encoded, type=ProfileDelta) == ProfileDelta(
        user_id="ada",
        profile="shop",
        version=3,
        event_id="e3",
        event_time=1_700_000_000_000,
        changed={"views": {"total": 3}},
        removed=["old"],
        snapshot=True,
    )


def test_an_embedding_is_base64_of_little_endian_float32() -> None:
    vector = struct.pack("<4f", 0.5, -0.5, 0.0, 1.0)
    decoded = msgspec.json.decode(encode_delta("shop", change(changed={"taste": vector})), type=ProfileDelta)
    assert base64.b64decode(decoded.changed["taste"]) == vector


def test_what_failed_stays_with_the_worker() -> None:
    assert b"ZeroDivision" not in encode_delta("shop", change(failed={"price": "ZeroDivisionError: x"}))


def test_the_same_change_gives_the_same_bytes() -> None:
    """A version that is sent again has the same content."""
    assert encode_delta("shop", change()) == encode_delta("shop", change())
