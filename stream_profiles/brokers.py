"""An admin connection to Kafka, or a clear word that there is none."""

from __future__ import annotations

import socket
import time
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from .errors import KafkaUnavailable

_DEFAULT_PORT = 9092
_RETRY_SECONDS = 0.25


def open_admin(bootstrap: str, seconds: float) -> Any:
    """A `KafkaAdminClient`; a broker that is about to start is waited for.

    Parameters:
        bootstrap: "host:port", or several with commas between them.
        seconds: the time until a broker must have answered.

    Raises:
        KafkaUnavailable: none has.

    Examples:
        >>> open_admin("localhost:1", seconds=0.1)
        Traceback (most recent call last):
        ...
        stream_profiles.errors.KafkaUnavailable: no Kafka broker answers at localhost:1; start it or correct the address
    """
    deadline = time.monotonic() + seconds
    # A client whose first connection fails leaves a thread and sockets behind, so it gets one that works.
    while not _listens(bootstrap, deadline):
        if time.monotonic() + _RETRY_SECONDS >= deadline:
            raise unavailable(bootstrap)
        time.sleep(_RETRY_SECONDS)
    left_ms = max(1, round((deadline - time.monotonic()) * 1000))
    try:
        return KafkaAdminClient(
            bootstrap_servers=bootstrap, bootstrap_timeout_ms=left_ms, request_timeout_ms=max(left_ms, 1000)
        )
    except (KafkaError, OSError):
        raise unavailable(bootstrap) from None


def unavailable(bootstrap: str) -> KafkaUnavailable:
    """The error for a broker that does not answer at the start."""
    return KafkaUnavailable(f"no Kafka broker answers at {bootstrap}; start it or correct the address")


def _listens(bootstrap: str, deadline: float) -> bool:
    """Whether something accepts a connection at one of the addresses."""
    for address in bootstrap.split(","):
        host, colon, port = address.strip().rpartition(":")
        if not colon:
            host, port = port, str(_DEFAULT_PORT)
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=left).close()
        except (OSError, ValueError):  # ValueError: the port is no number.
            continue
        return True
    return False
