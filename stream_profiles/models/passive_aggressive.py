"""Passive-aggressive learning: River's, with probabilities, and a state of plain numbers."""

from __future__ import annotations

from typing import Any

from river import linear_model, optim

from .base import BINARY, REGRESSION, Inputs, Model, RunningModel, shares, sigmoid
from .descent import Line
from .linear import LogisticRegression, products
from .scaling import MAX_ERROR, LabelScale, Standardised

#: Margins beyond this are as clear as can be; probabilities are learned from those below.
_MAX_MARGIN = 5.0


class PassiveAggressive(Model):
    """A line that moves just far enough to be right about each example, and not at all when it already is.

    Crammer et al., "Online Passive-Aggressive Algorithms", Journal of Machine Learning Research 7, 2006. It follows a
    change many times sooner than gradient descent. It gives margins; of those a logistic regression of one input makes
    probabilities, as they come (Platt, "Probabilistic Outputs for Support Vector Machines", 1999).

    Parameters:
        c: The farthest it moves for one example; small where labels are noisy.
        mode: 0 for no limit, 1 for `c` as a limit, 2 for `c` as a brake.
        eps: Errors of a regression below this many standard deviations of the label are none.

    Examples:
        >>> model = PassiveAggressive(c=0.1).start("binary")
        >>> for n in range(500):
        ...     model.learn({"x": float(n % 2)}, label=bool(n % 2))
        >>> model.predict({"x": 1.0}) > 0.7 > 0.3 > model.predict({"x": 0.0})
        True
    """

    tasks = frozenset((BINARY, REGRESSION))

    def __init__(self, c: float = 0.01, mode: int = 1, eps: float = 0.1) -> None:
        self._require(c > 0, "c must be above 0")
        self._require(mode in (0, 1, 2), "mode must be 0, 1 or 2")
        self._require(eps >= 0, "eps must be at least 0")
        self.c, self.mode, self.eps = c, mode, eps

    def _start(self, task: str, state: Any) -> RunningModel:
        return (_PassiveAggressiveClassifier if task == BINARY else _PassiveAggressiveRegressor)(self, state)


class _RunningPassiveAggressive(RunningModel):
    """What both tasks share: River's line over standardised inputs."""

    compact = True

    def __init__(self, river: linear_model.PAClassifier | linear_model.PARegressor, state: list[Any] | None) -> None:
        self._river = river
        scale = None
        if state is not None:
            self.examples, *scale, weights, river.intercept = state
            river.weights.update(weights)
        self._scale = Standardised(scale)

    def deviations(self, inputs: Inputs) -> dict[str, float]:
        return self._scale.transform_one(inputs)

    def importances(self) -> dict[str, float] | None:
        return shares({name: abs(float(weight)) for name, weight in self._river.weights.items()})

    def state(self) -> list[Any]:
        weights = {name: float(weight) for name, weight in self._river.weights.items()}
        return [self.examples, *self._scale.state(), weights, float(self._river.intercept)]

    def _parts(self, inputs: Inputs, unit: float) -> dict[str, float]:
        parts = products(self._river.weights, self._scale.transform_one(inputs))
        return {name: part * unit for name, part in parts.items()}

    def _margin(self, scaled: Inputs) -> float:
        return sum(products(self._river.weights, scaled).values()) + float(self._river.intercept)

    def _move(self, scaled: Inputs, label: Any) -> None:
        self._river.learn_one(scaled, label)  # type: ignore[no-untyped-call]
        self.examples += 1


class _PassiveAggressiveClassifier(_RunningPassiveAggressive):
    def __init__(self, declared: PassiveAggressive, state: list[Any] | None) -> None:
        kept, squash = (None, None) if state is None else state
        super().__init__(linear_model.PAClassifier(C=declared.c, mode=declared.mode), kept)
        self._squash = Line(LogisticRegression(), optim.losses.Log(), squash)

    @property
    def intercept(self) -> float:
        return self._slope * float(self._river.intercept) + self._squash.intercept

    @property
    def _slope(self) -> float:
        return self._squash.weights.get("margin", 0.0)

    def predict(self, inputs: Inputs) -> float:
        return sigmoid(self._squash.raw({"margin": self._margin(self._scale.transform_one(inputs))}))

    def learn(self, inputs: Inputs, label: bool) -> None:
        self._scale.learn_one(inputs)
        scaled = self._scale.transform_one(inputs)
        # The margin of before, as predictions are of examples not learned yet.
        self._squash.learn({"margin": min(max(self._margin(scaled), -_MAX_MARGIN), _MAX_MARGIN)}, label)
        self._move(scaled, label)

    def contributions(self, inputs: Inputs) -> dict[str, float]:
        """Together with `intercept` the log-odds of the score."""
        return self._parts(inputs, self._slope)

    def state(self) -> list[Any]:
        return [super().state(), self._squash.state()]


class _PassiveAggressiveRegressor(_RunningPassiveAggressive):
    def __init__(self, declared: PassiveAggressive, state: list[Any] | None) -> None:
        kept, label = (None, None) if state is None else state
        super().__init__(linear_model.PARegressor(C=declared.c, mode=declared.mode, eps=declared.eps), kept)
        self._label = LabelScale(label)

    @property
    def intercept(self) -> float:
        return self._label.restored(float(self._river.intercept))

    def predict(self, inputs: Inputs) -> float:
        return self._label.restored(self._margin(self._scale.transform_one(inputs)))

    def learn(self, inputs: Inputs, label: float) -> None:
        self._scale.learn_one(inputs)
        factor = self._label.learn(label)
        for name in self._river.weights:
            self._river.weights[name] *= factor
        self._river.intercept *= factor
        most = MAX_ERROR * min(factor, 1.0)
        standardised = min(max(self._label.standardised(label), -most), most)
        self._move(self._scale.transform_one(inputs), standardised)

    def contributions(self, inputs: Inputs) -> dict[str, float]:
        """Together with `intercept` the prediction, in the label's unit."""
        return self._parts(inputs, self._label.deviation)

    def state(self) -> list[Any]:
        return [super().state(), self._label.state()]
