"""What one wrong prediction costs, and the mean of such costs over the latest examples.

The metrics add these losses up over all examples; to choose between models it takes those of late: `FadingLoss`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log, sqrt
from typing import Any

from ..errors import DefinitionError

#: Probabilities are cut to this much above 0 and below 1, so that certainty that was wrong costs 34.5 and not infinity.
CLIP = 1e-15
#: Numbers are cut to this much, so that squares of squares, and sums of as many as there can be, stay finite.
_MAX_NUMBER = 1e50


def loss(task: str, prediction: Any, label: Any) -> float:
    """What a prediction costs, once its label is known: log-loss, or the squared error of a regression.

    Parameters:
        task: "binary", "multiclass" or "regression".
        prediction: Probability of true; probabilities by class; a number.
        label: A bool; a class; a number.

    Returns:
        A finite number, at least 0, whatever the prediction.

    Raises:
        DefinitionError: there is no such task.

    Examples:
        >>> round(loss("binary", 0.8, True), 3), round(loss("multiclass", {"a": 0.8, "b": 0.2}, "b"), 3)
        (0.223, 1.609)
        >>> loss("regression", 12.0, 10.0)
        4.0
    """
    cost = _LOSSES.get(task)
    if cost is None:
        raise DefinitionError(f"there is no task {task!r}: it is one of {', '.join(_LOSSES)}")
    return cost(prediction, label)


def clip(probability: float) -> float:
    """A probability of which a logarithm can be taken. What is not a number says nothing: 0.5."""
    if probability != probability:
        return 0.5
    return min(max(probability, CLIP), 1.0 - CLIP)


def bounded(number: float) -> float:
    """A number of which sums of squares can be taken. What is not a number, a model that diverged, is as bad as any."""
    if -_MAX_NUMBER <= number <= _MAX_NUMBER:
        return number
    return -_MAX_NUMBER if number < 0.0 else _MAX_NUMBER


def binary_loss(probability: float, label: bool) -> float:
    clipped = clip(probability)
    return -log(clipped if label else 1.0 - clipped)


def multiclass_loss(prediction: Mapping[str, float], label: str) -> float:
    # As 0, and not as the 0.5 of a binary target: with many classes even half is a lot to say of one.
    probability = prediction.get(label, 0.0)
    return -log(min(probability, 1.0 - CLIP) if probability > CLIP else CLIP)


def regression_loss(prediction: float, label: float) -> float:
    error = bounded(prediction) - bounded(label)
    return error * error


_LOSSES: dict[str, Callable[[Any, Any], float]] = {
    "binary": binary_loss,
    "multiclass": multiclass_loss,
    "regression": regression_loss,
}


class FadingLoss:
    """Mean of a loss over the latest examples, each weighing half as much `half_life` examples later.

    To compare two models, give it the difference of their losses at each example: what makes an example hard for both
    cancels, so the mean is known far better than either loss by itself. The mean over its standard error then says
    whether the difference is more than chance. The error is that of independent examples, and so too small where labels
    of neighbouring examples go together.

    Fading factors are of Gama, Sebastião and Rodrigues, "On evaluating stream learning algorithms", Machine Learning
    90, 2013; the weighted mean and variance in one pass of West, "Updating mean and variance estimates", CACM 22, 1979;
    the effective size of Kish, "Survey Sampling", 1965.

    Parameters:
        half_life: In examples, at least 1.
        state: What `state()` gave.

    Raises:
        DefinitionError: the half-life is shorter than that.

    Examples:
        >>> difference = FadingLoss(half_life=500)
        >>> for n in range(2_000):  # the first model's loss less the second's
        ...     difference.update(0.1 + 0.2 * (n % 2))
        >>> round(difference.mean, 3), round(difference.effective_size), round(difference.standard_error, 4)
        (0.2, 1273, 0.0028)
    """

    def __init__(self, half_life: float, state: list[Any] | None = None) -> None:
        if not half_life >= 1:
            raise DefinitionError(f"half_life={half_life!r}: give a number of examples, at least 1")
        self._fade: float = 0.5 ** (1.0 / half_life)
        #: Sum of the weights, of their squares, and of weight times squared difference from the mean.
        self._weight, self._weight_squared, self._mean, self._spread = 0.0, 0.0, 0.0, 0.0
        self.examples = 0
        if state is not None:
            self.examples, self._weight, self._weight_squared, self._mean, self._spread = state

    def update(self, value: float) -> None:
        """Take in the loss, or the difference of losses, of the next example."""
        fade = self._fade
        self.examples += 1
        self._weight = self._weight * fade + 1.0
        self._weight_squared = self._weight_squared * fade * fade + 1.0
        difference = value - self._mean
        self._mean += difference / self._weight
        self._spread = self._spread * fade + difference * (value - self._mean)

    @property
    def mean(self) -> float | None:
        """None before the first example."""
        return self._mean if self.examples else None

    @property
    def variance(self) -> float | None:
        """Of single losses around the mean, unbiased for weights that do not change; None before the second example."""
        if self.examples < 2:
            return None
        return self._spread / (self._weight - self._weight_squared / self._weight)

    @property
    def effective_size(self) -> float:
        """How many examples of equal weight would say as much: some 2.9 half-lives in the long run."""
        return self._weight * self._weight / self._weight_squared if self.examples else 0.0

    @property
    def standard_error(self) -> float | None:
        """Of the mean; None before the second example."""
        variance = self.variance
        return None if variance is None else sqrt(variance / self.effective_size)

    def state(self) -> list[Any]:
        return [self.examples, self._weight, self._weight_squared, self._mean, self._spread]
