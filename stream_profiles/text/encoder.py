"""What an encoder is: the small protocol that users implement, and the three stages the batcher drives.

An encoder of a user's own has a name, a dimension and one method. The encoders that come with the library show their
stages, so that the batcher can tokenise one batch while the device works on another and a third is copied back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

#: The version of an encoder that does not tell one.
UNVERSIONED = "1"


@runtime_checkable
class TextEncoder(Protocol):
    """What a definition takes as `encoder=`: turns texts into vectors.

    It may also have a `version`, a text; vectors of two versions are never put together.

    Examples:
        >>> class Lengths:
        ...     name, dimension = "lengths", 2
        ...
        ...     def encode(self, batch):
        ...         return np.array([[len(text), 1] for text in batch], np.float32)
        >>> isinstance(Lengths(), TextEncoder)
        True
    """

    #: Part of every vector's identity: another encoder has another name.
    name: str
    #: Length of the vectors.
    dimension: int

    def encode(self, batch: Sequence[str]) -> Vectors:
        """The vectors of some texts, shape `(len(batch), dimension)`; they need not be of length 1.

        Called in a thread, by one at a time. When it raises, the texts are tried one by one, and each that fails alone
        gets an error for its answer.
        """
        ...


class Tokens(Struct, frozen=True, gc=False):
    """A text as an encoder's second stage takes it."""

    #: Whatever `forward` reads; nobody else looks at it.
    content: Any
    #: Its length in tokens: what a batch's budget is counted in.
    length: int
    #: Whether the end of the text was cut off.
    truncated: bool = False


class StagedEncoder(Protocol):
    """An encoder in three stages, each called by one thread at a time, all three at once for different batches."""

    name: str
    version: str
    dimension: int

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """On the CPU. Order is kept."""
        ...

    def forward(self, batch: Sequence[Tokens]) -> Any:
        """On the device; need not wait for it. What it returns goes to `collect`."""
        ...

    def collect(self, output: Any) -> Vectors:
        """Wait for the device and bring the vectors here: shape `(len(batch), dimension)`, float32, L2-normalised."""
        ...

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether a smaller batch might do."""
        ...
