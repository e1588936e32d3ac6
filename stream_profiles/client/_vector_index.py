"""Redis's own vector search (Redis 8, Redis Stack): what to say to it, and what its replies mean.

An index over the profiles is made once; from then on Redis keeps it up to date as workers write. It is a flat one,
which compares with every vector, so what it finds is exact. Who may be compared with whom is not its business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import redis.exceptions

from ..names import Names

Command = tuple[Any, ...]

#: Redis stops a search after half a second by default, and gives what it has till then for the whole. A client's own
#: timeout is shorter than this, and an error.
_TIMEOUT_MS = 60_000
_ALIAS = "vector"


class VectorIndex:
    """The index over one field's vectors of one length.

    Vectors of another length, which an older definition left behind, are not in it.

    Parameters:
        names: The definition's.
        field: With the vectors.
        dimension: Their length.

    Examples:
        >>> VectorIndex(Names("shop"), "taste", 64).name
        'shop:vectors:taste:64'
    """

    def __init__(self, names: Names, field: str, dimension: int) -> None:
        self.name = f"{names.definition}:vectors:{field}:{dimension}"
        self.info: Command = ("FT.INFO", self.name)
        # By an alias, because a field may have letters that a query may not.
        schema = (field, "AS", _ALIAS, "VECTOR", "FLAT", 6, "TYPE", "FLOAT32", "DIM", dimension)
        metric = ("DISTANCE_METRIC", "COSINE")
        self.create: Command = (
            *("FT.CREATE", self.name, "ON", "HASH", "PREFIX", 1, names.redis_profile("")),
            *("SCHEMA", *schema, *metric),
        )

    def nearest(self, vector: bytes, k: int) -> Command:
        """Asks for the keys of the k nearest profiles, in whatever order."""
        return (
            *("FT.SEARCH", self.name, f"*=>[KNN $k @{_ALIAS} $vector]", "NOCONTENT", "LIMIT", 0, k),
            *("PARAMS", 4, "k", k, "vector", vector, "TIMEOUT", _TIMEOUT_MS, "DIALECT", 2),
        )


def is_building(info: Any) -> bool:
    """Whether a reply to `VectorIndex.info` says that profiles are still missing from the index.

    Examples:
        >>> is_building([b"num_docs", b"7", b"indexing", b"1"]), is_building({b"indexing": 0})
        (True, False)
    """
    said = _by_name(info)
    # The second is what Valkey calls it.
    return any(float(said.get(name, 0)) != 0 for name in ("indexing", "backfill_in_progress"))


def keys_found(reply: Any) -> list[bytes]:
    """The keys in a reply to `VectorIndex.nearest`, of which RESP2 and RESP3 have different forms.

    Examples:
        >>> keys_found([2, b"shop:profile:ada", b"shop:profile:bob"])
        [b'shop:profile:ada', b'shop:profile:bob']
        >>> keys_found({b"total_results": 1, b"results": [{b"id": b"shop:profile:ada", b"values": []}]})
        [b'shop:profile:ada']
    """
    found = [_by_name(each)["id"] for each in _by_name(reply)["results"]] if isinstance(reply, Mapping) else reply[1:]
    return [key for key in found if key is not None]  # a profile that expired during the search


def has_no_search(error: redis.exceptions.ResponseError) -> bool:
    """Whether a refusal of `VectorIndex.info` is for good: Redis has no vector search, or not for this user."""
    no_permission = isinstance(error, redis.exceptions.NoPermissionError)
    return no_permission or "unknown command" in str(error).lower()


def exists_already(error: redis.exceptions.ResponseError) -> bool:
    """Whether a refusal of `VectorIndex.create` says that another client was quicker."""
    return "already exists" in str(error).lower()


def _by_name(reply: Any) -> dict[str, Any]:
    """What a reply says, by name: a map in RESP3, a flat list of names and values in RESP2."""
    pairs: Iterable[tuple[Any, Any]]
    pairs = reply.items() if isinstance(reply, Mapping) else zip(reply[::2], reply[1::2], strict=False)
    return {name.decode() if isinstance(name, bytes) else str(name): value for name, value in pairs}
