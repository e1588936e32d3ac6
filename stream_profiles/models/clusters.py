"""Clusterings: models that learn without labels which inputs lie together, and say the number of the group."""

from __future__ import annotations

from typing import Any

from river import cluster

from .base import Inputs, Startable
from .river_model import RunningUnlabelled
from .scaling import Complete


class ClusterModel(Startable["RunningClusterModel"]):
    """A clustering as it is declared. A subclass implements `_start`."""

    def _start(self, state: Any) -> RunningClusterModel:
        return RunningClusterModel(self._pipeline, state)

    def _pipeline(self) -> Any:
        raise NotImplementedError


class RunningClusterModel(RunningUnlabelled):
    """One partition's clustering."""

    def predict(self, inputs: Inputs) -> int:
        """The number of the cluster, 0 before the first lesson. Changes nothing."""
        if not self.examples:
            return 0
        return int(self._river.object.predict_one(self._river.seen(inputs)))


class KMeans(ClusterModel):
    """A fixed number of centers, of which the nearest to an example moves towards it.

    Sequential k-means (MacQueen, "Some Methods for Classification and Analysis of Multivariate Observations", 1967)
    with a constant step, so that it follows change. Inputs are standardised; the first centers are drawn at random.

    Parameters:
        clusters: How many, up to 1,000.
        rate: How much of the way to the example a center moves.
        sigma: Spread of the first centers, in standard deviations.
        seed: Of the random numbers.

    Examples:
        >>> model = KMeans(clusters=2, seed=3).start()
        >>> for n in range(200):
        ...     model.learn({"x": 10.0 * (n % 2), "y": 5.0 * (n % 2)})
        >>> model.predict({"x": 9.0, "y": 5.0}) != model.predict({"x": 1.0, "y": 0.0})
        True
    """

    def __init__(self, clusters: int = 5, rate: float = 0.1, sigma: float = 1.0, seed: int = 1) -> None:
        self._require(2 <= clusters <= 1_000, "clusters must be from 2 to 1,000")
        self._require(0 < rate <= 1, "rate must be above 0 and at most 1")
        self._require(sigma > 0, "sigma must be above 0")
        self.clusters, self.rate, self.sigma = clusters, rate, sigma
        self.seed = seed

    def _pipeline(self) -> Any:
        return Complete() | cluster.KMeans(
            n_clusters=self.clusters, halflife=self.rate, sigma=self.sigma, seed=self.seed
        )


class DBSTREAM(ClusterModel):
    """As many clusters as there are regions dense enough, of whatever shape; those where nothing happens fade.

    Hahsler and Bolaños, "Clustering Data Streams Based on Shared Density between Micro-Clusters", IEEE TKDE 28, 2016.
    Inputs are standardised. A number may mean another cluster after some have appeared or faded.

    Parameters:
        radius: Of a micro-cluster: standard deviations per input.
        fading: How fast micro-clusters fade: one without examples loses half its weight in 1 / `fading` examples.
        cleanup_interval: Examples between two looks for faded ones.
        minimum_weight: Of a micro-cluster that is more than noise.
        intersection: Share of two micro-clusters' examples that both must have for them to be one cluster.
        max_micro_clusters: Beyond it the weakest is forgotten: it bounds the size.

    Examples:
        >>> model = DBSTREAM(radius=0.5).start()
        >>> for n in range(300):
        ...     model.learn({"x": 10.0 * (n % 2) + 0.1 * (n % 7), "y": 5.0 * (n % 2) + 0.1 * (n % 5)})
        >>> model.predict({"x": 10.0, "y": 5.0}) != model.predict({"x": 0.0, "y": 0.0})
        True
    """

    def __init__(
        self,
        radius: float = 0.5,
        fading: float = 0.01,
        cleanup_interval: int = 100,
        minimum_weight: float = 2.0,
        intersection: float = 0.3,
        max_micro_clusters: int = 200,
    ) -> None:
        self._require(radius > 0, "radius must be above 0")
        self._require(fading > 0, "fading must be above 0")
        self._require(cleanup_interval >= 1, "cleanup_interval must be at least 1")
        self._require(minimum_weight > 0, "minimum_weight must be above 0")
        self._require(0 < intersection <= 1, "intersection must be above 0 and at most 1")
        self._require(2 <= max_micro_clusters <= 10_000, "max_micro_clusters must be from 2 to 10,000")
        self.radius, self.fading, self.cleanup_interval = radius, fading, cleanup_interval
        self.minimum_weight, self.intersection = minimum_weight, intersection
        self.max_micro_clusters = max_micro_clusters

    def _pipeline(self) -> Any:
        return Complete(per_input=True) | _Bounded(
            self.max_micro_clusters,
            clustering_threshold=self.radius,
            fading_factor=self.fading,
            cleanup_interval=self.cleanup_interval,
            intersection_factor=self.intersection,
            minimum_weight=self.minimum_weight,
        )


class _Bounded(cluster.DBSTREAM):
    """River's DBSTREAM with a limit on its micro-clusters."""

    def __init__(self, most: int, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.most = most

    def learn_one(self, x: dict[Any, float], w: float | None = None) -> None:
        super().learn_one(x)  # type: ignore[no-untyped-call]
        kept = self._micro_clusters
        if len(kept) > self.most:
            now = self._time_stamp
            weakest = min(
                kept, key=lambda i: (kept[i].weight * 2.0 ** (-self.fading_factor * (now - kept[i].last_update)), i)
            )
            del kept[weakest]
            for shared in (self.s, self.s_t):
                shared.pop(weakest, None)
                for others in shared.values():
                    others.pop(weakest, None)
