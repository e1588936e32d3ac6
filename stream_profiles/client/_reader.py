"""What both clients do, without waiting for anything: which Redis commands to send, and what their replies mean.

Every operation is a generator, a `Flow`. It yields what is to be done next (Redis commands for one round trip, or a
call that blocks), is sent the outcome, or has it raised in its place when Redis fails, and returns the result. `_sync`
and `_async` do what it asks, each in its way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

import redis.exceptions
from redis.backoff import NoBackoff

from .._suggestions import did_you_mean
from ..contracts import Profile, ProfileDelta
from ..errors import RedisUnavailable, SettingsError, StateError
from ..names import Names
from ._metrics import Report, Reports, TargetMetrics, merge, model_names, read_reports
from ._schema import META, Schema, Stored
from ._text_metrics import TextReport, read_text_report

T = TypeVar("T")
#: Redis commands for one round trip, answered by their replies; or a blocking call, answered by None.
Request = list[tuple[Any, ...]] | Callable[[], None]
Flow = Generator[Request, Any, T]

#: A point in time to bring decayed values to: a `datetime` with a time zone, milliseconds since 1970 UTC, or "now".
Moment = datetime | int | Literal["now"]

#: Users read in one round trip. Enough to make its latency vanish, few enough for the replies (some 10 MB) to fit well
#: into memory and into Redis's output buffers.
_USERS_PER_TRIP = 5_000
#: The description is read again, along with profiles, when it was read longer ago than this.
_DESCRIPTION_AGE_S = 5.0
#: Keys looked at, at most, to say which profiles a Redis has instead of the missing ones.
_KEYS_PER_SCAN, _SCANS = 5_000, 20

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Reader:
    """Reads the profiles of one definition.

    Parameters:
        name: The definition's.
        address: Of the Redis, for messages.
    """

    def __init__(self, name: str, address: str) -> None:
        self.names = Names(name)
        self.address = address
        self._schema: Schema | None = None
        self._read_at = 0.0
        #: Fields that the present description does not explain, and that were asked about already.
        self._unexplained: set[str] = set()

    def get_many(
        self, user_ids: Iterable[str], now: Moment | None, fields: Iterable[str] | None
    ) -> Flow[dict[str, Profile | None]]:
        """Profiles by user, in the order asked for."""
        if isinstance(user_ids, str):
            raise SettingsError(f"get_many takes a list of user ids, not the text {user_ids!r}; for one user call get")
        at = None if now is None else to_ms(now)
        yield from self.load()
        only = None if fields is None else (yield from self._chosen(fields))
        users = list(dict.fromkeys(user_ids))
        found: dict[str, Profile | None] = {}
        for start in range(0, len(users), _USERS_PER_TRIP):
            some = users[start : start + _USERS_PER_TRIP]
            keys = [self.names.redis_profile(user) for user in some]
            request: list[tuple[Any, ...]]
            request = [("HGETALL", key) for key in keys] if only is None else [("HMGET", key, *only) for key in keys]
            # After the profiles, so that what is read of it is never older than they are.
            refresh = time.monotonic() - self._read_at > _DESCRIPTION_AGE_S
            if refresh:
                request.append(("GET", self.names.redis_description))
            replies = yield request
            if refresh:
                self._take(replies.pop())
            if only is not None:
                replies = [{k: v for k, v in zip(only, reply, strict=True) if v is not None} for reply in replies]
            strange: set[str] = set()
            profiles = self._profiles(some, replies, at, strange)
            if (yield from self._explained(strange)):
                profiles = self._profiles(some, replies, at, set())
            found.update(zip(some, profiles, strict=True))
        return found

    def metrics(self) -> Flow[dict[str, TargetMetrics]]:
        """The targets' metrics, all partitions merged."""
        partitions, names = yield from self._reports()
        by_target: dict[str, list[Report]] = {}
        for reports in partitions.values():
            for target, report in reports.items():
                by_target.setdefault(target, []).append(report)
        return self._merged(by_target, names)

    def partition_metrics(self) -> Flow[dict[int, dict[str, TargetMetrics]]]:
        """The targets' metrics, by partition."""
        partitions, names = yield from self._reports()
        return {
            number: self._merged({target: [report] for target, report in reports.items()}, names)
            for number, reports in partitions.items()
        }

    def text_metrics(self) -> Flow[TextReport]:
        """How texts stand."""
        yield from self.load()
        key = self.names.redis_text_metrics
        [fields] = yield [("HGETALL", key)]
        try:
            return read_text_report(fields, to_ms("now"))
        except StateError as error:
            raise StateError(f"{key} of Redis at {self.address} is not metrics of texts: {error}") from None

    def _reports(self) -> Flow[tuple[dict[int, Reports], dict[str, list[str]]]]:
        """Of each partition the reports, by target; of each target what its models are called, where that is known."""
        key = self.names.redis_metrics
        fields, raw = yield [("HGETALL", key), ("GET", self.names.redis_description)]
        self._take(raw)
        described = {} if self._schema is None else self._schema.described
        try:
            partitions = read_reports(fields)
        except StateError as error:
            raise StateError(f"{key} of Redis at {self.address} is not metrics: {error}") from None
        return partitions, {target: model_names(field) for target, field in described.items()}

    def _merged(
        self, by_target: Mapping[str, list[Report]], names: Mapping[str, list[str]]
    ) -> dict[str, TargetMetrics]:
        merged = {}
        for target, reports in by_target.items():
            try:
                merged[target] = merge(reports, names.get(target, ()))
            except StateError as error:
                key = self.names.redis_metrics
                raise StateError(f"{key} of Redis at {self.address} is not metrics: {target}: {error}") from None
        return merged

    def delta(self, message: bytes) -> Flow[ProfileDelta]:
        """A delta, its embeddings as arrays."""
        strange: set[str] = set()
        schema = yield from self.load()
        delta = schema.delta(message, strange)
        if (yield from self._explained(strange)):
            delta = (yield from self.load()).delta(message, set())
        return delta

    def load(self) -> Flow[Schema]:
        """The description of the fields, read once.

        Raises:
            SettingsError: there is none.
        """
        if self._schema is None:
            [raw] = yield [("GET", self.names.redis_description)]
            if raw is None:
                others = yield from self._other_definitions()
                hint = (
                    did_you_mean(self.names.definition, others) if others else "is its worker started, with this Redis?"
                )
                raise SettingsError(f"Redis at {self.address} has no profiles called {self.names.definition!r}; {hint}")
            self._take(raw)
            assert self._schema is not None
        return self._schema

    def load_recent(self) -> Flow[Schema]:
        """As `load`, and read again when it was read a while ago.

        Raises:
            SettingsError: there is none.
        """
        yield from self.load()
        if time.monotonic() - self._read_at > _DESCRIPTION_AGE_S:
            [raw] = yield [("GET", self.names.redis_description)]
            self._take(raw)
        return (yield from self.load())

    def _profiles(
        self, users: Sequence[str], replies: Sequence[Stored], at: int | None, strange: set[str]
    ) -> list[Any]:
        assert self._schema is not None
        name, read = self.names.definition, self._schema.profile
        return [read(name, user, stored, at, strange) for user, stored in zip(users, replies, strict=True)]

    def _chosen(self, fields: Iterable[str]) -> Flow[list[bytes]]:
        """What to ask Redis for, to get these fields."""
        wanted = list(dict.fromkeys(fields))
        schema = yield from self.load()
        if not schema.fields.keys() >= set(wanted):
            [raw] = yield [("GET", self.names.redis_description)]
            self._take(raw)
            schema = yield from self.load()
        for name in wanted:
            if name not in schema.fields:
                hint = did_you_mean(name, schema.fields)
                raise SettingsError(f"the profiles {self.names.definition!r} have no field {name!r}; {hint}")
        return [*META, *(name.encode() for name in wanted)]

    def _explained(self, strange: set[str]) -> Flow[bool]:
        """Whether the description, read again, is another one, which may know the strange fields."""
        # Once for each field: one that an older definition left behind in profiles is never going to be explained.
        if strange <= self._unexplained:
            return False
        [raw] = yield [("GET", self.names.redis_description)]
        changed = self._take(raw)
        self._unexplained |= strange
        return changed

    def _take(self, raw: bytes | None) -> bool:
        """Take over a description; returns whether it is another one. A missing one leaves the known one as it is."""
        self._read_at = time.monotonic()
        if raw is None or (self._schema is not None and self._schema.raw == raw):
            return False
        try:
            self._schema = Schema(raw)
        except StateError as error:
            key = self.names.redis_description
            raise StateError(f"{key} of Redis at {self.address} cannot be read: {error}") from None
        self._unexplained = set()
        return True

    def _other_definitions(self) -> Flow[list[str]]:
        pattern = Names("*").redis_description
        suffix = pattern.removeprefix("*").encode()
        cursor, found = 0, set()
        for _ in range(_SCANS):
            [(cursor, keys)] = yield [("SCAN", cursor, "MATCH", pattern, "COUNT", _KEYS_PER_SCAN)]
            # A user may be called "definition" too.
            found |= {name.decode() for name in (key.removesuffix(suffix) for key in keys) if b":" not in name}
            if not int(cursor):
                break
        return sorted(found)


def to_ms(moment: Moment) -> int:
    """Milliseconds since 1970 UTC.

    Raises:
        SettingsError: it is no moment, or one without a time zone.

    Examples:
        >>> to_ms(datetime(1970, 1, 2, tzinfo=UTC))
        86400000
    """
    if isinstance(moment, int):
        return moment
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise SettingsError(f"now={moment!r} has no time zone: give it one, as in datetime.now(UTC)")
        return (moment - _EPOCH) // timedelta(milliseconds=1)
    if moment == "now":
        return time.time_ns() // 1_000_000
    raise SettingsError(f'now={moment!r} is no time: give a datetime, milliseconds since 1970 UTC, or "now"')


def open_redis(client: Any, retry: Any, url: str, timeout_s: float) -> Any:
    """A Redis client, of redis-py's synchronous or asynchronous kind, that is not connected yet.

    Raises:
        SettingsError: the URL cannot be one of a Redis.
    """
    try:
        opened = client.from_url(
            url,
            socket_timeout=timeout_s,
            # Once more and at once: a server that was restarted has closed the connections in the pool. What runs into
            # a timeout is not tried again, so that the timeout is what it says.
            retry=retry(NoBackoff(), 1, supported_errors=(redis.exceptions.ConnectionError,)),
        )
        pool = opened.connection_pool
        if "path" not in pool.connection_kwargs:
            pool.connection_kwargs.setdefault("socket_connect_timeout", timeout_s)
        pool.connection_kwargs["decode_responses"] = False
        pool.connection_class(**pool.connection_kwargs)  # which finds options that there are not
    except (ValueError, TypeError, AttributeError):
        # Neither the cause nor, where it may hold a password, the URL.
        shown = f"{url!r}" if isinstance(url, str) and not {"@", "?"} & set(url) else "the given text"
        raise SettingsError(
            f"{shown} is not the URL of a Redis: write redis://host:port/0, or redis://user:password@host:port/0 with "
            "special characters of the password as %-escapes"
        ) from None
    return opened


def address_of(client: Any) -> str:
    """Where a Redis client connects to, without credentials."""
    options = client.connection_pool.connection_kwargs
    place = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
    return f"{place}/{options['db']}" if options.get("db") else str(place)


def redis_unavailable(address: str, error: Exception) -> RedisUnavailable:
    """The library's error for one of redis-py's."""
    refused = isinstance(error, redis.exceptions.ResponseError)
    return RedisUnavailable(f"Redis at {address} {'refuses' if refused else 'does not answer'}: {error}")
