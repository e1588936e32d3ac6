"""The Faust apps: one takes events in, one keeps the profiles, one encodes texts. Each is a consumer group of its own.

They may run in one process or in many; either way the profile workers find their events on the events topic.
"""

from __future__ import annotations

import asyncio
from typing import Any

from yarl import URL

from ..durations import to_ms
from ..mapping import EventMapping
from ..names import Names
from ..settings import InputTopic, Settings
from ..updater import ProfileUpdater
from .chunks import ChunkedApp, RunSchema
from .intake import IntakeAgent
from .profiles import ProfileAgent
from .table import ProfileTable
from .text import TextAgent


def intake_app(names: Names, settings: Settings, bootstrap: str, sources: list[InputTopic], agent: IntakeAgent) -> Any:
    """The app that reads the input topics which are not keyed."""
    app = _app(names.intake_group, settings, bootstrap)
    for source in sources:
        _read(app, source.topic, f"intake {source.topic}", _intake(agent, EventMapping(source.mapping)))
    return app


def profiles_app(names: Names, settings: Settings, bootstrap: str, updater: ProfileUpdater) -> tuple[Any, ProfileTable]:
    """The app with the table of profiles; its agent is added by `read_events`."""
    app = _app(names.profiles_group, settings, bootstrap)
    changelog = app.topic(names.changelog, schema=RunSchema(), partitions=settings.partitions, compacting=True)
    table = ProfileTable(
        app, updater=updater, name="profiles", partitions=settings.partitions, changelog_topic=changelog
    )
    app.tables.add(table)
    return app, table


def read_events(app: Any, names: Names, sources: list[InputTopic], agent: ProfileAgent, *, texts: bool) -> None:
    """Let the agent read the events topic, the input topics that are keyed already, and vectors of texts."""
    for topic in [names.events, *(source.topic for source in sources)]:
        _read(app, topic, f"profiles {topic}", agent.run)
    if texts:
        _read(app, names.text_vectors, f"profiles {names.text_vectors}", agent.run_answers)


def text_app(names: Names, settings: Settings, bootstrap: str, agent: TextAgent) -> Any:
    """The app that reads the texts whose vectors are wanted."""
    app = _app(names.text_group, settings, bootstrap)
    _read(app, names.text_requests, f"text {names.text_requests}", agent.run)
    return app


def _intake(agent: IntakeAgent, mapping: EventMapping) -> Any:
    async def run(stream: Any) -> None:
        await agent.run(stream, mapping)

    return run


def _read(app: Any, topic: str, name: str, run: Any) -> None:
    async def process(stream: Any) -> None:
        try:
            await run(stream)
        except Exception as error:
            # Faust would start the agent again with the run after the one that failed, as if that had been applied.
            app.fail(error)
            await asyncio.Event().wait()

    app.agent(app.topic(topic, schema=RunSchema()), name=name, concurrency=1)(process)


def _app(group: str, settings: Settings, bootstrap: str) -> Any:
    session_s = to_ms(settings.session_timeout) / 1000
    return ChunkedApp(
        group,
        broker=[URL(f"kafka://{server}") for server in bootstrap.split(",")],
        store="memory://",
        version=1,
        origin="stream_profiles",
        autodiscover=False,
        web_enabled=False,
        # Topics are made by `topics create`, with what Faust would not know about them.
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=settings.partitions,
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=f"{settings.instance_id}-{group}" if settings.instance_id else None,
        # Runs are large: this many of them per partition wait in memory.
        stream_buffer_maxsize=8,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        broker_commit_interval=0.5,
        broker_session_timeout=session_s,
        broker_heartbeat_interval=session_s / 5,
        broker_rebalance_timeout=max(60.0, session_s),
        # Everything that matters is sent by BatchProducer; this one exists because Faust starts one.
        producer_linger=0.0,
        topic_replication_factor=settings.replication,
        consumer_max_fetch_size=1_048_576,
    )
