"""Where the users stand at the end of a stream: in which segments and clusters, and how unusual they are."""

from __future__ import annotations

from collections import Counter

import numpy as np
from msgspec import Struct

from ..models.clusters import ClusterModel
from ..partition import Partition

_BINS = 20


class SegmentShare(Struct, kw_only=True, frozen=True):
    """How many are in a segment."""

    name: str
    where: str
    users: int
    #: Of all users.
    share: float | None
    #: Users who were in it at some time.
    ever: int


class ClusterShare(Struct, kw_only=True, frozen=True):
    """How many are in a cluster. Its number means something within its partition only."""

    name: str
    partition: int
    cluster: int
    users: int
    #: Of the users of all partitions who are in a cluster.
    share: float


class AnomalyScores(Struct, kw_only=True, frozen=True):
    """How the users' latest scores are spread, from 0 (usual) to 1; None where nobody was judged."""

    name: str
    users: int
    median: float | None
    p90: float | None
    p99: float | None
    highest: float | None
    #: Users by score, in ranges of equal width from 0 to 1.
    histogram: list[int]


class Population:
    """Counts users, partition by partition."""

    def __init__(self) -> None:
        self.users = 0
        #: Predictions of each target that still wait for their label.
        self.waiting: Counter[str] = Counter()
        self._inside: Counter[str] = Counter()
        self._ever: Counter[str] = Counter()
        self._clusters: Counter[tuple[str, int, int]] = Counter()
        self._scores: dict[str, list[float]] = {}
        self._segments: dict[str, str] = {}

    def add(self, number: int, partition: Partition) -> None:
        """Count the users of one more partition.

        Parameters:
            number: The partition's.
            partition: As it is at the end.
        """
        updater = partition.updater
        self._segments = {segment.name: segment.where for segment in updater.segments}
        for monitor in updater.monitors:
            if not isinstance(monitor.monitor.model, ClusterModel):
                self._scores.setdefault(monitor.name, [])
        for user in partition.users():
            state = partition.state(user)
            if state is None:
                continue
            self.users += 1
            for target in updater.targets:
                slot = state.slots.get(target.key)
                if slot is not None:
                    self.waiting[target.name] += len(slot[3])
            for segment in updater.segments:
                slot = state.slots.get(segment.key)
                if slot is not None and (value := segment.snapshot(slot)) is not None:
                    self._ever[segment.name] += 1
                    self._inside[segment.name] += value["in"]
            for monitor in updater.monitors:
                slot = state.slots.get(monitor.key)
                if slot is None:
                    continue
                value = monitor.snapshot(slot)
                if monitor.name in self._scores:
                    self._scores[monitor.name].append(value["score"])
                else:
                    self._clusters[monitor.name, number, value["cluster"]] += 1

    def segments(self) -> list[SegmentShare]:
        return [
            SegmentShare(
                name=name,
                where=where,
                users=self._inside[name],
                share=self._inside[name] / self.users if self.users else None,
                ever=self._ever[name],
            )
            for name, where in self._segments.items()
        ]

    def clusters(self) -> list[ClusterShare]:
        """By monitor and partition, the largest clusters first."""
        totals: Counter[str] = Counter()
        for (name, _, _), users in self._clusters.items():
            totals[name] += users
        found = [
            ClusterShare(name=name, partition=number, cluster=cluster, users=users, share=users / totals[name])
            for (name, number, cluster), users in self._clusters.items()
        ]
        return sorted(found, key=lambda each: (each.name, each.partition, -each.users, each.cluster))

    def anomalies(self) -> list[AnomalyScores]:
        return [_spread(name, scores) for name, scores in self._scores.items()]


def _spread(name: str, scores: list[float]) -> AnomalyScores:
    median, p90, p99, highest = np.quantile(scores, (0.5, 0.9, 0.99, 1.0)).tolist() if scores else [None] * 4
    histogram, _ = np.histogram(scores, bins=_BINS, range=(0.0, 1.0))
    return AnomalyScores(
        name=name,
        users=len(scores),
        median=median,
        p90=p90,
        p99=p99,
        highest=highest,
        histogram=histogram.tolist(),
    )
