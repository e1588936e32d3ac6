"""How good predictions were, to the last digit: what is counted online in ranges of scores is computed here from the
examples themselves.

Names and meanings are those of `models.metrics`, so a figure here can be held against one of a running deployment.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct

from ..models.binary_metrics import Confusion
from ..models.losses import CLIP
from ..models.multiclass_metrics import NO_GUESS, OTHER
from .examples import NO_CLASS, Codes, Examples, Floats

#: Shares of the examples with the highest scores of which the lift is told.
TOPS = (0.01, 0.05, 0.1, 0.2, 0.5)
#: Groups of a calibration table.
_GROUPS = 10
#: Of these classes, the most frequent ones, each is told for itself; the confusion matrix has fewer.
_MOST_CLASSES, _MOST_CONFUSED = 50, 12


class BinaryScores(Struct, kw_only=True, frozen=True):
    """Of probabilities of true; None where there are too few examples to say."""

    examples: int
    positives: int
    log_loss: float | None = None
    #: Mean squared difference of probability and label as 1 or 0.
    brier_score: float | None = None
    roc_auc: float | None = None
    #: Average precision: to be compared with the share of positives, which is what chance gets.
    pr_auc: float | None = None
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    #: Expected calibration error over ten ranges of equal width (Naeini et al., AAAI 2015).
    calibration_error: float | None = None
    confusion: Confusion


class MulticlassScores(Struct, kw_only=True, frozen=True):
    """Of probabilities by class; None where there are no examples."""

    examples: int
    log_loss: float | None = None
    accuracy: float | None = None
    #: Mean F1 of the classes that were a label or a guess.
    macro_f1: float | None = None


class RegressionScores(Struct, kw_only=True, frozen=True):
    """Of numbers, in the label's unit; None where there are too few examples to say."""

    examples: int
    mean_label: float | None = None
    #: Mean absolute error.
    mae: float | None = None
    #: Root of the mean squared error.
    rmse: float | None = None
    #: Share of the labels' variance that the predictions explain; None while all labels are the same.
    r2: float | None = None
    #: Mean of prediction less label: above 0 where the predictions are too high.
    bias: float | None = None


Scores = BinaryScores | MulticlassScores | RegressionScores


class Lift(Struct, kw_only=True, frozen=True):
    """The examples with the highest scores. Of equal scores on both sides of the border, each counts in part."""

    #: Which share of the examples they are.
    top: float
    examples: int
    #: Share of them that was true.
    share_true: float
    #: How many times more often they were true than all are on average.
    lift: float
    #: Share of all true examples that is among them.
    found: float


class Group(Struct, kw_only=True, frozen=True):
    """Examples with predictions close to each other: of calibrated ones, the mean is like what came of them."""

    examples: int
    lowest: float
    highest: float
    mean_predicted: float
    #: Share that was true; share of right guesses; mean label.
    mean_actual: float
    #: Standard error of that mean, as if the examples were independent.
    standard_error: float


class ClassScores(Struct, kw_only=True, frozen=True):
    """One of several classes; None where it was never guessed (precision) or never the label (recall)."""

    name: str
    examples: int
    guessed: int
    precision: float | None
    recall: float | None
    f1: float


class ConfusionMatrix(Struct, kw_only=True, frozen=True):
    """The most frequent classes, and what they were taken for: `counts[label][guess]`."""

    labels: list[str]
    guesses: list[str]
    counts: list[list[int]]


class Ranking:
    """Examples by score, the highest first; those of equal scores are one step.

    Parameters:
        labels: 1 and 0.
        scores: What they are ranked by.

    Examples:
        >>> ranking = Ranking(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.9, 0.3, 0.3, 0.1]))
        >>> ranking.roc_auc(), round(ranking.average_precision(), 4), ranking.lift(0.25)
        (0.875, 0.8333, 2.0)
    """

    def __init__(self, labels: Floats, scores: Floats) -> None:
        values, steps = np.unique(scores, return_inverse=True)
        self.examples, self.positives = len(labels), int(labels.sum())
        sizes = np.bincount(steps, minlength=len(values))[::-1]
        positives = np.bincount(steps, weights=labels, minlength=len(values))[::-1]
        #: How many examples, and how many true ones, have a score as high as that of each step or higher.
        self.taken: Codes = np.concatenate([[0], np.cumsum(sizes)])
        self.found: Floats = np.concatenate([[0.0], np.cumsum(positives)])

    def roc_auc(self) -> float | None:
        """None while all labels are the same."""
        negatives = self.examples - self.positives
        if not negatives or not self.positives:
            return None
        false_alarms = self.taken - self.found
        return float(np.trapezoid(self.found, false_alarms)) / (negatives * self.positives)

    def average_precision(self) -> float | None:
        """Area under the precision-recall curve, in steps, as lines flatter it (Davis and Goadrich, ICML 2006)."""
        if not self.positives:
            return None
        return float(np.sum(np.diff(self.found) * self.found[1:] / self.taken[1:])) / self.positives

    def lift(self, share: float) -> float | None:
        """How many times more often than on average the label is true in this share of the examples, highest first.

        None before the first label that is true.
        """
        if not self.positives:
            return None
        found = float(np.interp(share * self.examples, self.taken, self.found))
        return found / (share * self.positives)


def scores_of(examples: Examples, side: str) -> Scores:
    """How good one side's predictions were.

    Parameters:
        side: One of `SIDES`.
    """
    predicted, labels = examples.predicted[side], examples.labels
    if examples.task == "binary":
        return binary_scores(labels, predicted.numbers)
    if examples.task == "regression":
        return regression_scores(labels, predicted.numbers)
    assert predicted.guesses is not None and predicted.of_label is not None
    return multiclass_scores(labels, predicted.guesses, predicted.of_label)


def binary_scores(labels: Any, probabilities: Floats) -> BinaryScores:
    """A probability of at least 0.5 is a guess of true."""
    examples, positives = len(labels), int(labels.sum())
    guessed = probabilities >= 0.5
    hits, predicted = int(labels[guessed].sum()), int(guessed.sum())
    false_alarms = predicted - hits
    missed = positives - hits
    confusion = Confusion(tn=examples - predicted - missed, fp=false_alarms, fn=missed, tp=hits)
    if not examples:
        return BinaryScores(examples=0, positives=0, confusion=confusion)
    ranking = Ranking(labels, probabilities)
    return BinaryScores(
        examples=examples,
        positives=positives,
        log_loss=float(_log_losses(np.where(labels > 0, probabilities, 1.0 - probabilities)).mean()),
        brier_score=float(np.mean((probabilities - labels) ** 2)),
        roc_auc=ranking.roc_auc(),
        pr_auc=ranking.average_precision(),
        accuracy=(hits + confusion.tn) / examples,
        precision=hits / predicted if predicted else None,
        recall=hits / positives if positives else None,
        f1=2 * hits / (predicted + positives) if predicted + positives else None,
        calibration_error=_calibration_error(labels, probabilities),
        confusion=confusion,
    )


def multiclass_scores(labels: Any, guesses: Codes, of_label: Floats) -> MulticlassScores:
    """No guess is wrong; a class that a prediction leaves out had probability 0."""
    if not len(labels):
        return MulticlassScores(examples=0)
    _, labelled, guessed, hits = _counts(labels, guesses)
    return MulticlassScores(
        examples=len(labels),
        log_loss=float(_log_losses(of_label).mean()),
        accuracy=float(np.mean(labels == guesses)),
        macro_f1=float(np.mean(2 * hits / (labelled + guessed))),
    )


def regression_scores(labels: Any, numbers: Floats) -> RegressionScores:
    if not len(labels):
        return RegressionScores(examples=0)
    errors = numbers - labels
    spread = float(np.sum((labels - labels.mean()) ** 2))
    return RegressionScores(
        examples=len(labels),
        mean_label=float(labels.mean()),
        mae=float(np.mean(np.abs(errors))),
        rmse=float(np.sqrt(np.mean(errors**2))),
        r2=1.0 - float(np.sum(errors**2)) / spread if spread else None,
        bias=float(errors.mean()),
    )


def losses_of(examples: Examples, side: str) -> Floats:
    """What each of one side's predictions cost: log-loss, or the squared error of a number."""
    predicted, labels = examples.predicted[side], examples.labels
    if examples.task == "regression":
        return np.asarray((predicted.numbers - labels) ** 2)
    if predicted.of_label is not None:
        return _log_losses(predicted.of_label)
    return _log_losses(np.where(labels > 0, predicted.numbers, 1.0 - predicted.numbers))


def lifts(labels: Any, scores: Floats) -> list[Lift]:
    """Of the shares in `TOPS`; none before the first label that is true."""
    ranking = Ranking(labels, scores)
    found = [(top, lift) for top in TOPS if (lift := ranking.lift(top)) is not None]
    return [
        Lift(
            top=top,
            examples=round(top * ranking.examples),
            share_true=lift * ranking.positives / ranking.examples,
            lift=lift,
            found=lift * top,
        )
        for top, lift in found
    ]


def calibration(predicted: Floats, actual: Any) -> list[Group]:
    """Up to ten groups of about the same size by prediction, lowest first. Equal predictions are never parted.

    Examples:
        >>> groups = calibration(np.array([0.1, 0.1, 0.4, 0.8]), np.array([0.0, 0.0, 1.0, 1.0]))
        >>> [(group.examples, group.mean_predicted, group.mean_actual) for group in groups]
        [(2, 0.1, 0.0), (1, 0.4, 1.0), (1, 0.8, 1.0)]
    """
    order = np.argsort(predicted, kind="stable")
    predicted, actual = predicted[order], np.asarray(actual, np.float64)[order]
    wanted = predicted[len(predicted) * np.arange(1, _GROUPS) // _GROUPS] if len(predicted) else predicted
    borders = np.unique(np.searchsorted(predicted, wanted))
    parts = zip(np.split(predicted, borders), np.split(actual, borders), strict=True)
    return [
        Group(
            examples=len(part),
            lowest=float(part[0]),
            highest=float(part[-1]),
            mean_predicted=float(part.mean()),
            mean_actual=float(came.mean()),
            standard_error=float(came.std() / np.sqrt(len(part))),
        )
        for part, came in parts
        if len(part)
    ]


def class_scores(examples: Examples) -> list[ClassScores]:
    """The classes the model guessed or was to guess, the most frequent ones first, up to 50."""
    guesses = examples.predicted["model"].guesses
    assert guesses is not None
    places, labelled, guessed, hits = _counts(examples.labels, guesses)
    found = [
        ClassScores(
            name=examples.classes[place],
            examples=int(labels),
            guessed=int(guesses),
            precision=float(hits / guesses) if guesses else None,
            recall=float(hits / labels) if labels else None,
            f1=float(2 * hits / (labels + guesses)),
        )
        for place, labels, guesses, hits in zip(places, labelled, guessed, hits, strict=True)
    ]
    return sorted(found, key=lambda each: (-each.examples, -each.guessed, each.name))[:_MOST_CLASSES]


def confusion_matrix(examples: Examples) -> ConfusionMatrix:
    """What the model took the most frequent classes for; the rest of the labels is a row, the rest of the guesses a
    column."""
    guesses = examples.predicted["model"].guesses
    assert guesses is not None
    names = [each.name for each in class_scores(examples)][:_MOST_CONFUSED]
    row = {examples.classes.index(name): place for place, name in enumerate(names)}
    other, none = len(names), len(names) + 1
    counts = np.zeros((other + 1, none + 1), dtype=np.int64)
    pairs, sizes = np.unique(np.stack([examples.labels.astype(np.int64), guesses]), axis=1, return_counts=True)
    for (label, guess), count in zip(pairs.T.tolist(), sizes.tolist(), strict=True):
        counts[row.get(label, other), none if guess == NO_CLASS else row.get(guess, other)] += count
    labels, guessed = [*names, OTHER], [*names, OTHER, NO_GUESS]
    # What stands for several is there only where there is any.
    kept = [place for place in range(len(guessed)) if place < other or counts[:, place].any()]
    rows = [place for place in range(len(labels)) if place < other or counts[place].any()]
    return ConfusionMatrix(
        labels=[labels[place] for place in rows],
        guesses=[guessed[place] for place in kept],
        counts=counts[np.ix_(rows, kept)].tolist(),
    )


def _counts(labels: Any, guesses: Codes) -> tuple[Codes, Codes, Codes, Codes]:
    """The classes that came up, and of each: how often it was the label, the guess, and both."""
    size = int(max(labels.max(initial=NO_CLASS), guesses.max(initial=NO_CLASS))) + 1
    labelled = np.bincount(labels.astype(np.int64), minlength=size)
    guessed = np.bincount(guesses[guesses != NO_CLASS], minlength=size)
    hits = np.bincount(guesses[guesses == labels], minlength=size)
    places = np.flatnonzero(labelled + guessed)
    return places, labelled[places], guessed[places], hits[places]


def _log_losses(of_label: Floats) -> Floats:
    return np.asarray(-np.log(np.clip(of_label, CLIP, 1.0 - CLIP)))


def _calibration_error(labels: Any, probabilities: Floats) -> float:
    ranges = np.minimum((probabilities * 10).astype(np.int64), 9)
    return float(np.sum(np.abs(np.bincount(ranges, weights=labels - probabilities)))) / len(labels)
