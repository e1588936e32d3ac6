"""Vectors of texts that were encoded lately: in memory, and behind that in Redis, shared by all text workers.

A cache may forget and may be away; then texts are encoded again. So nothing here raises for a Redis that does not
answer: the memory goes on alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from typing import cast

import redis.asyncio
import redis.exceptions

from ..names import Names
from .batcher import Encoded
from .encoder import StagedEncoder

log = logging.getLogger(__name__)

_DIGEST_BYTES = 8
_HEAD_BYTES = _DIGEST_BYTES + 1
_FLOAT_BYTES = 4
#: Encoding anew takes less than to wait longer for Redis, which is asked again after a pause.
_PATIENCE_S, _PAUSE_S = 1.0, 5.0
_WHOLE, _TRUNCATED = b"\0", b"\1"


def stored_vector(value: bytes) -> bytes:
    """The vector in what Redis has of a text, of whatever version: little-endian float32."""
    return value[_HEAD_BYTES:]


class VectorCache:
    """Vectors by text id, of one version of one encoder.

    In Redis a vector is a text's key with an expiry: a digest of the encoder's name and version, a byte that is 1 when
    the text was truncated, and the vector. What has another digest or length counts as missing, and is overwritten.

    Parameters:
        client: Connected client, without `decode_responses`; closing it is its owner's business.
        names: Of the definition.
        encoder: Whose vectors they are.
        ttl_ms: A vector in Redis expires so long after it was written.
        max_items: Vectors kept in memory; one of 384 numbers takes about 2 KB.
    """

    def __init__(
        self, client: redis.asyncio.Redis, names: Names, encoder: StagedEncoder, *, ttl_ms: int, max_items: int
    ) -> None:
        self._client, self._names, self._ttl_ms, self._max_items = client, names, ttl_ms, max_items
        identity = f"{encoder.name}\0{encoder.version}".encode()
        self._digest = blake2b(identity, digest_size=_DIGEST_BYTES).digest()
        self._stored_bytes = _HEAD_BYTES + _FLOAT_BYTES * encoder.dimension
        #: The one used last comes last.
        self._memory: OrderedDict[str, Encoded] = OrderedDict()
        self._away_until = 0.0
        self._away = False
        self.memory_hits = self.redis_hits = self.misses = 0

    def recall(self, text_ids: Iterable[str]) -> dict[str, Encoded]:
        """Those that are in memory, by text id."""
        found: dict[str, Encoded] = {}
        for text_id in text_ids:
            encoded = self._memory.get(text_id)
            if encoded is not None:
                self._memory.move_to_end(text_id)
                found[text_id] = encoded
        self.memory_hits += len(found)
        return found

    async def fetch(self, text_ids: Collection[str]) -> dict[str, Encoded]:
        """Those of the texts, none of them in memory, that are in Redis, by text id."""
        stored = await self._read(list(text_ids))
        self.remember(stored)
        self.redis_hits += len(stored)
        self.misses += len(text_ids) - len(stored)
        return stored

    def remember(self, encoded: Mapping[str, Encoded]) -> None:
        """Keep vectors in memory. A text without a vector is left out: it may have one the next time."""
        for text_id, each in encoded.items():
            if each.vector is not None:
                self._memory[text_id] = each
                self._memory.move_to_end(text_id)
        while len(self._memory) > self._max_items:
            self._memory.popitem(last=False)

    async def store(self, encoded: Mapping[str, Encoded]) -> None:
        """Put vectors into Redis, for other workers and for this one's successor."""
        vectors = {text_id: each for text_id, each in encoded.items() if each.vector is not None}
        if not vectors or self._pausing:
            return
        try:
            async with asyncio.timeout(_PATIENCE_S), self._client.pipeline(transaction=False) as pipeline:
                for text_id, each in vectors.items():
                    assert each.vector is not None
                    value = self._digest + (_TRUNCATED if each.truncated else _WHOLE) + each.vector
                    pipeline.set(self._names.redis_text(text_id), value, px=self._ttl_ms)
                await pipeline.execute()
        except (redis.exceptions.RedisError, OSError) as error:
            self._is_away(error)
        else:
            self._is_back()

    async def _read(self, text_ids: list[str]) -> dict[str, Encoded]:
        if self._pausing:
            return {}
        try:
            async with asyncio.timeout(_PATIENCE_S):
                keys = [self._names.redis_text(text_id) for text_id in text_ids]
                values = cast(list[bytes | None], await self._client.mget(keys))
        except (redis.exceptions.RedisError, OSError) as error:
            self._is_away(error)
            return {}
        self._is_back()
        found = {}
        for text_id, value in zip(text_ids, values, strict=True):
            if value is not None and len(value) == self._stored_bytes and value.startswith(self._digest):
                truncated = value[_DIGEST_BYTES:_HEAD_BYTES] == _TRUNCATED
                found[text_id] = Encoded(stored_vector(value), None, truncated)
        return found

    @property
    def _pausing(self) -> bool:
        return time.monotonic() < self._away_until

    def _is_away(self, error: Exception) -> None:
        self._away_until = time.monotonic() + _PAUSE_S
        if not self._away:
            self._away = True
            log.warning(
                "Redis does not answer for texts' vectors (%s); those that are not in memory are encoded again",
                str(error) or type(error).__name__,
            )

    def _is_back(self) -> None:
        if self._away:
            self._away = False
            log.info("Redis answers for texts' vectors again")
