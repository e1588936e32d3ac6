"""Events on their way to a Kafka topic: batches by partition, in order, acknowledged by all replicas.

What is sent, and when, is the runner's. A test of the runner brings a transport of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from kafka.errors import KafkaError as AdminError

from ..brokers import open_admin, unavailable
from ..errors import KafkaUnavailable, TopicError
from ..partitioner import Partitioner

#: One batch of one partition. Below a broker's default limit (max.message.bytes = 1,048,588) by more than a header.
BATCH_BYTES = 1_000_000
#: The largest event, with its key, that is sure to fit into a batch.
MAX_EVENT_BYTES = BATCH_BYTES - 1_000
#: A broker that is up answers within this time, a cluster that elects a leader too.
START_SECONDS = 10.0
#: A partition without a leader for this long is not coming back by itself.
SEND_SECONDS = 60.0
_STOP_SECONDS = 2.0


class Transport(Protocol):
    """Takes records to one topic. Used by one task, between one `start` and one `stop`."""

    async def start(self) -> str:
        """Connect.

        Returns:
            The topic's name and id, which tell it from one of the same name made anew.

        Raises:
            KafkaUnavailable: no broker answers.
            TopicError: there is no such topic.
        """
        ...

    async def send(self, records: Sequence[tuple[bytes, bytes]]) -> asyncio.Future[None]:
        """Queue keys and values behind those of earlier calls; waits while too much is queued.

        Records of one key arrive in the order they were given, over all calls.

        Returns:
            A future that is done when all of them are acknowledged, and fails with a `StreamProfilesError`.
        """
        ...

    async def stop(self) -> None:
        """Disconnect. What is not acknowledged by now may or may not arrive. Called also when `start` failed."""
        ...


class KafkaTransport:
    """A transport over aiokafka's idempotent producer.

    It fills batches itself and hands them over whole: a tenth of the cost of a call and a future for each event. A key
    goes to the partition that every Kafka client's default partitioner (murmur2) gives it.
    """

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._producer: Any = None
        self._partition = Partitioner(1)

    async def start(self) -> str:
        try:
            async with asyncio.timeout(START_SECONDS):
                topic_id = await asyncio.to_thread(self._look_up_topic)
                self._producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    acks="all",
                    enable_idempotence=True,
                    max_batch_size=BATCH_BYTES,
                    max_request_size=BATCH_BYTES,
                    request_timeout_ms=round(SEND_SECONDS * 1000),
                )
                await self._producer.start()
                self._partition = Partitioner(len(await self._producer.partitions_for(self._topic)))
        except (TimeoutError, OSError, KafkaError, AdminError):
            raise unavailable(self._bootstrap) from None
        return f"{self._topic}#{topic_id}"

    def _look_up_topic(self) -> str:
        # aiokafka would create a missing topic where the broker allows it, with one partition; and knows no ids.
        admin = open_admin(self._bootstrap, START_SECONDS * 0.9)
        try:
            topic = admin.describe_topics([self._topic])[0]
        finally:
            admin.close()
        if topic["error_code"] or not topic["partitions"]:
            raise TopicError(
                f"there is no topic {self._topic!r} at {self._bootstrap}; start a worker, which creates it, "
                "or correct the name"
            )
        return str(topic["topic_id"])

    async def send(self, records: Sequence[tuple[bytes, bytes]]) -> asyncio.Future[None]:
        producer = self._producer
        full: list[tuple[int, Any]] = []
        filling: dict[int, Any] = {}
        # Not the event's own time: a broker deletes records whose time is past its retention, and files are old.
        now = int(time.time() * 1000)
        for key, value in records:
            partition = self._partition(key)
            batch = filling.get(partition)
            if batch is None or batch.append(timestamp=now, key=key, value=value) is None:
                if batch is not None:
                    full.append((partition, batch))
                batch = filling[partition] = producer.create_batch()
                batch.append(timestamp=now, key=key, value=value)
        acks = []
        try:
            for partition, batch in (*full, *filling.items()):
                acks.append(await producer.send_batch(batch, self._topic, partition=partition))
        except KafkaError as error:
            for ack in acks:
                ack.cancel()
            if not isinstance(error, KafkaTimeoutError):
                raise self._refused(error) from None
            raise KafkaUnavailable(
                f"Kafka at {self._bootstrap} has taken nothing for {SEND_SECONDS:.0f} seconds; "
                "run the same command again when it is back, to go on where it stopped"
            ) from None
        return asyncio.ensure_future(self._acknowledged(acks))

    async def _acknowledged(self, acks: list[asyncio.Future[Any]]) -> None:
        try:
            await asyncio.gather(*acks)
        except KafkaError as error:
            raise self._refused(error) from None

    def _refused(self, error: KafkaError) -> TopicError:
        return TopicError(f"Kafka refuses events of topic {self._topic!r}: {type(error).__name__} {error}".rstrip())

    async def stop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        # An idempotent producer never gives up on a batch, so its own stop would wait for a broker that is gone.
        with contextlib.suppress(TimeoutError, KafkaError):
            await asyncio.wait_for(producer.stop(), _STOP_SECONDS)
            return
        with contextlib.suppress(TimeoutError, KafkaError):
            await asyncio.wait_for(producer.client.close(), _STOP_SECONDS)
