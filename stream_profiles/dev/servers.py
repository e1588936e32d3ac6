"""The servers that start by themselves when the settings name none: real ones, with nothing but pip.

This is the public face: `embedded_servers` starts what is missing, side by side, and stops it at the end of its
block. Which of them are missing is for the caller to say; the servers are in `kafka.py` and `redis.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ._server import EmbeddedServer
from .kafka import EmbeddedKafka
from .redis import EmbeddedRedis

__all__ = ["EmbeddedKafka", "EmbeddedRedis", "EmbeddedServers", "embedded_servers"]


@dataclass(frozen=True)
class EmbeddedServers:
    """Where the embedded servers listen.

    Attributes:
        kafka: The address for `bootstrap_servers`, or None if no Kafka was asked for.
        redis: The URL of the Redis, or None if none was asked for.
    """

    kafka: str | None = None
    redis: str | None = None


@contextmanager
def embedded_servers(
    *, kafka: bool = True, redis: bool = True, folder: Path | None = None, console: Console | None = None
) -> Iterator[EmbeddedServers]:
    """Run a Kafka and a Redis for the time of a block.

    They end at the end of the block, and also if this process is killed in it; not by Ctrl-C, so that the block may
    still write to them while it ends. Shows one line when they run, and the progress of the first download.

    Args:
        kafka: Whether to run a Kafka.
        redis: Whether to run a Redis.
        folder: Where their data is kept, and found again at the next start. By default it is thrown away.
        console: Where progress is shown; standard error by default.

    Raises:
        EmbeddedServerError: one of them could not be started.

    Examples:
        >>> with embedded_servers(kafka=False) as servers:  # doctest: +SKIP
        ...     print(servers.redis)
        redis://127.0.0.1:23861/0
    """
    console = console or Console(stderr=True)
    broker = EmbeddedKafka(folder and folder / "kafka", console=console) if kafka else None
    cache = EmbeddedRedis(folder and folder / "redis", console=console) if redis else None
    # Redis first: it starts while Kafka's files are looked after, which may take a download.
    servers: list[EmbeddedServer] = [server for server in (cache, broker) if server is not None]
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
            server.launch()
        for server in servers:
            server.wait_until_ready()
        if servers:
            console.print(", ".join(server.description for server in reversed(servers)), highlight=False)
        yield EmbeddedServers(
            kafka=None if broker is None else broker.bootstrap, redis=None if cache is None else cache.url
        )
