"""Online classifiers: River's models with a state that can be stored and read by another release.

A classifier is declared once (its constructor is the configuration) and `start()`ed once per partition. What runs is
River; what is added here is the way in and out of a changelog.
"""

from __future__ import annotations

import inspect
from math import copysign, inf
from typing import Any

from river import linear_model, optim, preprocessing
from river.utils import VectorDict

from ..errors import DefinitionError

Inputs = dict[str, float]

#: Step of the intercept, which sets the average of the scores. With River's 0.01 a rare label is overestimated for the
#: first thousands of examples.
_INTERCEPT_RATE = 0.03
#: Standardised inputs are cut to this many standard deviations, as is good practice before a linear model: an input
#: that is nearly always the same is 100 of them away when it first moves, and one such step ruins all the weights.
_MAX_DEVIATIONS = 5.0
_UNSEEN = (0.0, inf)


class LogisticRegression:
    """River's logistic regression over River's standard scaler, both learning one example at a time.

    Inputs are standardised by the examples so far and cut to 5 standard deviations either way.

    Parameters:
        learning_rate: Step of the stochastic gradient descent.
        l2: Weight of the L2 penalty.

    Examples:
        >>> from stream_profiles.models import LogisticRegression
        >>> model = LogisticRegression(learning_rate=0.1).start()
        >>> for n in range(200):
        ...     model.learn({"x": float(n % 2)}, label=bool(n % 2))
        >>> model.predict({"x": 1.0}) > 0.8 > 0.2 > model.predict({"x": 0.0})
        True
    """

    def __init__(self, learning_rate: float = 0.01, l2: float = 0.0) -> None:
        if not learning_rate > 0 or not l2 >= 0:
            raise DefinitionError("LogisticRegression: learning_rate must be above 0 and l2 at least 0")
        self.learning_rate = learning_rate
        self.l2 = l2

    @property
    def config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in list(inspect.signature(type(self).__init__).parameters)[1:]}

    def start(self, state: list[Any] | None = None) -> RunningLogisticRegression:
        """A model that learns, fresh or from what `RunningLogisticRegression.state` gave."""
        return RunningLogisticRegression(self, state)


class RunningLogisticRegression:
    """One partition's model."""

    def __init__(self, declared: LogisticRegression, state: list[Any] | None) -> None:
        self._scaler = preprocessing.StandardScaler()
        self._regression = linear_model.LogisticRegression(
            optim.SGD(declared.learning_rate), l2=declared.l2, intercept_lr=_INTERCEPT_RATE
        )
        #: Mean and standard deviation of each input, since the scaler last learned.
        self._spread: dict[str, tuple[float, float]] | None = None
        self.examples = 0
        if state is not None:
            self.examples, counts, means, variances, weights, intercept, steps = state
            self._scaler.counts.update(counts)
            self._scaler.means.update(means)
            self._scaler.vars.update(variances)
            self._regression._weights = VectorDict(weights)
            self._regression.intercept = intercept
            self._regression.optimizer.n_iterations = steps

    def predict(self, inputs: Inputs) -> float:
        """Probability of the label being true."""
        probability: float = self._regression.predict_proba_one(self._standardised(inputs))[True]
        return probability

    def learn(self, inputs: Inputs, label: bool) -> None:
        self._scaler.learn_one(inputs)
        self._spread = None
        self._regression.learn_one(self._standardised(inputs), label)
        self.examples += 1

    def _standardised(self, inputs: Inputs) -> Inputs:
        """What River's scaler gives, cut. The roots are kept, as there are many predictions to a lesson."""
        spread = self._spread
        if spread is None:
            scaler = self._scaler
            spread = self._spread = {
                name: (mean, scaler.vars[name] ** 0.5 or inf) for name, mean in scaler.means.items()
            }
        scaled = {}
        for name, value in inputs.items():
            mean, deviation = spread.get(name, _UNSEEN)
            deviations = (value - mean) / deviation
            if not -_MAX_DEVIATIONS <= deviations <= _MAX_DEVIATIONS:
                deviations = copysign(_MAX_DEVIATIONS, deviations)
            scaled[name] = deviations
        return scaled

    def state(self) -> list[Any]:
        scaler, regression = self._scaler, self._regression
        return [
            self.examples,
            dict(scaler.counts),
            dict(scaler.means),
            dict(scaler.vars),
            regression.weights,
            regression.intercept,
            regression.optimizer.n_iterations,
        ]
