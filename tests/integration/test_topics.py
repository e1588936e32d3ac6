"""Topics on a real Kafka: made as planned, checked before a worker starts, and what is wrong said with what to do."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from stream_profiles.dev.servers import EmbeddedServers
from stream_profiles.engine.topics import (
    TopicPlan,
    admin,
    check_topics,
    create_topics,
    plan_topics,
    require_topics,
)
from stream_profiles.errors import KafkaUnavailable, TopicError
from stream_profiles.names import Names
from stream_profiles.settings import Settings, load_settings

pytestmark = pytest.mark.integration

DAY_MS = 86_400_000


@pytest.fixture
def names() -> Names:
    return Names(f"topics-{random.getrandbits(40):x}")


@pytest.fixture(scope="module")
def client(servers: EmbeddedServers) -> Iterator[KafkaAdminClient]:
    assert servers.kafka is not None
    with admin(servers.kafka) as connected:
        yield connected


@pytest.fixture
def settings() -> Settings:
    return load_settings(
        partitions=3,
        events_retention="2d",
        deltas_retention="3d",
        dead_letters_retention="4d",
        max_record_bytes=100_000,
        max_batch_bytes=2_000_000,
        inputs=["web", {"topic": "mine", "keyed": True}],
    )


def plans_of(names: Names, settings: Settings) -> list[TopicPlan]:
    """The plan, with inputs of the test's own."""
    inputs = [each.model_copy(update={"topic": f"{names.definition}-{each.topic}"}) for each in settings.inputs]
    return plan_topics(names, settings.model_copy(update={"inputs": inputs}), texts=True)


def config(client: KafkaAdminClient, topic: str) -> dict[str, str]:
    described = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
    return {name: entry["value"] for name, entry in described["topic"][topic].items()}


def partitions(client: KafkaAdminClient, topic: str) -> int:
    return len(client.describe_topics([topic])[0]["partitions"])


def create(client: KafkaAdminClient, topic: str, count: int, **configs: str) -> None:
    wanted = {"num_partitions": count, "replication_factor": 1, "configs": configs}
    client.create_topics({topic: wanted}, wait_for_metadata=True)


def delete(client: KafkaAdminClient, topic: str) -> None:
    client.delete_topics([topic])
    until = time.monotonic() + 20
    while topic in client.list_topics():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_topics_are_created_as_planned(client: KafkaAdminClient, names: Names, settings: Settings) -> None:
    plans = plans_of(names, settings)
    created = create_topics(client, plans, 1)
    web, mine = f"{names.definition}-web", f"{names.definition}-mine"
    kept = [names.events, names.changelog, names.deltas, names.dead_letters, names.model_metrics]
    assert created == [*kept, names.text_requests, names.text_vectors, web, mine]
    for plan in plans:
        assert partitions(client, plan.name) == (1 if plan.name == names.model_metrics else 3)
        found = config(client, plan.name)
        assert {name: found[name] for name in plan.config} == plan.config
    for topic, days in ((names.events, 2), (names.deltas, 3), (names.dead_letters, 4), (web, 2), (mine, 2)):
        found = config(client, topic)
        assert found["cleanup.policy"] == "delete" and int(found["retention.ms"]) == days * DAY_MS
    changelog = config(client, names.changelog)
    assert changelog["cleanup.policy"] == "compact", "the profiles' state is kept for ever"
    assert int(changelog["max.message.bytes"]) > 2_000_000
    assert config(client, names.model_metrics)["cleanup.policy"] == "compact", "the latest of each partition is kept"
    assert int(config(client, names.events)["max.message.bytes"]) > 100_000
    assert int(config(client, names.dead_letters)["max.message.bytes"]) > 4 / 3 * 100_000, "a letter is base64"


def test_creating_again_changes_nothing(client: KafkaAdminClient, names: Names, settings: Settings) -> None:
    plans = plans_of(names, settings)
    create_topics(client, plans, 1)
    before = require_topics(client, plans)
    assert create_topics(client, plans, 1) == []
    assert require_topics(client, plans) == before
    assert all(
        state.problem == "" and state.partitions == state.plan.partitions for state in check_topics(client, plans)
    )


def test_only_what_is_missing_is_created(client: KafkaAdminClient, names: Names, settings: Settings) -> None:
    plans = plans_of(names, settings)
    create_topics(client, plans[:2], 1)
    states = check_topics(client, plans)
    assert [state.plan for state in states] == plans
    assert [state.problem for state in states] == ["", "", *["does not exist"] * 7]
    assert create_topics(client, plans, 1) == [plan.name for plan in plans[2:]]


def test_missing_topics_are_said_with_the_command_that_creates_them(
    client: KafkaAdminClient, names: Names, settings: Settings
) -> None:
    plans = plans_of(names, settings)
    create_topics(client, plans[2:], 1)
    with pytest.raises(TopicError) as caught:
        require_topics(client, plans)
    assert str(caught.value) == (
        f"topic {names.events} does not exist; topic {names.changelog} does not exist: "
        "run `stream-profiles topics create`"
    )


def test_another_number_of_partitions_is_said_and_nothing_created(
    client: KafkaAdminClient, names: Names, settings: Settings
) -> None:
    """Users are spread over the partitions: with another number they would be elsewhere."""
    plans = plans_of(names, settings)
    create(client, names.events, 2)
    for complain in (lambda: create_topics(client, plans, 1), lambda: require_topics(client, plans)):
        with pytest.raises(TopicError, match=f"topic {names.events} has 2 partitions, not 3") as caught:
            complain()
        assert "either set `partitions` to what the topics have" in str(caught.value)
    assert not set(client.list_topics()) & {plan.name for plan in plans[1:]}


def test_an_input_that_is_not_keyed_may_have_any_number_of_partitions(
    client: KafkaAdminClient, names: Names, settings: Settings
) -> None:
    plans = plans_of(names, settings)
    create(client, f"{names.definition}-web", 7)
    create_topics(client, plans, 1)
    assert require_topics(client, plans).keys() == {plan.name for plan in plans}


def test_the_metrics_topic_may_have_more_partitions_and_must_be_compacted(
    client: KafkaAdminClient, names: Names, settings: Settings
) -> None:
    plans = plans_of(names, settings)
    create(client, names.model_metrics, 2, **{"cleanup.policy": "compact", "max.message.bytes": "9000000"})
    create_topics(client, plans, 1)
    assert require_topics(client, plans).keys() == {plan.name for plan in plans}
    delete(client, names.model_metrics)
    create(client, names.model_metrics, 1, **{"max.message.bytes": "9000000"})
    with pytest.raises(TopicError, match=rf"{names.model_metrics} has cleanup\.policy delete, not compact"):
        require_topics(client, plans)


def test_a_keyed_input_must_have_as_many_partitions(client: KafkaAdminClient, names: Names, settings: Settings) -> None:
    plans = plans_of(names, settings)
    create(client, f"{names.definition}-mine", 7)
    with pytest.raises(TopicError, match="mine has 7 partitions, not 3"):
        create_topics(client, plans, 1)


def test_a_changelog_that_takes_too_small_batches_is_said(
    client: KafkaAdminClient, names: Names, settings: Settings
) -> None:
    """One write of a partition is one batch, or it is not atomic."""
    plans = plans_of(names, settings)
    create(client, names.changelog, 3, **{"cleanup.policy": "compact", "max.message.bytes": "1000000"})
    with pytest.raises(TopicError) as caught:
        create_topics(client, plans, 1)
    assert str(caught.value) == (
        f"topic {names.changelog} takes batches of 1,000,000 bytes (max.message.bytes), not 2,065,536: "
        "raise the topic's max.message.bytes or lower the setting max_batch_bytes"
    )


def test_a_changelog_that_takes_larger_batches_will_do(
    client: KafkaAdminClient, names: Names, settings: Settings
) -> None:
    create(client, names.changelog, 3, **{"cleanup.policy": "compact", "max.message.bytes": "9000000"})
    plans = plans_of(names, settings)
    create_topics(client, plans, 1)
    require_topics(client, plans)


def test_a_changelog_that_is_not_compacted_is_said(client: KafkaAdminClient, names: Names, settings: Settings) -> None:
    create(client, names.changelog, 3, **{"max.message.bytes": "9000000"})
    with pytest.raises(TopicError, match=r"cleanup\.policy"):
        create_topics(client, plans_of(names, settings), 1)


def test_a_topic_made_anew_has_another_id(client: KafkaAdminClient, names: Names, settings: Settings) -> None:
    """Offsets start again at 0 there, and must not be taken for those that were applied."""
    plans = plans_of(names, settings)
    create_topics(client, plans, 1)
    before = require_topics(client, plans)
    assert len(set(before.values())) == len(plans)
    delete(client, names.events)
    create_topics(client, plans, 1)
    after = require_topics(client, plans)
    assert {name for name in after if after[name] != before[name]} == {names.events}


def test_a_kafka_that_does_not_answer() -> None:
    """Something listens there and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(KafkaUnavailable, match=f"Kafka at {address} does not answer"), admin(address, 0.5):
            pass
