"""Writing in batches: aiokafka's own batches, without a broker to take them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.producer.message_accumulator import BatchBuilder

from stream_profiles.engine import producer as module
from stream_profiles.engine.producer import BatchProducer, Record
from stream_profiles.errors import KafkaUnavailable, StreamProfilesError

MAX = 1_048_576


class Client:
    """As much of AIOKafkaProducer as is used."""

    def __init__(self, max_bytes: int = MAX) -> None:
        self.sent: list[tuple[str, int, BatchBuilder]] = []
        self._max_bytes = max_bytes

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(self._max_bytes, 0, is_transactional=False)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[Any]:
        assert batch._closed, "a batch that is not closed may be appended to by others"
        self.sent.append((topic, partition, batch))
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def producer(client: Client) -> BatchProducer:
    made = BatchProducer("nowhere:1", MAX)
    made._producer = client
    return made


async def test_what_belongs_to_a_partition_is_one_batch(producer: BatchProducer, client: Client) -> None:
    records: list[Record] = [(b"a", b"1"), (None, b"2", [("source", b"x")]), (b"c", None)]
    futures = await producer.send("t", 3, records)
    ((topic, partition, batch),) = client.sent
    assert (topic, partition, batch.record_count(), len(futures)) == ("t", 3, 3, 1)


async def test_nothing_is_no_batch(producer: BatchProducer, client: Client) -> None:
    assert await producer.send("t", 0, []) == [] == client.sent


async def test_much_is_sent_in_batches_of_ordinary_size(producer: BatchProducer, client: Client) -> None:
    futures = await producer.send("t", 0, [(b"k", b"x" * 10_000)] * 100)
    sizes = [batch.size() for _, _, batch in client.sent]
    assert len(futures) == len(sizes) == 4
    assert max(sizes) < module._ORDINARY_BATCH_BYTES + 11_000
    assert sum(batch.record_count() for _, _, batch in client.sent) == 100


async def test_a_large_record_after_a_batch_of_ordinary_size_goes_into_one_that_topics_take(
    producer: BatchProducer, client: Client
) -> None:
    await producer.send("t", 0, [(b"k", b"x" * 200_000), (b"k", b"x" * 900_000)])
    assert [batch.record_count() for _, _, batch in client.sent] == [1, 1]


async def test_whole_is_whole_up_to_the_largest_batch(producer: BatchProducer, client: Client) -> None:
    assert len(await producer.send_whole("t", 0, [(b"k", b"x" * 10_000)] * 100)) == 1
    client.sent.clear()
    assert len(await producer.send_whole("t", 0, [(b"k", b"x" * 10_000)] * 110)) == 2
    assert [batch.record_count() for _, _, batch in client.sent] == [104, 6]


async def test_a_record_larger_than_any_batch_is_an_error_that_says_what_to_do(producer: BatchProducer) -> None:
    with pytest.raises(StreamProfilesError, match=r"2,000,000 bytes for t .*max_batch_bytes \(1,048,576\)"):
        await producer.send("t", 0, [(b"k", b"x" * 2_000_000)])


async def test_a_broker_that_does_not_answer() -> None:
    producer = BatchProducer("127.0.0.1:1", MAX)
    with pytest.raises(KafkaUnavailable, match=r"Kafka at 127\.0\.0\.1:1 does not answer") as caught:
        await producer.start()
    assert isinstance(caught.value.__cause__, KafkaConnectionError)
    await producer.stop()


async def test_stopping_twice_or_before_the_start_does_nothing() -> None:
    producer = BatchProducer("127.0.0.1:1", MAX)
    await producer.stop()
    await producer.stop()
