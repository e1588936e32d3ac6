"""Naive Bayes: River's Gaussian one, with a state of plain numbers."""

from __future__ import annotations

from typing import Any

from river import naive_bayes

from .base import BINARY, MAX_CLASSES, MULTICLASS, Inputs, Model, Prediction, RunningModel, softmax


class NaiveBayes(Model):
    """A normal distribution of each input within each class; inputs are taken to be independent.

    It learns from the very first examples and forgets nothing. Inputs that go together are counted more than once, so
    its probabilities are too sure of themselves: they rank better than they are calibrated.

    Examples:
        >>> model = NaiveBayes().start("multiclass")
        >>> for n in range(30):
        ...     model.learn({"x": n % 3 + 0.1 * (n % 2)}, label="abc"[n % 3])
        >>> prediction = model.predict({"x": 2.0})
        >>> max(prediction, key=prediction.get)
        'c'
    """

    tasks = frozenset((BINARY, MULTICLASS))

    def __init__(self) -> None:
        pass

    def _start(self, task: str, state: Any) -> RunningModel:
        return _RunningNaiveBayes(task, state)


class _RunningNaiveBayes(RunningModel):
    compact = True

    def __init__(self, task: str, state: list[Any] | None) -> None:
        self._task = task
        self._river = naive_bayes.GaussianNB()
        if state is not None:
            self.examples, classes = state
            for label, count, inputs in classes:
                self._river.class_counts[label] = count
                for name, (weight, mean, squares) in inputs.items():
                    variance = self._river.gaussians[label][name]._var
                    variance.mean.n, variance.mean._mean, variance._S = weight, mean, squares

    def predict(self, inputs: Inputs) -> Prediction:
        # River's own probabilities come by way of a library that takes longer for two numbers than all the rest.
        probabilities: dict[Any, float] = softmax(self._river.joint_log_likelihood(inputs))
        if self._task == MULTICLASS:
            return probabilities
        return probabilities.get(True, 0.0) if probabilities else 0.5

    def learn(self, inputs: Inputs, label: Any) -> None:
        self.examples += 1
        counts = self._river.class_counts
        if label in counts or len(counts) < MAX_CLASSES:
            self._river.learn_one(inputs, label)

    def state(self) -> list[Any]:
        river = self._river
        return [
            self.examples,
            [[label, count, _numbers(river.gaussians.get(label, {}))] for label, count in river.class_counts.items()],
        ]


def _numbers(gaussians: dict[str, Any]) -> dict[str, list[float]]:
    variances = {name: gaussian._var for name, gaussian in gaussians.items()}
    return {name: [each.mean.n, each.mean._mean, each._S] for name, each in variances.items()}
