"""Metrics of numbers against labels that are numbers.

Partitions merge exactly but for the rounding of floats, here and in everything that is a mean: the order of additions
shows in the last digits. Only the number of examples is exact to the unit.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

from msgspec import Struct

from .losses import bounded


class RegressionMetrics:
    """Mean absolute error, root of the mean squared error, R2 and bias.

    The spread of the labels is updated as in Welford, "Note on a Method for Calculating Corrected Sums of Squares and
    Products", Technometrics 4, 1962, and merged as in Chan, Golub and LeVeque, "Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances", COMPSTAT 1982: labels that are large and close together lose no digits.

    Examples:
        >>> metrics = RegressionMetrics()
        >>> for prediction, label in [(12.0, 10.0), (19.0, 20.0), (32.0, 30.0)]:
        ...     metrics.update(prediction, label)
        >>> values = metrics.values()
        >>> round(values.mae, 3), round(values.rmse, 3), values.r2, values.bias, values.mean_label
        (1.667, 1.732, 0.955, 1.0, 20.0)
    """

    def __init__(self, state: list[Any] | None = None) -> None:
        self._examples = 0
        #: Means of the labels, the errors, their absolute values and their squares.
        self._label, self._error, self._absolute, self._squared = 0.0, 0.0, 0.0, 0.0
        #: Sum of squared differences of the labels from their mean.
        self._spread = 0.0
        if state is not None:
            self._examples, self._label, self._spread, self._error, self._absolute, self._squared = state

    def update(self, prediction: float, label: float) -> None:
        """Count one prediction and the label that came of it."""
        label = bounded(label)
        error = bounded(prediction) - label
        self._examples += 1
        examples = self._examples
        difference = label - self._label
        self._label += difference / examples
        self._spread += difference * (label - self._label)
        self._error += (error - self._error) / examples
        self._absolute += (abs(error) - self._absolute) / examples
        self._squared += (error * error - self._squared) / examples

    def state(self) -> list[Any]:
        return [self._examples, self._label, self._spread, self._error, self._absolute, self._squared]

    def merge(self, other: RegressionMetrics) -> None:
        """Add another partition's examples."""
        if not other._examples:
            return
        examples = self._examples + other._examples
        share = other._examples / examples
        difference = other._label - self._label
        self._spread += other._spread + difference * difference * self._examples * share
        self._label += difference * share
        self._error += (other._error - self._error) * share
        self._absolute += (other._absolute - self._absolute) * share
        self._squared += (other._squared - self._squared) * share
        self._examples = examples

    def values(self) -> RegressionValues:
        examples = self._examples
        return RegressionValues(
            examples=examples,
            mean_label=self._label if examples else None,
            mae=self._absolute if examples else None,
            rmse=sqrt(self._squared) if examples else None,
            r2=1.0 - self._squared * examples / self._spread if self._spread else None,
            bias=self._error if examples else None,
        )


class RegressionValues(Struct, kw_only=True, frozen=True):
    """Metrics of a regression target as numbers, in the label's unit; None where there are too few examples to say."""

    examples: int
    mean_label: float | None
    #: Mean absolute error.
    mae: float | None
    #: Root of the mean squared error.
    rmse: float | None
    #: Share of the labels' variance that the predictions explain; None while all labels are the same.
    r2: float | None
    #: Mean of prediction less label: above 0 where the predictions are too high.
    bias: float | None
