"""`worker` and `replay`: the commands that run until they are done or stopped."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path

from ..engine.worker import Role, Worker
from ..errors import MappingError, SettingsError
from ..mapping import EventMapping, MappingConfig
from ..names import Names
from ..replay.checkpoint import DEFAULT_PATH
from ..replay.lag import ConsumerLag
from ..replay.run import replay
from . import output
from .connect import Deployment

log = logging.getLogger(__name__)


def run_worker(deployment: Deployment, only: str, *, refresh_redis: bool = False) -> None:
    """Run a worker until SIGINT or SIGTERM; the second one ends it at once."""
    definition = deployment.definition
    with deployment.with_servers() as settings:
        worker = Worker(definition, settings, Role(only), refresh_redis=refresh_redis)
        asyncio.run(_until_signalled(worker))


async def _until_signalled(worker: Worker) -> None:
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        log.info("stopping: writing what was applied (%s again to give up)", number.name)
        worker.stop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    await worker.run()


def run_replay(
    deployment: Deployment,
    files: list[Path],
    mapping: Path | None,
    *,
    topic: str | None,
    speed: float | None,
    limit: int | None,
    restart: bool,
    state: Path | None,
    rejects: Path | None,
) -> None:
    """Replay files with a progress bar, and say what was sent."""
    console = output.console(stderr=True)
    compiled = None if mapping is None else EventMapping.load(mapping)
    names, broker = deployment.names, deployment.broker()
    topic = topic or _input_for_events(deployment, names)
    with (
        ConsumerLag(broker, names.intake_group, topic) as unread,
        ConsumerLag(broker, names.profiles_group, names.events) as unapplied,
    ):

        def lag() -> int | None:
            behind = [each() for each in (unread, unapplied)]
            known = [each for each in behind if each is not None]
            return sum(known) if known else None

        try:
            report = replay(
                files,
                compiled,
                bootstrap=broker,
                topic=topic,
                speed=speed,
                limit=limit,
                state=state or DEFAULT_PATH,
                restart=restart,
                rejects=rejects,
                lag=lag,
                # A bar is for a terminal; the summary is for all.
                console=console if console.is_terminal else None,
            )
        except MappingError as error:
            if mapping is not None:
                raise
            raise MappingError(f"{error}; --mapping FILE.toml says how rows become events") from error
    console.print(report.summary())


def _input_for_events(deployment: Deployment, names: Names) -> str:
    """The first input topic that takes events as they are: replay has done the mapping.

    Raises:
        SettingsError: there is none.
    """
    for source in deployment.settings.inputs_of(names):
        if source.mapping == MappingConfig():
            return source.topic
    raise SettingsError(
        "every input has a mapping of its own, and replay sends events that are mapped already: "
        "give --topic, or add an input without a mapping"
    )
