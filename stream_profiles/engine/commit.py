"""Group commit: events are applied at once, and written together.

One write is in flight at a time; all that was applied meanwhile forms the next one. So a write is small and quick when
little arrives, and grows by itself under load. What a write is made of is the owner's business; here is when it is
made, what happens when it fails, and how much may wait.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from aiokafka.errors import KafkaError, KafkaTimeoutError

from ..errors import ConnectionFailed

log = logging.getLogger(__name__)

_FIRST_RETRY_S, _LAST_RETRY_S = 0.1, 5.0
#: A write takes milliseconds. Kafka's client tries for ever by itself: after this long, something does not answer.
STALLED_S = 10.0


class Group(Protocol):
    """What forms one write."""

    #: Events in it.
    events: int


G = TypeVar("G", bound=Group)


class GroupCommit(Generic[G]):
    """Collects applied events and writes them, group by group.

    Parameters:
        new: Makes an empty group.
        write: Writes a group and acknowledges its messages. It is called again with the same group when it failed with
            a `ConnectionFailed` or a Kafka error, so it must remember what it has done already.
        max_events: `room` waits while more events than this are not written.
    """

    def __init__(self, new: Callable[[], G], write: Callable[[G], Awaitable[None]], max_events: int) -> None:
        self._new, self._write, self._max_events = new, write, max_events
        #: The group that is being formed.
        self.forming: G = new()
        self._writing: G | None = None
        self._wake, self._room, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room.set()
        self._idle.set()
        self._failures = 0
        self._began = 0.0

    @property
    def waiting_events(self) -> int:
        """Events applied and not yet written."""
        return self.forming.events + (self._writing.events if self._writing is not None else 0)

    @property
    def failing(self) -> bool:
        """Whether the last attempt to write failed, or has taken so long that it might as well have."""
        return self._failures > 0 or self.writing_for_s > STALLED_S

    @property
    def writing_for_s(self) -> float:
        """How long the write in flight has taken so far, with all its attempts; 0 when there is none."""
        return 0.0 if self._writing is None else time.monotonic() - self._began

    def notify(self) -> None:
        """Call after adding to `forming`."""
        self._idle.clear()
        self._wake.set()

    async def room(self) -> None:
        """Wait until another event may be applied."""
        while self.waiting_events >= self._max_events:
            self._room.clear()
            await self._room.wait()

    async def run(self) -> None:
        """Write for ever. Ends with an error that trying again cannot mend."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            group, self.forming = self.forming, self._new()
            self._writing, self._began = group, time.monotonic()
            try:
                await self._write_until_done(group)
            finally:
                self._writing = None
                self._room.set()
            if not self._wake.is_set():
                self._idle.set()

    async def settled(self, timeout_s: float) -> bool:
        """Wait until all that was applied is written; False when that took too long."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def _write_until_done(self, group: G) -> None:
        delay = _FIRST_RETRY_S
        while True:
            try:
                await self._write(group)
            except (ConnectionFailed, KafkaError) as error:
                if isinstance(error, KafkaError) and not (error.retriable or isinstance(error, KafkaTimeoutError)):
                    raise
                self._failures += 1
                log.warning(
                    "a write failed and is tried again in %.1f s, nothing is lost and nothing is acknowledged: %s",
                    delay,
                    str(error) or type(error).__name__,
                )
                await asyncio.sleep(delay)
                delay = min(2 * delay, _LAST_RETRY_S)
            else:
                if self._failures:
                    log.info("writing again after %d failed attempts", self._failures)
                self._failures = 0
                return
