"""Blend: several models' predictions as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .base import BINARY, Inputs, Model, RunningModel, logit, sigmoid

#: A member's probability counts as this at least, and as one less this at most: a single leaf of a tree that has seen
#: one label only is as sure as can be, and would overrule everybody.
_LEAST = 0.001


class Blend(Model):
    """The mean of its members' predictions, in log-odds. All of them learn from every example.

    Parameters:
        models: Two or more models for binary targets.

    Examples:
        >>> from stream_profiles.models.linear import LogisticRegression
        >>> model = Blend([LogisticRegression(0.1), LogisticRegression(0.01)]).start("binary")
        >>> for n in range(200):
        ...     model.learn({"x": float(n % 2)}, label=bool(n % 2))
        >>> model.predict({"x": 1.0}) > 0.7 > 0.3 > model.predict({"x": 0.0})
        True
    """

    tasks = frozenset((BINARY,))

    def __init__(self, models: Sequence[Model]) -> None:
        self.models = list(models)
        self._require(len(self.models) >= 2, "models takes two or more")
        for model in self.models:
            self._require(
                isinstance(model, Model) and BINARY in model.tasks,
                f"models takes models for binary targets, not {model!r}",
            )

    def _start(self, task: str, state: Any) -> RunningModel:
        return _RunningBlend(self, task, state)


class _RunningBlend(RunningModel):
    def __init__(self, declared: Blend, task: str, state: list[Any] | None) -> None:
        models = declared.models
        self.examples, states = (0, [None] * len(models)) if state is None else state
        self._members = [model.start(task, each) for model, each in zip(models, states, strict=True)]
        self.compact = all(member.compact for member in self._members)

    def predict(self, inputs: Inputs) -> float:
        scores = [logit(float(member.predict(inputs)), _LEAST) for member in self._members]  # type: ignore[arg-type]
        return sigmoid(sum(scores) / len(scores))

    def learn(self, inputs: Inputs, label: bool) -> None:
        self.examples += 1
        for member in self._members:
            member.learn(inputs, label)

    def deviations(self, inputs: Inputs) -> dict[str, float] | None:
        return self._members[0].deviations(inputs)

    def contributions(self, inputs: Inputs) -> dict[str, float] | None:
        """The mean of the members', where all have them."""
        return self._mean([member.contributions(inputs) for member in self._members])

    def importances(self) -> dict[str, float] | None:
        """The mean of the members', where all have them."""
        return self._mean([member.importances() for member in self._members])

    def state(self) -> list[Any]:
        return [self.examples, [member.state() for member in self._members]]

    @staticmethod
    def _mean(parts: Sequence[dict[str, float] | None]) -> dict[str, float] | None:
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        names = dict.fromkeys(name for part in known for name in part)
        return {name: sum(part.get(name, 0.0) for part in known) / len(known) for name in names}
