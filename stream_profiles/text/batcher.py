"""Keeping an encoder busy: texts of many callers become batches that fill the device and waste little of it.

Three threads, one for each stage of the encoder, work on different batches at once, and meet in one queue. It bounds a
batch by its padded tokens, which is what the device computes, and puts texts of similar length together. How many texts
may wait is the callers' business; where they come from and where vectors go, the engine's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np
from msgspec import Struct

from ..errors import StreamProfilesError
from ._queue import Batch, Call, TextQueue, WaitingText
from .encoder import StagedEncoder, Vectors

log = logging.getLogger(__name__)

#: Texts that failed in a row, and seconds a batch may take, until something must be wrong with the encoder.
_FAILING_TEXTS, _STALLED_S = 100, 300.0
_MAX_ERROR_LENGTH = 300
#: How far a vector may be from length 1; half precision is a tenth of that.
_UNIT_WITHIN = 0.01
_STOP_S = 10.0


class Encoded(Struct, frozen=True, gc=False):
    """What became of a text: either `vector` or `error` is there."""

    #: Unit vector, little-endian float32.
    vector: bytes | None
    #: Why there is none.
    error: str | None = None
    #: Whether the encoder read only the beginning of the text.
    truncated: bool = False


class BatcherStats(Struct, frozen=True):
    """What a batcher has done since its start, and where it stands."""

    #: Texts answered; `errors` and `truncated` are among them.
    texts: int
    errors: int
    truncated: int
    #: Batches that went well, their tokens, and what the device computed for them.
    batches: int
    tokens: int
    padded_tokens: int
    #: Batches that did not fit into the device's memory.
    out_of_memory: int
    #: How long each stage was busy; with a device that works by itself, `collect` is the time spent waiting for it.
    tokenize_seconds: float
    forward_seconds: float
    collect_seconds: float
    #: Texts that wait for a batch.
    queued: int
    #: Padded tokens that a batch may have now.
    budget: int


class Batcher:
    """Encodes texts of many callers in shared batches.

    A batch begins when the waiting texts fill it, or the oldest has waited `max_wait_ms`; and at once when the device
    is idle and all that was handed over is tokenised. Waiting then would cost a lone text time and win nothing:
    whatever comes meanwhile forms the next batch, which so grows with the load by itself.

    Every batch has the oldest waiting text in it, and those nearest to that in length; so no text waits for ever, and
    at most half of a batch is padding, unless all its texts are short.

    A batch that fails is tried again in halves, down to the text that fails alone and gets the error for its answer.
    When the device's memory was too small for it, batches become smaller, and grow again slowly.

    Parameters:
        encoder: Its three stages are called by one thread each.
        max_batch_tokens: Padded tokens of a batch: the length of its longest text times the number of texts. A longer
            text goes alone.
        max_wait_ms: How long a text waits for others while the device is busy.

    Examples:
        >>> from stream_profiles.text.encoder import Tokens
        >>> class Halves:
        ...     name, version, dimension = "halves", "1", 2
        ...
        ...     def tokenize(self, texts):
        ...         return [Tokens(text, len(text)) for text in texts]
        ...
        ...     def forward(self, batch):
        ...         return [tokens.content.count("a") / tokens.length for tokens in batch]
        ...
        ...     def collect(self, output):
        ...         return np.array([[share**0.5, (1 - share) ** 0.5] for share in output], np.float32)
        ...
        ...     def is_out_of_memory(self, error):
        ...         return False
        >>> async def encode():
        ...     batcher = Batcher(Halves())
        ...     await batcher.start()
        ...     try:
        ...         return await batcher.encode(["banana", "aaaa", ""])
        ...     finally:
        ...         await batcher.stop()
        >>> banana, aaaa, empty = asyncio.run(encode())
        >>> np.frombuffer(aaaa.vector, "<f4"), empty.vector, empty.error
        (array([1., 0.], dtype=float32), None, 'division by zero')
    """

    def __init__(self, encoder: StagedEncoder, *, max_batch_tokens: int = 16_384, max_wait_ms: float = 5.0) -> None:
        self.encoder = encoder
        self._queue = TextQueue(max_batch_tokens, max_wait_ms / 1000)
        self._launched: SimpleQueue[tuple[Batch, Any] | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[Thread] = []
        self._calls: set[Call] = set()
        self._ended: StreamProfilesError | None = None
        # Each counter is written by one thread.
        self._texts = self._errors = self._truncated = self._failed_in_a_row = 0
        self._batches = self._tokens = self._padded_tokens = 0
        self._tokenize_s = self._forward_s = self._collect_s = 0.0

    @property
    def stats(self) -> BatcherStats:
        """As of now."""
        return BatcherStats(
            self._texts,
            self._errors,
            self._truncated,
            self._batches,
            self._tokens,
            self._padded_tokens,
            self._queue.out_of_memory,
            self._tokenize_s,
            self._forward_s,
            self._collect_s,
            self._queue.queued,
            self._queue.budget,
        )

    @property
    def failing(self) -> bool:
        """Whether text after text fails, or a batch does not come to an end: a new process may do better."""
        return self._failed_in_a_row >= _FAILING_TEXTS or self._queue.busy_for_s > _STALLED_S

    async def start(self) -> None:
        """Start the threads. A batcher is started once."""
        self._loop = asyncio.get_running_loop()
        for stage in (self._tokenize, self._forward, self._collect):
            self._threads.append(Thread(target=self._run, args=(stage,), name=f"text{stage.__name__}", daemon=True))
        for thread in self._threads:
            thread.start()

    async def stop(self) -> None:
        """Finish the batches that are under way, and fail all other texts."""
        self._ended = self._ended or StreamProfilesError(
            "the batcher has been stopped; its texts must be asked for again"
        )
        self._queue.close()
        await asyncio.to_thread(self._join)
        # What the threads delivered last has been delivered before the news of their end.
        self._fail_all(self._ended)

    async def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """What becomes of each text, in order.

        Raises:
            StreamProfilesError: the batcher does not run, or stopped meanwhile. A text that cannot be encoded is no
                error here: it gets one for its answer.
        """
        if self._ended is not None:
            raise self._ended
        if self._loop is None:
            raise StreamProfilesError("the batcher does not run: call start() first")
        if not texts:
            return []
        call = Call(len(texts), self._loop.create_future())
        now = time.monotonic()
        self._calls.add(call)
        self._queue.put([WaitingText(call, index, text, now) for index, text in enumerate(texts)])
        try:
            return await call.done
        finally:
            self._calls.discard(call)
            if call.left:
                self._queue.forget(call)

    def _run(self, stage: Callable[[], None]) -> None:
        """The life of a thread. Whatever ends it, nobody must be left waiting."""
        try:
            stage()
        except BaseException as error:
            log.exception("the batcher cannot go on")
            self._queue.close()
            self._call_soon(self._end, repr(error))
        finally:
            if stage == self._forward:
                self._launched.put(None)

    def _tokenize(self) -> None:
        while texts := self._queue.take_texts():
            began = time.perf_counter()
            ready = self._tokenized(texts)
            self._tokenize_s += time.perf_counter() - began
            self._queue.put_ready(ready)

    def _tokenized(self, texts: list[WaitingText]) -> list[WaitingText]:
        """Those of the texts that could be tokenised; the others are answered."""
        try:
            tokens = self.encoder.tokenize([text.text for text in texts])
            if len(tokens) != len(texts):
                raise ValueError(f"the encoder made {len(tokens)} of {len(texts)} texts")
        except Exception as error:
            if len(texts) == 1:
                self._answer([(texts[0], Encoded(None, _words(error)))])
                return []
        else:
            for text, its in zip(texts, tokens, strict=True):
                text.tokens, text.length = its, max(its.length, 1)
            return texts
        half = len(texts) // 2
        return self._tokenized(texts[:half]) + self._tokenized(texts[half:])

    def _forward(self) -> None:
        while batch := self._queue.take_batch():
            began = time.perf_counter()
            try:
                output = self.encoder.forward(batch.tokens)
            except Exception as error:
                self._failed(batch, error)
            else:
                self._launched.put((batch, output))
                del output  # It may hold memory of the device until the next batch.
            self._forward_s += time.perf_counter() - began

    def _collect(self) -> None:
        while (launched := self._launched.get()) is not None:
            batch, output = launched
            began = time.perf_counter()
            try:
                vectors = self._checked(self.encoder.collect(output), len(batch.texts))
            except Exception as error:
                self._failed(batch, error)
            else:
                self._batches += 1
                self._tokens += sum(text.length for text in batch.texts)
                self._padded_tokens += batch.padded
                self._queue.done(batch)
                self._answer(zip(batch.texts, _encoded(batch.texts, vectors), strict=True))
            del launched, output
            self._collect_s += time.perf_counter() - began

    def _checked(self, vectors: Vectors, texts: int) -> Vectors:
        vectors = np.ascontiguousarray(vectors, "<f4")
        if vectors.shape != (texts, self.encoder.dimension):
            raise ValueError(
                f"the encoder gave vectors of shape {vectors.shape} for {texts} texts; its dimension is "
                f"{self.encoder.dimension}"
            )
        return vectors

    def _failed(self, batch: Batch, error: Exception) -> None:
        """Have a batch be tried again in halves.

        By the forward thread and later: as long as the error is handled, its traceback keeps the memory of the device.
        """
        out_of_memory = self.encoder.is_out_of_memory(error)
        if out_of_memory:
            budget = self._queue.shrink(batch)
            log.warning(
                "a batch of %d texts (%d tokens) did not fit into the device's memory; batches have %d now",
                len(batch.texts),
                batch.padded,
                budget,
            )
        if len(batch.texts) > 1:
            self._queue.split(batch)
            return
        self._queue.give_up(batch)
        words = _words(error)
        reason = f"too long for the device's memory: {words}" if out_of_memory else words
        text = batch.texts[0]
        self._answer([(text, Encoded(None, reason, text.truncated))])

    def _answer(self, answers: Iterable[tuple[WaitingText, Encoded]]) -> None:
        self._call_soon(self._deliver, list(answers))

    def _call_soon(self, function: Callable[..., None], argument: Any) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function, argument)
        except RuntimeError:
            log.debug("the event loop has ended before the batcher")

    def _deliver(self, answers: list[tuple[WaitingText, Encoded]]) -> None:
        """In the event loop."""
        for text, encoded in answers:
            self._texts += 1
            self._truncated += encoded.truncated
            if encoded.error is None:
                self._failed_in_a_row = 0
            else:
                self._errors += 1
                self._failed_in_a_row += 1
                if self._failed_in_a_row == _FAILING_TEXTS:
                    log.error("%d texts in a row could not be encoded, the last one: %s", _FAILING_TEXTS, encoded.error)
            text.call.answer(text.index, encoded)

    def _end(self, problem: str) -> None:
        """In the event loop."""
        self._ended = self._ended or StreamProfilesError(f"the batcher cannot go on: {problem}")
        self._fail_all(self._ended)

    def _fail_all(self, error: StreamProfilesError) -> None:
        for call in self._calls:
            if not call.done.done():
                call.done.set_exception(error)

    def _join(self) -> None:
        deadline = time.monotonic() + _STOP_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                log.warning("the encoder does not come to an end; %s is left behind", thread.name)


def _encoded(texts: list[WaitingText], vectors: Vectors) -> list[Encoded]:
    data, size = vectors.tobytes(), vectors.shape[1] * vectors.itemsize
    with np.errstate(all="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        good = np.abs(lengths - 1) <= _UNIT_WITHIN
    return [
        Encoded(data[row * size : (row + 1) * size], None, text.truncated)
        if good[row]
        else Encoded(None, f"the encoder gave a vector of length {lengths[row]:.3g} instead of 1", text.truncated)
        for row, text in enumerate(texts)
    ]


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:_MAX_ERROR_LENGTH]
