"""What an event costs grows with the features it touches, not with those that are declared.

    python benchmarks/features.py

Two definitions meet the same events, in turns: one with the ten features that a view touches, one with those and 190
more, of nineteen other types of event, all of which every user has had. Printed are microseconds per event of the core
alone, medians of interleaved runs: applying, and applying plus encoding what is written (every 500 events).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

from stream_profiles import (
    Count,
    Event,
    EWMean,
    Feature,
    First,
    Last,
    Mean,
    Partition,
    ProfileDefinition,
    ProfileUpdater,
    RecentItems,
    Sessions,
    Sum,
    TimeSince,
    TopK,
)

_EVENTS_A_WRITE = 500


def ten(prefix: str, on: str) -> list[Feature]:
    """Ten features of one type of event."""
    return [
        Count(f"{prefix}_views", on=on, half_life=("1h", "1d", "30d")),
        Sum(f"{prefix}_spend", of="amount", on=on, half_life="30d"),
        Mean(f"{prefix}_mean", of="price", on=on),
        EWMean(f"{prefix}_price", of="price", on=on, half_life="7d"),
        TopK(f"{prefix}_categories", of="category", on=on, k=3, half_life="7d"),
        RecentItems(f"{prefix}_items", on=on, n=5),
        TimeSince(f"{prefix}_last", on=on),
        First(f"{prefix}_first", of="channel", on=on),
        Last(f"{prefix}_country", of="country", on=on),
        Sessions(f"{prefix}_visits", on=on),
    ]


def events_of(type: str, users: int, count: int, start: int) -> list[Event]:
    return [
        Event(
            event_id=f"{type}-{n}",
            user_id=f"u{n % users}",
            type=type,
            time=start + 1_000 * n,
            item_id=f"i{n % 97}",
            category=f"c{n % 11}",
            price=float(n % 50),
            channel="mail",
            country="PT",
        )
        for n in range(count)
    ]


def measured(partition: Partition, events: Sequence[Event], write: bool) -> float:
    """Microseconds per event."""
    began = time.perf_counter()
    for start in range(0, len(events), _EVENTS_A_WRITE):
        for event in events[start : start + _EVENTS_A_WRITE]:
            partition.apply(event)
        if write:
            partition.take()
    return (time.perf_counter() - began) / len(events) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost per event by the number of declared features.")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    others = [f"type{n}" for n in range(19)]
    definitions = {
        10: ProfileDefinition("ten", features=ten("view", "view")),
        200: ProfileDefinition(
            "many", features=[*ten("view", "view"), *(feature for other in others for feature in ten(other, other))]
        ),
    }
    partitions = {count: Partition(ProfileUpdater(definition)) for count, definition in definitions.items()}
    for other in others:  # Every user has had every type of event: the states of all 200 features are there.
        for event in events_of(other, arguments.users, arguments.users, 0):
            partitions[200].apply(event)
    times: dict[tuple[int, bool], list[float]] = {}
    start = 10**9
    for _ in range(arguments.runs):
        for write in (False, True):
            events = events_of(f"view-{start}", arguments.users, arguments.events, start)
            for event in events:
                event.type = "view"
            start += 1_000 * arguments.events
            for count, partition in partitions.items():
                times.setdefault((count, write), []).append(measured(partition, events, write))
    for write, what in ((False, "apply"), (True, "apply and encode")):
        few, many = (statistics.median(times[count, write]) for count in (10, 200))
        spread = f"{min(times[200, write]):.1f} to {max(times[200, write]):.1f}"
        print(f"{what}: 10 features {few:.1f} us, 200 features {many:.1f} us ({spread}), ratio {many / few:.2f}")


if __name__ == "__main__":
    main()
