"""A partition's learner of one target: the model that is asked, those that want its place, and how good they all are.

Champion and challengers predict side by side, and learn from the same examples when the label is known. Each one's
prediction was made before, so the comparison is as honest as the metrics. A challenger takes the champion's place when
it has been better by more than chance; a search drops the worse half of its contenders now and then; a detected drift
starts the champion anew or swaps it. All of it follows from the examples alone, in their order, so a learner that is
restored and shown the same examples again is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from msgspec import Struct

from ..errors import DefinitionError, StateError
from .base import Inputs, Model, RunningModel
from .drift import Drift
from .explanations import Reason, reasons
from .journal import Journaled
from .labels import SCALES
from .losses import FadingLoss, loss
from .metrics import Evaluation
from .scaling import Standardised

#: `[contender, prediction, contender, prediction, ...]`, the champion's first.
Predictions = list[Any]

#: Losses of late: a contender is judged by the last thousand or two of examples.
_HALF_LIFE = 500
#: A challenger is promoted when it has been better by this many standard errors. It is looked at after every example:
#: of two equal models one would be promoted within 10,000 examples in one case of ten with 3, in one of 200 with 4.
_ERRORS_AHEAD = 4.0
#: Losses above this are counted as this where models are compared: one surprise must not decide.
_MAX_LOSS = 10.0


class Contender:
    """One of a target's models, at work."""

    def __init__(self, number: int, declared: int, running: RunningModel, loss: FadingLoss, behind: FadingLoss) -> None:
        #: Identifies it among all there have been; predictions name it.
        self.number = number
        #: Which of the declared models it is.
        self.declared = declared
        self.running = running
        self.loss = loss
        #: Its loss less the champion's, since the champion is one.
        self.behind = behind

    def state(self) -> list[Any]:
        return [self.number, self.declared, self.running.state(), self.loss.state(), self.behind.state()]


class Rules(Struct, frozen=True):
    """What a learner is to do, compiled from its target."""

    task: str
    #: The champion to begin with, then the challengers.
    models: Sequence[Model]
    #: Examples after which the worse half of the contenders is dropped, as often as it takes; 0 for never.
    rung: int = 0
    #: Least examples in which a challenger must have been compared with the champion.
    promote_after: int = 500
    drift: Drift | None = None
    #: Scale on which numbers are learned, of `labels.SCALES`.
    scale: str | None = None
    #: Names of the inputs, in the order in which they come.
    names: Sequence[str] = ()
    #: Names of the inputs that are brought to mean 0 and deviation 1 before a model sees them.
    standardised: Sequence[str] = ()


class Learner(Journaled):
    """One partition's models of a target.

    Parameters:
        rules: What to do.
        state: What `state` gave.

    Raises:
        StateError: the state is not one that this release can read.
    """

    def __init__(self, rules: Rules, state: Any = None) -> None:
        super().__init__()
        self._rules = rules
        scale = (None, None) if rules.scale is None else SCALES[rules.scale]
        self._scale_label: Callable[[float], float] | None = scale[0]
        self._scale_back: Callable[[float], float] | None = scale[1]
        self._most_loss = inf if rules.task == "regression" else _MAX_LOSS
        #: Examples learned from.
        self.examples = 0
        self.promotions = self.drifts = 0
        #: Called with prediction, label, last label and time of each example, once it is scored.
        self.observer: Callable[[Any, Any, Any, int], None] | None = None
        self._scaler = Standardised() if rules.standardised else None
        self._scaled = frozenset(rules.standardised)
        if state is None:
            self.evaluation = Evaluation(rules.task)
            self._drift = None if rules.drift is None else rules.drift.start()
            self.contenders = [self._new(number, number) for number in range(len(rules.models))]
            self._next_number = len(rules.models)
        elif isinstance(state, list) and len(state) == 2:
            # Of the first release: one model and the metrics of its predictions.
            self.evaluation = Evaluation(rules.task, state[1])
            self._drift = None if rules.drift is None else rules.drift.start()
            self.contenders = [self._new(number, number) for number in range(len(rules.models))]
            self.contenders[0].running = rules.models[0].start(rules.task, state[0])
            self.examples = self.contenders[0].running.examples
            self._next_number = len(rules.models)
        else:
            self._restore(state)

    @property
    def champion(self) -> Contender:
        return self.contenders[0]

    @property
    def compact(self) -> bool:
        return all(contender.running.compact for contender in self.contenders)

    def predict(self, inputs: Inputs) -> Predictions:
        if self._scaler is not None:
            inputs = self._scale(inputs)
        predictions: Predictions = []
        for contender in self.contenders:
            predictions += (contender.number, contender.running.predict(inputs))
        if self._scale_back is not None:
            predictions[1::2] = map(self._scale_back, predictions[1::2])
        return predictions

    def reasons(self, inputs: Inputs, top: int) -> list[Reason] | None:
        """What had most to say in the champion's prediction; None where the model cannot tell."""
        if self._scaler is not None:
            inputs = self._scale(inputs)
        explained = self.champion.running.explained(inputs)
        return None if explained is None else reasons(*explained, top)

    def learn(self, predictions: Predictions, inputs: Inputs, label: Any, last_label: Any, time: int) -> None:
        """Count how good the predictions were, then learn from the example.

        Parameters:
            predictions: What `predict` gave when the prediction was made.
            inputs: What it was made from.
            label: What came of it.
            last_label: What the "last label" baseline said when the prediction was made.
            time: Of the prediction, ms.
        """
        task = self._rules.task
        published = predictions[1]
        self.changed = True
        if not self.compact:
            self.note([predictions, list(inputs.values()), label, last_label, time])
        self.evaluation.update(published, label, last_label)
        if self.observer is not None:
            self.observer(published, label, last_label, time)
        if self._scaler is not None:
            self._scaler.learn_one({name: inputs[name] for name in self._rules.standardised})
            inputs = self._scale(inputs)
        failed: Exception | None = None
        lesson = label if self._scale_label is None else self._scale_label(label)
        for contender in self.contenders:
            try:
                contender.running.learn(inputs, lesson)
            except Exception as error:  # of somebody's own model; the others are to learn all the same
                failed = failed or error
        self.examples += 1
        self._compare(predictions, label)
        if self._drift is not None and self._drift.update(min(loss(task, published, label), self._most_loss)):
            self._react()
        if failed is not None:
            raise failed

    def relearn(self, lesson: Any) -> None:
        predictions, numbers, label, last_label, time = lesson
        self.learn(predictions, dict(zip(self._rules.names, numbers, strict=True)), label, last_label, time)

    def importances(self) -> dict[str, float] | None:
        return self.champion.running.importances()

    def report(self) -> dict[str, Any]:
        """How it stands, JSON-able: evaluation, contenders by their models' place in the target, importances."""
        return {
            "evaluation": self.evaluation.state(),
            "examples": self.examples,
            "promotions": self.promotions,
            "drifts": self.drifts,
            "importances": self.importances(),
            "contenders": [
                {
                    "model": contender.declared,
                    "examples": contender.running.examples,
                    "loss": contender.loss.mean,
                    "behind": contender.behind.mean,
                }
                for contender in self.contenders
            ],
        }

    def state(self) -> dict[str, Any]:
        return {
            "examples": self.examples,
            "promotions": self.promotions,
            "drifts": self.drifts,
            "next": self._next_number,
            "evaluation": self.evaluation.state(),
            "contenders": [contender.state() for contender in self.contenders],
            "drift": None if self._drift is None else self._drift.state(),
            "scaler": None if self._scaler is None else self._scaler.state(),
        }

    def _restore(self, state: Any) -> None:
        rules = self._rules
        try:
            self.examples, self.promotions, self.drifts = state["examples"], state["promotions"], state["drifts"]
            self._next_number = state["next"]
            self.evaluation = Evaluation(rules.task, state["evaluation"])
            self.contenders = [
                Contender(
                    number,
                    declared,
                    rules.models[declared].start(rules.task, running),
                    FadingLoss(_HALF_LIFE, late),
                    FadingLoss(_HALF_LIFE, behind),
                )
                for number, declared, running, late, behind in state["contenders"]
            ]
            self._drift = None if rules.drift is None else rules.drift.start(state["drift"])
            if self._scaler is not None:
                self._scaler = Standardised(state["scaler"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise StateError(f"the stored state of a learner cannot be read: {error!r}") from error

    def _new(self, number: int, declared: int) -> Contender:
        running = self._rules.models[declared].start(self._rules.task)
        return Contender(number, declared, running, FadingLoss(_HALF_LIFE), FadingLoss(_HALF_LIFE))

    def _anew(self, contender: Contender) -> Contender:
        """The same declared model, knowing nothing."""
        self._next_number += 1
        return self._new(self._next_number - 1, contender.declared)

    def _compare(self, predictions: Predictions, label: Any) -> None:
        task, most = self._rules.task, self._most_loss
        if len(self.contenders) == 1:
            if predictions[0] == self.champion.number:
                self.champion.loss.update(min(loss(task, predictions[1], label), most))
            return
        losses = {
            predictions[at]: min(loss(task, predictions[at + 1], label), most) for at in range(0, len(predictions), 2)
        }
        champion = losses.get(self.champion.number)
        for contender in self.contenders:
            own = losses.get(contender.number)
            if own is None:
                continue  # It was not there when the prediction was made.
            contender.loss.update(own)
            if contender is not self.champion and champion is not None:
                contender.behind.update(own - champion)
        if self._rules.rung and self.examples % self._rules.rung == 0:
            self._halve()
        ahead = [challenger for challenger in self.contenders[1:] if self._is_ahead(challenger)]
        if ahead:
            self._promote(min(ahead, key=_by_loss))

    def _is_ahead(self, challenger: Contender) -> bool:
        behind = challenger.behind
        if behind.examples < self._rules.promote_after:
            return False
        mean, error = behind.mean, behind.standard_error
        return mean is not None and error is not None and mean + _ERRORS_AHEAD * error < 0.0

    def _promote(self, challenger: Contender) -> None:
        self.promotions += 1
        others = [each for each in self.contenders if each is not challenger]
        self._compete([challenger, *others])

    def _compete(self, contenders: list[Contender]) -> None:
        """Go on with these, of which the first is the champion: what was compared with another one no longer counts."""
        if contenders[0] is not self.contenders[0]:
            for contender in contenders:
                contender.behind = FadingLoss(_HALF_LIFE)
        self.contenders = contenders

    def _halve(self) -> None:
        """Drop the worse half (successive halving: Jamieson and Talwalkar, AISTATS 2016)."""
        ranked = sorted(self.contenders, key=_by_loss)
        self._compete(ranked[: (len(ranked) + 1) // 2])

    def _react(self) -> None:
        """The target has drifted: what the champion learned no longer holds."""
        assert self._rules.drift is not None
        self.drifts += 1
        reaction, (champion, *challengers) = self._rules.drift.reaction, self.contenders
        if reaction == "reset":
            self._compete([self._anew(champion), *challengers])
        elif reaction == "swap" and challengers:
            best = min(challengers, key=_by_loss)
            rest = [each for each in challengers if each is not best]
            self.promotions += 1
            self._compete([best, *rest, self._anew(champion)])

    def _scale(self, inputs: Inputs) -> Inputs:
        assert self._scaler is not None
        scaled = self._scaler.transform_one({name: inputs[name] for name in self._rules.standardised})
        return {name: scaled[name] if name in self._scaled else value for name, value in inputs.items()}


def _by_loss(contender: Contender) -> tuple[float, int]:
    mean = contender.loss.mean
    return (float("inf") if mean is None else mean, contender.number)


def check_models(owner: object, task: str, models: Sequence[Model]) -> None:
    """Raises: DefinitionError, when one of them is no model, or none for the task."""
    for model in models:
        if not isinstance(model, Model):
            raise DefinitionError(f"{owner!r}: {model!r} is no model; give one such as LogisticRegression()")
        if task not in model.tasks:
            raise DefinitionError(
                f"{owner!r}: {model!r} is a model for {' and '.join(sorted(model.tasks))} targets, and the label makes "
                f"this one {task}"
            )
