"""Profiles in Redis: one HASH a user, one field a feature, readable with redis-cli.

A field's value is JSON; an embedding is raw little-endian float32, which is what Redis vector search takes.
`_version`, `_event_time` and `_updated_at` say how fresh it is. A write never replaces a newer profile by an older
one, so a worker that lost its partitions can do no harm. Versions are counted in the changelog, so those of another
changelog (`_lineage`), one that was deleted, count for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import redis.asyncio
import redis.exceptions

from ..errors import RedisUnavailable

Fields = dict[str, bytes]

_encode = msgspec.json.Encoder().encode

#: Profiles written by one call of the script. Redis does nothing else meanwhile, so it must stay around a millisecond.
_PROFILES_PER_CALL = 64

#: KEYS: the profiles. ARGV: TTL (ms), time of writing (ms), lineage, then for each profile: version it builds upon (0:
#: none, all fields are given), version, event time, number of arguments with fields, field, value, field, value, ...
#: Gives the positions of the profiles of which it needs all fields, because Redis lacks what they build upon.
_SCRIPT = """
local ttl, written, lineage, at, incomplete = ARGV[1], ARGV[2], ARGV[3], 4, {}
for position, key in ipairs(KEYS) do
  local base, version, event_time, n = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local stored = redis.call('HMGET', key, '_version', '_lineage')
  local current = stored[2] == lineage and tonumber(stored[1]) or 0
  if current <= tonumber(version) then
    if base > 0 and current < base then
      incomplete[#incomplete + 1] = position
    else
      if base == 0 and stored[1] then redis.call('DEL', key) end
      redis.call('HSET', key, '_version', version, '_event_time', event_time, '_updated_at', written,
                 '_lineage', lineage, unpack(ARGV, at + 4, at + 3 + n))
      redis.call('PEXPIRE', key, ttl)
    end
  end
  at = at + 4 + n
end
return incomplete
"""


class ProfileUpdate(msgspec.Struct, gc=False):
    """What to write of one profile."""

    key: str
    version: int
    event_time: int
    #: The version that must be in Redis already; 0 when `fields` holds all of the profile.
    base: int
    fields: Fields


def encode_fields(values: dict[str, Any]) -> Fields:
    """Published values as Redis holds them; a value that JSON cannot hold is left out."""
    try:
        return {name: value if type(value) is bytes else _encode(value) for name, value in values.items()}
    except Exception:
        fields: Fields = {}
        for name, value in values.items():
            with suppress(Exception):
                fields[name] = value if type(value) is bytes else _encode(value)
        return fields


class RedisWriter:
    """Writes profiles, many in one round trip.

    Parameters:
        client: Connected client; closing it is its owner's business.
        ttl_ms: A profile that is not written for so long expires.
        lineage: What identifies the changelog in which the versions are counted.
    """

    def __init__(self, client: redis.asyncio.Redis, ttl_ms: int, lineage: str = "") -> None:
        self._client = client
        self._ttl_ms = ttl_ms
        self._lineage = lineage
        self._script = client.register_script(_SCRIPT)

    async def write(self, updates: Sequence[ProfileUpdate], now: int) -> list[ProfileUpdate]:
        """Write updates; returns those of which Redis needs all fields, and wrote nothing.

        Parameters:
            updates: At most one for each profile.
            now: Wall-clock time, ms.

        Raises:
            RedisUnavailable: Redis does not answer or refuses; writing the same again is safe.
        """
        incomplete: list[ProfileUpdate] = []
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for start in range(0, len(updates), _PROFILES_PER_CALL):
                    some = updates[start : start + _PROFILES_PER_CALL]
                    await self._script(
                        keys=[update.key for update in some], args=self._arguments(some, now), client=pipeline
                    )
                replies = await pipeline.execute()
        except (redis.exceptions.RedisError, OSError) as error:
            raise RedisUnavailable(f"Redis does not take profiles: {error}") from error
        for number, positions in enumerate(replies):
            incomplete += (updates[number * _PROFILES_PER_CALL + position - 1] for position in positions)
        return incomplete

    def _arguments(self, updates: Iterable[ProfileUpdate], now: int) -> list[Any]:
        arguments: list[Any] = [self._ttl_ms, now, self._lineage]
        for update in updates:
            arguments += (update.base, update.version, update.event_time, 2 * len(update.fields))
            for pair in update.fields.items():
                arguments += pair
        return arguments
