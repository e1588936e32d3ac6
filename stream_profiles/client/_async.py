"""AsyncProfileClient: reads profiles without blocking the event loop."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Self

import redis.asyncio
import redis.exceptions
from numpy.typing import ArrayLike
from redis.asyncio.retry import Retry

from ..contracts import Profile, ProfileDelta
from ..errors import RedisUnavailable
from ._deltas import DeltaReading, reading_of
from ._metrics import TargetMetrics
from ._reader import Flow, Moment, Reader, Request, T, address_of, open_redis, redis_unavailable
from ._similar import SCAN_LIMIT, Neighbour, nearest_to, similar
from ._text_metrics import TextReport


class AsyncProfileClient:
    """`ProfileClient` for asyncio: the same methods, parameters, results and errors.

    Tasks of one event loop may share it.

    Examples:
        >>> async with AsyncProfileClient("redis://localhost:6379/0", "shop") as client:  # doctest: +SKIP
        ...     ada = await client.get("ada", now="now")
    """

    def __init__(self, redis_url: str, name: str, *, broker: str | None = None, timeout_s: float = 5.0) -> None:
        self._redis = open_redis(redis.asyncio.Redis, Retry, redis_url, timeout_s)
        self._reader = Reader(name, address_of(self._redis))
        self._broker = broker
        self._timeout_s = timeout_s
        self._streams: weakref.WeakSet[AsyncDeltaStream] = weakref.WeakSet()

    async def get(
        self, user_id: str, *, now: Moment | None = None, fields: Iterable[str] | None = None
    ) -> Profile | None:
        """One user's profile, or None when there is none; as `ProfileClient.get`."""
        return (await self.get_many([user_id], now=now, fields=fields))[user_id]

    async def get_many(
        self, user_ids: Iterable[str], *, now: Moment | None = None, fields: Iterable[str] | None = None
    ) -> dict[str, Profile | None]:
        """Profiles of many users; as `ProfileClient.get_many`."""
        return await self._run(self._reader.get_many(user_ids, now, fields))

    async def metrics(self) -> dict[str, TargetMetrics]:
        """How good the targets' predictions have been; as `ProfileClient.metrics`."""
        return await self._run(self._reader.metrics())

    async def partition_metrics(self) -> dict[int, dict[str, TargetMetrics]]:
        """As `ProfileClient.partition_metrics`."""
        return await self._run(self._reader.partition_metrics())

    async def similar(
        self, user_id: str, k: int = 10, *, field: str | None = None, scan_limit: int = SCAN_LIMIT
    ) -> list[Neighbour]:
        """The k users whose vectors are nearest to a user's; as `ProfileClient.similar`."""
        return await self._run(similar(self._reader, user_id, k, field, scan_limit))

    async def nearest(
        self,
        vector: ArrayLike,
        k: int = 10,
        *,
        field: str | None = None,
        encoder: str | None = None,
        scan_limit: int = SCAN_LIMIT,
    ) -> list[Neighbour]:
        """The k users whose vectors are nearest to a vector; as `ProfileClient.nearest`."""
        return await self._run(nearest_to(self._reader, vector, k, field, encoder, scan_limit))

    async def text_metrics(self) -> TextReport:
        """How texts stand; as `ProfileClient.text_metrics`."""
        return await self._run(self._reader.text_metrics())

    def deltas(
        self, *, group: str | None = None, from_beginning: bool = False, timeout_s: float | None = None
    ) -> AsyncDeltaStream:
        """Changes of profiles as they happen, for ever; as `ProfileClient.deltas`.

        It connects, and begins, when it is entered with `async with` or, without that, asked for the first delta; that
        is where its errors come from.

        Examples:
            >>> async with client.deltas() as deltas:  # doctest: +SKIP
            ...     async for delta in deltas:
            ...         print(delta.user_id, delta.version, *delta.changed)
        """
        reading = reading_of(self._reader, self._broker, group, from_beginning, timeout_s, self._timeout_s)
        stream = AsyncDeltaStream(self._run, reading)
        self._streams.add(stream)
        return stream

    async def aclose(self) -> None:
        """Close the connections, and the streams of deltas that are still open."""
        for stream in list(self._streams):
            await stream.aclose()
        await self._redis.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, flow: Flow[T]) -> T:
        go_on = partial(flow.send, None)
        while True:
            try:
                request = go_on()
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                go_on = partial(flow.send, await self._answer(request))
            except RedisUnavailable as error:
                go_on = partial(flow.throw, error)

    async def _answer(self, request: Request) -> Any:
        if callable(request):
            # kafka-python blocks, and aiokafka would be a second set of rules for groups and offsets.
            return await asyncio.to_thread(request)
        try:
            if len(request) == 1:
                return [await self._redis.execute_command(*request[0])]
            async with self._redis.pipeline(transaction=False) as pipeline:
                for command in request:
                    pipeline.execute_command(*command)
                return await pipeline.execute()
        except (redis.exceptions.RedisError, OSError) as error:
            raise redis_unavailable(self._reader.address, error) from error


class AsyncDeltaStream(AsyncIterator[ProfileDelta]):
    """Deltas as they come, until it is closed: by `aclose`, at the end of an `async with` block, or with its client.

    One task at a time may read it. A task that is cancelled while it waits loses no delta.
    """

    def __init__(self, run: Callable[[Flow[Any]], Awaitable[Any]], reading: DeltaReading) -> None:
        self._run, self._reading = run, reading
        self._started = False
        self._close = weakref.finalize(self, reading.consumer.close)

    async def __anext__(self) -> ProfileDelta:
        await self._start()
        delta: ProfileDelta | None = await self._run(self._reading.next())
        if delta is None:
            raise StopAsyncIteration
        return delta

    async def aclose(self) -> None:
        """Leave Kafka; in a group, commit what is done. Does nothing the second time."""
        await asyncio.to_thread(self._close)

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _start(self) -> None:
        if not self._started:
            await self._run(self._reading.start())
            self._started = True
