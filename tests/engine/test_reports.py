"""What is published of the models: the numbers of their own evaluation, and only when there are new ones."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import msgspec
import pytest
from aiokafka.errors import KafkaTimeoutError
from jsonschema import Draft202012Validator

from stream_profiles import Count, Event, Happens, LogisticRegression, ProfileDefinition, Target, schemas
from stream_profiles.contracts import ModelMetrics
from stream_profiles.engine.reports import ReportPublisher, every, model_metrics
from stream_profiles.engine.table import Owned
from stream_profiles.models.labels import NextType, ValueWithin
from stream_profiles.models.metrics import BinaryMetrics, MulticlassMetrics, RegressionMetrics
from stream_profiles.updater import ProfileUpdater

from .fakes import NAMES, Producer, until

HOUR = 3_600_000
DEFINITION = ProfileDefinition(
    "shop",
    features=[Count("views", half_life="1h")],
    targets=[
        Target("buys_soon", label=Happens("purchase", within="1d"), challengers=[LogisticRegression(l2=0.1)]),
        Target("next", label=NextType(within="1d")),
        Target("worth", label=ValueWithin("amount", on="purchase", within="1d")),
    ],
)
TOPIC = (NAMES.model_metrics, 0)


class Redis:
    def __init__(self) -> None:
        self.hash: dict[str, bytes] = {}
        self.writes = 0

    async def hset(self, key: str, mapping: dict[str, bytes]) -> None:
        assert key == NAMES.redis_metrics
        self.hash |= mapping
        self.writes += 1


def owned(number: int, definition: ProfileDefinition = DEFINITION) -> Owned:
    partition = Owned(number, ProfileUpdater(definition), generation=1)
    partition.active = True
    return partition


def learn(owned: Owned, first: int = 0, events: int = 120) -> None:
    for number in range(first, first + events):
        owned.partition.apply(
            Event(
                event_id=str(number),
                user_id=f"user-{number % 5}",
                type="purchase" if number % 3 == 0 else "view",
                time=number * HOUR,
                price=float(number % 4),
                quantity=1.0,
            )
        )


@pytest.fixture
def producer() -> Producer:
    return Producer([])


class Setting:
    def __init__(self, producer: Producer, *partitions: Owned) -> None:
        self.redis, self.producer = Redis(), producer
        self.owned = {each.number: each for each in partitions}
        self.publisher = ReportPublisher(NAMES, self.owned, self.redis, producer)  # type: ignore[arg-type]

    def sent(self) -> list[ModelMetrics]:
        return self.producer.decoded(*TOPIC, type=ModelMetrics)


def test_a_message_says_what_the_learners_counted() -> None:
    """And is what the schema says, of every task."""
    partition = owned(3)
    learn(partition)
    message = model_metrics("shop", 3, partition.partition, time=1_700_000_000_000)
    assert (message.profile, message.partition, message.time) == ("shop", 3, 1_700_000_000_000)
    assert message.watermark == partition.partition.watermark == 119 * HOUR
    assert list(message.targets) == ["buys_soon", "next", "worth"]
    kinds: tuple[Any, ...] = (BinaryMetrics, MulticlassMetrics, RegressionMetrics)
    learners = partition.partition.shared.learners.values()
    for target, learner, kind in zip(message.targets.values(), learners, kinds, strict=True):
        evaluation = learner.evaluation
        assert isinstance(evaluation.model, kind)
        assert target.task == evaluation.task
        assert target.model == msgspec.to_builtins(evaluation.model.values())
        assert target.prevalence == msgspec.to_builtins(evaluation.prevalence.values())
        assert target.last_label == msgspec.to_builtins(evaluation.last_label.values())
        assert target.examples == learner.examples > 20
        assert target.importances == learner.importances()
        assert [each.model for each in target.contenders] == [each.declared for each in learner.contenders]
    first, second = message.targets["buys_soon"].contenders
    assert first.behind is None and first.loss and second.behind and second.examples == first.examples
    sent = json.loads(msgspec.json.encode(message))
    assert list(Draft202012Validator(schemas.documents()["model_metrics.json"]).iter_errors(sent)) == []


def test_every_metric_is_named_in_the_schema() -> None:
    described = schemas.documents()["model_metrics.json"]["$defs"]["TargetReport"]["properties"]["model"]["description"]
    for task, kind in (("Binary", BinaryMetrics), ("Multiclass", MulticlassMetrics), ("Regression", RegressionMetrics)):
        (words,) = [part for part in described.split(". ") if part.startswith(f"{task}: ")]
        names = words.removeprefix(f"{task}: ").replace(" (label, guess, count)", "").rstrip(".").split(", ")
        assert names == list(msgspec.to_builtins(kind().values()))


async def test_redis_gets_the_reports_whole(producer: Producer) -> None:
    partitions = owned(0), owned(5)
    setting = Setting(producer, *partitions)
    for partition in partitions:
        learn(partition)
    await setting.publisher.to_redis()
    assert setting.redis.hash == {
        str(partition.number): msgspec.json.encode(partition.partition.metrics()) for partition in partitions
    }
    learn(partitions[0], first=120)
    await setting.publisher.to_redis()
    assert setting.redis.hash["0"] == msgspec.json.encode(partitions[0].partition.metrics())


async def test_redis_gets_them_again_though_nothing_changed(producer: Producer) -> None:
    setting = Setting(producer, owned(0))
    await setting.publisher.to_redis()
    setting.redis.hash.clear()
    await setting.publisher.to_redis()
    assert setting.redis.hash.keys() == {"0"}


async def test_the_topic_gets_what_changed(producer: Producer) -> None:
    one, other = owned(0), owned(5)
    setting = Setting(producer, one, other)
    learn(one)
    await setting.publisher.to_topic()
    assert [message.partition for message in setting.sent()] == [0, 5]
    assert [key for key, _ in producer.sent[TOPIC]] == [b"0", b"5"]
    await setting.publisher.to_topic()
    assert len(setting.sent()) == 2, "nothing has changed"
    learn(other)
    await setting.publisher.to_topic()
    latest = setting.sent()[2:]
    assert [message.partition for message in latest] == [5]
    assert latest[0].targets["buys_soon"].examples == other.partition.metrics()["buys_soon"]["examples"] > 0


async def test_what_could_not_be_sent_is_sent_the_next_time(producer: Producer) -> None:
    setting = Setting(producer, owned(0))
    producer.errors[NAMES.model_metrics].append(KafkaTimeoutError())
    with pytest.raises(KafkaTimeoutError):
        await setting.publisher.to_topic()
    assert setting.sent() == []
    await setting.publisher.to_topic()
    assert [message.partition for message in setting.sent()] == [0]


async def test_what_is_learned_while_a_report_is_on_its_way_is_reported_next(producer: Producer) -> None:
    partition = owned(0)
    setting = Setting(producer, partition)
    gate = producer.held[NAMES.model_metrics] = asyncio.Event()
    sending = asyncio.create_task(setting.publisher.to_topic())
    await until(lambda: setting.sent(), "on its way")
    learn(partition)
    gate.set()
    await sending
    await setting.publisher.to_topic()
    assert [message.targets["buys_soon"].examples > 0 for message in setting.sent()] == [False, True]


async def test_a_partition_that_comes_back_is_reported_anew(producer: Producer) -> None:
    """Meanwhile another worker had it, and said what it knew."""
    setting = Setting(producer, owned(0))
    await setting.publisher.to_topic()
    setting.owned[0] = owned(0)
    await setting.publisher.to_topic()
    assert [message.partition for message in setting.sent()] == [0, 0]


async def test_partitions_in_recovery_are_not_reported(producer: Producer) -> None:
    partition = owned(0)
    partition.active = False
    setting = Setting(producer, partition)
    await setting.publisher.to_redis()
    await setting.publisher.to_topic()
    assert setting.redis.writes == 0 and setting.sent() == []


async def test_without_targets_there_is_nothing_to_report(producer: Producer) -> None:
    setting = Setting(producer, owned(0, ProfileDefinition("shop", features=[Count("views")])))
    await setting.publisher.to_redis()
    await setting.publisher.to_topic()
    assert setting.redis.writes == 0 and setting.sent() == []


async def test_a_failure_is_logged_at_debug_and_publishing_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    calls = 0

    async def publish() -> None:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise RuntimeError("Kafka is away")

    with caplog.at_level(logging.DEBUG, logger="stream_profiles"):
        publishing = asyncio.create_task(every(0.001, publish))
        await until(lambda: calls > 4, "going on")
        publishing.cancel()
    said = [record for record in caplog.records if "not published" in record.message]
    assert len(said) == 2 and all(record.levelno == logging.DEBUG for record in said)
