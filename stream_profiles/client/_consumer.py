"""The Kafka consumer under a stream of deltas: where it starts, what it has handed out, what it commits.

Its calls block. What is done with the records, and by which thread, is `_deltas`'s business.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from typing import Any

import kafka
from kafka.cluster import collect_hosts
from kafka.errors import (
    BrokerResponseError,
    CommitFailedError,
    KafkaError,
    KafkaTimeoutError,
    RebalanceInProgressError,
    UnknownTopicOrPartitionError,
)

from ..errors import KafkaUnavailable, SettingsError, TopicError

log = logging.getLogger(__name__)

#: Offsets are committed this often; after a crash, so much is read a second time.
_COMMIT_EVERY_S = 1.0
#: Fetched at once. Kafka takes a consumer out of its group that does not ask for more within five minutes: with this
#: many, one may take a second and a half over each.
_MAX_RECORDS = 200
#: The partitions of a member that Kafka does not hear from for so long go to others. kafka-python's own thread speaks
#: for it every 3 s, however long its reader takes over a delta.
_SESSION_TIMEOUT_S = 10


class DeltaConsumer(kafka.ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads one topic, alone from a fixed place, or as a member of a group.

    A group's offsets are committed for what was handed out and is done; what was handed out and is not done is read
    again by whoever has the partition next.

    Parameters:
        broker: Bootstrap servers.
        topic: Read from all its partitions, or those that the group leaves to this member.
        group: Consumer group; None reads all and commits nothing.
        from_beginning: Where to start without a committed offset: at the oldest record, or after the newest.
        timeout_s: How long Kafka may take to answer.
    """

    def __init__(self, broker: str, topic: str, group: str | None, *, from_beginning: bool, timeout_s: float) -> None:
        self._broker, self._topic, self._group = broker, topic, group
        self._from_beginning = from_beginning
        self._timeout_s = timeout_s
        #: What was fetched and not handed out yet.
        self.records: deque[Any] = deque()
        #: Set as soon as somebody wants to close, while a call may still be under way.
        self.closed = False
        # A call may outlive the caller that waited for it, when that is a cancelled task.
        self._lock = threading.Lock()
        self._kafka: Any = None
        #: What the group gave us last, set by kafka-python's own thread at any time, and, when we have gone to where to
        #: start in it, the same object once more.
        self._assigned: set[Any] | None = None
        self._placed: set[Any] | None = None
        #: Of the partitions we have in a group: the offset up to which all is done.
        self._done: dict[Any, int] = {}
        self._committed: dict[Any, int] = {}
        self._committed_at = time.monotonic()

    def start(self) -> None:
        """Connect, and go to where to start: what is written from now on is read.

        A group that takes longer than the timeout to let us in is left to the first `fetch`es.

        Raises:
            KafkaUnavailable: no broker answers.
            TopicError: the topic does not exist.
        """
        with self._lock:
            if self.closed or self._kafka is not None:
                return
            self._kafka = self._connect()
            try:
                self._start()
            except BaseException as error:
                self._kafka.close(autocommit=False, timeout_ms=self._timeout_ms)
                self._kafka, self.closed = None, True
                if isinstance(error, UnknownTopicOrPartitionError):  # it was deleted a moment ago
                    raise self._no_topic() from error
                if isinstance(error, (KafkaError, OSError)):
                    raise self._unavailable(error) from error
                raise

    def fetch(self, wait_s: float) -> None:
        """Add to `records` what there is, waiting for it at most so long.

        Raises:
            KafkaUnavailable: Kafka refuses. While brokers are away it waits for them.
        """
        with self._lock:
            if self.closed or self.records:
                return
            try:
                self._fetch(wait_s)
            except (KafkaError, OSError) as error:
                raise self._unavailable(error) from error

    def done(self, record: Any) -> None:
        """The record, and all before it in its partition, need not be read again."""
        partition = kafka.TopicPartition(record.topic, record.partition)
        if partition in self._done:
            self._done[partition] = record.offset + 1

    @property
    def commit_is_due(self) -> bool:
        return bool(self._done) and time.monotonic() - self._committed_at >= _COMMIT_EVERY_S

    def commit(self) -> None:
        """Commit what is done. When that fails, it is logged, and tried again the next time."""
        with self._lock:
            if not self.closed:
                self._commit()

    def close(self) -> None:
        """Commit what is done and leave. Does nothing the second time."""
        self.closed = True
        with self._lock:
            if self._kafka is None:
                return
            consumer = self._kafka
            try:
                self._commit()
                consumer.close(autocommit=False, timeout_ms=self._timeout_ms)
            except (KafkaError, OSError) as error:
                log.warning("the reader of %s did not leave Kafka in order: %s", self._topic, error)
            finally:
                self._kafka = None

    def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """What is kept is known when the assignment comes."""

    def on_partitions_assigned(self, assigned: set[Any]) -> None:
        self._assigned = set(assigned)

    @property
    def _timeout_ms(self) -> int:
        return round(1000 * self._timeout_s)

    def _connect(self) -> Any:
        clients: list[Any] = []

        def client(**options: Any) -> Any:
            clients.append(kafka.KafkaConsumer.DEFAULT_CONFIG["kafka_client"](**options))
            return clients[-1]

        try:
            knock(self._broker, self._timeout_s)
            return kafka.KafkaConsumer(
                bootstrap_servers=self._broker,
                bootstrap_timeout_ms=self._timeout_ms,
                group_id=self._group,
                session_timeout_ms=1000 * _SESSION_TIMEOUT_S,
                enable_auto_commit=False,
                # Only for an offset whose record is gone already: then all that is left.
                auto_offset_reset="earliest",
                allow_auto_create_topics=False,
                max_poll_records=_MAX_RECORDS,
                kafka_client=client,
            )
        except (KafkaError, OSError) as error:
            for opened in clients:  # which a consumer that was never finished leaves open, with its thread
                opened.close()
            raise self._unavailable(error) from error

    def _no_topic(self) -> TopicError:
        return TopicError(
            f"Kafka at {self._broker} has no topic {self._topic}; is the worker started, with this Kafka?"
        )

    def _start(self) -> None:
        partitions = {kafka.TopicPartition(self._topic, n) for n in self._kafka.partitions_for_topic(self._topic)}
        if not partitions:
            raise self._no_topic()
        if self._group is None:
            self._kafka.assign(sorted(partitions))
            for partition in partitions:
                self._go_to_start(partition)
            return
        self._kafka.subscribe([self._topic], listener=self)
        deadline = time.monotonic() + self._timeout_s
        while self._placed is None and (left := deadline - time.monotonic()) > 0:
            self._fetch(min(left, 0.1))

    def _fetch(self, wait_s: float) -> None:
        if self._assigned is self._placed:
            for fetched in self._kafka.poll(timeout_ms=round(1000 * wait_s)).values():
                self.records += fetched
        assigned = self._assigned
        if assigned is not None and assigned is not self._placed:
            # What was fetched since is from the wrong place, or is fetched again from the right one.
            self.records.clear()
            self._done = {partition: self._place(partition) for partition in assigned}
            self._placed = assigned
            self._commit()

    def _place(self, partition: Any) -> int:
        """Go to where to go on in a partition that the group gave us, and say where that is."""
        offset = self._done.get(partition)
        if offset is None:
            offset = self._kafka.committed(partition, timeout_ms=self._timeout_ms)
        if offset is None:
            return self._go_to_start(partition)
        self._kafka.seek(partition, offset)
        return int(offset)

    def _go_to_start(self, partition: Any) -> int:
        seek = self._kafka.seek_to_beginning if self._from_beginning else self._kafka.seek_to_end
        seek(partition)
        offset = self._kafka.position(partition, timeout_ms=self._timeout_ms)
        if offset is None:
            raise KafkaTimeoutError(f"no offset of {partition.topic}-{partition.partition} in {self._timeout_s:g} s")
        return int(offset)

    def _commit(self) -> None:
        self._committed_at = time.monotonic()
        done = dict(self._done)
        # Between an assignment and going there, some of it may be another's.
        if done == self._committed or self._assigned is not self._placed:
            return
        try:
            offsets = {partition: kafka.OffsetAndMetadata(offset, "", -1) for partition, offset in done.items()}
            self._kafka.commit(offsets, timeout_ms=self._timeout_ms)
        except (KafkaError, OSError) as error:
            # While the group changes this is part of its life: the place is kept, and committed afterwards.
            changing = isinstance(error, (CommitFailedError, RebalanceInProgressError))
            level = logging.INFO if changing else logging.WARNING
            log.log(level, "the offsets of group %s were not committed, deltas may come twice: %s", self._group, error)
        else:
            self._committed = done

    def _unavailable(self, error: Exception) -> KafkaUnavailable:
        if isinstance(error, KafkaTimeoutError):
            return KafkaUnavailable(f"Kafka at {self._broker} does not answer within {self._timeout_s:g} s: {error}")
        refused = isinstance(error, BrokerResponseError)
        return KafkaUnavailable(f"Kafka at {self._broker} {'refuses' if refused else 'does not answer'}: {error}")


def knock(broker: str, timeout_s: float) -> None:
    """See that somebody listens: kafka-python would try for as long as it may, and not say why it failed.

    Raises:
        SettingsError: it is no address.
        OSError: nobody listens at any of the addresses.
    """
    try:
        addresses = [(host, port) for host, port, _ in collect_hosts(broker)]
    except ValueError:
        raise SettingsError(f"{broker!r} is not the address of a Kafka: write host:port") from None
    failure = OSError("no address")
    for address in addresses:
        try:
            socket.create_connection(address, timeout_s).close()
        except OSError as error:
            failure = error
        else:
            return
    raise failure
