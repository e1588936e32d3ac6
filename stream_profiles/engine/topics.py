"""The topics of a definition: what they must be like, creating them, and checking them before a worker starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError
from msgspec import Struct

from ..brokers import open_admin
from ..durations import to_ms
from ..errors import KafkaUnavailable, TopicError
from ..names import Names
from ..settings import Settings

_DAY_MS = 86_400_000


class TopicPlan(Struct, frozen=True):
    """A topic as it should be."""

    name: str
    partitions: int
    config: dict[str, str]
    #: Partitions must be `partitions`, since users are spread over them.
    exact: bool = True


class TopicState(Struct, frozen=True):
    """A planned topic as it is."""

    plan: TopicPlan
    #: None when the topic does not exist.
    partitions: int | None
    #: What is wrong with it, in words; empty when nothing is.
    problem: str


def plan_topics(names: Names, settings: Settings, *, texts: bool) -> list[TopicPlan]:
    """All topics of a definition: inputs, events, changelog, deltas, dead letters, the models' metrics.

    Parameters:
        names: The definition's.
        settings: Of the deployment.
        texts: Whether the definition has text embeddings, which take two topics more.
    """
    record_bytes = str(settings.max_record_bytes + 524_288)
    letter_bytes = str(2 * settings.max_record_bytes + 524_288)
    batch_bytes = str(settings.max_batch_bytes + 65_536)
    kept = {"cleanup.policy": "delete"}
    plans = [
        TopicPlan(
            names.events,
            settings.partitions,
            {**kept, "retention.ms": str(to_ms(settings.events_retention)), "max.message.bytes": record_bytes},
        ),
        TopicPlan(
            names.changelog,
            settings.partitions,
            {
                "cleanup.policy": "compact",
                "max.message.bytes": batch_bytes,
                # Small segments are compacted sooner, so that a recovery reads less.
                "segment.bytes": str(128 * 1024 * 1024),
                "min.cleanable.dirty.ratio": "0.3",
                "delete.retention.ms": str(_DAY_MS),
            },
        ),
        TopicPlan(
            names.deltas,
            settings.partitions,
            {**kept, "retention.ms": str(to_ms(settings.deltas_retention)), "max.message.bytes": record_bytes},
        ),
        TopicPlan(
            names.dead_letters,
            settings.partitions,
            {**kept, "retention.ms": str(to_ms(settings.dead_letters_retention)), "max.message.bytes": letter_bytes},
        ),
        TopicPlan(
            names.model_metrics,
            1,
            {
                "cleanup.policy": "compact",
                "max.message.bytes": batch_bytes,
                # Little is ever read of it: the latest report of each partition.
                "segment.bytes": str(32 * 1024 * 1024),
                "delete.retention.ms": str(_DAY_MS),
            },
            exact=False,
        ),
    ]
    if texts:
        retention = {**kept, "retention.ms": str(to_ms(settings.texts_retention)), "max.message.bytes": record_bytes}
        plans += [
            TopicPlan(topic, settings.partitions, retention) for topic in (names.text_requests, names.text_vectors)
        ]
    inputs = settings.inputs_of(names)
    plans += [
        TopicPlan(
            source.topic,
            settings.partitions,
            {**kept, "retention.ms": str(to_ms(settings.events_retention))},
            exact=source.keyed,
        )
        for source in inputs
        if source.topic not in {plan.name for plan in plans}
    ]
    return plans


@contextmanager
def admin(bootstrap: str, timeout_s: float = 10.0) -> Iterator[KafkaAdminClient]:
    """kafka-python's admin client; a broker that is about to start is waited for.

    Raises:
        KafkaUnavailable: no broker answers within the time, or it stops answering.
    """
    hint = "check the setting broker, or leave it out to use the embedded one"
    try:
        client = open_admin(bootstrap, timeout_s)
    except KafkaUnavailable:
        raise KafkaUnavailable(f"Kafka at {bootstrap} does not answer; {hint}") from None
    try:
        yield client
    except (KafkaError, OSError) as error:
        raise KafkaUnavailable(f"Kafka at {bootstrap} does not answer ({type(error).__name__}); {hint}") from error
    finally:
        client.close()


def check_topics(client: KafkaAdminClient, plans: list[TopicPlan]) -> list[TopicState]:
    """The planned topics as they are, in the plan's order."""
    existing = set(client.list_topics())
    found = [plan.name for plan in plans if plan.name in existing]
    partitions = {topic["name"]: len(topic["partitions"]) for topic in client.describe_topics(found)} if found else {}
    configs = _configs(client, found)
    states = []
    for plan in plans:
        count, problem = partitions.get(plan.name), ""
        wanted_bytes = int(plan.config.get("max.message.bytes", 0))
        if count is None:
            problem = "does not exist"
        elif plan.exact and count != plan.partitions:
            problem = f"has {count} partitions, not {plan.partitions}"
        elif plan.config["cleanup.policy"] == "compact":
            policy, limit = configs[plan.name]["cleanup.policy"], int(configs[plan.name]["max.message.bytes"])
            if policy != "compact":
                problem = f"has cleanup.policy {policy}, not compact: it would forget what it is to keep"
            elif limit < wanted_bytes:
                problem = f"takes batches of {limit:,} bytes (max.message.bytes), not {wanted_bytes:,}"
        states.append(TopicState(plan, count, problem))
    return states


def create_topics(client: KafkaAdminClient, plans: list[TopicPlan], replication: int) -> list[str]:
    """Create the planned topics that do not exist; returns their names.

    Raises:
        TopicError: an existing topic is unlike its plan. Nothing is created then.
    """
    states = check_topics(client, plans)
    unlike = [state for state in states if state.problem and state.partitions is not None]
    if unlike:
        raise TopicError(_complaint(unlike))
    missing = [state.plan for state in states if state.partitions is None]
    if missing:
        client.create_topics(
            {
                plan.name: {
                    "num_partitions": plan.partitions,
                    "replication_factor": replication,
                    "configs": plan.config,
                }
                for plan in missing
            },
            wait_for_metadata=True,
        )
    return [plan.name for plan in missing]


def require_topics(client: KafkaAdminClient, plans: list[TopicPlan]) -> dict[str, str]:
    """Each topic's id, which a topic that is deleted and made anew has another of.

    Raises:
        TopicError: unless all planned topics are there and as planned.
    """
    wrong = [state for state in check_topics(client, plans) if state.problem]
    if wrong:
        raise TopicError(_complaint(wrong))
    return {topic["name"]: str(topic["topic_id"]) for topic in client.describe_topics([plan.name for plan in plans])}


def _complaint(states: list[TopicState]) -> str:
    problems = "; ".join(f"topic {state.plan.name} {state.problem}" for state in states)
    if all(state.partitions is None for state in states):
        return f"{problems}: run `stream-profiles topics create`"
    if any("partitions" in state.problem for state in states):
        return (
            f"{problems}: users are spread over the partitions, so either set `partitions` to what the topics have, "
            "or delete the definition's topics and replay, or use another definition name"
        )
    if any("cleanup.policy" in state.problem for state in states):
        return f"{problems}: set the topic's cleanup.policy to compact"
    return f"{problems}: raise the topic's max.message.bytes or lower the setting max_batch_bytes"


def _configs(client: KafkaAdminClient, topics: list[str]) -> dict[str, dict[str, str]]:
    """What `check_topics` compares, of each topic."""
    if not topics:
        return {}
    wanted = {"max.message.bytes": None, "cleanup.policy": None}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, wanted) for name in topics]
    described = client.describe_configs(resources, config_filter="all")["topic"]
    return {name: {key: described[name][key]["value"] for key in wanted} for name in topics}
