"""HashingEncoder: what shares words is near, what does not is far, and every machine computes the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles.text.encoder import TextEncoder
from stream_profiles.text.hashing import HashingEncoder


def cosine(a: str, b: str, dimension: int = 384) -> float:
    one, other = HashingEncoder(dimension).encode([a, b])
    return float(one @ other)


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("WHITE HANGING HEART T-LIGHT HOLDER", "RED HANGING HEART T-LIGHT HOLDER", "SET OF 3 CAKE TINS"),
        ("running shoes", "shoe for runners", "wooden spoon"),
        ("Tischlampe", "Lampe", "Regenjacke"),
        ("红色跑鞋", "跑鞋", "木勺子"),
        ("נעלי ריצה", "נעלי ריצה אדומות", "כף עץ"),
        ("pizza 🍕🍕", "🍕", "🚗"),
    ],
)
def test_what_shares_words_or_their_parts_is_near(text: str, near: str, far: str) -> None:
    assert cosine(text, near) > cosine(text, far) + 0.2


def test_order_case_and_blanks_do_not_matter() -> None:
    assert cosine("Red  SHOES", "shoes red") == pytest.approx(1.0, abs=1e-6)


def test_what_is_repeated_counts_little_more() -> None:
    assert 0.7 < cosine("red shoes", "red red red red shoes") < 0.999


def test_vectors_are_the_same_everywhere_and_for_ever() -> None:
    [vector] = HashingEncoder(16).encode(["red shoes"])
    expected = [0.0, -0.316, 0.0, 0.0, 0.316, -0.316, -0.316, 0.316]
    assert [round(float(x), 3) for x in vector[:8]] == expected
    assert (HashingEncoder(16).name, HashingEncoder(16).version) == ("hashing-16", "1")


@pytest.mark.parametrize("text", ["", "   ", "!!!", "\0", "___"])
def test_a_text_without_a_word_has_no_direction(text: str) -> None:
    assert not HashingEncoder().encode([text]).any()


def test_of_a_long_text_the_beginning_is_read() -> None:
    encoder = HashingEncoder()
    [short, long] = encoder.tokenize(["red shoes", "word " * 200_000])
    assert (short.truncated, short.length) == (False, 2)
    assert long.truncated and long.length == 800
    assert np.isfinite(encoder.encode(["x" * 1_000_000])).all()


@given(st.lists(st.text(max_size=60), max_size=8))
def test_every_text_has_a_unit_vector_or_none(texts: list[str]) -> None:
    vectors = HashingEncoder(64).encode(texts)
    assert vectors.shape == (len(texts), 64)
    assert vectors.dtype == np.float32
    for length in np.linalg.norm(vectors, axis=1):
        assert length == 0 or length == pytest.approx(1.0, abs=1e-5)


def test_it_is_an_encoder_as_users_write_them() -> None:
    assert isinstance(HashingEncoder(), TextEncoder)
