"""An encoder whose stages can be held, and that fails where it is told to. One word is one token."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from threading import Event, current_thread
from typing import Any

import numpy as np

from stream_profiles.text.encoder import Tokens, Vectors

MAX_TOKENS = 1_000


class DeviceFull(Exception):
    """What such an encoder raises when its memory is full."""


def vector_of(text: str) -> bytes:
    """What the fake encoder gives for a text."""
    vector = np.frombuffer(blake2b(text.encode(), digest_size=4).digest(), np.uint8) + 1.0
    return (vector / np.linalg.norm(vector)).astype("<f4").tobytes()


class FakeEncoder:
    name, version, dimension = "fake", "1", 4

    def __init__(self) -> None:
        #: The texts of each batch that reached the device, and how long they were padded.
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()
        #: Cleared, the device works on for ever.
        self.device = Event()
        self.device.set()
        #: Cleared, the tokeniser waits before it begins.
        self.tokenizer = Event()
        self.tokenizer.set()
        #: Padded tokens that the device has memory for.
        self.memory = 1_000_000
        #: Texts that make a stage raise, by stage.
        self.poison: dict[str, set[str]] = {"tokenize": set(), "forward": set(), "collect": set()}
        #: What vectors are multiplied by, by text.
        self.wrong: dict[str, float] = {}

    @property
    def encoded(self) -> list[str]:
        return [text for batch in self.batches for text in batch]

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        self._enter("tokenize", texts)
        self.tokenizer.wait()
        lengths = [len(text.split()) for text in texts]
        return [
            Tokens(text, min(length, MAX_TOKENS), length > MAX_TOKENS)
            for text, length in zip(texts, lengths, strict=True)
        ]

    def forward(self, batch: Sequence[Tokens]) -> Any:
        texts = [tokens.content for tokens in batch]
        self.batches.append(texts)
        if len(batch) * max(tokens.length for tokens in batch) > self.memory:
            raise DeviceFull("no more memory")
        self._enter("forward", texts)
        return texts

    def collect(self, output: Any) -> Vectors:
        self.device.wait()
        self._enter("collect", output)
        vectors = np.frombuffer(b"".join(map(vector_of, output)), "<f4").reshape(len(output), self.dimension)
        return vectors * np.array([[self.wrong.get(text, 1.0)] for text in output], np.float32)

    def is_out_of_memory(self, error: BaseException) -> bool:
        return isinstance(error, DeviceFull)

    def _enter(self, stage: str, texts: Sequence[str]) -> None:
        self.threads.add(current_thread().name)
        bad = self.poison[stage].intersection(texts)
        if bad:
            raise ValueError(f"cannot {stage} {sorted(bad)[0]!r}")
