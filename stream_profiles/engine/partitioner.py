"""Which partition a user's events belong to: Kafka's default partitioner (murmur2), remembered per user."""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2


class Partitioner:
    """Kafka's own choice for a key, so that topics keyed by other clients agree.

    Examples:
        >>> Partitioner(4)("ada")
        2
    """

    def __init__(self, partitions: int) -> None:
        @lru_cache(maxsize=200_000)
        def partition(user_id: str) -> int:
            return int((murmur2(user_id.encode()) & 0x7FFFFFFF) % partitions)

        self._partition = partition

    def __call__(self, user_id: str) -> int:
        return self._partition(user_id)
