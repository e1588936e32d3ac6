"""Stored records: what is written is read again, and what cannot be read is said."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles.errors import StateError
from stream_profiles.state import (
    FORMAT,
    NO_DEADLINE,
    PartitionState,
    ProfileState,
    decode_body,
    decode_partition,
    decode_profile,
    encode,
    encode_body,
    header,
)

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.text(), st.binary()
)
bodies = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=15)
versions = st.integers(0, 2**63)


@given(versions, st.integers(0, 2**62), st.binary(), st.dictionaries(st.text(), bodies), st.integers(0, 2**62))
def test_a_profile(version: int, last_time: int, seen: bytes, slots: dict[str, Any], deadline: int) -> None:
    state = ProfileState(version, last_time, seen, slots, definition=seen[:8])
    record = encode(state, deadline)
    assert header(record) == (version, deadline)
    assert decode_profile(record) == state


@given(versions, st.integers(0, 2**62), st.dictionaries(st.text(), st.integers(0, 2**62)))
def test_a_partition(version: int, watermark: int, offsets: dict[str, int]) -> None:
    state = PartitionState(version, watermark, offsets, dict(list(offsets.items())[:1]), timed=list(offsets))
    assert header(encode(state)) == (version, NO_DEADLINE)
    assert decode_partition(encode(state)) == state


@given(versions, st.lists(bodies))
def test_anything_else(version: int, body: list[Any]) -> None:
    assert decode_body(encode_body(version, body)) == (version, body)


def test_new_states_share_nothing() -> None:
    ProfileState().slots["views"] = 1
    PartitionState().offsets["events"] = 1
    assert ProfileState().slots == {}
    assert PartitionState().offsets == {}


#: Format, version 3, deadline 100; and the rest.
HEAD = {1: "01 0300000000000000 6400000000000000", 2: "02 0300000000000000 6400000000000000"}
BODY = "03 ce000f4240 c4080102030405060708 81 ae 76696577733a3936666538653538 93 01 02 cb3fe0000000000000"


def test_a_record_of_format_1_stays_readable() -> None:
    """What the first release wrote, byte for byte. It did not say which definition wrote it."""
    record = bytes.fromhex(f"{HEAD[1]} 94 {BODY}")
    assert header(record) == (3, 100)
    state = decode_profile(record)
    assert state == ProfileState(3, 1_000_000, bytes(range(1, 9)), {"views:96fe8e58": [1, 2, 0.5]})
    assert state.definition == b""


def test_what_is_in_changelogs_today_byte_for_byte() -> None:
    record = bytes.fromhex(f"{HEAD[2]} 95 {BODY} c4080807060504030201")
    definition = bytes(range(8, 0, -1))
    state = ProfileState(3, 1_000_000, bytes(range(1, 9)), {"views:96fe8e58": [1, 2, 0.5]}, definition)
    assert encode(state, 100) == record
    assert decode_profile(record) == state


def test_a_partition_of_format_1_stays_readable() -> None:
    """It did not say whose profiles time had changed, and before that not where events came from."""
    body = "81 a1 65 07"  # {"e": 7}
    for record in (f"01 {'00' * 16} 94 03 05 {body} 80", f"01 {'00' * 16} 93 03 05 {body}"):
        assert decode_partition(bytes.fromhex(record)) == PartitionState(3, 5, {"e": 7}, {}, [])


def test_a_later_field_of_the_same_format_is_passed_over() -> None:
    """Fields are added at the end; a worker that is older and knows the format reads the rest."""
    record = bytes.fromhex(f"{HEAD[2]} 96 {BODY} c4080807060504030201 01")
    assert decode_profile(record).version == 3


@pytest.mark.parametrize("decode", [header, decode_profile, decode_partition, decode_body])
def test_a_later_format_asks_for_an_upgrade(decode: Any) -> None:
    record = struct.pack("<BQq", FORMAT + 1, 1, 0) + b"\x90"
    with pytest.raises(StateError, match=f"has format {FORMAT + 1}, this release reads up to {FORMAT}: upgrade"):
        decode(record)


@pytest.mark.parametrize("decode", [header, decode_profile, decode_partition, decode_body])
@pytest.mark.parametrize("record", [b"", b"\x01", b"\x01" * 16])
def test_half_a_header(decode: Any, record: bytes) -> None:
    with pytest.raises(StateError, match=f"a stored state of {len(record)} bytes is too short"):
        decode(record)


@pytest.mark.parametrize(
    ("decode", "what"), [(decode_profile, "profile"), (decode_partition, "partition"), (decode_body, "learner or item")]
)
@pytest.mark.parametrize("body", [b"", b"\x81", b"\xc1", b"{}"])
def test_a_broken_body(decode: Any, what: str, body: bytes) -> None:
    with pytest.raises(StateError, match=f"the stored state of a {what} cannot be read"):
        decode(struct.pack("<BQq", FORMAT, 1, 0) + body)
