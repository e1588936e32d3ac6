"""Metrics of probabilities by class against labels that are one of several classes.

Accuracy and log-loss count every class. What is said of single classes, and the macro F1, is of at most 50 of them, in
the order in which they came up; the rest is counted as one, `OTHER`.

Partitions merge exactly: log-loss but for the rounding of floats, everything else to the last unit. A class stays named
only where neither side can have counted it with the rest, so a named class is always counted in full. The price: where
one partition alone met more than 50 classes, fewer than 50 may be left with a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum
from typing import Any

from msgspec import Struct

from .losses import multiclass_loss

#: How the classes that are not named are called, as labels and as guesses.
OTHER = "(other)"
#: How the guess of an empty prediction is called.
NO_GUESS = "(none)"

_MAX_NAMED = 50
_OTHER, _NO_GUESS = -1, -2


class MulticlassMetrics:
    """Accuracy, log-loss, macro F1, precision and recall of each class, and the confusion matrix.

    The guess is the most probable class, the first by name among equals. An empty prediction guesses nothing, which is
    wrong; a class that a prediction leaves out has probability 0, which costs as much as certainty that was wrong.

    Examples:
        >>> metrics = MulticlassMetrics()
        >>> metrics.update({"shoes": 0.7, "hats": 0.3}, "shoes")
        >>> metrics.update({"shoes": 0.6, "hats": 0.4}, "hats")
        >>> metrics.update({"shoes": 0.1, "hats": 0.9}, "hats")
        >>> values = metrics.values()
        >>> round(values.accuracy, 3), round(values.macro_f1, 3)
        (0.667, 0.667)
        >>> values.classes["hats"]
        ClassValues(examples=2, guessed=1, precision=1.0, recall=0.5, f1=0.6666666666666666)
        >>> values.confusion
        {'shoes': {'shoes': 1}, 'hats': {'shoes': 1, 'hats': 1}}
    """

    def __init__(self, state: list[Any] | None = None) -> None:
        self._examples, self._correct, self._loss = 0, 0, 0.0
        #: Position of each named class.
        self._named: dict[str, int] = {}
        #: (position of the label, of the guess) -> examples
        self._cells: dict[tuple[int, int], int] = {}
        if state is not None:
            self._examples, self._correct, self._loss, named, cells = state
            self._named = {name: position for position, name in enumerate(named)}
            self._cells = {(label, guess): count for label, guess, count in cells}
        #: Whether every class that came up is named. Once one is not, no new one can be: it may have come up before.
        self._complete = not any(_OTHER in cell for cell in self._cells)

    def update(self, prediction: Mapping[str, float], label: str) -> None:
        """Count one prediction and the label that came of it."""
        guess = most_probable(prediction)
        self._examples += 1
        self._correct += guess == label
        self._loss += multiclass_loss(prediction, label)
        cell = self._position(label), _NO_GUESS if guess is None else self._position(guess)
        self._cells[cell] = self._cells.get(cell, 0) + 1

    def _position(self, name: str) -> int:
        position = self._named.get(name)
        if position is None:
            if self._complete and len(self._named) < _MAX_NAMED:
                position = self._named[name] = len(self._named)
            else:
                position, self._complete = _OTHER, False
        return position

    def state(self) -> list[Any]:
        cells = [[label, guess, count] for (label, guess), count in sorted(self._cells.items())]
        return [self._examples, self._correct, self._loss, list(self._named), cells]

    def merge(self, other: MulticlassMetrics) -> None:
        """Add another partition's counts."""
        names = [
            name
            for name in {**self._named, **other._named}
            if (self._complete or name in self._named) and (other._complete or name in other._named)
        ]
        named = {name: position for position, name in enumerate(names[:_MAX_NAMED])}
        cells: dict[tuple[int, int], int] = {}
        for side in (self, other):
            moved = {position: named.get(name, _OTHER) for name, position in side._named.items()}
            moved |= {_OTHER: _OTHER, _NO_GUESS: _NO_GUESS}
            for (label, guess), count in side._cells.items():
                cell = moved[label], moved[guess]
                cells[cell] = cells.get(cell, 0) + count
        self._examples += other._examples
        self._correct += other._correct
        self._loss += other._loss
        self._named, self._cells = named, cells
        self._complete = not any(_OTHER in cell for cell in cells)

    def values(self) -> MulticlassValues:
        examples = self._examples
        names = {position: name for name, position in self._named.items()} | {_OTHER: OTHER, _NO_GUESS: NO_GUESS}
        labelled, guessed = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
        confusion: dict[str, dict[str, int]] = {}
        # Named classes in the order they came up, what stands for several after them.
        for (label, guess), count in sorted(self._cells.items(), key=lambda cell: [(at < 0, at) for at in cell[0]]):
            labelled[label] += count
            guessed[guess] += count
            row = confusion.setdefault(names[label], {})
            # Added up, as a class may really be called like the rest.
            row[names[guess]] = row.get(names[guess], 0) + count
        classes = {
            name: _class_values(labelled[at], guessed[at], self._cells.get((at, at), 0))
            for name, at in self._named.items()
        }
        return MulticlassValues(
            examples=examples,
            log_loss=self._loss / examples if examples else None,
            accuracy=self._correct / examples if examples else None,
            macro_f1=fsum(each.f1 for each in classes.values()) / len(classes) if classes else None,
            classes=classes,
            confusion=confusion,
        )


def most_probable(prediction: Mapping[str, float]) -> str | None:
    """The class with the highest probability, the first by name among equals; None where there is none."""
    top: str | None = None
    highest = -1.0
    for name, probability in prediction.items():
        if probability > highest or (probability == highest and top is not None and name < top):
            top, highest = name, probability
    return top


def _class_values(examples: int, guessed: int, hits: int) -> ClassValues:
    return ClassValues(
        examples=examples,
        guessed=guessed,
        precision=hits / guessed if guessed else None,
        recall=hits / examples if examples else None,
        # A class is named once it was a label or a guess.
        f1=2 * hits / (examples + guessed),
    )


class ClassValues(Struct, kw_only=True, frozen=True):
    """Metrics of one class; None where it was never guessed (precision) or never the label (recall)."""

    examples: int
    guessed: int
    precision: float | None
    recall: float | None
    f1: float


class MulticlassValues(Struct, kw_only=True, frozen=True):
    """Metrics of a multiclass target as numbers; None where there are no examples."""

    examples: int
    log_loss: float | None
    accuracy: float | None
    #: Mean of the F1 of the named classes.
    macro_f1: float | None
    #: The named classes, in the order in which they came up.
    classes: dict[str, ClassValues]
    #: label -> guess -> examples, where there are any; `OTHER` for the classes not named, `NO_GUESS` for no guess.
    confusion: dict[str, dict[str, int]]
