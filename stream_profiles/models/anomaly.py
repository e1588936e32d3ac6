"""Models of the unusual: they learn without labels, and say how unlike everything so far the inputs are."""

from __future__ import annotations

from typing import Any

from river import anomaly

from .base import Inputs, Startable
from .river_model import RunningUnlabelled
from .scaling import UnitRange


class AnomalyModel(Startable["RunningAnomalyModel"]):
    """A detector as it is declared. A subclass implements `_start`."""


class RunningAnomalyModel(RunningUnlabelled):
    """One partition's detector."""

    def predict(self, inputs: Inputs) -> float:
        """From 0, as usual as can be, to 1. Changes nothing."""
        raise NotImplementedError


class HalfSpaceTrees(AnomalyModel):
    """Trees that halve the space of the inputs at random, and count how many examples fall where.

    Tan, Ting and Liu, "Fast Anomaly Detection for Streaming Data", IJCAI 2011. Inputs are brought to the range from 0
    to 1. The score is 0 until the first window is full. Inputs are those of the first example.

    Parameters:
        trees: How many.
        height: Of each; cost of a tree's memory doubles with every level.
        window: Examples that make up what is usual.
        seed: Of the random numbers.

    Examples:
        >>> model = HalfSpaceTrees(window=100).start()
        >>> for n in range(400):
        ...     model.learn({"x": 100.0 if n == 7 else float(n % 7), "y": 50.0 if n == 8 else float(n % 5)})
        >>> model.predict({"x": 90.0, "y": 45.0}) > model.predict({"x": 3.0, "y": 2.0})
        True
    """

    def __init__(self, trees: int = 10, height: int = 8, window: int = 250, seed: int = 1) -> None:
        self._require(trees >= 1 and window >= 1, "trees and window must be at least 1")
        self._require(1 <= height <= 15, "height must be from 1 to 15")
        self.trees, self.height, self.window = trees, height, window
        self.seed = seed

    def _start(self, state: Any) -> RunningAnomalyModel:
        return _RunningHalfSpaceTrees(self._pipeline, state)

    def _pipeline(self) -> Any:
        return UnitRange() | anomaly.HalfSpaceTrees(
            n_trees=self.trees, height=self.height, window_size=self.window, seed=self.seed
        )


class _RunningHalfSpaceTrees(RunningAnomalyModel):
    def predict(self, inputs: Inputs) -> float:
        if not self.examples:
            return 0.0
        return min(max(float(self._river.object.score_one(self._river.seen(inputs))), 0.0), 1.0)
