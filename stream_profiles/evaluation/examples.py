"""The examples of a target: what was predicted before the label was known, what came of it, and what baselines said.

They are gathered as the learners score them and are what every figure of a report is made of. How good they are is
measured in `scores`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..models.baselines import Baseline, MeanOfLabels, ShareOfTrue, SharesOfClasses
from ..models.losses import bounded, clip
from ..models.multiclass_metrics import most_probable

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

#: Who predicts: the model, and the baselines of `models.metrics.Evaluation`.
SIDES = ("model", "prevalence", "last_label")
#: Stands for the class that there is none: no guess, no last label.
NO_CLASS = -1

_BASELINES: dict[str, type[Baseline]] = {
    "binary": ShareOfTrue,
    "multiclass": SharesOfClasses,
    "regression": MeanOfLabels,
}


@dataclass(frozen=True, slots=True)
class Predicted:
    """What one side predicted, example by example.

    Attributes:
        numbers: probability of true; the number; of one of several classes, the probability of the guess.
        guesses: of several classes, the place of the most probable one among `Examples.classes`.
        of_label: of several classes, the probability that the right one was given.
    """

    numbers: Floats
    guesses: Codes | None = None
    of_label: Floats | None = None

    def taken(self, rows: Any) -> Predicted:
        return Predicted(self.numbers[rows], _part(self.guesses, rows), _part(self.of_label, rows))


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples in order of the time of their predictions.

    Attributes:
        users: whose they are.
        times: of the predictions, ms.
        labels: what came of them: 1 and 0 of yes and no; a number; the place among `classes`.
        last_labels: the user's latest label that was known when the prediction was made; NaN or `NO_CLASS` for none.
        predicted: what was predicted, by the names in `SIDES`.
        classes: the classes that came up, as labels or in predictions.
        ranked: of several classes, all that the model's prediction names, padded with `NO_CLASS`.
        shares: their probabilities.
    """

    task: str
    users: npt.NDArray[np.object_]
    times: Codes
    labels: Floats | Codes
    last_labels: Floats | Codes
    predicted: dict[str, Predicted]
    classes: tuple[str, ...] = ()
    ranked: Codes | None = None
    shares: Floats | None = None

    def __len__(self) -> int:
        return len(self.times)

    def taken(self, rows: Any) -> Examples:
        """Some of them.

        Parameters:
            rows: A slice, or an array of places.
        """
        return Examples(
            self.task,
            self.users[rows],
            self.times[rows],
            self.labels[rows],
            self.last_labels[rows],
            {side: each.taken(rows) for side, each in self.predicted.items()},
            self.classes,
            _part(self.ranked, rows),
            _part(self.shares, rows),
        )


class Collector:
    """Gathers the examples of one target over all partitions.

    Parameters:
        task: "binary", "multiclass" or "regression".

    Examples:
        >>> collector = Collector("binary")
        >>> observe = collector.observer(lambda: "ada")
        >>> observe(0.7, True, None, 2_000)
        >>> observe(0.4, False, True, 1_000)
        >>> examples = collector.examples()
        >>> examples.times.tolist(), examples.labels.tolist(), examples.predicted["model"].numbers.tolist()
        ([1000, 2000], [0.0, 1.0], [0.4, 0.7])
    """

    def __init__(self, task: str) -> None:
        self._task = task
        self._users: list[str] = []
        self._times = array("q")
        self._rows: _Numbers | _Classes = _Classes() if task == "multiclass" else _Numbers(_READERS[task])

    def __len__(self) -> int:
        return len(self._times)

    def observer(self, user: Callable[[], str]) -> Callable[[Any, Any, Any, int], None]:
        """An observer for the learner of one more partition. The baselines learn in it as those of the learner do.

        Parameters:
            user: Tells whose example it is.
        """
        baseline = _BASELINES[self._task]()
        users, times, add = self._users, self._times, self._rows.add

        def observe(prediction: Any, label: Any, last_label: Any, time: int) -> None:
            users.append(user())
            times.append(time)
            add((prediction, baseline.predict(), baseline.after(last_label)), label, last_label)
            baseline.learn(label)

        return observe

    def examples(self) -> Examples:
        """Those gathered so far; of one time, in the order in which they came."""
        users = np.empty(len(self._users), dtype=np.object_)
        users[:] = self._users
        times = np.array(self._times, dtype=np.int64)
        return self._rows.examples(self._task, users, times).taken(np.argsort(times, kind="stable"))


class _Numbers:
    """Examples whose labels and predictions are numbers, or probabilities of true."""

    def __init__(self, read: Callable[[float], float]) -> None:
        self._read = read
        self._labels, self._last_labels = array("d"), array("d")
        self._sides = tuple(array("d") for _ in SIDES)

    def add(self, predictions: Sequence[float], label: float, last_label: float | None) -> None:
        self._labels.append(bounded(label))
        self._last_labels.append(float("nan") if last_label is None else last_label)
        for numbers, prediction in zip(self._sides, predictions, strict=True):
            numbers.append(self._read(prediction))

    def examples(self, task: str, users: npt.NDArray[np.object_], times: Codes) -> Examples:
        predicted = {side: Predicted(_floats(numbers)) for side, numbers in zip(SIDES, self._sides, strict=True)}
        return Examples(task, users, times, _floats(self._labels), _floats(self._last_labels), predicted)


class _Classes:
    """Examples whose labels are one of several classes. Of a baseline only its guess is kept, as it may name a lot."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._labels, self._last_labels = array("q"), array("q")
        #: For each side: its guess, the guess's probability, the label's probability.
        self._sides = tuple((array("q"), array("d"), array("d")) for _ in SIDES)
        #: What the model's predictions name, one after the other, and how many each names.
        self._named, self._shares, self._counts = array("q"), array("d"), array("q")

    def add(self, predictions: Sequence[dict[str, float]], label: str, last_label: str | None) -> None:
        self._labels.append(self._code(label))
        self._last_labels.append(self._code(last_label))
        for (guesses, confidences, of_label), prediction in zip(self._sides, predictions, strict=True):
            guess = most_probable(prediction)
            guesses.append(self._code(guess))
            confidences.append(0.0 if guess is None else prediction[guess])
            of_label.append(prediction.get(label, 0.0))
        self._counts.append(len(predictions[0]))
        for name, share in predictions[0].items():
            self._named.append(self._code(name))
            self._shares.append(share)

    def _code(self, name: str | None) -> int:
        return NO_CLASS if name is None else self._codes.setdefault(name, len(self._codes))

    def examples(self, task: str, users: npt.NDArray[np.object_], times: Codes) -> Examples:
        counts = _codes(self._counts)
        named = np.arange(counts.max(initial=0)) < counts[:, None]
        ranked, shares = np.full(named.shape, NO_CLASS, np.int64), np.full(named.shape, np.nan)
        ranked[named], shares[named] = self._named, self._shares
        predicted = {
            side: Predicted(_floats(confidences), _codes(guesses), _floats(of_label))
            for side, (guesses, confidences, of_label) in zip(SIDES, self._sides, strict=True)
        }
        labels, last_labels = _codes(self._labels), _codes(self._last_labels)
        return Examples(task, users, times, labels, last_labels, predicted, tuple(self._codes), ranked, shares)


#: What a prediction counts as that is no probability, or no number, as where it is scored online.
_READERS: dict[str, Callable[[float], float]] = {"binary": clip, "regression": bounded}


def _floats(numbers: array[float]) -> Floats:
    return np.array(numbers, dtype=np.float64)


def _codes(numbers: array[int]) -> Codes:
    return np.array(numbers, dtype=np.int64)


def _part(values: Any, rows: Any) -> Any:
    return None if values is None else values[rows]
