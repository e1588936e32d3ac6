"""The rules of writing profiles, on a real Redis: no older version over a newer one, nothing upon what is not there."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from stream_profiles.dev.servers import EmbeddedServers
from stream_profiles.errors import RedisUnavailable
from stream_profiles.sinks.redis import Fields, ProfileUpdate, RedisWriter

pytestmark = pytest.mark.integration

NOW = 1_700_000_000_000
TTL_MS = 60_000
LINEAGE = "a-changelog"


@pytest.fixture
async def client(servers: EmbeddedServers) -> AsyncIterator[redis.asyncio.Redis]:
    assert servers.redis is not None
    async with redis.asyncio.from_url(servers.redis) as connected:
        yield connected


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A key of the test's own."""
    return f"writer:{request.node.name}:{random.getrandbits(32):x}"


@pytest.fixture
def writer(client: redis.asyncio.Redis) -> RedisWriter:
    return RedisWriter(client, TTL_MS, LINEAGE)


def update(key: str, version: int, base: int = 0, **fields: str) -> ProfileUpdate:
    encoded: Fields = {name: value.encode() for name, value in fields.items()}
    return ProfileUpdate(key, version, NOW - version, base, encoded)


async def stored(client: redis.asyncio.Redis, key: str) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in (await client.hgetall(key)).items()}


async def fields(client: redis.asyncio.Redis, key: str) -> dict[str, str]:
    """What is stored of a profile without what is about it."""
    return {name: value for name, value in (await stored(client, key)).items() if not name.startswith("_")}


async def version(client: redis.asyncio.Redis, key: str) -> int:
    return int(await client.hget(key, "_version") or 0)


async def test_a_profile_says_how_fresh_it_is(client: redis.asyncio.Redis, writer: RedisWriter, key: str) -> None:
    assert await writer.write([update(key, 3, a="1")], NOW) == []
    assert await stored(client, key) == {
        "_version": "3",
        "_event_time": str(NOW - 3),
        "_updated_at": str(NOW),
        "_lineage": LINEAGE,
        "a": "1",
    }


async def test_bytes_are_stored_as_they_are(client: redis.asyncio.Redis, writer: RedisWriter, key: str) -> None:
    vector = bytes(range(256))
    await writer.write([ProfileUpdate(key, 1, NOW, 0, {"taste": vector, "empty": b""})], NOW)
    assert await client.hmget(key, "taste", "empty") == [vector, b""]


@pytest.mark.parametrize("base", [0, 3])
async def test_an_older_version_never_replaces_a_newer(
    client: redis.asyncio.Redis, writer: RedisWriter, key: str, base: int
) -> None:
    """A worker that lost its partitions and does not know; what it builds upon makes no difference."""
    await writer.write([update(key, 5, a="5", b="5")], NOW)
    before = await stored(client, key)
    assert await writer.write([update(key, 4, base, a="4", c="4")], NOW + 9) == []
    assert await stored(client, key) == before


@pytest.mark.parametrize("base", [0, 4])
async def test_the_same_version_is_written_again(
    client: redis.asyncio.Redis, writer: RedisWriter, key: str, base: int
) -> None:
    """A write whose answer got lost."""
    await writer.write([update(key, 5, a="5")], NOW)
    assert await writer.write([update(key, 5, base, a="5")], NOW + 9) == []
    assert await fields(client, key) == {"a": "5"}
    assert await client.hget(key, "_updated_at") == str(NOW + 9).encode()


async def test_versions_are_compared_as_numbers(client: redis.asyncio.Redis, writer: RedisWriter, key: str) -> None:
    await writer.write([update(key, 9, a="9")], NOW)
    await writer.write([update(key, 10, 9, a="10")], NOW)
    assert await version(client, key) == 10
    await writer.write([update(key, 9, a="9")], NOW)
    assert await fields(client, key) == {"a": "10"}


async def test_a_change_leaves_the_other_fields(client: redis.asyncio.Redis, writer: RedisWriter, key: str) -> None:
    await writer.write([update(key, 1, a="1", b="1")], NOW)
    assert await writer.write([update(key, 3, 1, b="3", c="3")], NOW) == []
    assert await fields(client, key) == {"a": "1", "b": "3", "c": "3"}
    assert await version(client, key) == 3


@pytest.mark.parametrize("there", [0, 1])
async def test_a_change_upon_what_is_not_there_is_told_and_not_written(
    client: redis.asyncio.Redis, writer: RedisWriter, key: str, there: int
) -> None:
    if there:
        await writer.write([update(key, there, a="1")], NOW)
    before = await stored(client, key)
    change = update(key, 3, 2, b="3")
    assert await writer.write([change], NOW) == [change]
    assert await stored(client, key) == before
    assert await client.exists(key) == bool(there)


async def test_a_change_upon_something_newer_than_it_needs_is_written(
    client: redis.asyncio.Redis, writer: RedisWriter, key: str
) -> None:
    """Redis was given the whole profile out of turn."""
    await writer.write([update(key, 3, a="3", b="3")], NOW)
    assert await writer.write([update(key, 4, 1, b="4")], NOW) == []
    assert await fields(client, key) == {"a": "3", "b": "4"}


async def test_a_whole_profile_replaces_all_fields(client: redis.asyncio.Redis, writer: RedisWriter, key: str) -> None:
    await writer.write([update(key, 1, a="1", removed="1")], NOW)
    await writer.write([update(key, 2, a="2")], NOW)
    assert await fields(client, key) == {"a": "2"}


async def test_versions_of_another_changelog_count_for_nothing(
    client: redis.asyncio.Redis, writer: RedisWriter, key: str
) -> None:
    """The topics were deleted: profiles start anew at version 1."""
    await RedisWriter(client, TTL_MS, "deleted").write([update(key, 90, a="90", removed="90")], NOW)
    change = update(key, 95, 90, a="95")
    assert await writer.write([change], NOW) == [change], "nothing is built upon them either"
    assert await writer.write([update(key, 1, a="1")], NOW) == []
    assert await fields(client, key) == {"a": "1"} and await version(client, key) == 1


async def test_a_profile_expires_unless_it_is_written(
    client: redis.asyncio.Redis, writer: RedisWriter, key: str
) -> None:
    await writer.write([update(key, 1, a="1")], NOW)
    assert TTL_MS - 10_000 < await client.pttl(key) <= TTL_MS
    await client.pexpire(key, 5_000)
    await writer.write([update(key, 2, 1, a="2")], NOW)
    assert await client.pttl(key) > TTL_MS - 10_000
    await client.pexpire(key, 5_000)
    await writer.write([update(key, 3, a="3")], NOW)
    assert await client.pttl(key) > TTL_MS - 10_000, "deleting for a whole profile loses the expiry with it"
    await client.pexpire(key, 5_000)
    await writer.write([update(key, 1, a="1")], NOW)
    assert await client.pttl(key) <= 5_000, "a write that is refused refreshes nothing"


@pytest.mark.parametrize("count", [0, 1, 64, 65, 200])
async def test_any_number_of_profiles_in_one_write(
    client: redis.asyncio.Redis, writer: RedisWriter, key: str, count: int
) -> None:
    """The script takes 64 at a time; what it needs all fields of is told by the right profile."""
    keys = [f"{key}:{number}" for number in range(count)]
    await writer.write([update(each, 1, a="1") for each in keys[::3]], NOW)
    changes = [update(each, 2, 1, **{f"f{n}": "2" for n in range(number % 4)}) for number, each in enumerate(keys)]
    incomplete = await writer.write(changes, NOW)
    assert incomplete == [change for number, change in enumerate(changes) if number % 3]
    for number, each in enumerate(keys):
        expected = {"a": "1"} | {f"f{n}": "2" for n in range(number % 4)} if number % 3 == 0 else {}
        assert await fields(client, each) == expected


async def test_a_redis_that_lost_its_scripts_is_given_them_again(
    client: redis.asyncio.Redis, writer: RedisWriter, key: str
) -> None:
    await writer.write([update(key, 1, a="1")], NOW)
    await client.script_flush()
    await writer.write([update(key, 2, 1, a="2")], NOW)
    assert await version(client, key) == 2


async def test_a_redis_that_is_gone() -> None:
    async with redis.asyncio.from_url("redis://127.0.0.1:1", socket_connect_timeout=1) as nowhere:
        with pytest.raises(RedisUnavailable, match="Redis does not take profiles"):
            await RedisWriter(nowhere, TTL_MS).write([update("k", 1, a="1")], NOW)


async def test_a_redis_that_refuses(client: redis.asyncio.Redis, writer: RedisWriter, key: str) -> None:
    await client.set(key, "something else")
    with pytest.raises(RedisUnavailable, match="WRONGTYPE"):
        await writer.write([update(key, 1, a="1")], NOW)
