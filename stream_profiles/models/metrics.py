"""Progressive metrics of a binary target: every example is scored before the model learns from it (prequential
evaluation: Dawid, "Statistical Theory: The Prequential Approach", JRSS A, 1984).

Everything is kept as counts and sums, so partitions merge exactly.
"""

from __future__ import annotations

from math import exp, log
from typing import Any

from msgspec import Struct

#: Scores are counted in bins of equal width in log-odds, fine enough that ties within a bin move the AUC by < 0.001.
_BINS = 200
_MAX_LOG_ODDS = 10.0
_CLIP = 1e-15


class BinaryMetrics:
    """Log-loss, ROC-AUC, accuracy, precision, recall, F1 and calibration of probabilities against labels.

    Examples:
        >>> metrics = BinaryMetrics()
        >>> for probability, label in [(0.9, True), (0.8, True), (0.3, False), (0.6, False)]:
        ...     metrics.update(probability, label)
        >>> metrics.values().roc_auc, metrics.values().accuracy
        (1.0, 0.75)
    """

    def __init__(self, state: list[Any] | None = None) -> None:
        self._examples, self._positives, self._loss = 0, 0, 0.0
        self._true_positives, self._false_positives = 0, 0
        #: bin -> [negatives, positives, sum of probabilities]
        self._bins: dict[int, list[Any]] = {}
        if state is not None:
            (
                self._examples,
                self._positives,
                self._loss,
                self._true_positives,
                self._false_positives,
                bins,
            ) = state
            self._bins = {position: [negatives, positives, total] for position, negatives, positives, total in bins}

    def update(self, probability: float, label: bool) -> None:
        """Count one prediction and the label that came of it."""
        clipped = min(max(probability, _CLIP), 1.0 - _CLIP)
        self._examples += 1
        self._loss -= log(clipped if label else 1.0 - clipped)
        if label:
            self._positives += 1
        if probability >= 0.5:
            if label:
                self._true_positives += 1
            else:
                self._false_positives += 1
        log_odds = min(max(log(clipped / (1.0 - clipped)), -_MAX_LOG_ODDS), _MAX_LOG_ODDS)
        position = min(int((log_odds + _MAX_LOG_ODDS) * (_BINS / (2 * _MAX_LOG_ODDS))), _BINS - 1)
        counted = self._bins.get(position)
        if counted is None:
            counted = self._bins[position] = [0, 0, 0.0]
        counted[1 if label else 0] += 1
        counted[2] += probability

    def state(self) -> list[Any]:
        bins = [[position, *counted] for position, counted in sorted(self._bins.items())]
        return [self._examples, self._positives, self._loss, self._true_positives, self._false_positives, bins]

    def merge(self, other: BinaryMetrics) -> None:
        """Add another partition's counts."""
        self._examples += other._examples
        self._positives += other._positives
        self._loss += other._loss
        self._true_positives += other._true_positives
        self._false_positives += other._false_positives
        for position, counted in other._bins.items():
            mine = self._bins.setdefault(position, [0, 0, 0.0])
            for index in range(3):
                mine[index] += counted[index]

    def values(self) -> MetricValues:
        examples, positives, hits = self._examples, self._positives, self._true_positives
        predicted = hits + self._false_positives
        precision = hits / predicted if predicted else None
        recall = hits / positives if positives else None
        f1 = 2 * hits / (predicted + positives) if predicted + positives else None
        return MetricValues(
            examples=examples,
            positives=positives,
            log_loss=self._loss / examples if examples else None,
            roc_auc=self._roc_auc(),
            accuracy=(examples - positives - self._false_positives + hits) / examples if examples else None,
            precision=precision,
            recall=recall,
            f1=f1,
            calibration_error=self._calibration_error(),
        )

    def _roc_auc(self) -> float | None:
        negatives = self._examples - self._positives
        if not negatives or not self._positives:
            return None
        below, area = 0, 0.0
        for _, (bin_negatives, bin_positives, _) in sorted(self._bins.items()):
            area += bin_positives * (below + bin_negatives / 2)
            below += bin_negatives
        return area / (negatives * self._positives)

    def _calibration_error(self) -> float | None:
        """Expected calibration error over ten probability ranges of equal width (Naeini et al., AAAI 2015)."""
        if not self._examples:
            return None
        ranges = [[0, 0.0] for _ in range(10)]
        # In order, so that a restored state gives the same sum to the last bit.
        for position, (negatives, positives, total) in sorted(self._bins.items()):
            middle = 1 / (1 + exp(_MAX_LOG_ODDS - (position + 0.5) * (2 * _MAX_LOG_ODDS / _BINS)))
            counted = ranges[min(int(middle * 10), 9)]
            counted[0] += negatives + positives
            counted[1] += positives - total
        return sum(abs(difference) for _, difference in ranges) / self._examples


class MetricValues(Struct, kw_only=True, frozen=True):
    """Metrics as numbers; None where there are too few examples to say."""

    examples: int
    positives: int
    log_loss: float | None
    roc_auc: float | None
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    calibration_error: float | None
