"""Dead letters hold all it takes to try again."""

from __future__ import annotations

import msgspec

from stream_profiles.contracts import DeadLetter
from stream_profiles.engine.deadletters import encode_dead_letter

from .fakes import NOW, record


def test_a_dead_letter_says_what_it_was_and_why() -> None:
    key, value = encode_dead_letter(record(b"\xff{", 7, topic="clicks", partition=3, key=b"\x00k"), "no JSON", 100)
    assert key == b"\x00k"
    assert msgspec.json.decode(value, type=DeadLetter) == DeadLetter(
        reason="no JSON",
        topic="clicks",
        partition=3,
        offset=7,
        timestamp=NOW,
        key=b"\x00k",
        value=b"\xff{",
        size=2,
    )


def test_a_large_value_is_cut_and_its_size_kept() -> None:
    _, value = encode_dead_letter(record(b"x" * 1_000), "too large", 10)
    letter = msgspec.json.decode(value, type=DeadLetter)
    assert letter.value == b"x" * 10 and letter.size == 1_000


def test_a_record_without_value_or_key() -> None:
    key, value = encode_dead_letter(record(None), "empty", 10)
    letter = msgspec.json.decode(value, type=DeadLetter)
    assert key is None and letter.key is None and letter.value is None and letter.size == 0
