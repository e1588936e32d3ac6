"""How texts stand, published to Redis: what waits in each partition, and what each encoder has done."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import redis.asyncio

from ..names import Names
from .table import Owned
from .text import TextAgent


class TextReporter:
    """Publishes how texts stand in this worker.

    Parameters:
        names: The definition's.
        client: Redis.
        instance: The worker's own name, where it has one.
    """

    def __init__(self, names: Names, client: redis.asyncio.Redis, instance: str | None) -> None:
        self._names, self._client = names, client
        self._worker = instance or f"{socket.gethostname()}:{os.getpid()}"

    async def of_partitions(self, owned: Mapping[int, Owned]) -> None:
        """Write what waits in the partitions of this worker.

        Raises:
            Exception: it could not be done. Doing it again is safe.
        """
        fields: dict[Any, Any] = {
            str(each.number): msgspec.json.encode(each.partition.text_metrics())
            for each in owned.values()
            if each.active
        }
        if fields:
            await self._client.hset(self._names.redis_text_metrics, mapping=fields)

    async def of_encoders(self, agent: TextAgent) -> None:
        """Write what each encoder of this worker has done.

        Raises:
            Exception: it could not be done. Doing it again is safe.
        """
        now = time.time_ns() // 1_000_000
        fields: dict[Any, Any] = {
            f"encoder {self._worker} {report['encoder']}": msgspec.json.encode(
                {**report, "worker": self._worker, "at": now}
            )
            for report in agent.reports()
        }
        await self._client.hset(self._names.redis_text_metrics, mapping=fields)


def waiting_line(owned: Mapping[int, Owned]) -> str:
    """How many events wait for the vectors of their texts, for how long, and how many wait no more; empty for none."""
    reports = [report for each in owned.values() if each.active for report in each.partition.text_metrics().values()]
    parts = []
    waiting = sum(report["waiting"] or 0 for report in reports)
    if waiting:
        since = min(report["since"] for report in reports if report["since"] is not None)
        parts.append(f"{waiting:,} texts waiting for up to {max(0.0, time.time() - since / 1000):.1f} s")
    given_up = sum((report["dropped"] or 0) + (report["lost"] or 0) for report in reports)
    if given_up:
        parts.append(f"{given_up:,} texts given up")
    return ", ".join(parts)
