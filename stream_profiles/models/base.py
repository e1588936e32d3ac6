"""What every model is, so that a new one is one file that nothing else needs to know about.

A model is declared once and started once per partition and target. It turns inputs into a prediction, and learns from
one example at a time. It never reads a clock, does no I/O, and draws its random numbers from a seed of its own: the
same examples in the same order make the same model, bit for bit, in every process. Which predictions are made, and
when their labels are known, is for the target; how good they were, for the metrics.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from math import exp, isfinite, log
from typing import Any, ClassVar, Generic, TypeVar

from ..errors import DefinitionError, StateError
from ..features.base import config_of

Inputs = dict[str, float]
#: Of the task "binary" a probability, of "multiclass" probabilities by label (none before the first lesson), of
#: "regression" a number.
Prediction = float | dict[str, float]

R = TypeVar("R")

BINARY, MULTICLASS, REGRESSION = "binary", "multiclass", "regression"
#: Labels that a multiclass model tells apart. Examples of one that turns up later teach it nothing, so that a model's
#: size does not depend on what arrives.
MAX_CLASSES = 64


class Configured:
    """Something that is declared: its constructor's parameters are its configuration."""

    #: Parameters that a later release added. They are no part of the configuration while they have their default:
    #: state that was stored before there was such a parameter is found again.
    added_parameters: ClassVar[frozenset[str]] = frozenset()

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        defaults = self._defaults()
        return {
            name: value
            for name, value in config_of(self).items()
            if name not in self.added_parameters or value != defaults[name]
        }

    def __repr__(self) -> str:
        defaults = self._defaults()
        told = [f"{name}={value!r}" for name, value in self.config.items() if value != defaults[name]]
        return f"{type(self).__name__}({', '.join(told)})"

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        return {name: each.default for name, each in inspect.signature(cls).parameters.items()}

    def _require(self, condition: bool, message: str) -> None:
        """Raises: DefinitionError with the message, unless the condition holds. For constructors."""
        if not condition:
            raise DefinitionError(f"{type(self).__name__}: {message}")


class Startable(Configured, Generic[R]):
    """Something that is declared once and runs in every partition. A subclass implements `_start`."""

    def start(self, state: Any = None) -> R:
        """One that runs, fresh or from what its `state` gave.

        Raises:
            StateError: the state is not one that this release can read.
        """
        try:
            return self._start(state)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise StateError(f"the stored state of {self!r} cannot be read: {error!r}") from error

    def _start(self, state: Any) -> R:
        raise NotImplementedError


class Model(Configured):
    """A model as it is declared.

    A subclass's constructor is its configuration: every parameter is stored under its own name. A subclass names its
    `tasks` and implements `_start`, which is called with one of them.
    """

    #: Of "binary", "multiclass" and "regression" those it can learn.
    tasks: frozenset[str] = frozenset()

    def start(self, task: str, state: Any = None) -> RunningModel:
        """A model that learns, fresh or from what `RunningModel.state` gave.

        Raises:
            DefinitionError: it is no model for the task.
            StateError: the state is not one that this release can read.
        """
        if task not in self.tasks:
            raise DefinitionError(
                f"{self!r} is a model for {' and '.join(sorted(self.tasks))} targets; for a {task} one take another"
            )
        if state is None:
            return self._start(task, None)
        try:
            return self._start(task, state)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise StateError(f"the stored state of {self!r} cannot be read: {error!r}") from error

    def _start(self, task: str, state: Any) -> RunningModel:
        raise NotImplementedError


class RunningModel(ABC):
    """One partition's model of one target."""

    #: Learned so far.
    examples: int = 0
    #: Whether the state is small, and cheap to make: then it is stored with every write, otherwise now and then.
    compact: bool = False

    @abstractmethod
    def predict(self, inputs: Inputs) -> Prediction:
        """What the model makes of the inputs. Always finite, and changes nothing."""

    @abstractmethod
    def learn(self, inputs: Inputs, label: Any) -> None:
        """Take in one example. A missing input says nothing; inputs may turn up at any time."""

    @abstractmethod
    def state(self) -> Any:
        """Plain data, from which `Model.start` goes on as if it had never been stored."""

    def contributions(self, inputs: Inputs) -> dict[str, float] | None:
        """What each input adds to the score, in log-odds or in the label's unit; None where the model is not linear."""
        return None

    def deviations(self, inputs: Inputs) -> dict[str, float] | None:
        """How many standard deviations each input is from its mean, where there are contributions; None elsewhere."""
        return None

    def explained(self, inputs: Inputs) -> tuple[dict[str, float], dict[str, float]] | None:
        """Contributions and deviations, for one that is asked for both at every prediction."""
        contributions, deviations = self.contributions(inputs), self.deviations(inputs)
        return None if contributions is None or deviations is None else (contributions, deviations)

    def importances(self) -> dict[str, float] | None:
        """How much each input has to say, all together 1; None where the model cannot tell."""
        return None


def sigmoid(log_odds: float) -> float:
    """The probability with these log-odds.

    Examples:
        >>> sigmoid(0.0), sigmoid(1000.0), sigmoid(-1000.0)
        (0.5, 1.0, 0.0)
    """
    if log_odds >= 0.0:
        return 1.0 / (1.0 + exp(-log_odds))
    odds = exp(log_odds) if log_odds > -745.0 else 0.0
    return odds / (1.0 + odds)


def logit(probability: float, least: float = 1e-12) -> float:
    """The log-odds of a probability, which is cut to `least` above 0 and below 1.

    Examples:
        >>> logit(0.5), round(logit(0.9), 3)
        (0.0, 2.197)
    """
    probability = min(max(probability, least), 1.0 - least)
    return log(probability / (1.0 - probability))


def softmax(scores: dict[str, float]) -> dict[str, float]:
    """Probabilities with these log-odds against each other.

    Examples:
        >>> softmax({"a": 0.0, "b": 0.0})
        {'a': 0.5, 'b': 0.5}
    """
    highest = max(scores.values(), default=0.0)
    odds = {label: exp(score - highest) for label, score in scores.items()}
    total = sum(odds.values())
    return {label: odd / total for label, odd in odds.items()}


def shares(amounts: dict[str, float]) -> dict[str, float] | None:
    """Each amount's part of all; None when there is nothing to share.

    Examples:
        >>> shares({"a": 1.0, "b": 3.0})
        {'a': 0.25, 'b': 0.75}
    """
    total = sum(amounts.values())
    return {name: amount / total for name, amount in amounts.items()} if total > 0.0 and isfinite(total) else None
