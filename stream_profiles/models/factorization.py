"""Factorization machines: River's, made faster, with a state of plain numbers."""

from __future__ import annotations

from math import isfinite, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import facto, optim

from .base import BINARY, REGRESSION, Inputs, Model, Prediction, RunningModel, sigmoid
from .descent import InterceptRate
from .scaling import MAX_ERROR, LabelScale, Standardised

Array = NDArray[np.float64]

#: Of the first values of factors: large enough for products of two to be told from none.
_SPREAD = 0.1


class FactorizationMachine(Model):
    """A linear model that also weighs every pair of inputs, by the product of a few factors of each.

    Rendle, "Factorization Machines", ICDM 2010. Inputs are standardised, cut to 5 standard deviations and brought to
    length 1 together: products of products would otherwise take one strange example for the ruin of all factors.

    Parameters:
        factors: Of each input.
        learning_rate: Step of the gradient descent.
        l2: Weight of the L2 penalty on weights.
        l2_factors: Weight of the L2 penalty on factors.
        intercept_rate: Least step of the intercept; 0 for no intercept.
        intercept_decay: How fast the intercept's step falls from 1.
        seed: Of the factors' first values.

    Examples:
        >>> model = FactorizationMachine().start("binary")
        >>> for n in range(4_000):
        ...     model.learn({"x": float(n % 7), "y": float(n % 5)}, label=(n % 7 > 3) != (n % 5 > 2))
        >>> model.predict({"x": 6.0, "y": 0.0}) > 0.6 > 0.4 > model.predict({"x": 6.0, "y": 4.0})
        True
    """

    tasks = frozenset((BINARY, REGRESSION))

    def __init__(
        self,
        factors: int = 5,
        learning_rate: float = 0.1,
        l2: float = 0.0,
        l2_factors: float = 0.0,
        intercept_rate: float = 0.03,
        intercept_decay: float = 0.5,
        seed: int = 1,
    ) -> None:
        self._require(1 <= factors <= 100, "factors must be from 1 to 100")
        self._require(learning_rate > 0, "learning_rate must be above 0")
        self._require(l2 >= 0 and l2_factors >= 0, "l2 and l2_factors must be at least 0")
        self._require(learning_rate * max(l2, l2_factors) < 1, "learning_rate times a penalty must be below 1")
        self._require(
            intercept_rate >= 0 and intercept_decay >= 0, "intercept_rate and intercept_decay must be at least 0"
        )
        self.factors, self.learning_rate, self.l2, self.l2_factors = factors, learning_rate, l2, l2_factors
        self.intercept_rate, self.intercept_decay = intercept_rate, intercept_decay
        self.seed = seed

    def _start(self, task: str, state: Any) -> RunningModel:
        return _RunningFactorization(self, task, state)


class _Fast:
    """River's factorization machine with the sum over all pairs in linear time: lemma 3.1 of the paper."""

    latents: Any
    l2_latent: float
    latent_optimizer: Any

    def _calculate_interactions(self, x: dict[str, float]) -> float:
        if not x:
            return 0.0
        _, _, products = self._products(x)
        total = products.sum(axis=0)
        return 0.5 * float((total * total - (products * products).sum(axis=0)).sum())

    def _update_latents(self, x: dict[str, float], g_loss: float) -> None:
        if not x:
            return
        values, factors, products = self._products(x)
        gradients = g_loss * values * (products.sum(axis=0) - products) + self.l2_latent * factors
        moved = self.latent_optimizer.step(w=factors, g=gradients)
        for name, own in zip(x, moved, strict=True):
            self.latents[name] = own

    def _products(self, x: dict[str, float]) -> tuple[Array, Array, Array]:
        """Values as a column, factors as rows, and one times the other."""
        values = np.array(list(x.values()))[:, np.newaxis]
        factors = np.array([self.latents[name] for name in x])
        return values, factors, values * factors


class _Classifier(_Fast, facto.FMClassifier):
    pass


class _Regressor(_Fast, facto.FMRegressor):
    pass


class _RunningFactorization(RunningModel):
    compact = True

    def __init__(self, declared: FactorizationMachine, task: str, state: list[Any] | None) -> None:
        self._river: Any = (_Classifier if task == BINARY else _Regressor)(
            n_factors=declared.factors,
            weight_optimizer=optim.SGD(declared.learning_rate),
            latent_optimizer=optim.SGD(declared.learning_rate),
            l2_weight=declared.l2,
            l2_latent=declared.l2_factors,
            intercept_lr=InterceptRate(declared.intercept_rate, declared.intercept_decay),
            latent_initializer=optim.initializers.Normal(sigma=_SPREAD, seed=declared.seed),
        )
        self._task = task
        scale = label = None
        if state is not None:
            river = self._river
            self.examples, *scale, label, weights, latents, river.intercept, steps = state
            river.weights.update(weights)
            for name, factors in latents.items():
                # The first values are drawn as well: those of inputs that turn up later come after them.
                river.latents[name][:] = factors
            river.weight_optimizer.n_iterations = steps
        self._scale = Standardised(scale)
        self._label = LabelScale(label)

    def predict(self, inputs: Inputs) -> Prediction:
        scale = self._scale
        raw = float(self._river._raw_dot(self._unit({name: x for name, x in inputs.items() if name in scale})))
        if self._task == REGRESSION:
            return self._label.restored(raw)
        return sigmoid(raw) if isfinite(raw) else 0.5

    def learn(self, inputs: Inputs, label: Any) -> None:
        self.examples += 1
        self._scale.learn_one(inputs)
        if self._task == REGRESSION:
            factor = self._label.learn(label)
            self._multiply(factor)
            self._river.clip_gradient = 2.0 * MAX_ERROR * min(factor, 1.0)
            label = self._label.standardised(label)
        self._river.learn_one(self._unit(inputs), label)

    def state(self) -> list[Any]:
        river = self._river
        weights = {name: float(weight) for name, weight in river.weights.items()}
        latents = {name: factors.tolist() for name, factors in river.latents.items()}
        steps = river.weight_optimizer.n_iterations
        return [
            self.examples,
            *self._scale.state(),
            self._label.state(),
            weights,
            latents,
            float(river.intercept),
            steps,
        ]

    def _multiply(self, factor: float) -> None:
        river = self._river
        river.intercept *= factor
        for name in river.weights:
            river.weights[name] *= factor
        for name in river.latents:
            # Of pairs it is the product that says something.
            river.latents[name] = river.latents[name] * sqrt(factor)

    def _unit(self, inputs: Inputs) -> Inputs:
        scaled = self._scale.transform_one(inputs)
        length = sqrt(sum(x * x for x in scaled.values()))
        return {name: x / length for name, x in scaled.items()} if length else scaled
