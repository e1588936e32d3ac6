"""Following profiles as they change: the course of a stream of deltas, for both clients, and what a delta does.

Like `_reader` it says what is to be done and leaves the doing, and the waiting, to `_sync` and `_async`.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from ..contracts import ProfileDelta
from ..errors import SettingsError, StateError
from ._consumer import DeltaConsumer
from ._reader import Flow, Reader

#: The longest call to Kafka, so that a stream notices soon that it is closed.
_FETCH_S = 0.5


def apply_delta(values: dict[str, Any], delta: ProfileDelta) -> None:
    """Bring a profile's values to what they are after a delta, in place.

    Applying all deltas of a user in order gives the profile. One that starts later takes `ProfileClient.get` for a base
    and applies what is newer than its version; a base older than `delta.version - 1` is to be read again in a moment,
    because a delta is on its topic shortly before it is in Redis.

    Parameters:
        values: The values of the user's profile before; empty before the first delta.
        delta: The next delta of the user. One that comes a second time after a failure is followed by all that came
            after it, so that applying it once more does no lasting harm.

    Examples:
        >>> delta = ProfileDelta(
        ...     user_id="ada",
        ...     profile="shop",
        ...     version=2,
        ...     event_id="e2",
        ...     event_time=1_000,
        ...     changed={"views": {"total": 2}},
        ...     removed=["visits"],
        ...     snapshot=False,
        ... )
        >>> values = {"views": {"total": 1}, "visits": 1, "country": "IT"}
        >>> apply_delta(values, delta)
        >>> values
        {'views': {'total': 2}, 'country': 'IT'}
    """
    if delta.snapshot:
        values.clear()
    else:
        for name in delta.removed:
            values.pop(name, None)
    values.update(delta.changed)


class DeltaReading:
    """One pass over the topic.

    Parameters:
        reader: Knows the fields.
        consumer: Not started yet.
        timeout_s: The pass ends when no delta came for so long; None never ends.
    """

    def __init__(self, reader: Reader, consumer: DeltaConsumer, timeout_s: float | None) -> None:
        self.consumer = consumer
        self._reader = reader
        self._timeout_s = timeout_s
        #: The record whose delta the caller has, until it comes back for the next.
        self._handed_out: Any = None

    def start(self) -> Flow[None]:
        yield from self._reader.load()
        yield self.consumer.start

    def next(self) -> Flow[ProfileDelta | None]:
        """The next delta; None at the end."""
        consumer = self.consumer
        if self._handed_out is not None:
            consumer.done(self._handed_out)
            self._handed_out = None
        asked_at = time.monotonic()
        wait_s = _FETCH_S
        while not consumer.closed:
            if consumer.commit_is_due:
                yield consumer.commit
            if consumer.records:
                return (yield from self._hand_out())
            if self._timeout_s is not None:
                wait_s = min(_FETCH_S, asked_at + self._timeout_s - time.monotonic())
                if wait_s < 0:
                    yield consumer.close
                    break
            yield partial(consumer.fetch, wait_s)
        return None

    def _hand_out(self) -> Flow[ProfileDelta]:
        # It stays where it is until it can be handed out: Redis may be away, or the caller's task be cancelled.
        record = self.consumer.records[0]
        try:
            delta = yield from self._reader.delta(record.value or b"")
        except StateError as error:
            # It will never be readable: whoever comes back after the error gets the next one.
            self._handed_out = self.consumer.records.popleft()
            where = f"{record.topic}-{record.partition}, offset {record.offset}"
            raise StateError(f"{where}: {error}") from None
        self._handed_out = self.consumer.records.popleft()
        return delta


def reading_of(
    reader: Reader,
    broker: str | None,
    group: str | None,
    from_beginning: bool,
    idle_s: float | None,
    timeout_s: float,
) -> DeltaReading:
    """A pass over the deltas, not started yet.

    Raises:
        SettingsError: there is no broker.
    """
    if not broker:
        raise SettingsError('deltas come from Kafka: give the client its address, as in broker="localhost:9092"')
    consumer = DeltaConsumer(broker, reader.names.deltas, group, from_beginning=from_beginning, timeout_s=timeout_s)
    return DeltaReading(reader, consumer, idle_s)
