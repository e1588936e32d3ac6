"""Linear models: River's regressions over standardised inputs, with a state that another release can read.

What runs is River; what is added is the cut of strange inputs, several classes, and the way in and out of a changelog.
Their scores are sums, so that each input's part in one can be told (`contributions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from river import optim

from .base import BINARY, MAX_CLASSES, MULTICLASS, REGRESSION, Inputs, RunningModel, shares, sigmoid, softmax
from .descent import Descent, Gradient, Line
from .scaling import MAX_ERROR, LabelScale, Standardised

_BALANCED = "balanced"


class LogisticRegression(Descent):
    """Logistic regression, learning one example at a time; of several classes by a softmax over one line each.

    Inputs are standardised by the examples so far and cut to 5 standard deviations either way.

    Parameters:
        learning_rate: Step of the gradient descent.
        l2: Weight of the L2 penalty.
        optimizer: "sgd", "momentum", "adagrad", "rmsprop", "adam", "adamax", "amsgrad", "nadam" or "ftrl".
        l1: Weight of the L1 penalty, which makes weights 0. With "ftrl" both penalties go together.
        class_weights: How much an example counts by its label, such as `{True: 10.0}`; "balanced" makes all labels
            count the same, by their shares so far. Scores are then as of such a population, and no longer the
            probabilities in this one.
        intercept_rate: Least step of the intercept; 0 for no intercept.
        intercept_decay: How fast the intercept's step falls from 1: as the number of examples to the power of minus
            this; 0 to begin with the least.
        average: Predict with the mean of the weights of about so many latest examples, which are steadier than the last
            ones; 0 for the last ones.

    Examples:
        >>> model = LogisticRegression(learning_rate=0.1).start("binary")
        >>> for n in range(200):
        ...     model.learn({"x": float(n % 2)}, label=bool(n % 2))
        >>> model.predict({"x": 1.0}) > 0.8 > 0.2 > model.predict({"x": 0.0})
        True
        >>> {name: round(share, 2) for name, share in model.contributions({"x": 1.0}).items()}
        {'x': 2.91}
    """

    tasks = frozenset((BINARY, MULTICLASS))
    added_parameters = frozenset(("optimizer", "l1", "class_weights", "intercept_rate", "intercept_decay", "average"))

    def __init__(
        self,
        learning_rate: float = 0.01,
        l2: float = 0.0,
        *,
        optimizer: str = "sgd",
        l1: float = 0.0,
        class_weights: Mapping[Any, float] | str | None = None,
        intercept_rate: float = 0.03,
        intercept_decay: float = 0.5,
        average: int = 0,
    ) -> None:
        self.learning_rate, self.l2, self.optimizer, self.l1 = learning_rate, l2, optimizer, l1
        self.intercept_rate, self.intercept_decay, self.average = intercept_rate, intercept_decay, average
        self._check_descent()
        if isinstance(class_weights, Mapping):
            self._require(all(weight >= 0 for weight in class_weights.values()), "class_weights must be at least 0")
            class_weights = dict(class_weights)
        else:
            self._require(
                class_weights in (None, _BALANCED),
                f"class_weights takes a dict of label and weight, or {_BALANCED!r}, not {class_weights!r}",
            )
        self.class_weights = class_weights

    def _start(self, task: str, state: Any) -> RunningModel:
        return _RunningLogistic(self, state) if task == BINARY else _RunningSoftmax(self, state)


class _Weights:
    """How much an example counts, by its label. State: how often each label was, where that matters."""

    def __init__(self, declared: Mapping[Any, float] | str | None, state: list[Any] | None = None) -> None:
        self._declared = declared
        self._counts: dict[Any, int] = dict(state or ())

    def learn(self, label: Any) -> float:
        """The weight of the next example."""
        if self._declared is None:
            return 1.0
        if isinstance(self._declared, Mapping):
            return self._declared.get(label, 1.0)
        self._counts[label] = self._counts.get(label, 0) + 1
        # The rarest label counts in full and the others less. The other way round one example could be a leap.
        return min(self._counts.values()) / self._counts[label]

    def state(self) -> list[Any]:
        return [[[label, count] for label, count in self._counts.items()]] if self._declared == _BALANCED else []


class _RunningLogistic(RunningModel):
    compact = True

    def __init__(self, declared: LogisticRegression, state: list[Any] | None) -> None:
        scale = line = counts = None
        if state is not None:
            self.examples, *state = state
            scale, line = state[:3], state[3:]
            counts = line.pop() if declared.class_weights == _BALANCED else None
        self._scale = Standardised(scale)
        self._line = Line(declared, optim.losses.Log(), line)
        self._weights = _Weights(declared.class_weights, counts)
        #: The inputs that were predicted last, and what the scaler makes of them: an explanation is asked right after.
        self._last: tuple[Inputs | None, Inputs] = (None, {})

    @property
    def intercept(self) -> float:
        return self._line.intercept

    def predict(self, inputs: Inputs) -> float:
        """Probability of the label being true."""
        scaled = self._scale.transform_one(inputs)
        self._last = (inputs, scaled)
        if self._line.averages:
            return sigmoid(self._line.predict(scaled))
        probability: float = self._line.river.predict_proba_one(scaled)[True]
        return probability

    def learn(self, inputs: Inputs, label: bool) -> None:
        self._last = (None, {})
        self._scale.learn_one(inputs)
        self._line.learn(self._scale.transform_one(inputs), label, self._weights.learn(label))
        self.examples += 1

    def deviations(self, inputs: Inputs) -> dict[str, float]:
        return self._scale.transform_one(inputs)

    def contributions(self, inputs: Inputs) -> dict[str, float]:
        """Together with `intercept` the log-odds of the score."""
        return products(self._line.weights, self._scale.transform_one(inputs))

    def explained(self, inputs: Inputs) -> tuple[dict[str, float], dict[str, float]]:
        asked, scaled = self._last
        if asked is not inputs:
            scaled = self._scale.transform_one(inputs)
        return products(self._line.weights, scaled), scaled

    def importances(self) -> dict[str, float] | None:
        return shares({name: abs(weight) for name, weight in self._line.weights.items()})

    def state(self) -> list[Any]:
        return [self.examples, *self._scale.state(), *self._line.state(), *self._weights.state()]


class _RunningSoftmax(RunningModel):
    """One line per class, all moved by the gradient of the softmax's log-loss.

    One regression against the rest per class would give probabilities that do not belong together: the log-loss was
    worse by 6% with five classes of which one had a share of 1%. River's own softmax regression has no intercept.
    """

    compact = True

    def __init__(self, declared: LogisticRegression, state: list[Any] | None) -> None:
        self._declared = declared
        scale, lines, counts = None, [], None
        if state is not None:
            self.examples, *state = state
            scale, lines, (counts, *_) = state[:3], state[3], (*state[4:], None)
        self._scale = Standardised(scale)
        self._lines = {label: self._new(line) for label, line in lines}
        self._weights = _Weights(declared.class_weights, counts)

    def predict(self, inputs: Inputs) -> dict[str, float]:
        scaled = self._scale.transform_one(inputs)
        return softmax({label: line.predict(scaled) for label, line in self._lines.items()})

    def learn(self, inputs: Inputs, label: str) -> None:
        self.examples += 1
        if label not in self._lines:
            if len(self._lines) >= MAX_CLASSES:
                return
            self._lines[label] = self._new(None)
        self._scale.learn_one(inputs)
        scaled = self._scale.transform_one(inputs)
        probabilities = softmax({each: line.raw(scaled) for each, line in self._lines.items()})
        weight = self._weights.learn(label)
        for each, line in self._lines.items():
            line.learn(scaled, probabilities[each] - (each == label), weight)

    def deviations(self, inputs: Inputs) -> dict[str, float]:
        return self._scale.transform_one(inputs)

    def contributions(self, inputs: Inputs) -> dict[str, float]:
        """To the log-odds of the most probable class, against the mean of all."""
        scaled = self._scale.transform_one(inputs)
        scores = {label: line.predict(scaled) for label, line in self._lines.items()}
        if not scores:
            return dict.fromkeys(inputs, 0.0)
        likeliest = max(scores, key=scores.__getitem__)
        weights = {label: line.weights for label, line in self._lines.items()}
        means = {
            name: sum(each.get(name, 0.0) for each in weights.values()) / len(weights) for name in weights[likeliest]
        }
        return products({name: weight - means[name] for name, weight in weights[likeliest].items()}, scaled)

    def importances(self) -> dict[str, float] | None:
        sizes: dict[str, float] = {}
        for line in self._lines.values():
            for name, weight in line.weights.items():
                sizes[name] = sizes.get(name, 0.0) + abs(weight)
        return shares(sizes)

    def state(self) -> list[Any]:
        lines = [[label, line.state()] for label, line in self._lines.items()]
        return [self.examples, *self._scale.state(), lines, *self._weights.state()]

    def _new(self, state: list[Any] | None) -> Line:
        return Line(self._declared, Gradient(), state)


class LinearRegression(Descent):
    """Linear regression, learning one example at a time.

    Inputs are standardised by the examples so far and cut to 5 standard deviations either way, and so are errors; the
    label is standardised too, so that the learning rate need not fit its unit. With "sgd" a step is an implicit one
    (Toulis and Airoldi, "Asymptotic and Finite-Sample Properties of Estimators Based on Stochastic Gradients", Annals
    of Statistics 45, 2017): it cannot overshoot, however many inputs there are and however alike.

    Parameters:
        learning_rate: Step of the gradient descent.
        l2: Weight of the L2 penalty.
        optimizer: As of `LogisticRegression`.
        l1: Weight of the L1 penalty.
        intercept_rate: Least step of the intercept; 0 for none, and then the prediction is the mean label where all
            inputs are as usual.
        intercept_decay: How fast the intercept's step falls from 1.
        average: As of `LogisticRegression`.

    Examples:
        >>> model = LinearRegression(learning_rate=0.1).start("regression")
        >>> for n in range(500):
        ...     model.learn({"x": float(n % 5)}, label=10.0 * (n % 5) + 300.0)
        >>> round(model.predict({"x": 3.0}))
        330
    """

    tasks = frozenset((REGRESSION,))

    def __init__(
        self,
        learning_rate: float = 0.01,
        l2: float = 0.0,
        *,
        optimizer: str = "sgd",
        l1: float = 0.0,
        intercept_rate: float = 0.03,
        intercept_decay: float = 0.5,
        average: int = 0,
    ) -> None:
        self.learning_rate, self.l2, self.optimizer, self.l1 = learning_rate, l2, optimizer, l1
        self.intercept_rate, self.intercept_decay, self.average = intercept_rate, intercept_decay, average
        self._check_descent()

    def _start(self, task: str, state: Any) -> RunningModel:
        return _RunningLinear(self, state)


class _RunningLinear(RunningModel):
    compact = True

    def __init__(self, declared: LinearRegression, state: list[Any] | None) -> None:
        scale = label = line = None
        if state is not None:
            self.examples, *scale, label, line = state
        self._scale = Standardised(scale)
        self._label = LabelScale(label)
        self._line = Line(declared, optim.losses.Squared(), line)
        self._implicit = declared.optimizer == "sgd"

    @property
    def intercept(self) -> float:
        return self._label.restored(self._line.intercept)

    def predict(self, inputs: Inputs) -> float:
        return self._label.restored(self._line.predict(self._scale.transform_one(inputs)))

    def learn(self, inputs: Inputs, label: float) -> None:
        self.examples += 1
        factor = self._label.learn(label)
        self._line.scale(factor)
        # The gradient of a squared error is twice the error.
        self._line.river.clip_gradient = 2.0 * MAX_ERROR * min(factor, 1.0)
        self._scale.learn_one(inputs)
        scaled = self._scale.transform_one(inputs)
        weight = 1.0
        if self._implicit:
            optimizer, intercept = self._line.river.optimizer, self._line.river.intercept_lr
            reach = optimizer.learning_rate * sum(x * x for x in scaled.values()) + intercept.get(
                optimizer.n_iterations
            )
            weight = 1.0 / (1.0 + 2.0 * reach)
        self._line.learn(scaled, self._label.standardised(label), weight)

    def deviations(self, inputs: Inputs) -> dict[str, float]:
        return self._scale.transform_one(inputs)

    def contributions(self, inputs: Inputs) -> dict[str, float]:
        """Together with `intercept` the prediction, in the label's unit."""
        unit = self._label.deviation
        weights = {name: weight * unit for name, weight in self._line.weights.items()}
        return products(weights, self._scale.transform_one(inputs))

    def importances(self) -> dict[str, float] | None:
        return shares({name: abs(weight) for name, weight in self._line.weights.items()})

    def state(self) -> list[Any]:
        return [self.examples, *self._scale.state(), self._label.state(), self._line.state()]


def products(weights: Mapping[str, float], inputs: Inputs) -> dict[str, float]:
    """Each input times its weight; 0 where there is none."""
    return {name: float(weights.get(name, 0.0)) * value for name, value in inputs.items()}
