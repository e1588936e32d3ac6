"""The partitioner is Kafka's own: a topic keyed by any client agrees with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2

from stream_profiles.partitioner import Partitioner


@given(st.text(min_size=1), st.integers(1, 200))
def test_it_agrees_with_another_client(user: str, partitions: int) -> None:
    key = user.encode()
    expected = (murmur2(key) & 0x7FFFFFFF) % partitions
    assert Partitioner(partitions)(key) == expected


@pytest.mark.parametrize(
    ("key", "murmur"),
    # From the tests of Kafka's own client.
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_it_agrees_with_kafka(key: bytes, murmur: int) -> None:
    assert Partitioner(1_000_003)(key) == (murmur & 0x7FFFFFFF) % 1_000_003
