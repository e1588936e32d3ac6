"""Where an event came from, as its header says it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_profiles.engine.provenance import decode_source, encode_source


@given(st.text(min_size=1, max_size=30), st.integers(0, 10_000), st.integers(0, 2**63 - 1))
def test_what_is_encoded_is_decoded(topic_id: str, partition: int, offset: int) -> None:
    assert decode_source(encode_source(topic_id, partition, offset)) == (f"{topic_id}/{partition}", offset)


def test_events_that_intake_did_not_make_have_none() -> None:
    assert decode_source([]) is None
    assert decode_source([("traceparent", b"00-ab-cd-01")]) is None


def test_other_headers_do_not_matter() -> None:
    assert decode_source([("traceparent", b"x"), *encode_source("id", 1, 2)]) == ("id/1", 2)
