"""Models for tests that say what they are told to say."""

from __future__ import annotations

import random
from typing import Any

from stream_profiles.models.base import BINARY, MULTICLASS, REGRESSION, Inputs, Model, RunningModel


class Says(Model):
    """Says always the same, whatever it is taught; or with noise around it, from a seed."""

    tasks = frozenset((BINARY, MULTICLASS, REGRESSION))

    def __init__(self, what: Any = 0.5, noise: float = 0.0, seed: int = 0, compact: bool = True) -> None:
        self.what, self.noise, self.seed, self.compact = what, noise, seed, compact

    def _start(self, task: str, state: Any) -> RunningModel:
        return _RunningSays(self, state)


class _RunningSays(RunningModel):
    def __init__(self, declared: Says, state: Any) -> None:
        self._declared = declared
        self.compact = declared.compact
        self.examples: int = 0 if state is None else state["examples"]
        self._sum: float = 0.0 if state is None else state["sum"]

    def predict(self, inputs: Inputs) -> Any:
        if not self._declared.noise:
            return self._declared.what
        # Made of what it was taught, so that a model that was restored wrongly says something else.
        drawn = random.Random(f"{self._declared.seed} {self.examples} {self._sum}").uniform(-1.0, 1.0)
        return self._declared.what + self._declared.noise * drawn

    def learn(self, inputs: Inputs, label: Any) -> None:
        self.examples += 1
        self._sum += sum(inputs.values()) + (float(label) if not isinstance(label, str) else len(label))

    def state(self) -> Any:
        return {"examples": self.examples, "sum": self._sum}


class Stumbles(Model):
    """Fails at every third lesson, having taken in half of it."""

    tasks = frozenset((BINARY,))

    def __init__(self, compact: bool = True) -> None:
        self.compact = compact

    def _start(self, task: str, state: Any) -> RunningModel:
        return _RunningStumbles(self.compact, state)


class _RunningStumbles(RunningModel):
    def __init__(self, compact: bool, state: Any) -> None:
        self.compact = compact
        self.examples = state or 0

    def predict(self, inputs: Inputs) -> float:
        return 1.0 / (2 + self.examples)

    def learn(self, inputs: Inputs, label: Any) -> None:
        self.examples += 1
        if self.examples % 3 == 0:
            raise ValueError("out of luck")

    def state(self) -> Any:
        return self.examples
