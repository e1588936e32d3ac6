"""HashingEncoder: vectors of texts without a model, by the letters of their words.

Every word is a bag of character n-grams (as in fastText: Bojanowski et al., TACL 2017), hashed to signed places of a
vector (feature hashing: Weinberger et al., ICML 2009). Texts that share words, or words that share parts, are near each
other; what merely means the same is not. It needs numpy alone and gives the same vectors on every machine.

Among the titles of a shop, of the ten nearest to one by all-MiniLM-L6-v2 it finds 53 % too; n-grams of 3 to 5 letters
and words of equal weight did best there, by little.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from math import sqrt

import numpy as np

from .encoder import Tokens, Vectors

#: Letters of an n-gram: of words in alphabets, and of those in scripts where a letter is a word or half of one.
_SIZES, _IDEOGRAPH_SIZES = (3, 4, 5), (1, 2)
_FIRST_IDEOGRAPH = "\u2e80"
#: Words, and pictures, each for itself.
_WORD = re.compile("[^\\W_]+|[\u2600-\u27bf\U0001f000-\U0001faff]")
#: What is read of a text, and of a word.
_MAX_CHARACTERS, _MAX_WORD = 4_000, 64
#: Words whose vectors are remembered: 25 MB at 384 dimensions.
_REMEMBERED = 16_384
_SIGN_BIT = 63


class HashingEncoder:
    """Character n-grams, hashed.

    Parameters:
        dimension: Length of the vectors. With fewer, n-grams of unlike words fall together more often.

    Examples:
        >>> encoder = HashingEncoder(256)
        >>> red, rot, lamp = encoder.encode(["red shoes", "red shoe", "table lamp"])
        >>> bool(red @ rot > 0.7), bool(abs(red @ lamp) < 0.3)
        (True, True)
    """

    version = "1"

    def __init__(self, dimension: int = 384) -> None:
        self.name = f"hashing-{dimension}"
        self.dimension = dimension

    def encode(self, batch: Sequence[str]) -> Vectors:
        """Vectors of shape `(len(batch), dimension)` and length 1; that of a text without a word is an error's.

        It is zeros: there is nothing that it could be near to.
        """
        return self.collect(self.forward(self.tokenize(batch)))

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Words, each of which counts as a token."""
        tokens = []
        for text in texts:
            words = _WORD.findall(text[:_MAX_CHARACTERS].casefold())
            tokens.append(Tokens(words, max(len(words), 1), len(text) > _MAX_CHARACTERS))
        return tokens

    def forward(self, batch: Sequence[Tokens]) -> Vectors:
        vectors = np.zeros((len(batch), self.dimension), np.float32)
        for vector, tokens in zip(vectors, batch, strict=True):
            words: list[str] = tokens.content
            if len(words) == len(unique := dict.fromkeys(words)):
                for word in words:
                    vector += _word(word, self.dimension)
            else:
                # What is said ten times is not said ten times as much.
                for word in unique:
                    vector += sqrt(words.count(word)) * _word(word, self.dimension)
        return vectors

    def collect(self, output: Vectors) -> Vectors:
        lengths = np.sqrt(np.einsum("ij,ij->i", output, output))
        unit: Vectors = output / np.maximum(lengths, np.float32(1e-12))[:, None]
        return unit

    def is_out_of_memory(self, error: BaseException) -> bool:
        return False


@lru_cache(_REMEMBERED)
def _word(word: str, dimension: int) -> Vectors:
    """The unit vector of a word. Read-only: all texts share it."""
    vector = np.zeros(dimension, np.float32)
    for gram in _grams(word[:_MAX_WORD]):
        number = int.from_bytes(blake2b(gram.encode(), digest_size=8).digest(), "little")
        vector[number % dimension] += 1.0 if number >> _SIGN_BIT else -1.0
    length = float(np.sqrt(vector @ vector))
    if length:
        vector /= np.float32(length)
    vector.setflags(write=False)
    return vector


def _grams(word: str) -> list[str]:
    if word[0] >= _FIRST_IDEOGRAPH:
        return [word[start : start + size] for size in _IDEOGRAPH_SIZES for start in range(len(word) - size + 1)]
    # The ends of a word tell more than its middle: they are marked.
    marked = f"<{word}>"
    grams = [marked[start : start + size] for size in _SIZES for start in range(len(marked) - size + 1)]
    return grams or [marked]
