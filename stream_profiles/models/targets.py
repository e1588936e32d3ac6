"""Targets: predictions about a user's future, checked and learned from when the future arrives.

At some events a prediction is made and its inputs are kept. The label is true when the awaited event happens in time,
false when its time is up. Then the prediction is scored, and only then does the model learn from it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from math import log1p
from typing import Any

from ..contracts import Event
from ..durations import Duration, label, to_ms
from ..errors import DefinitionError
from ..features.base import MAX_TEXT_BYTES, NUMBER_BYTES, Declared, Feature, check_name
from .classifiers import Inputs, LogisticRegression, RunningLogisticRegression
from .metrics import BinaryMetrics

#: A user's state of a target: [score, time of the score, time of the last kept example, [pending example, ...]];
#: a pending example is [deadline, score, event type, inputs as packed doubles], oldest first.
TargetState = list[Any]


class Happens:
    """The label "an event of this type comes within this time", counted from the prediction, in event time.

    Parameters:
        type: Event type awaited.
        within: How long to wait.
    """

    def __init__(self, type: str, *, within: Duration) -> None:
        self.type = type
        self.within = label(within)
        self.within_ms = to_ms(within)

    @property
    def config(self) -> dict[str, Any]:
        return {"type": self.type, "within": self.within}


class Target(Declared):
    """Something to predict about every user, with a model that learns from what then happens.

    Parameters:
        name: Field name; the published value is `{"score": probability, "at": time of the prediction}`.
        label: What is to be predicted.
        model: The classifier; one learns per partition.
        on: Event type(s) at which to predict; None for all.
        inputs: Names of the features whose numbers the model sees, as they are right after the event; None for all that
            have any. Which of the types in `on` the event is of is an input too.
        every: The least event time between two examples of one user that the model learns from; scores are still
            refreshed at every event of `on`.
        max_pending: The most examples of one user that wait for their label; beyond it no new one is kept.
    """

    def __init__(
        self,
        name: str,
        *,
        label: Happens,
        model: LogisticRegression | None = None,
        on: str | Iterable[str] | None = None,
        inputs: Iterable[str] | None = None,
        every: Duration = "1h",
        max_pending: int = 24,
    ) -> None:
        check_name(name)
        if not isinstance(label, Happens):
            raise DefinitionError(f'Target("{name}"): label takes Happens(type, within=...), not {label!r}')
        if max_pending < 1:
            raise DefinitionError(f'Target("{name}"): max_pending must be at least 1')
        self.name = name
        self.label = label
        self.model = LogisticRegression() if model is None else model
        self.on = (on,) if isinstance(on, str) else None if on is None else tuple(on)
        self.inputs = None if inputs is None else list(inputs)
        self.every = every if isinstance(every, str) else _label(every)
        self.every_ms = to_ms(every)
        self.max_pending = max_pending

    def advance(self, value: Any, now: int) -> Any:
        return value


_label = label


class Learner:
    """One partition's model of a target, and how good it has been."""

    def __init__(self, target: Target, state: list[Any] | None = None) -> None:
        model, metrics = (None, None) if state is None else state
        self.model: RunningLogisticRegression = target.model.start(model)
        self.metrics = BinaryMetrics(metrics)
        #: Whether it learned since its state was stored.
        self.changed = False

    def learn(self, score: float, inputs: Inputs, label: bool) -> None:
        """Count how good the prediction was, then learn from the example."""
        self.metrics.update(score, label)
        self.model.learn(inputs, label)
        self.changed = True

    def state(self) -> list[Any]:
        return [self.model.state(), self.metrics.state()]


class CompiledTarget:
    """A target bound to the features of its definition. Holds no state: users' and partitions' are passed in."""

    def __init__(self, target: Target, features: Sequence[Feature]) -> None:
        self.target = target
        self.name = target.name
        self._awaited, self._within_ms = target.label.type, target.label.within_ms
        self._every_ms, self._max_pending = target.every_ms, target.max_pending
        self._sources: list[tuple[str, Callable[[Any, int], tuple[float, ...]]]] = []
        names: list[str] = []
        for feature in features:
            if feature.input_names():
                self._sources.append((feature.key, feature.inputs))
                names += feature.input_names()
        # A type that is just left out when it is not the event's would look like an input that never changes.
        types = target.on or ()
        self._types = {type: tuple(float(type == other) for other in types) for type in types}
        self._names = (*names, *(f"type={type}" for type in types))
        #: Kept examples and learned weights belong to these very inputs: with others, the target starts anew.
        sources = "".join([target.key, *(key for key, _ in self._sources)])
        self.key = f"{target.name}:{blake2b(sources.encode(), digest_size=4).hexdigest()}"
        self._packing = struct.Struct(f"<{len(names)}d")

    @property
    def max_bytes(self) -> int:
        pending = 2 * NUMBER_BYTES + MAX_TEXT_BYTES + self._packing.size + 6
        return 4 * NUMBER_BYTES + self._max_pending * pending

    def predict(self, state: TargetState | None, slots: dict[str, Any], event: Event, learner: Learner) -> TargetState:
        """Score the user right after an event; keep the inputs when it is time for an example."""
        time = event.time
        numbers: list[float] = []
        for key, inputs in self._sources:
            numbers += inputs(slots.get(key), time)
        numbers = [log1p(x) if x >= 0.0 else -log1p(-x) for x in numbers]
        score = learner.model.predict(self._inputs(numbers, event.type))
        if state is None:
            state = [score, time, None, []]
        else:
            state[0], state[1] = score, time
        kept, pending = state[2], state[3]
        if (kept is None or time - kept >= self._every_ms) and len(pending) < self._max_pending:
            state[2] = time
            pending.append([time + self._within_ms, score, event.type, self._packing.pack(*numbers)])
        return state

    def happened(self, state: TargetState, event: Event, learner: Learner) -> bool:
        """Give the label true to what waited for this event; returns whether anything did."""
        if event.type != self._awaited or not state[3]:
            return False
        time = event.time
        waiting: list[list[Any]] = []
        due: list[list[Any]] = []
        for example in state[3]:
            made = example[0] - self._within_ms
            (due if made < time <= example[0] else waiting).append(example)
        for example in due:
            self._learn(example, True, learner)
        state[3] = waiting
        return bool(due)

    def expire(self, state: TargetState, watermark: int, learner: Learner) -> bool:
        """Give the label false to what waited until its time was up; returns whether anything did."""
        pending = state[3]
        due = [example for example in pending if example[0] < watermark]
        if not due:
            return False
        for example in due:
            self._learn(example, False, learner)
        state[3] = [example for example in pending if example[0] >= watermark]
        return True

    def deadline(self, state: TargetState | None) -> int | None:
        """When the first pending example's time is up: the oldest one's, since each is later than the one before."""
        return state[3][0][0] if state and state[3] else None

    @staticmethod
    def snapshot(state: TargetState) -> Any:
        return {"score": state[0], "at": state[1]}

    def _inputs(self, numbers: Sequence[float], event_type: str) -> Inputs:
        return dict(zip(self._names, [*numbers, *self._types.get(event_type, ())], strict=True))

    def _learn(self, example: list[Any], label: bool, learner: Learner) -> None:
        _, score, event_type, packed = example
        learner.learn(score, self._inputs(self._packing.unpack(packed), event_type), label)
