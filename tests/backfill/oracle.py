"""What a backfill must give: partitions fed by hand, and files of events to give to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from stream_profiles import Event, Partition, ProfileDefinition, ProfileUpdater
from stream_profiles.backfill.records import read_records
from stream_profiles.partitioner import Partitioner
from stream_profiles.state import encode

IMPORTS = "from stream_profiles import *\n"
#: Something of everything: numbers, texts, lists, a model that learns, vectors.
SHOP = f"""{IMPORTS}
shop = ProfileDefinition(
    "shop",
    features=[
        Count("views", on="view", half_life=("1h", "1d"), window="1d"),
        Sum("spend", of="amount", on="purchase", half_life="30d"),
        TimeSince("last_purchase", on="purchase"),
        Sessions("sessions"),
        First("first_channel", of="channel"),
        Last("price", of="price"),
        Last("size", of="properties.size"),
        TopK("categories", of="category", k=3, half_life="7d"),
        RecentItems("recent", n=5),
    ],
    targets=[Target("buys_soon", label=Happens("purchase", within="1d"), on=("view", "cart"), every="10m")],
    embeddings=[BehaviourEmbedding("taste", dimensions=16)],
)
"""


def write_definition(folder: Path, source: str = SHOP) -> str:
    """A definition in a file; returns its reference."""
    file = folder / "definition.py"
    file.write_text(source)
    return f"{file}:shop"


def write_events(file: Path, events: Iterable[Event]) -> Path:
    """Events as JSON lines."""
    file.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
    return file


def fed_by_hand(definition: ProfileDefinition, events: Iterable[Event], count: int) -> list[Partition]:
    """Partitions as live ones are after these events."""
    partitions, partitioner = [Partition(ProfileUpdater(definition)) for _ in range(count)], Partitioner(count)
    for event in events:
        partitions[partitioner(event.user_id.encode())].apply(event)
    return partitions


def restored(definition: ProfileDefinition, files: Sequence[Path]) -> list[Partition]:
    """Partitions recovered from files of changelog records, as a worker would."""
    partitions = []
    for file in files:
        partition = Partition(ProfileUpdater(definition))
        for records in read_records(file):
            for key, value in records:
                partition.restore(key, value)
        partition.restored()
        partitions.append(partition)
    return partitions


def states(partitions: Iterable[Partition]) -> dict[str, bytes]:
    """Every user's state, encoded."""
    return {user: encode(_state(partition, user)) for partition in partitions for user in partition.users()}


def published(partitions: Iterable[Partition]) -> dict[str, Any]:
    return {user: partition.published(user) for partition in partitions for user in partition.users()}


def _state(partition: Partition, user: str) -> Any:
    state = partition.state(user)
    assert state is not None
    return state
