"""How good the models are, published: whole to Redis, as numbers to Kafka.

The hash in Redis has the metrics' inner counts, which the client adds up over partitions; whoever reads the topic gets
each partition's numbers. Both are told anew by the next report, so what cannot be published is left at that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import redis.asyncio

from ..contracts import Contender, ModelMetrics, TargetReport
from ..models.metrics import Evaluation
from ..names import Names
from ..partition import Partition
from .producer import BatchProducer
from .table import Owned

log = logging.getLogger(__name__)

#: Reports only change when a learner does.
Learned = tuple[int, ...]


class ReportPublisher:
    """Publishes how the learners of a worker's partitions stand.

    Parameters:
        names: The definition's.
        owned: The worker's partitions, by number, as they are at any time.
        client: Redis.
        producer: Kafka.
    """

    def __init__(
        self, names: Names, owned: Mapping[int, Owned], client: redis.asyncio.Redis, producer: BatchProducer
    ) -> None:
        self._names, self._owned, self._client, self._producer = names, owned, client, producer
        #: A partition that is given away is forgotten here too.
        self._encoded: WeakKeyDictionary[Owned, tuple[Learned, bytes]] = WeakKeyDictionary()
        self._sent: WeakKeyDictionary[Owned, Learned] = WeakKeyDictionary()

    async def to_redis(self) -> None:
        """Write the reports of all partitions, changed or not: Redis may have lost them.

        Raises:
            Exception: it could not be done. Doing it again is safe.
        """
        fields: dict[Any, Any] = {}
        for owned in self._active():
            learned = _learned(owned.partition)
            known = self._encoded.get(owned)
            if known is None or known[0] != learned:
                known = self._encoded[owned] = learned, msgspec.json.encode(owned.partition.metrics())
                await asyncio.sleep(0)  # Events need not wait for the reports of all partitions.
            fields[str(owned.number)] = known[1]
        if fields:
            await self._client.hset(self._names.redis_metrics, mapping=fields)

    async def to_topic(self) -> None:
        """Send the reports that changed since they were sent last.

        Raises:
            Exception: it could not be done. Doing it again is safe.
        """
        sent: dict[Owned, Learned] = {}
        records = []
        for owned in self._active():
            learned = _learned(owned.partition)
            if self._sent.get(owned) != learned:
                message = model_metrics(self._names.definition, owned.number, owned.partition, _now_ms())
                records.append((str(owned.number).encode(), msgspec.json.encode(message)))
                sent[owned] = learned
                await asyncio.sleep(0)
        if records:
            await asyncio.gather(*await self._producer.send(self._names.model_metrics, 0, records))
            self._sent.update(sent)

    def _active(self) -> list[Owned]:
        return [owned for owned in self._owned.values() if owned.active and owned.partition.updater.targets]


def model_metrics(definition: str, number: int, partition: Partition, time: int) -> ModelMetrics:
    """How good the models of a partition are.

    Parameters:
        definition: Its name.
        number: The partition's.
        partition: The partition.
        time: Now, ms.
    """
    return ModelMetrics(
        profile=definition,
        partition=number,
        time=time,
        watermark=partition.watermark,
        targets={name: _target_report(report) for name, report in partition.metrics().items()},
    )


def _target_report(report: Mapping[str, Any]) -> TargetReport:
    evaluation = report["evaluation"]
    values = msgspec.to_builtins(Evaluation(evaluation["task"], evaluation).values())
    return TargetReport(
        task=values["task"],
        model=values["model"],
        prevalence=values["prevalence"],
        last_label=values["last_label"],
        examples=report["examples"],
        promotions=report["promotions"],
        drifts=report["drifts"],
        contenders=[Contender(**contender) for contender in report["contenders"]],
        importances=report["importances"],
    )


async def every(interval_s: float, publish: Callable[[], Awaitable[Any]]) -> None:
    """Publish for ever. Nothing that is published so is worth ending a worker for: a failure is logged at debug."""
    while True:
        await asyncio.sleep(interval_s)
        try:
            await publish()
        except Exception as error:
            log.debug("not published: %r", error)


def _learned(partition: Partition) -> Learned:
    return tuple(learner.examples for learner in partition.shared.learners.values())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
