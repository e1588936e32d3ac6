"""Similar users among thousands, on a real Redis, and on one with vector search when there is one.

The embedded Redis has no vector search. `STREAM_PROFILES_SEARCH_REDIS=redis://localhost:6379/0` names one that has, a
Redis 8 or Redis Stack that holds nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import redis
import redis.asyncio

from stream_profiles import AsyncProfileClient, ProfileClient, ProfileDefinition, TextEmbedding
from stream_profiles.client import _vector_index
from stream_profiles.dev.servers import EmbeddedServers
from stream_profiles.errors import SettingsError
from stream_profiles.names import Names
from stream_profiles.sinks.redis import ProfileUpdate, RedisWriter, encode_fields

pytestmark = pytest.mark.integration

SEARCH_REDIS = os.environ.get("STREAM_PROFILES_SEARCH_REDIS")
DIMENSION, USERS, K = 64, 5_000, 50
FIELD = "intérêts_1d"
SHOP = ProfileDefinition("similar", embeddings=[TextEmbedding("intérêts", half_life="1d", encoder="hashing-64")])
NAMES = Names("similar")


@pytest.fixture(params=["embedded", "search"])
def url(request: pytest.FixtureRequest, servers: EmbeddedServers) -> str:
    if request.param == "embedded":
        assert servers.redis is not None
        return servers.redis
    if SEARCH_REDIS is None:
        pytest.skip("STREAM_PROFILES_SEARCH_REDIS names no Redis with vector search")
    return SEARCH_REDIS


@pytest.fixture
def matrix(url: str) -> Iterator[Any]:
    """The vectors of all users; those of one in 10 are of another version, those of one in 20 are all the same."""
    drawn = np.random.default_rng(7).normal(size=(USERS, DIMENSION)).astype("<f4")
    drawn[::20] = drawn[0]
    with redis.Redis.from_url(url) as store:
        clean(store)
        store.set(NAMES.redis_description, json.dumps(SHOP.describe()))
        write(url, {user(n): (drawn[n], version(n)) for n in range(USERS)})
        yield drawn
        clean(store)


def clean(store: redis.Redis) -> None:
    for key in store.scan_iter("similar:*", 1_000):
        store.delete(key)
    with suppress(redis.exceptions.ResponseError):  # there is none, or no vector search
        store.execute_command("FT.DROPINDEX", f"similar:vectors:{FIELD}:{DIMENSION}")


def user(number: int) -> str:
    return f"user {number}"


def version(number: int) -> int:
    return 2 if number % 10 == 3 else 1


def write(url: str, profiles: dict[str, tuple[Any, int]], profile_version: int = 1) -> None:
    """As a worker does."""
    updates = []
    for name, (vector, encoder) in profiles.items():
        values = {FIELD: vector.tobytes(), "intérêts": {"encoder": f"hashing-64@{encoder}", "texts": 1}}
        updates.append(ProfileUpdate(NAMES.redis_profile(name), profile_version, 0, 0, encode_fields(values)))

    async def run() -> None:
        async with redis.asyncio.Redis.from_url(url) as store:
            assert await RedisWriter(store, ttl_ms=3_600_000).write(updates, now=0) == []

    asyncio.run(run())


def by_hand(matrix: Any, vector: Any, among: Any) -> list[tuple[str, float]]:
    """The oracle: sorts everybody."""
    wide = matrix.astype(np.float64)
    cosines = wide @ vector / np.linalg.norm(wide, axis=1) / np.linalg.norm(vector.astype(np.float64))
    return sorted(((user(n), float(cosines[n])) for n in among), key=lambda pair: (-round(pair[1], 7), pair[0]))[:K]


def same(found: list[tuple[str, float]], expected: list[tuple[str, float]]) -> None:
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert [cosine for _, cosine in found] == pytest.approx([cosine for _, cosine in expected], abs=1e-7)


def limit(url: str, client: ProfileClient) -> int:
    """What proves that profiles are not read where they need not be."""
    if url != SEARCH_REDIS:
        return USERS
    client.similar(user(0))  # makes the index
    with redis.Redis.from_url(url) as store:
        index = _vector_index.VectorIndex(NAMES, FIELD, DIMENSION)
        deadline = time.monotonic() + 30
        while _vector_index.is_building(store.execute_command(*index.info)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return 1


def test_the_nearest_of_thousands_are_those_that_sorting_everybody_gives(url: str, matrix: Any) -> None:
    async def asynchronously() -> list[tuple[str, float]]:
        async with AsyncProfileClient(url, "similar") as client:
            return await client.similar(user(3), K, field=FIELD)

    with ProfileClient(url, "similar") as client:
        scan_limit = limit(url, client)
        for number in (0, 3, 20, 21, 4_999):
            others = [n for n in range(USERS) if version(n) == version(number) and n != number]
            same(client.similar(user(number), K, scan_limit=scan_limit), by_hand(matrix, matrix[number], others))
        old = [n for n in range(USERS) if version(n) == 2 and n != 3]
        same(asyncio.run(asynchronously()), by_hand(matrix, matrix[3], old))
        vector = np.random.default_rng(8).normal(size=DIMENSION)
        others = [n for n in range(USERS) if version(n) == 1]
        same(client.nearest(vector, K, encoder="hashing-64@1", scan_limit=scan_limit), by_hand(matrix, vector, others))
        everybody = client.similar(user(1), 2 * USERS, scan_limit=scan_limit)
        assert len(everybody) == len(others) - 1


def test_it_follows_what_is_written(url: str, matrix: Any) -> None:
    with ProfileClient(url, "similar") as client, redis.Redis.from_url(url) as store:
        scan_limit = limit(url, client) + 10
        write(
            url, {"ada": (matrix[1], 1), "bob": (matrix[1], 1), "eve": (matrix[1], 2), "odd": (matrix[1] * np.nan, 1)}
        )
        assert client.similar("ada", 2, scan_limit=scan_limit) == [("bob", 1.0), (user(1), 1.0)]
        write(url, {"ada": (-matrix[1], 1), "eve": (matrix[1], 1)}, profile_version=2)
        store.delete(NAMES.redis_profile(user(1)))
        assert client.similar("bob", 1, scan_limit=scan_limit) == [("eve", 1.0)]
        store.pexpire(NAMES.redis_profile("eve"), 1)
        time.sleep(0.05)
        assert client.similar("bob", 1, scan_limit=scan_limit)[0][0] not in ("eve", "ada", "odd", user(1))


def test_without_vector_search_the_limit_holds(url: str, matrix: Any) -> None:
    if url == SEARCH_REDIS:
        pytest.skip("this Redis has one")
    with ProfileClient(url, "similar") as client:
        with pytest.raises(SettingsError, match="more than 4,999 profiles 'similar', too many to read them all"):
            client.similar(user(0), scan_limit=USERS - 1)
        assert client.similar("nobody") == []
