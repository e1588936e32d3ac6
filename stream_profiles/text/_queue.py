"""The queue of the batcher: the texts that wait, and the rules by which they become batches.

Its threads meet here and nowhere else. What a batch is made into, and what is done about one that fails, is theirs.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from threading import Condition
from typing import Any

from .encoder import Tokens

#: Texts tokenised in one go: so many that a tokeniser can spread them over cores, and the device waits for no more.
_TEXTS_PER_TURN = 256
#: Tokenised texts that wait, in full batches: the more to choose from, the less padding.
_READY_BATCHES = 4
#: One batch is copied back, one is on the device, and one is launched behind it.
_IN_FLIGHT = 3
#: Up to this length, in tokens, texts go together whatever their lengths.
_SHORT = 32
#: After an out-of-memory: good batches until the budget grows again, and by how much.
_GOOD_BATCHES, _GROWTH = 100, 1.25


class Call:
    """One call of the batcher: the answers to its texts, as they come."""

    def __init__(self, texts: int, done: asyncio.Future[list[Any]]) -> None:
        self.done = done
        self.left = texts
        self._answers: list[Any] = [None] * texts

    def answer(self, index: int, answer: Any) -> None:
        self._answers[index] = answer
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(self._answers)


class WaitingText:
    """A text on its way."""

    __slots__ = ("arrived", "call", "index", "length", "text", "tokens")

    def __init__(self, call: Call, index: int, text: str, arrived: float) -> None:
        self.call, self.index, self.text, self.arrived = call, index, text, arrived
        self.tokens: Tokens | None = None
        self.length = 0

    @property
    def truncated(self) -> bool:
        return self.tokens is not None and self.tokens.truncated


class Batch:
    """Texts that go to the device together, the shortest first."""

    def __init__(self, texts: list[WaitingText]) -> None:
        self.texts = texts
        self.padded = len(texts) * texts[-1].length
        self.began = time.monotonic()

    @property
    def tokens(self) -> list[Tokens]:
        return [text.tokens for text in self.texts if text.tokens is not None]


class TextQueue:
    """The texts that wait: first for the tokeniser, then for a batch.

    Parameters:
        max_batch_tokens: Padded tokens of a batch: as many as it may have while memory lasts.
        max_wait_s: How long a text waits for others while batches are under way.
    """

    def __init__(self, max_batch_tokens: int, max_wait_s: float) -> None:
        self._max_tokens, self._max_wait_s = max_batch_tokens, max_wait_s
        self.budget = max_batch_tokens
        self.out_of_memory = 0
        self._good = 0
        self._changed = Condition()
        self._closed = False
        self._texts: deque[WaitingText] = deque()
        self._tokenizing = False
        #: Tokenised, by length.
        self._ready: list[WaitingText] = []
        self._ready_tokens = 0
        #: Halves of batches that failed. They go first.
        self._again: deque[list[WaitingText]] = deque()
        self._in_flight: list[Batch] = []

    @property
    def queued(self) -> int:
        return len(self._texts) + len(self._ready) + sum(map(len, tuple(self._again)))

    @property
    def busy_for_s(self) -> float:
        """How long the oldest batch under way has taken so far."""
        under_way = tuple(self._in_flight)
        return time.monotonic() - under_way[0].began if under_way else 0.0

    def put(self, texts: list[WaitingText]) -> None:
        with self._changed:
            self._texts += texts
            self._changed.notify_all()

    def take_texts(self) -> list[WaitingText]:
        """Wait for texts to be tokenised; none when the queue is closed."""
        with self._changed:
            while not self._closed:
                if self._texts and self._ready_tokens < _READY_BATCHES * self._max_tokens:
                    self._tokenizing = True
                    return [self._texts.popleft() for _ in range(min(len(self._texts), _TEXTS_PER_TURN))]
                self._changed.wait()
            return []

    def put_ready(self, texts: list[WaitingText]) -> None:
        with self._changed:
            self._tokenizing = False
            self._ready += texts
            self._ready.sort(key=_length)
            self._ready_tokens += sum(map(_length, texts))
            self._changed.notify_all()

    def take_batch(self) -> Batch | None:
        """Wait for the next batch to begin; None when the queue is closed."""
        with self._changed:
            while not self._closed:
                wait_s = None
                if len(self._in_flight) < _IN_FLIGHT:
                    if self._again:
                        return self._begin(self._again.popleft())
                    wait_s = self._due_in_s()
                    if wait_s is not None and wait_s <= 0:
                        return self._begin(self._choose())
                self._changed.wait(wait_s)
            return None

    def done(self, batch: Batch) -> None:
        """A batch went well."""
        with self._changed:
            self._in_flight.remove(batch)
            if self.budget < self._max_tokens:
                self._good += 1
                if self._good >= _GOOD_BATCHES:
                    self._good, self.budget = 0, min(self._max_tokens, int(self.budget * _GROWTH) + 1)
            self._changed.notify_all()

    def give_up(self, batch: Batch) -> None:
        with self._changed:
            self._in_flight.remove(batch)
            self._changed.notify_all()

    def split(self, batch: Batch) -> None:
        """A batch failed."""
        with self._changed:
            self._in_flight.remove(batch)
            half = len(batch.texts) // 2
            self._again.extendleft((batch.texts[half:], batch.texts[:half]))
            self._changed.notify_all()

    def shrink(self, batch: Batch) -> int:
        """A batch was too large for the device's memory; the new budget.

        Half of what that batch was, so that several under way, of the same size, count as one.
        """
        with self._changed:
            self.out_of_memory += 1
            self._good, self.budget = 0, max(1, min(self.budget, batch.padded // 2))
            return self.budget

    def forget(self, call: Call) -> None:
        """Nobody waits for the texts of a call any more."""
        with self._changed:
            self._texts = deque(text for text in self._texts if text.call is not call)
            self._ready = [text for text in self._ready if text.call is not call]
            self._ready_tokens = sum(map(_length, self._ready))
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _due_in_s(self) -> float | None:
        """When to begin a batch; None when there is nothing to begin it with."""
        if not self._ready:
            return None
        if self._ready_tokens >= self.budget or not (self._in_flight or self._texts or self._tokenizing):
            return 0.0
        return min(text.arrived for text in self._ready) + self._max_wait_s - time.monotonic()

    def _begin(self, texts: list[WaitingText]) -> Batch:
        batch = Batch(texts)
        self._in_flight.append(batch)
        return batch

    def _choose(self) -> list[WaitingText]:
        """Take the oldest text and, as far as the budget goes, those nearest to it in length."""
        ready = self._ready
        oldest = min(range(len(ready)), key=lambda position: ready[position].arrived)
        first, end, longest = oldest, oldest + 1, ready[oldest].length
        while True:
            count = end - first
            shorter = ready[first - 1].length if first else 0
            longer = ready[end].length if end < len(ready) else 0
            takes_shorter = shorter and (count + 1) * longest <= self.budget and _go_together(shorter, longest)
            takes_longer = longer and (count + 1) * longer <= self.budget and _go_together(ready[first].length, longer)
            if takes_longer and not (takes_shorter and longest - shorter <= count * (longer - longest)):
                end, longest = end + 1, longer
            elif takes_shorter:
                first -= 1
            else:
                break
        chosen = ready[first:end]
        del ready[first:end]
        self._ready_tokens -= sum(map(_length, chosen))
        self._changed.notify_all()
        return chosen


def _length(text: WaitingText) -> int:
    return text.length


def _go_together(shortest: int, longest: int) -> bool:
    return longest <= _SHORT or 2 * shortest >= longest
