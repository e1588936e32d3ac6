"""`worker` and `replay`: the commands that run until they are done or stopped."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path

from rich.console import Console

from ..engine.worker import Role, Worker
from ..mapping import EventMapping
from ..replay.checkpoint import DEFAULT_PATH
from ..replay.lag import ConsumerLag
from ..replay.run import replay
from .connect import Deployment

__all__ = ["Role", "run_replay", "run_worker"]

log = logging.getLogger(__name__)


def run_worker(deployment: Deployment, role: Role, folder: Path) -> None:
    """Run a worker until SIGINT or SIGTERM; the second one ends it at once."""
    definition = deployment.definition
    with deployment.with_servers(folder) as settings:
        worker = Worker(definition, settings, role)
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
    console = Console(stderr=True)
    compiled = None if mapping is None else EventMapping.load(mapping)
    names, broker = deployment.names, deployment.broker()
    topic = topic or deployment.settings.inputs_of(names)[0].topic
    with (
        ConsumerLag(broker, names.intake_group, topic) as unread,
        ConsumerLag(broker, names.profiles_group, names.events) as unapplied,
    ):

        def lag() -> int | None:
            behind = [each() for each in (unread, unapplied)]
            known = [each for each in behind if each is not None]
            return sum(known) if known else None

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
            console=console,
        )
    console.print(report.summary(), highlight=False, markup=False)
