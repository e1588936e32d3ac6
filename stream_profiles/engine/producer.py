"""Writing to Kafka in whole batches: what belongs to one partition is appended in one piece and awaited as one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import aiokafka
from aiokafka.errors import KafkaError

from ..errors import KafkaUnavailable, StreamProfilesError

#: A batch is closed once it is larger; with the largest record in it, it stays within what topics take.
_ORDINARY_BATCH_BYTES = 256 * 1024

_STOP_S = 5.0

Headers = list[tuple[str, bytes]]
#: Key, value and headers.
Record = tuple[bytes | None, bytes | None] | tuple[bytes | None, bytes | None, Headers]
_NO_HEADERS: Headers = []


class BatchProducer:
    """aiokafka's producer, used by the batch.

    Every write is acknowledged by all in-sync replicas and idempotent: a retry inside the client neither doubles nor
    reorders.
    """

    def __init__(self, bootstrap: str, max_batch_bytes: int) -> None:
        self._bootstrap = bootstrap
        self._max_batch_bytes = max_batch_bytes
        self._producer: Any = None

    async def start(self) -> None:
        """Raises: KafkaUnavailable."""
        self._producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=self._max_batch_bytes,
            max_request_size=2 * self._max_batch_bytes,
        )
        try:
            await self._producer.start()
        except (KafkaError, OSError) as error:
            raise KafkaUnavailable(f"Kafka at {self._bootstrap} does not answer: {error}") from error

    async def stop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        # An idempotent producer never gives up on a batch: its own stop would wait for a broker that is gone.
        with suppress(TimeoutError, asyncio.TimeoutError, KafkaError):
            await asyncio.wait_for(producer.stop(), _STOP_S)
            return
        with suppress(TimeoutError, asyncio.TimeoutError, KafkaError):
            await asyncio.wait_for(producer.client.close(), _STOP_S)

    async def send(self, topic: str, partition: int, records: Iterable[Record]) -> list[asyncio.Future[Any]]:
        """Append records to one partition, in order, in batches of ordinary size.

        Returns a future for each batch, which gives the batch's metadata once it is acknowledged.

        Raises:
            StreamProfilesError: a single record is larger than a batch may be.
        """
        return await self._send(topic, partition, records, _ORDINARY_BATCH_BYTES)

    async def send_whole(self, topic: str, partition: int, records: Iterable[Record]) -> list[asyncio.Future[Any]]:
        """Like `send`, in one batch as long as it is no larger than any may be: Kafka keeps a batch whole or not at
        all.
        """
        return await self._send(topic, partition, records, self._max_batch_bytes)

    async def _send(
        self, topic: str, partition: int, records: Iterable[Record], batch_bytes: int
    ) -> list[asyncio.Future[Any]]:
        producer = self._producer
        batch, futures = producer.create_batch(), []
        for record in records:
            key, value = record[0], record[1]
            headers = record[2] if len(record) == 3 else _NO_HEADERS
            if len(key or b"") + len(value or b"") > self._max_batch_bytes:
                raise StreamProfilesError(
                    f"a record of {len(value or b''):,} bytes for {topic} is larger than max_batch_bytes "
                    f"({self._max_batch_bytes:,}): raise that setting and the topic's max.message.bytes"
                )
            full = batch.size() > batch_bytes
            if full or batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                batch.close()
                futures.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                # The first record of a batch is taken whatever its size.
                batch.append(key=key, value=value, timestamp=None, headers=headers)
        if batch.record_count():
            batch.close()
            futures.append(await producer.send_batch(batch, topic, partition=partition))
        return futures
