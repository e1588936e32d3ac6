"""How many profiles a second `ProfileClient.get_many` reads.

python benchmarks/client.py                # 5,000 profiles of the example shop, in one round trip, on an embedded Redis
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from pathlib import Path

import msgspec
import redis.asyncio

from stream_profiles import Partition, ProfileClient, ProfileUpdater
from stream_profiles.definition import load_definition
from stream_profiles.dev.servers import embedded_servers
from stream_profiles.dev.shop import shop_events
from stream_profiles.names import Names
from stream_profiles.sinks.redis import ProfileUpdate, RedisWriter, encode_fields

REFERENCE = f"{Path(__file__).parents[1] / 'examples' / 'shop.py'}:shop"


async def fill(url: str, users: int) -> tuple[str, list[str], float]:
    """Write profiles; returns the definition's name, the users, and the mean size of a profile in bytes."""
    definition = load_definition(REFERENCE)
    names, partition = Names(definition.name), Partition(ProfileUpdater(definition))
    for event in shop_events(users=users, events=users * 30):
        partition.apply(event)
    updates = []
    for user in partition.users():
        state, profile = partition.state(user), partition.published(user)
        assert state is not None and profile is not None
        key, fields = names.redis_profile(user), encode_fields(profile)
        updates.append(ProfileUpdate(key, state.version, state.last_time, 0, fields))
    client = redis.asyncio.from_url(url)
    await client.set(names.redis_description, msgspec.json.encode(definition.describe()))
    await RedisWriter(client, 3_600_000).write(updates, 0)
    await client.aclose()
    size = statistics.mean(sum(len(name) + len(value) for name, value in update.fields.items()) for update in updates)
    return definition.name, list(partition.users()), size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    with embedded_servers(kafka=False) as servers:
        assert servers.redis is not None
        name, users, size = asyncio.run(fill(servers.redis, options.users))
        with ProfileClient(servers.redis, name) as client:
            seconds = []
            for _ in range(options.runs):
                began = time.perf_counter()
                found = client.get_many(users)
                seconds.append(time.perf_counter() - began)
                assert all(found.values())
    median = statistics.median(seconds)
    print(
        f"{len(users):,} profiles of {size:,.0f} bytes in {median * 1000:.0f} ms: "
        f"{len(users) / median:,.0f} profiles/s (median of {options.runs} runs)"
    )


if __name__ == "__main__":
    main()
