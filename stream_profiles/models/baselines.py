"""Predictions that need no model, to hold a model against: what is usual, and what it was the last time.

Each kind of target has one class here. `predict()` is what is usual by the labels so far; `after(last_label)` is what
follows from the user's last label, and what is usual where there is none.
"""

from __future__ import annotations

from typing import Any, Protocol

from .losses import bounded

#: Probability of the last label, and of all others: with certainty one change would cost as much as anything can.
_TRUST, _DISTRUST = 0.99, 0.01
#: Classes whose shares are kept.
_MAX_CLASSES = 1_000


class Baseline(Protocol):
    """What the baselines of all tasks can do. A state is plain data, and merges over partitions as the metrics do."""

    def predict(self) -> Any: ...
    def after(self, last_label: Any) -> Any: ...
    def learn(self, label: Any) -> None: ...
    def state(self) -> list[Any]: ...
    def merge(self, other: Any) -> None: ...


class ShareOfTrue:
    """Of a binary target: the share of true so far, as if half an example of either had been seen before the first.

    That makes it 0.5 at first and never 0 or 1 (Krichevsky and Trofimov, "The Performance of Universal Encoding", IEEE
    Transactions on Information Theory 27, 1981).

    Examples:
        >>> share = ShareOfTrue()
        >>> share.predict()
        0.5
        >>> share.learn(True)
        >>> share.predict(), share.after(False)
        (0.75, 0.01)
    """

    def __init__(self, state: list[Any] | None = None) -> None:
        self._examples: int
        self._positives: int
        self._examples, self._positives = (0, 0) if state is None else state

    def predict(self) -> float:
        return (self._positives + 0.5) / (self._examples + 1)

    def after(self, last_label: bool | None) -> float:
        if last_label is None:
            return self.predict()
        return _TRUST if last_label else _DISTRUST

    def learn(self, label: bool) -> None:
        self._examples += 1
        self._positives += bool(label)

    def state(self) -> list[Any]:
        return [self._examples, self._positives]

    def merge(self, other: ShareOfTrue) -> None:
        self._examples += other._examples
        self._positives += other._positives


class SharesOfClasses:
    """Of a multiclass target: each class's share so far, of at most 1,000 classes.

    After a last label, that class has 0.99 and a hundredth is left to the usual shares.

    Examples:
        >>> shares = SharesOfClasses()
        >>> for label in ("shoes", "hats", "shoes", "shoes"):
        ...     shares.learn(label)
        >>> shares.predict()
        {'shoes': 0.75, 'hats': 0.25}
    """

    def __init__(self, state: list[Any] | None = None) -> None:
        self._examples: int
        self._counts: dict[str, int]
        self._examples, self._counts = (0, {}) if state is None else (state[0], dict(state[1]))

    def predict(self) -> dict[str, float]:
        return {label: count / self._examples for label, count in self._counts.items()}

    def after(self, last_label: str | None) -> dict[str, float]:
        if last_label is None:
            return self.predict()
        left = _DISTRUST / max(self._examples, 1)
        prediction = {label: count * left for label, count in self._counts.items()}
        prediction[last_label] = prediction.get(last_label, 0.0) + _TRUST
        return prediction

    def learn(self, label: str) -> None:
        self._examples += 1
        if label in self._counts or len(self._counts) < _MAX_CLASSES:
            self._counts[label] = self._counts.get(label, 0) + 1

    def state(self) -> list[Any]:
        return [self._examples, dict(self._counts)]

    def merge(self, other: SharesOfClasses) -> None:
        self._examples += other._examples
        for label, count in other._counts.items():
            self._counts[label] = self._counts.get(label, 0) + count
        if len(self._counts) > _MAX_CLASSES:
            most = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
            self._counts = dict(most[:_MAX_CLASSES])


class MeanOfLabels:
    """Of a regression target: the mean of the labels so far, 0 before the first.

    Examples:
        >>> mean = MeanOfLabels()
        >>> mean.learn(10.0)
        >>> mean.learn(20.0)
        >>> mean.predict(), mean.after(12.0)
        (15.0, 12.0)
    """

    def __init__(self, state: list[Any] | None = None) -> None:
        self._examples: int
        self._mean: float
        self._examples, self._mean = (0, 0.0) if state is None else state

    def predict(self) -> float:
        return self._mean

    def after(self, last_label: float | None) -> float:
        return self._mean if last_label is None else last_label

    def learn(self, label: float) -> None:
        self._examples += 1
        self._mean += (bounded(label) - self._mean) / self._examples

    def state(self) -> list[Any]:
        return [self._examples, self._mean]

    def merge(self, other: MeanOfLabels) -> None:
        if other._examples:
            self._examples += other._examples
            self._mean += (other._mean - self._mean) * (other._examples / self._examples)
