"""Who is like whom: the users whose vectors are nearest to a user's, or to any vector, by cosine.

Which users come into question is asked of Redis's vector search; where there is none, all profiles are read. Either way
the vectors themselves are read and compared here, so both ways give the same answer, and it is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import redis.exceptions
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from .._suggestions import did_you_mean
from ..errors import RedisUnavailable, SettingsError
from ..partitioner import Partitioner
from ._reader import Flow, Reader
from ._vector_index import VectorIndex, exists_already, has_no_search, is_building, keys_found

#: A user and a cosine.
Neighbour = tuple[str, float]

#: Profiles that are all read, at most, where Redis has no vector search: 200 MB of vectors of 384 numbers, in 1.5 s.
SCAN_LIMIT = 100_000

#: Kinds whose vectors are learned in each partition by itself, from its own users.
_LEARNED_BY_PARTITION = ("BehaviourEmbedding",)
_TEXT = "TextEmbedding"
#: Profiles read in one round trip: some 3 MB of vectors of 384 numbers, and twice that while they are compared.
_PROFILES_PER_TRIP = 2_000
#: What float32 tells of a cosine. So two equal vectors have equal cosines, whatever they are computed along with.
_DECIMALS = 7
#: Redis computes in float32: closer cosines than this may be in another order with it than here.
_REDIS_ERROR = 1e-5
#: So many more users than k are asked of Redis at first, to leave out those that are not to be compared, and to know
#: all that are as near as the last; then each time four times as many.
_MORE, _GROWTH = 30, 4
#: When the k-th neighbour is still as near as this many others, which of them are taken is left to Redis.
_MOST_TIED = 10_000


class _Summary(Struct):
    """What a profile says about its text vectors, as far as it matters here."""

    encoder: str


_read_summary = msgspec.json.Decoder(_Summary).decode


class _Space(Struct, frozen=True):
    """The vectors of one field, and what makes two of them comparable."""

    field: str
    #: Their length; None when the description does not say.
    dimension: int | None
    #: The field that says which encoder a vector is of; None where there is no encoder.
    summary: str | None
    #: The encoder's name, without version.
    encoder: str | None
    #: Which partition a user is in, where only vectors of one partition can be compared.
    partition: Callable[[bytes], int] | None
    partitions: int

    @property
    def stored(self) -> tuple[str, ...]:
        """The fields to read of a profile."""
        return (self.field,) if self.summary is None else (self.field, self.summary)

    def encoder_of(self, row: Sequence[bytes | None]) -> str | None:
        """Of what Redis has of `stored`: name and version of the vector's encoder."""
        if self.summary is None or row[1] is None:
            return None
        try:
            return _read_summary(row[1]).encoder
        except msgspec.MsgspecError:
            return None


class _Nearest:
    """The k best of all that is added, and nothing else: what is added is forgotten if it is not among them.

    Parameters:
        vector: To compare with.
        k: How many to keep.
        space: Where the vectors are from.
        admits: Whether a user with a vector of that encoder comes into question.
    """

    def __init__(
        self, vector: NDArray[np.float64], k: int, space: _Space, admits: Callable[[str, str | None], bool]
    ) -> None:
        self._unit = vector / np.sqrt(vector @ vector)
        self.k, self._space, self._admits = k, space, admits
        #: Highest cosine first, then by user.
        self.best: list[Neighbour] = []
        #: Lowest cosine of all that was added, whether it comes into question or not.
        self.lowest = np.inf
        #: Of those that came into question.
        self.encoders: set[str | None] = set()

    @property
    def vector(self) -> bytes:
        return self._unit.astype("<f4").tobytes()

    @property
    def is_full(self) -> bool:
        return len(self.best) == self.k

    def clear(self) -> None:
        self.best.clear()
        self.encoders.clear()

    def add(self, users: Sequence[str], rows: Sequence[Sequence[bytes | None]]) -> None:
        """Take in users with what Redis has of the space's `stored` fields."""
        length = 4 * len(self._unit)
        # A profile may have vanished, and an older definition may have left a vector of another length.
        there = [(user, row) for user, row in zip(users, rows, strict=True) if row[0] and len(row[0]) == length]
        if not there:
            return
        stored = np.frombuffer(b"".join(row[0] or b"" for _, row in there), "<f4").reshape(len(there), -1)
        vectors = stored.astype(np.float64)
        with np.errstate(all="ignore"):  # of what is no direction comes what is no number
            norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
            cosines = np.round(vectors @ self._unit / norms, _DECIMALS)
        compared = np.isfinite(cosines)
        self.lowest = min(self.lowest, cosines[compared].min(initial=np.inf))
        if self.is_full:
            compared &= cosines >= self.best[-1][1]
        for number in np.flatnonzero(compared).tolist():
            user, row = there[number]
            encoder = self._space.encoder_of(row)
            if self._admits(user, encoder):
                self.encoders.add(encoder)
                self.best.append((user, float(cosines[number])))
        self.best.sort(key=lambda neighbour: (-neighbour[1], neighbour[0]))
        del self.best[self.k :]


def similar(reader: Reader, user_id: str, k: int, field: str | None, scan_limit: int) -> Flow[list[Neighbour]]:
    """The users nearest to a user."""
    _check(k=k, scan_limit=scan_limit)
    space = yield from _space(reader, field)
    [row] = yield [("HMGET", reader.names.redis_profile(user_id), *space.stored)]
    vector = np.frombuffer(row[0] or b"", "<f4") if len(row[0] or b"") % 4 == 0 else np.empty(0, "<f4")
    encoder = space.encoder_of(row)
    if space.dimension not in (None, len(vector)) or not _is_direction(vector):
        return []
    if space.summary is not None and encoder is None:
        return []
    home = None if space.partition is None else space.partition(user_id.encode())

    def admits(user: str, of: str | None) -> bool:
        if user == user_id or of != encoder:
            return False
        return space.partition is None or space.partition(user.encode()) == home

    nearest = _Nearest(vector.astype(np.float64), k, space, admits)
    yield from _fill(reader, nearest, space, len(vector), scan_limit)
    return nearest.best


def nearest_to(
    reader: Reader, vector: ArrayLike, k: int, field: str | None, encoder: str | None, scan_limit: int
) -> Flow[list[Neighbour]]:
    """The users nearest to a vector."""
    _check(k=k, scan_limit=scan_limit)
    space = yield from _space(reader, field)
    try:
        given = np.asarray(vector, np.float64)
    except (TypeError, ValueError):
        given = np.empty(0)
    if given.ndim != 1 or not _is_direction(given):
        raise SettingsError("vector= takes a list of finite numbers that are not all 0")
    if space.dimension not in (None, len(given)):
        raise SettingsError(f"the vectors of {space.field!r} are {space.dimension} long, the given one is {len(given)}")
    if space.partition is not None and space.partitions > 1:
        raise SettingsError(
            f"vectors of {space.field!r} are learned in each of {space.partitions} partitions by itself, so there is "
            "none that could be compared with all users; ask for the users that are similar to a user"
        )
    versions = f"{space.encoder}@"

    def admits(_: str, of: str | None) -> bool:
        if space.summary is None:
            return True
        return of is not None and (of == encoder if encoder is not None else of.startswith(versions))

    nearest = _Nearest(given, k, space, admits)
    yield from _fill(reader, nearest, space, len(given), scan_limit)
    if len(nearest.encoders) > 1:
        found = ", ".join(sorted(str(each) for each in nearest.encoders))
        raise SettingsError(f"there are vectors of {found}: say with encoder= which one the given vector is of")
    return nearest.best


def _check(**counts: int) -> None:
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise SettingsError(f"{name} must be a whole number from 1, not {count!r}")


def _is_direction(vector: NDArray[Any]) -> bool:
    return bool(np.isfinite(vector).all() and vector.any())


def _space(reader: Reader, field: str | None) -> Flow[_Space]:
    """The chosen field.

    Raises:
        SettingsError: there is no such embedding, or one has to be chosen.
    """
    schema = yield from reader.load_recent()
    name = reader.names.definition
    vectors = [each.name for each in schema.fields.values() if each.is_vector]
    if field is None:
        text = [each for each in vectors if schema.described[each]["kind"] == _TEXT]
        if not vectors:
            raise SettingsError(f"the profiles {name!r} have no embedding: give their definition one, in embeddings=")
        if len(vectors) > 1 and not text:
            choices = " or ".join(repr(each) for each in vectors)
            raise SettingsError(f"the profiles {name!r} have several embeddings: say which with field=, {choices}")
        field = vectors[0] if len(vectors) == 1 else text[0]
    elif field not in vectors:
        raise SettingsError(f"the profiles {name!r} have no embedding {field!r}; {did_you_mean(field, vectors)}")
    described = schema.described[field]
    config = described.get("config") or {}
    partition, partitions = None, 1
    if described["kind"] in _LEARNED_BY_PARTITION:
        partitions = msgspec.json.decode(schema.raw).get("partitions")
        if partitions is None:
            raise SettingsError(
                f"vectors of {field!r} can only be compared within a partition, and the worker that wrote the profiles "
                f"{name!r} does not tell how many there are: run it with this version of stream_profiles"
            )
        partition = Partitioner(partitions)
    return _Space(
        field=field,
        dimension=config.get("dimension", config.get("dimensions")),
        summary=config.get("summary"),
        encoder=config.get("encoder"),
        partition=partition,
        partitions=partitions,
    )


def _fill(reader: Reader, nearest: _Nearest, space: _Space, dimension: int, scan_limit: int) -> Flow[None]:
    """Add all users that may be among the nearest."""
    index = VectorIndex(reader.names, space.field, dimension)
    building = False
    try:
        if (yield from _is_ready(index)):
            yield from _search(reader, index, nearest, space)
            return
        building = True
    except RedisUnavailable as error:
        # A refusal, such as to search without permission or for so many, does not keep us from reading.
        _refusal(error)
        nearest.clear()
    yield from _scan(reader, nearest, space, scan_limit, index if building else None)


def _is_ready(index: VectorIndex) -> Flow[bool]:
    """Whether the index is complete; when there is none, it is begun.

    Raises:
        RedisUnavailable: there is no index, and can be none.
    """
    try:
        [info] = yield [index.info]
    except RedisUnavailable as error:
        if has_no_search(_refusal(error)):
            raise
    else:
        return not is_building(info)
    try:
        yield [index.create]
    except RedisUnavailable as error:
        if not exists_already(_refusal(error)):
            raise
    return False


def _search(reader: Reader, index: VectorIndex, nearest: _Nearest, space: _Space) -> Flow[None]:
    """Ask the index for more and more users, until nobody else can be among the nearest."""
    asked = 0
    seen: set[bytes] = set()
    while True:
        asked = asked * _GROWTH or 2 * nearest.k + _MORE
        [reply] = yield [index.nearest(nearest.vector, asked)]
        found = keys_found(reply)
        new = [key for key in found if key not in seen]
        seen.update(new)
        for start in range(0, len(new), _PROFILES_PER_TRIP):
            some = new[start : start + _PROFILES_PER_TRIP]
            rows = yield [("HMGET", key, *space.stored) for key in some]
            nearest.add(_users(reader, some), rows)
        if len(found) < asked:
            return
        if nearest.is_full:
            nobody_else = nearest.lowest < nearest.best[-1][1] - _REDIS_ERROR
            if nobody_else or asked >= nearest.k + _MOST_TIED:
                return


def _scan(reader: Reader, nearest: _Nearest, space: _Space, limit: int, building: VectorIndex | None) -> Flow[None]:
    """Read all profiles, those that SCAN gives in one round trip together with the next SCAN.

    Raises:
        SettingsError: there are more than the limit.
        RedisUnavailable: there are, but soon there will be an index.
    """
    pattern = reader.names.redis_profile("*")
    cursor, more = 0, True
    new: list[bytes] = []
    seen: set[bytes] = set()  # for SCAN may give a key twice
    while more or new:
        request: list[tuple[Any, ...]] = [("HMGET", key, *space.stored) for key in new]
        if more:
            request.append(("SCAN", cursor, "MATCH", pattern, "COUNT", _PROFILES_PER_TRIP, "TYPE", "hash"))
        replies = yield request
        keys: list[bytes] = []
        if more:
            cursor, keys = replies.pop()
            more = bool(int(cursor))
        nearest.add(_users(reader, new), replies)
        new = [key for key in dict.fromkeys(keys) if key not in seen]
        seen.update(new)
        if len(seen) > limit:
            if building is not None:
                raise RedisUnavailable(
                    f"Redis at {reader.address} is still building the index {building.name!r}, and there are more than "
                    f"{limit:,} users to read without it: try again in a moment"
                )
            raise SettingsError(
                f"there are more than {limit:,} profiles {reader.names.definition!r}, too many to read them all for an "
                "answer: use a Redis with vector search (Redis 8, Redis Stack), or raise scan_limit"
            )


def _users(reader: Reader, keys: Sequence[bytes]) -> list[str]:
    prefix = len(reader.names.redis_profile("").encode())
    return [key[prefix:].decode(errors="replace") for key in keys]


def _refusal(error: RedisUnavailable) -> redis.exceptions.ResponseError:
    """What Redis said, when it answered; raises the error again when it did not."""
    if isinstance(error.__cause__, redis.exceptions.ResponseError):
        return error.__cause__
    raise error
