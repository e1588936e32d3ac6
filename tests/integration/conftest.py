"""One real Kafka and one real Redis for all integration tests; every test has topics and keys of its own name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_profiles.dev.servers import EmbeddedServers, embedded_servers

from .live import Live

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def servers() -> Iterator[EmbeddedServers]:
    with embedded_servers() as running:
        yield running


@pytest.fixture
def live(servers: EmbeddedServers, tmp_path: Path) -> Iterator[Live]:
    """A deployment with its own name, and no worker yet."""
    deployment = Live(servers, tmp_path, f"t{next(_numbers)}")
    try:
        yield deployment
    finally:
        deployment.kill_all()
