"""How good the models are, seen from everywhere: as the pure core counts it, whoever asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from stream_profiles import Partition
from stream_profiles.client import ProfileClient
from stream_profiles.contracts import ModelMetrics
from stream_profiles.dev.shop import shop_events
from stream_profiles.engine.reports import model_metrics
from stream_profiles.models.metrics import Evaluation

from .live import ROOT, Live

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def on_topic(live: Live) -> dict[int, ModelMetrics]:
    """The latest message of each partition."""
    messages = {}
    for key, value in live.records(live.names.model_metrics):
        message = msgspec.json.decode(value, type=ModelMetrics)
        assert key == str(message.partition).encode()
        messages[message.partition] = message
    return messages


def says(message: ModelMetrics | None, partition: Partition) -> bool:
    """Whether a message is of the partition as it is."""
    if message is None:
        return False
    made = model_metrics(message.profile, message.partition, partition, message.time)
    expected = msgspec.json.decode(msgspec.json.encode(made), type=ModelMetrics)
    # What the watermark is when a report is made is up to what else of the batch is applied by then.
    return message.targets == expected.targets and message.watermark <= partition.watermark


def models(live: Live, *options: str) -> str:
    """What the command prints."""
    command = [sys.executable, "-m", "stream_profiles", "models", "--name", live.names.definition]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--redis", live.redis_url, *options],
        capture_output=True,
        text=True,
        cwd=live.folder,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_redis_topic_client_and_command_agree_with_the_core(live: Live) -> None:
    events = list(shop_events(seed=5, users=200, events=6_000))
    partitions = live.oracle_partitions(events)
    reports = [partition.metrics() for partition in partitions]
    whole, *others = [Evaluation("binary", report["buys_soon"]["evaluation"]) for report in reports]
    for other in others:
        whole.merge(other)
    expected: Any = whole.values()
    assert expected.model.examples > 500 and 0.5 < expected.model.roc_auc < 1.0, "there is something to tell"

    worker = live.start()
    live.feed(events)
    live.wait_until_applied()
    key = live.names.redis_metrics
    stored = {str(number).encode(): msgspec.json.encode(report) for number, report in enumerate(reports)}
    live.wait_until(lambda: live.redis.hgetall(key) == stored, "in Redis")

    def all_on_topic() -> bool:
        messages = on_topic(live)
        return all(says(messages.get(number), partition) for number, partition in enumerate(partitions))

    live.wait_until(all_on_topic, "on the topic")

    with ProfileClient(live.redis_url, live.names.definition) as client:
        found, by_partition = client.metrics()["buys_soon"], client.partition_metrics()
    assert (found.task, found.examples) == ("binary", expected.model.examples)
    assert found.model == expected.model
    assert found.prevalence == expected.prevalence
    assert found.last_label == expected.last_label
    assert found.importances and sum(found.importances.values()) == pytest.approx(1.0)
    (contender,) = found.contenders
    assert contender.name == "LogisticRegression" and contender.asked == len(partitions)
    for number, message in on_topic(live).items():
        values = by_partition[number]["buys_soon"].model
        assert message.targets["buys_soon"].model == json.loads(msgspec.json.encode(values))

    lines = [json.loads(line) for line in models(live, "--json", "--partitions").splitlines()]
    assert lines[0] == {"target": "buys_soon", **json.loads(msgspec.json.encode(found))}
    assert [line["partition"] for line in lines[1:]] == list(range(len(partitions)))
    printed = models(live)
    assert printed.startswith("buys_soon  binary · ")
    (row,) = [line.split() for line in printed.splitlines() if line.strip().startswith("log-loss ")]
    assert row[1:] == [f"{side.log_loss:.3f}" for side in (expected.model, expected.prevalence, expected.last_label)]

    # Another worker goes on from the same state, and says the same of itself.
    before = len(live.records(live.names.model_metrics))
    assert live.stop(worker) == 0
    live.redis.delete(key)
    live.start()
    live.wait_until(lambda: live.redis.hgetall(key) == stored, "in Redis again")
    live.wait_until(lambda: len(live.records(live.names.model_metrics)) >= before + len(partitions), "reported anew")
    assert all_on_topic()
