"""How far the workers are behind: records of a topic that a consumer group has not committed yet."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from ..brokers import open_admin
from ..errors import KafkaUnavailable

#: A lag is asked for while events flow; an answer that takes longer is of no use.
TIMEOUT_SECONDS = 5.0


class ConsumerLag:
    """Asks Kafka again and again, over one connection. Calling it gives the lag, or None when nobody can tell.

    It keeps no error: a broker that was away is asked again the next time. It is used by one thread at a time.

    Examples:
        >>> with ConsumerLag("localhost:1", "shop", "clicks", timeout=0.1) as lag:
        ...     print(lag())
        None
    """

    def __init__(self, bootstrap: str, group: str, topic: str, timeout: float = TIMEOUT_SECONDS) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._topic = topic
        self._timeout = timeout
        self._admin: Any = None

    def __call__(self) -> int | None:
        try:
            if self._admin is None:
                self._admin = open_admin(self._bootstrap, self._timeout)
            return self._lag()
        except (KafkaUnavailable, KafkaError, OSError):
            self.close()
            return None

    def _lag(self) -> int | None:
        timeout_ms = round(self._timeout * 1000)
        topic = self._admin.describe_topics([self._topic])[0]
        partitions = [TopicPartition(self._topic, each["partition_index"]) for each in topic["partitions"]]
        if topic["error_code"] or not partitions:
            return None
        committed = self._admin.list_group_offsets({self._group: partitions})[self._group]
        latest = dict.fromkeys(partitions, OffsetSpec.LATEST)
        ends = self._admin.list_partition_offsets(latest, timeout_ms=timeout_ms)
        # A partition nobody has committed on is read from its beginning, which retention may have moved.
        fresh = [at for at in partitions if at not in committed or committed[at].offset < 0]
        starts = (
            self._admin.list_partition_offsets(dict.fromkeys(fresh, OffsetSpec.EARLIEST), timeout_ms=timeout_ms)
            if fresh
            else {}
        )
        behind = 0
        for at in partitions:
            done = starts[at].offset if at in starts else committed[at].offset
            behind += max(0, ends[at].offset - done)
        return behind

    def close(self) -> None:
        """Hang up; the next call connects again."""
        admin, self._admin = self._admin, None
        if admin is not None:
            admin.close()

    def __enter__(self) -> ConsumerLag:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
