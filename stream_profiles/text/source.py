"""Where the vectors of one encoder come from: memory, a request under way, Redis, or the encoder, in this order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from .batcher import Batcher, Encoded
from .cache import VectorCache

Vectors = dict[str, Encoded]


class VectorSource:
    """A cache in front of a batcher; no text is encoded twice at the same time.

    Parameters:
        batcher: Starting and stopping it is its owner's business.
        cache: Of the same encoder.
    """

    def __init__(self, batcher: Batcher, cache: VectorCache) -> None:
        self.batcher, self.cache = batcher, cache
        #: Requests read, and answers written; counted by whoever reads and writes them.
        self.requests = self.answered = 0
        #: Answers without a vector, and answers of which only the beginning was encoded.
        self.errors = self.truncated = 0
        #: Texts that were under way already for another request.
        self.shared = 0
        #: Texts that are in Redis or encoded soon: what will have their vectors.
        self._under_way: dict[str, asyncio.Task[Vectors]] = {}
        #: Encoded, and not yet in Redis.
        self._new: Vectors = {}

    def look_up(self, texts: Mapping[str, str]) -> tuple[Vectors, list[asyncio.Task[Vectors]]]:
        """Find texts by id: those that are known already, and the tasks that will have the rest, among others.

        A task fails with a `StreamProfilesError` when the batcher stops.
        """
        known = self.cache.recall(texts)
        tasks: dict[asyncio.Task[Vectors], None] = {}
        own: dict[str, str] = {}
        for text_id, text in texts.items():
            if text_id in known:
                continue
            task = self._under_way.get(text_id)
            if task is None:
                own[text_id] = text
            else:
                self.shared += 1
                tasks[task] = None
        if own:
            task = asyncio.create_task(self._find(own))
            self._under_way.update(dict.fromkeys(own, task))
            tasks[task] = None
        return known, list(tasks)

    async def store(self) -> None:
        """Put into Redis what was encoded since the last call."""
        new, self._new = self._new, {}
        await self.cache.store(new)

    def report(self) -> dict[str, Any]:
        """What was done so far, for metrics."""
        encoder, stats = self.batcher.encoder, self.batcher.stats
        return {
            "encoder": encoder.name,
            "version": encoder.version,
            "requests": self.requests,
            "answered": self.answered,
            "memory_hits": self.cache.memory_hits,
            "redis_hits": self.cache.redis_hits,
            "shared": self.shared,
            "encoded": stats.texts,
            "errors": self.errors,
            "truncated": self.truncated,
            "batches": stats.batches,
            "tokens": stats.tokens,
            "padded_tokens": stats.padded_tokens,
            "out_of_memory": stats.out_of_memory,
            "budget": stats.budget,
            "queued": stats.queued,
        }

    async def _find(self, texts: dict[str, str]) -> Vectors:
        try:
            found = await self.cache.fetch(texts)
            missing = [text_id for text_id in texts if text_id not in found]
            encoded = await self.batcher.encode([texts[text_id] for text_id in missing])
            new = dict(zip(missing, encoded, strict=True))
            # Before they are under way no longer: in between, a text would be encoded again.
            self.cache.remember(new)
            self._new |= new
            return found | new
        finally:
            for text_id in texts:
                del self._under_way[text_id]
