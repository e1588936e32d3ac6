"""Computed profiles into a deployment that has none: its changelog is filled before the first worker starts.

The workers then recover the profiles as if they had kept them themselves. What they apply afterwards is all that their
topics hold, since the records claim no offsets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import CoordinatorNotAvailableError

from ..engine.producer import BatchProducer
from ..engine.topics import admin, plan_topics, require_topics
from ..errors import KafkaUnavailable, SettingsError, StreamProfilesError
from ..names import Names
from ..settings import Settings
from .records import read_records

#: A partition without a leader for this long is not coming back by itself.
_SEND_SECONDS = 60.0
_COORDINATOR_SECONDS, _RETRY_SECONDS = 20.0, 0.25


def require_cold(names: Names, settings: Settings, *, texts: bool = False) -> None:
    """Check that the deployment has its topics, no profiles and no worker that keeps any.

    Parameters:
        settings: With `broker` set.
        texts: Whether the topics of text embeddings are to be there too.

    Raises:
        TopicError: a topic is missing or wrong.
        SettingsError: there are records in the changelog, or a worker runs.
        KafkaUnavailable: no broker answers.
    """
    assert settings.broker is not None
    with admin(settings.broker) as client:
        require_topics(client, plan_topics(names, settings, texts=texts))
        _require_no_worker(client, names)
        partitions = [TopicPartition(names.changelog, number) for number in range(settings.partitions)]
        starts = client.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST))
        ends = client.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
    if any(ends[at].offset > starts[at].offset for at in partitions):
        raise SettingsError(
            f"{names.changelog} holds records already, of workers or of a --warm that was cut short: profiles are "
            f"loaded into an empty one only. {_afresh(names)}, or use another definition name"
        )


def load_changelog(names: Names, settings: Settings, files: Sequence[Path], show: Callable[[int], None]) -> int:
    """Send the records of each partition to the changelog; returns how many they were.

    Parameters:
        settings: With `broker` set.
        files: A file of records for each partition, in order.
        show: Called with the number of records sent so far.

    Raises:
        SettingsError: the deployment is not, or no longer, without profiles and workers.
        StreamProfilesError: not all could be sent; it says what to do.
    """
    require_cold(names, settings)
    assert settings.broker is not None
    loading = _Loading(names.changelog, show)
    try:
        asyncio.run(loading.run(settings.broker, settings.max_batch_bytes, files))
        with admin(settings.broker) as client:
            _require_no_worker(client, names)
    except (KeyboardInterrupt, StreamProfilesError) as error:
        if not loading.begun:
            raise
        said = "stopped" if isinstance(error, KeyboardInterrupt) else str(error)
        raise StreamProfilesError(
            f"{said}; {names.changelog} may hold a part of the profiles now, so start no worker. {_afresh(names)}, "
            "and load them again"
        ) from error
    return loading.sent


class _Loading:
    def __init__(self, topic: str, show: Callable[[int], None]) -> None:
        self.begun = False
        self.sent = 0
        self._topic, self._show = topic, show

    async def run(self, bootstrap: str, max_batch_bytes: int, files: Sequence[Path]) -> None:
        producer = BatchProducer(bootstrap, max_batch_bytes)
        await producer.start()
        try:
            for partition, file in enumerate(files):
                for records in read_records(file):
                    self.begun = True
                    # In batches of ordinary size: that they are not one piece matters only once workers run.
                    async with asyncio.timeout(_SEND_SECONDS):
                        await asyncio.gather(*await producer.send(self._topic, partition, records))
                    self.sent += len(records)
                    self._show(self.sent)
        except TimeoutError:
            raise KafkaUnavailable(f"Kafka at {bootstrap} has taken nothing for {_SEND_SECONDS:.0f} seconds") from None
        finally:
            await producer.stop()


def _require_no_worker(client: KafkaAdminClient, names: Names) -> None:
    if _members(client, names.profiles_group):
        raise SettingsError(
            f"a worker keeps profiles of {names.definition} (the group {names.profiles_group} has members): stop all "
            "workers, then load the profiles"
        )


def _members(client: KafkaAdminClient, group: str) -> list[object]:
    """The members of a consumer group. A new Kafka, whose first group it is asked about, takes a moment to answer."""
    until = time.monotonic() + _COORDINATOR_SECONDS
    while True:
        try:
            members: list[object] = client.describe_groups([group])[group]["members"]
            return members
        except CoordinatorNotAvailableError:
            if time.monotonic() > until:
                raise
            time.sleep(_RETRY_SECONDS)


def _afresh(names: Names) -> str:
    return f"Delete the topic {names.changelog} and make it again with `stream-profiles topics create`"
