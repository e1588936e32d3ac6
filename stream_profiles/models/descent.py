"""Stochastic gradient descent for the linear models: River's optimizers and its generalized linear model.

What is added is the step of the intercept, and the way in and out of a state that is plain numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from river import linear_model, optim
from river.utils import VectorDict

from .base import Model

#: By name: how River's optimizer is made from a learning rate, and what it remembers of each weight.
OPTIMIZERS: dict[str, tuple[Callable[[float], optim.base.Optimizer], tuple[str, ...]]] = {
    "sgd": (optim.SGD, ()),
    "momentum": (optim.Momentum, ("s",)),
    "adagrad": (optim.AdaGrad, ("g2",)),
    "rmsprop": (optim.RMSProp, ("g2",)),
    "adam": (optim.Adam, ("m", "v")),
    "adamax": (optim.AdaMax, ("m", "u")),
    "amsgrad": (optim.AMSGrad, ("m", "v", "v_hat")),
    "nadam": (optim.Nadam, ("m", "v")),
    "ftrl": (optim.FTRLProximal, ("z", "n")),
}


class Descent(Model):
    """The parameters that models learned by gradient descent have in common, checked."""

    learning_rate: float
    l2: float
    optimizer: str
    l1: float
    intercept_rate: float
    intercept_decay: float
    average: int

    def _check_descent(self) -> None:
        self._require(self.learning_rate > 0 and self.l2 >= 0, "learning_rate must be above 0 and l2 at least 0")
        self._require(
            self.optimizer in OPTIMIZERS, f"optimizer must be one of {', '.join(OPTIMIZERS)}, not {self.optimizer!r}"
        )
        self._require(self.l1 >= 0, "l1 must be at least 0")
        if self.optimizer != "ftrl":
            self._require(self.l1 == 0 or self.l2 == 0, 'only optimizer="ftrl" takes both l1 and l2')
            self._require(
                self.learning_rate * self.l2 < 1, "learning_rate * l2 must be below 1, or weights grow for ever"
            )
        self._require(
            self.intercept_rate >= 0 and self.intercept_decay >= 0,
            "intercept_rate and intercept_decay must be at least 0",
        )
        self._require(self.average >= 0, "average must be a number of examples, or 0")


class InterceptRate(optim.base.Scheduler):
    """The step of an intercept: from 1 down to `rate`, as the number of examples to the power of `-decay`.

    The intercept sets the average of the scores. With a constant step, small enough not to follow every example, a rare
    label is overestimated for thousands of examples.

    Examples:
        >>> step = InterceptRate(0.03, 0.5)
        >>> step.get(0), step.get(3), step.get(10_000)
        (1.0, 0.5, 0.03)
        >>> InterceptRate(0.03, 0.0).get(0), InterceptRate(0.0, 0.5).get(0)
        (0.03, 0.0)
    """

    def __init__(self, rate: float, decay: float) -> None:
        self.rate, self.decay = rate, decay

    def get(self, t: int) -> float:
        return float(max(self.rate, (t + 1) ** -self.decay)) if self.rate and self.decay else self.rate


class Line:
    """Weights and an intercept: River's generalized linear model.

    With `average`, what predicts is the mean of the weights of late, and the last ones only learn: the noise of single
    steps cancels (Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM Journal on Control
    and Optimization 30, 1992).

    Parameters:
        declared: How to learn.
        loss: River's loss; see `Gradient` for one that is worked out elsewhere.
        state: What `state` gave.
    """

    def __init__(
        self,
        declared: Descent,
        loss: Any,
        state: list[Any] | None = None,
    ) -> None:
        make, self._remembers = OPTIMIZERS[declared.optimizer]
        ftrl = declared.optimizer == "ftrl"
        optimizer = make(declared.learning_rate)
        if isinstance(optimizer, optim.FTRLProximal):
            # It has both penalties built in.
            optimizer.l1, optimizer.l2 = declared.l1, declared.l2
        self._l1 = declared.l1 > 0 and not ftrl
        self.river = linear_model.LogisticRegression(
            optimizer,
            loss,
            l2=0.0 if ftrl else declared.l2,
            l1=declared.l1 if self._l1 else 0.0,
            intercept_lr=InterceptRate(declared.intercept_rate, declared.intercept_decay),
        )
        self._average = declared.average
        self._mean_weights: dict[str, float] = {}
        self._mean_intercept = 0.0
        self._plain: dict[str, float] | None = None
        if state is not None:
            if self._average:
                *state, self._mean_weights, self._mean_intercept = state
                self._mean_weights = dict(self._mean_weights)
            weights, self.river.intercept, optimizer.n_iterations, *more = state
            self.river._weights = VectorDict(weights)
            for name in self._remembers:
                _put(optimizer, name, more.pop(0))
            if self._l1:
                self.river.max_cum_l1, penalties = more
                self.river.cum_l1.update(penalties)

    @property
    def averages(self) -> bool:
        """Whether what predicts is a mean of weights."""
        return self._average > 0

    @property
    def weights(self) -> dict[str, float]:
        """Those that predict. Not to be changed: it is made once a lesson."""
        if self._average:
            return self._mean_weights
        if self._plain is None:
            self._plain = self._last_weights()
        return self._plain

    @property
    def intercept(self) -> float:
        return self._mean_intercept if self._average else float(self.river.intercept)

    def predict(self, inputs: dict[str, float]) -> float:
        """What the weights that predict make of the inputs."""
        if not self._average:
            return self.raw(inputs)
        weights = self._mean_weights
        return self._mean_intercept + sum([weights.get(name, 0.0) * value for name, value in inputs.items()])

    def raw(self, inputs: dict[str, float]) -> float:
        """What the last weights make of the inputs: what is to be learned from depends on it."""
        return float(self.river._raw_dot_one(inputs))

    def scale(self, factor: float) -> None:
        """Multiply what it says by a factor."""
        self._plain = None
        self.river._weights *= factor
        self.river.intercept *= factor
        if self._average:
            self._mean_weights = {name: weight * factor for name, weight in self._mean_weights.items()}
            self._mean_intercept *= factor

    def learn(self, inputs: dict[str, float], label: Any, weight: float = 1.0) -> None:
        self._plain = None
        self.river.learn_one(inputs, label, weight)
        if self._average:
            share = max(1.0 / self.river.optimizer.n_iterations, 1.0 / self._average)
            means = self._mean_weights
            for name, last in self._last_weights().items():
                mean = means.get(name, 0.0)
                means[name] = mean + share * (last - mean)
            self._mean_intercept += share * (float(self.river.intercept) - self._mean_intercept)

    def _last_weights(self) -> dict[str, float]:
        return {name: float(weight) for name, weight in self.river.weights.items()}

    def state(self) -> list[Any]:
        """`[weights, intercept, steps]`, what the optimizer remembers, what the L1 penalty does, and the means."""
        optimizer = self.river.optimizer
        state: list[Any] = [self._last_weights(), float(self.river.intercept), optimizer.n_iterations]
        state += (_plain(getattr(optimizer, name)) for name in self._remembers)
        if self._l1:
            state += (float(self.river.max_cum_l1), _plain(self.river.cum_l1))
        if self._average:
            state += (dict(self._mean_weights), self._mean_intercept)
        return state


class Gradient(optim.losses.BinaryLoss):
    """A loss whose gradient was worked out before: it is given in place of the label."""

    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        raise NotImplementedError

    def gradient(self, y_true: Any, y_pred: Any) -> Any:
        return y_true


def _plain(remembered: Any) -> dict[str, float] | None:
    if remembered is None:
        return None
    if isinstance(remembered, VectorDict):
        remembered = remembered.to_dict()
    return {name: float(number) for name, number in remembered.items()}


def _put(optimizer: optim.base.Optimizer, name: str, stored: dict[str, float] | None) -> None:
    there = getattr(optimizer, name)
    if there is not None:
        there.update(stored or {})
    elif stored is not None:
        # Optimizers that work on whole vectors make their memory at the first step.
        setattr(optimizer, name, VectorDict(stored))
