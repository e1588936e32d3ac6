"""Progressive metrics: every example is scored before the model learns from it (prequential evaluation: Dawid,
"Statistical Theory: The Prequential Approach", JRSS A, 1984), next to baselines that need no model.

Here is what all tasks share. What is measured of each is in the modules of the metrics, what one prediction costs in
`losses`. All of it is kept as counts, sums and means, so partitions merge.
"""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct

from ..errors import DefinitionError, StateError
from .baselines import Baseline, MeanOfLabels, ShareOfTrue, SharesOfClasses
from .binary_metrics import BinaryMetrics, CalibrationRange, Confusion, MetricValues
from .losses import FadingLoss, loss
from .multiclass_metrics import NO_GUESS, OTHER, ClassValues, MulticlassMetrics, MulticlassValues
from .regression_metrics import RegressionMetrics, RegressionValues

__all__ = [
    "NO_GUESS",
    "OTHER",
    "BinaryMetrics",
    "CalibrationRange",
    "ClassValues",
    "Confusion",
    "Evaluation",
    "EvaluationValues",
    "FadingLoss",
    "MetricValues",
    "Metrics",
    "MulticlassMetrics",
    "MulticlassValues",
    "RegressionMetrics",
    "RegressionValues",
    "Values",
    "loss",
    "start_metrics",
]

Values = MetricValues | MulticlassValues | RegressionValues


class Metrics(Protocol):
    """What the metrics of all tasks can do."""

    def update(self, prediction: Any, label: Any, /) -> None:
        """Count one prediction and the label that came of it."""

    def state(self) -> list[Any]:
        """Plain data for msgpack or JSON; metrics started from it go on bit for bit as these would have."""

    def merge(self, other: Any) -> None:
        """Add what metrics of the same task counted of other examples."""

    def values(self) -> Values:
        """The metrics of all examples so far."""


_TASKS: dict[str, tuple[type[Metrics], type[Baseline]]] = {
    "binary": (BinaryMetrics, ShareOfTrue),
    "multiclass": (MulticlassMetrics, SharesOfClasses),
    "regression": (RegressionMetrics, MeanOfLabels),
}
#: Of a stored evaluation, besides the task.
_PARTS = {"model", "prevalence", "last_label", "usual"}


def start_metrics(task: str, state: list[Any] | None = None) -> Metrics:
    """Metrics of a task, fresh or from what their `state()` gave.

    Raises:
        DefinitionError: there is no such task.
        StateError: that is no state of such metrics.
    """
    kind, _ = _kinds(task)
    metrics: Metrics = _started(kind, state)
    return metrics


class Evaluation:
    """How good a model has been, next to two baselines that predicted the same examples.

    `prevalence` predicts what is usual by the labels so far, `last_label` what the user's label was the last time. All
    three are scored first and then shown the label.

    Parameters:
        task: "binary", "multiclass" or "regression".
        state: What `state()` gave; or a state of `BinaryMetrics`, which is what release 0.1 kept: the baselines then
            begin now.

    Raises:
        DefinitionError: there is no such task.
        StateError: that is no state of an evaluation of this task.

    Examples:
        >>> evaluation = Evaluation("regression")
        >>> for prediction, label, last_label in [(9.0, 10.0, None), (11.0, 10.0, 10.0), (10.0, 13.0, 10.0)]:
        ...     evaluation.update(prediction, label, last_label)
        >>> values = evaluation.values()
        >>> [round(each.mae, 2) for each in (values.model, values.prevalence, values.last_label)]
        [1.67, 4.33, 4.33]
    """

    def __init__(self, task: str, state: dict[str, Any] | list[Any] | None = None) -> None:
        kind, baseline = _kinds(task)
        self.task = task
        known: dict[str, Any]
        if state is None:
            known = {}
        elif isinstance(state, list):
            known = {"model": state}
        elif isinstance(state, dict) and state.get("task") == task and state.keys() >= _PARTS:
            known = state
        else:
            raise StateError(f"this is not a stored evaluation of a {task} target: {str(state)[:100]}")
        self.model: Metrics = _started(kind, known.get("model"))
        self.prevalence: Metrics = _started(kind, known.get("prevalence"))
        self.last_label: Metrics = _started(kind, known.get("last_label"))
        self._usual: Baseline = _started(baseline, known.get("usual"))

    def update(self, prediction: Any, label: Any, last_label: Any = None) -> None:
        """Count one prediction and the label that came of it.

        Parameters:
            prediction: The model's, made before it learned from this example.
            label: What came of it.
            last_label: The user's latest label that was known when the prediction was made; None where there is none.
        """
        self.model.update(prediction, label)
        self.prevalence.update(self._usual.predict(), label)
        self.last_label.update(self._usual.after(last_label), label)
        self._usual.learn(label)

    def state(self) -> dict[str, Any]:
        parts = {name: getattr(self, name).state() for name in ("model", "prevalence", "last_label")}
        return {"task": self.task, **parts, "usual": self._usual.state()}

    def merge(self, other: Evaluation) -> None:
        """Add another partition's evaluation. Each partition's baselines were scored by what its own labels had taught.

        Raises:
            StateError: it is one of another task.
        """
        if other.task != self.task:
            raise StateError(f"an evaluation of a {other.task} target cannot be added to one of a {self.task} target")
        self.model.merge(other.model)
        self.prevalence.merge(other.prevalence)
        self.last_label.merge(other.last_label)
        self._usual.merge(other._usual)

    def values(self) -> EvaluationValues:
        return EvaluationValues(
            task=self.task,
            model=self.model.values(),
            prevalence=self.prevalence.values(),
            last_label=self.last_label.values(),
        )


class EvaluationValues(Struct, kw_only=True, frozen=True):
    """Metrics of a model and of the baselines, all of the task's kind."""

    task: str
    model: Values
    prevalence: Values
    last_label: Values


def _kinds(task: str) -> tuple[type[Metrics], type[Baseline]]:
    kinds = _TASKS.get(task)
    if kinds is None:
        raise DefinitionError(f"there is no task {task!r}: it is one of {', '.join(_TASKS)}")
    return kinds


def _started(kind: Any, state: Any) -> Any:
    try:
        return kind(state)
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        raise StateError(f"this is not a stored state of {kind.__name__} ({error}): {str(state)[:100]}") from None
