"""How property tests run: the same examples every time, and no deadline on a machine that may be busy. And a Redis."""

from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, settings

from stream_profiles.dev.servers import EmbeddedRedis

settings.register_profile("repository", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repository")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    """A real Redis, for a file of tests."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def store(server: EmbeddedRedis) -> Iterator[redis.Redis]:
    """That Redis, with nothing in it."""
    with redis.Redis.from_url(server.url) as store:
        store.flushall()
        yield store
