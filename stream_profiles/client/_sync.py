"""ProfileClient: reads profiles, and waits."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Self

import redis
import redis.exceptions
from numpy.typing import ArrayLike
from redis.retry import Retry

from ..contracts import Profile, ProfileDelta
from ..errors import RedisUnavailable
from ._deltas import DeltaReading, reading_of
from ._metrics import TargetMetrics
from ._reader import Flow, Moment, Reader, Request, T, address_of, open_redis, redis_unavailable
from ._similar import SCAN_LIMIT, Neighbour, nearest_to, similar
from ._text_metrics import TextReport


class ProfileClient:
    """Reads the profiles that workers write: from Redis as they stand, from Kafka as they change.

    It connects at the first call. Threads may share it.

    Parameters:
        redis_url: `redis://host:port/0`, `rediss://...` or `unix://...`, where the workers write.
        name: The profile definition's name.
        broker: Kafka's bootstrap servers, `host:port,host:port`; needed for `deltas` alone.
        timeout_s: How long a server may take to answer, seconds.

    Raises:
        SettingsError: the URL is not one of a Redis. Of every method: Redis has no profiles of that name.
        RedisUnavailable: of every method: Redis does not answer, or refuses.
        StateError: of every method: what is there was not written by a worker.

    Examples:
        >>> with ProfileClient("redis://localhost:6379/0", "shop") as client:  # doctest: +SKIP
        ...     ada = client.get("ada", now="now")
        ...     ada.values["views"]
        {'total': 42, '1h': 0.25, 'at': 1767225600000}
    """

    def __init__(self, redis_url: str, name: str, *, broker: str | None = None, timeout_s: float = 5.0) -> None:
        self._redis = open_redis(redis.Redis, Retry, redis_url, timeout_s)
        self._reader = Reader(name, address_of(self._redis))
        self._broker = broker
        self._timeout_s = timeout_s
        self._streams: weakref.WeakSet[DeltaStream] = weakref.WeakSet()

    def get(self, user_id: str, *, now: Moment | None = None, fields: Iterable[str] | None = None) -> Profile | None:
        """One user's profile, or None when there is none.

        Its `values` are what the features publish, by field; an embedding is a read-only `numpy.ndarray` of float32,
        shape `(dimensions,)`. Fields that the definition does not have any more, or has otherwise now, are left out.

        Parameters:
            user_id: The user.
            now: Brings decayed values to this time; as of the user's last event when None. Values of features whose
                class this library does not have stay as they are.
            fields: Read these fields only.

        Raises:
            SettingsError: there is no such field, or `now` is no point in time.
        """
        return self.get_many([user_id], now=now, fields=fields)[user_id]

    def get_many(
        self, user_ids: Iterable[str], *, now: Moment | None = None, fields: Iterable[str] | None = None
    ) -> dict[str, Profile | None]:
        """Profiles of many users, by user and in the order given; None for users without one.

        Takes one round trip for every 5,000 users. For the rest, as `get`.

        Examples:
            >>> profiles = client.get_many(["ada", "bob"], fields=["views"])  # doctest: +SKIP
            >>> [user for user, profile in profiles.items() if profile is None]  # doctest: +SKIP
            ['bob']
        """
        return self._run(self._reader.get_many(user_ids, now, fields))

    def metrics(self) -> dict[str, TargetMetrics]:
        """How good the targets' predictions have been, by target, over all partitions; empty when none was made.

        Examples:
            >>> buys_soon = client.metrics()["buys_soon"]  # doctest: +SKIP
            >>> buys_soon.model.log_loss, buys_soon.prevalence.log_loss, buys_soon.last_label.log_loss  # doctest: +SKIP
            (0.31, 0.46, 0.93)
        """
        return self._run(self._reader.metrics())

    def partition_metrics(self) -> dict[int, dict[str, TargetMetrics]]:
        """As `metrics`, of each partition by itself: each has models of its own."""
        return self._run(self._reader.partition_metrics())

    def similar(
        self, user_id: str, k: int = 10, *, field: str | None = None, scan_limit: int = SCAN_LIMIT
    ) -> list[Neighbour]:
        """The k users whose vectors are nearest to a user's: pairs of user and cosine, the highest first.

        Equal cosines, to 7 decimals, go by user id. Only what can be compared is: text vectors of the same encoder and
        version, vectors of a `BehaviourEmbedding` in the same partition, vectors of the same length. There are fewer
        than k when there are no more such users, and none when the user has no profile, or no vector yet.

        It is exact. A Redis with vector search (Redis 8, Redis Stack) is asked for who is near; the first call for a
        field lets it make the index `NAME:vectors:FIELD:DIMENSION`, which holds the vectors a second time and is kept
        up to date by Redis. Without vector search, or the right to use it, and until the index is complete, every call
        reads all profiles.

        Parameters:
            user_id: The user, who is not among the result.
            k: How many, at most.
            field: The embedding, such as "interests_30d"; None for the only one, else the first text embedding.
            scan_limit: Profiles that may be read, where all have to be.

        Raises:
            SettingsError: there is no such embedding, one has to be chosen, or there are more profiles than the limit.
            RedisUnavailable: also when there are more than the limit, and an index that is not complete yet.

        Examples:
            >>> client.similar("ada", 2, field="interests_30d")  # doctest: +SKIP
            [('bob', 0.9131402), ('eve', 0.8412719)]
        """
        return self._run(similar(self._reader, user_id, k, field, scan_limit))

    def nearest(
        self,
        vector: ArrayLike,
        k: int = 10,
        *,
        field: str | None = None,
        encoder: str | None = None,
        scan_limit: int = SCAN_LIMIT,
    ) -> list[Neighbour]:
        """The k users whose vectors are nearest to a vector of one's own, such as that of a text; else as `similar`.

        Parameters:
            vector: Of the field's length, of any norm.
            k: How many, at most.
            field: As in `similar`. A `BehaviourEmbedding` can only be asked where there is one partition.
            encoder: Which encoder the vector is of, "NAME@VERSION"; None for the definition's, whatever its version.
            scan_limit: As in `similar`.

        Raises:
            SettingsError: also when the vector is none that could be compared, or when users have vectors of several
                versions of the encoder and it is not said which one is meant.

        Examples:
            >>> [vector] = encoder.encode(["running shoes"])  # doctest: +SKIP
            >>> client.nearest(vector, 1, field="interests_1d")  # doctest: +SKIP
            [('eve', 0.7718345)]
        """
        return self._run(nearest_to(self._reader, vector, k, field, encoder, scan_limit))

    def text_metrics(self) -> TextReport:
        """How the texts of text embeddings stand: what waits for vectors, and how the encoders do.

        Examples:
            >>> client.text_metrics().embeddings["interests"].oldest_seconds  # doctest: +SKIP
            0.02
        """
        return self._run(self._reader.text_metrics())

    def deltas(
        self, *, group: str | None = None, from_beginning: bool = False, timeout_s: float | None = None
    ) -> DeltaStream:
        """Changes of profiles as they happen, from this call on, for ever.

        Deltas of one user come in order of version. After a failure of a worker or, in a group, of a reader, some come
        again. Without a group every reader gets all deltas. The members of a group share them and go on where the group
        left off: a delta is done when its reader comes back for the next one.

        Parameters:
            group: Kafka consumer group.
            from_beginning: Start at the oldest delta the topic has; for a group, where it has not been yet.
            timeout_s: End when no delta came for so long.

        Raises:
            SettingsError: the client was given no broker.
            KafkaUnavailable: no broker answers. A stream that is under way waits until one is back.
            TopicError: the topic is missing.

        Examples:
            >>> for delta in client.deltas(timeout_s=10):  # doctest: +SKIP
            ...     print(delta.user_id, delta.version, *delta.changed)
            ada 43 views categories
        """
        reading = reading_of(self._reader, self._broker, group, from_beginning, timeout_s, self._timeout_s)
        stream = DeltaStream(self._run, reading)
        self._run(reading.start())
        self._streams.add(stream)
        return stream

    def close(self) -> None:
        """Close the connections, and the streams of deltas that are still open."""
        for stream in list(self._streams):
            stream.close()
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, flow: Flow[T]) -> T:
        go_on = partial(flow.send, None)
        while True:
            try:
                request = go_on()
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                go_on = partial(flow.send, self._answer(request))
            except RedisUnavailable as error:
                go_on = partial(flow.throw, error)

    def _answer(self, request: Request) -> Any:
        if callable(request):
            return request()
        try:
            if len(request) == 1:
                return [self._redis.execute_command(*request[0])]
            with self._redis.pipeline(transaction=False) as pipeline:
                for command in request:
                    pipeline.execute_command(*command)
                return pipeline.execute()
        except (redis.exceptions.RedisError, OSError) as error:
            raise redis_unavailable(self._reader.address, error) from error


class DeltaStream(Iterator[ProfileDelta]):
    """Deltas as they come, until it is closed: by `close`, at the end of a `with` block, or with its client.

    One thread at a time may read it; any may close it.
    """

    def __init__(self, run: Callable[[Flow[Any]], Any], reading: DeltaReading) -> None:
        self._run, self._reading = run, reading
        # Also when it is forgotten, and at the end of the program: before kafka-python's thread is frozen, after which
        # closing would wait for ever. (`__del__` comes too late.)
        self._close = weakref.finalize(self, reading.consumer.close)

    def close(self) -> None:
        """Leave Kafka; in a group, commit what is done. Does nothing the second time."""
        self._close()

    def __next__(self) -> ProfileDelta:
        delta: ProfileDelta | None = self._run(self._reading.next())
        if delta is None:
            raise StopIteration
        return delta

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
