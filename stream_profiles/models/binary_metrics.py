"""Metrics of probabilities against labels that are true or false.

Everything is kept as counts and sums by ranges of the score, so partitions merge exactly: what is counted to the last
unit, what is summed (log-loss, Brier score, calibration) but for the rounding of floats.
"""

from __future__ import annotations

from bisect import bisect
from math import exp, log
from typing import Any

from msgspec import Struct

from ..errors import SettingsError
from .losses import CLIP, clip

#: Scores are counted in bins of equal width in log-odds, fine enough that ties within a bin move the AUC by < 0.001.
_BINS = 200
_MAX_LOG_ODDS = 10.0
_MIDDLES = tuple(
    1 / (1 + exp(_MAX_LOG_ODDS - (position + 0.5) * (2 * _MAX_LOG_ODDS / _BINS))) for position in range(_BINS)
)
#: Ranges of the calibration table: of equal width, but finer at both ends, where the probabilities of rare labels are.
_EDGES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
_TOP = 0.1


class BinaryMetrics:
    """Log-loss, ROC-AUC, PR-AUC, lift, confusion matrix and what follows from it, Brier score and calibration.

    A probability of at least 0.5 is a guess of true.

    Examples:
        >>> metrics = BinaryMetrics()
        >>> for probability, label in [(0.9, True), (0.8, True), (0.3, False), (0.6, False)]:
        ...     metrics.update(probability, label)
        >>> metrics.values().roc_auc, metrics.values().accuracy
        (1.0, 0.75)
        >>> metrics.values().confusion
        Confusion(tn=1, fp=1, fn=0, tp=2)
        >>> metrics.lift(0.25)
        2.0
    """

    def __init__(self, state: list[Any] | None = None) -> None:
        self._examples, self._positives, self._loss, self._brier = 0, 0, 0.0, 0.0
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
                *later,
            ) = state
            self._bins = {position: [negatives, positives, total] for position, negatives, positives, total in bins}
            # Release 0.1 did not sum it: then each example is taken to have had the mean score of its bin.
            [self._brier] = later or [_brier_of_bins(self._bins)]

    def update(self, probability: float, label: bool) -> None:
        """Count one prediction and the label that came of it."""
        if not CLIP <= probability <= 1.0 - CLIP:
            probability = clip(probability)
        self._examples += 1
        if label:
            missing = 1.0 - probability
            self._positives += 1
            self._loss -= log(probability)
            if probability >= 0.5:
                self._true_positives += 1
        else:
            missing = probability
            self._loss -= log(1.0 - probability)
            if probability >= 0.5:
                self._false_positives += 1
        self._brier += missing * missing
        log_odds = min(max(log(probability / (1.0 - probability)), -_MAX_LOG_ODDS), _MAX_LOG_ODDS)
        position = min(int((log_odds + _MAX_LOG_ODDS) * (_BINS / (2 * _MAX_LOG_ODDS))), _BINS - 1)
        counted = self._bins.get(position)
        if counted is None:
            counted = self._bins[position] = [0, 0, 0.0]
        counted[1 if label else 0] += 1
        counted[2] += probability

    def state(self) -> list[Any]:
        bins = [[position, *counted] for position, counted in sorted(self._bins.items())]
        counts = [self._examples, self._positives, self._loss, self._true_positives, self._false_positives]
        return [*counts, bins, self._brier]

    def merge(self, other: BinaryMetrics) -> None:
        """Add another partition's counts."""
        self._examples += other._examples
        self._positives += other._positives
        self._loss += other._loss
        self._brier += other._brier
        self._true_positives += other._true_positives
        self._false_positives += other._false_positives
        for position, counted in other._bins.items():
            mine = self._bins.setdefault(position, [0, 0, 0.0])
            for index in range(3):
                mine[index] += counted[index]

    def values(self) -> MetricValues:
        examples, positives, hits = self._examples, self._positives, self._true_positives
        false_alarms = self._false_positives
        predicted = hits + false_alarms
        rejected = examples - positives - false_alarms
        return MetricValues(
            examples=examples,
            positives=positives,
            log_loss=self._loss / examples if examples else None,
            brier_score=self._brier / examples if examples else None,
            roc_auc=self._roc_auc(),
            pr_auc=self._average_precision(),
            top_decile_lift=self.lift(_TOP),
            accuracy=(rejected + hits) / examples if examples else None,
            precision=hits / predicted if predicted else None,
            recall=hits / positives if positives else None,
            f1=2 * hits / (predicted + positives) if predicted + positives else None,
            confusion=Confusion(tn=rejected, fp=false_alarms, fn=positives - hits, tp=hits),
            calibration_error=self._calibration_error(),
            calibration=self._calibration(),
        )

    def lift(self, share: float) -> float | None:
        """How many times more often than on average the label is true among the examples with the highest scores.

        Parameters:
            share: Of the examples, above 0 and at most 1: 0.1 for the 10 % with the highest scores. Those counted as
                one, as their scores are close, are taken in part where it ends among them.

        Returns:
            None before the first label that is true.

        Raises:
            SettingsError: that is no share.
        """
        if not 0.0 < share <= 1.0:
            raise SettingsError(f"share={share!r}: the lift is that of a share above 0 and at most 1")
        if not self._positives:
            return None
        left, found = share * self._examples, 0.0
        for negatives, positives, _ in self._highest_first():
            size = negatives + positives
            if size >= left:
                found += positives * left / size
                break
            found += positives
            left -= size
        return found / (share * self._positives)

    def _highest_first(self) -> list[list[Any]]:
        return [counted for _, counted in sorted(self._bins.items(), reverse=True)]

    def _roc_auc(self) -> float | None:
        negatives = self._examples - self._positives
        if not negatives or not self._positives:
            return None
        below, area = 0, 0.0
        for _, (bin_negatives, bin_positives, _) in sorted(self._bins.items()):
            area += bin_positives * (below + bin_negatives / 2)
            below += bin_negatives
        return area / (negatives * self._positives)

    def _average_precision(self) -> float | None:
        """Area under the precision-recall curve, in steps, as lines flatter it (Davis and Goadrich, ICML 2006).

        That scores within a bin count as equal makes it too small, by less than 0.01 once there are 100 positives.
        """
        if not self._positives:
            return None
        looked_at, found, area = 0, 0, 0.0
        for negatives, positives, _ in self._highest_first():
            looked_at += negatives + positives
            found += positives
            area += positives * (found / looked_at)
        return area / self._positives

    def _calibration_error(self) -> float | None:
        """Expected calibration error over ten probability ranges of equal width (Naeini et al., AAAI 2015)."""
        if not self._examples:
            return None
        differences = [0.0] * 10
        # In order, so that a restored state gives the same sum to the last bit.
        for position, (_, positives, total) in sorted(self._bins.items()):
            differences[int(_MIDDLES[position] * 10)] += positives - total
        return sum(map(abs, differences)) / self._examples

    def _calibration(self) -> tuple[CalibrationRange, ...]:
        ranges: dict[int, list[Any]] = {}
        for position, counted in sorted(self._bins.items()):
            summed = ranges.setdefault(bisect(_EDGES, _MIDDLES[position]), [0, 0, 0.0])
            for index in range(3):
                summed[index] += counted[index]
        return tuple(
            CalibrationRange(
                above=_EDGES[place - 1],
                below=_EDGES[place],
                examples=negatives + positives,
                mean_score=total / (negatives + positives),
                share_true=positives / (negatives + positives),
            )
            for place, (negatives, positives, total) in ranges.items()
        )


def _brier_of_bins(bins: dict[int, list[Any]]) -> float:
    total = 0.0
    for negatives, positives, scores in bins.values():
        score = scores / (negatives + positives)
        total += negatives * score**2 + positives * (1.0 - score) ** 2
    return total


class Confusion(Struct, kw_only=True, frozen=True):
    """Examples by what they were (true, false) and what was guessed (positive, negative)."""

    tn: int
    fp: int
    fn: int
    tp: int


class CalibrationRange(Struct, kw_only=True, frozen=True):
    """The examples whose score was in a range: calibrated scores have a mean like the share that was true.

    A score within 0.05 in log-odds of a border (0.1 is within 0.0955 and 0.1047) may be counted on its other side.
    """

    above: float
    below: float
    examples: int
    mean_score: float
    share_true: float


class MetricValues(Struct, kw_only=True, frozen=True):
    """Metrics of a binary target as numbers; None where there are too few examples to say."""

    examples: int
    positives: int
    log_loss: float | None
    #: Mean squared difference of probability and label as 1 or 0.
    brier_score: float | None
    roc_auc: float | None
    #: Average precision: to be compared with the share of positives, which is what chance gets.
    pr_auc: float | None
    #: How many times more often than on average the label is true among the tenth with the highest scores.
    top_decile_lift: float | None
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    confusion: Confusion
    calibration_error: float | None
    #: By score, lowest first, without the ranges in which there is none.
    calibration: tuple[CalibrationRange, ...]
