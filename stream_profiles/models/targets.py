"""Targets: predictions about a user's future, checked and learned from when the future arrives.

At some events a prediction is made and its inputs are kept. The label says what later events make of it; when it is
known, the prediction is scored, and only then do the models learn from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from math import copysign, log1p
from typing import Any

from ..contracts import Event
from ..durations import Duration, label, to_ms
from ..errors import DefinitionError
from ..features.base import MAX_TEXT_BYTES, NUMBER_BYTES, Declared, Feature, check_name
from ..state import ID_DIGEST_BYTES
from .base import MAX_CLASSES, Model
from .drift import Drift
from .inputs import CompiledInputs, Spec
from .labels import MAX_LABEL_LENGTH, Label
from .learners import Learner, Rules, check_models
from .linear import LinearRegression, LogisticRegression
from .search import Search

#: A user's state of a target: [what is published, time of the prediction, time of the last kept example,
#: [pending example, ...], last known label] and with `history` [number of known labels, their sum]. A pending example
#: is [deadline, predictions, event type, packed inputs, outcome, last label] and perhaps [digest of the event's id],
#: oldest first. The first release kept neither what comes after the examples nor after the inputs, and one number as
#: predictions.
TargetState = list[Any]

#: Of a multiclass prediction, what is published.
_TOP = 5


class Target(Declared):
    """Something to predict about every user, with models that learn from what then happens.

    Published: of a yes-or-no label `{"score": probability, "at": ms}`; of one of several `{"top": [[class,
    probability], ...], "at": ms}`; of a number `{"value": number, "at": ms}`. `at` is the time of the prediction. With
    `explain`, `reasons` says why.

    Parameters:
        name: Field name.
        label: What is to be predicted.
        model: The model that is asked; one learns per partition. Logistic or linear regression when not given. A
            `Search` begins with all its models and keeps the best.
        on: Event type(s) at which to predict; None for all.
        inputs: What the model sees, as of right after the event: names of features, for their numbers on a logarithmic
            scale, and transforms of them (`Raw`, `Clip`, `OneHot`, ...); None for the numbers of all features. Which of
            the types in `on` the event is of is an input too.
        every: The least event time between two examples of one user that the model learns from; scores are still
            refreshed at every event of `on`. Of several events at one moment the last one's example counts.
        max_pending: The most examples of one user that wait for their label; beyond it no new one is kept.
        challengers: Models that learn side by side with the one that is asked, and take its place when they are better.
        promote_after: The least examples in which a challenger is compared before it may take the place.
        drift: Detects that what was learned no longer holds, and says what to do about it.
        explain: How many reasons to publish with a prediction; only linear models have any.
        history: Make inputs of the user's own labels so far: how many are known (`own_labels`), and their mean
            (`own_rate`): an honest target encoding, since a label counts only once its time is up.
    """

    added_parameters = frozenset({"challengers", "promote_after", "drift", "explain", "history"})

    def __init__(
        self,
        name: str,
        *,
        label: Label,
        model: Model | Search | None = None,
        on: str | Iterable[str] | None = None,
        inputs: Iterable[Spec] | None = None,
        every: Duration = "1h",
        max_pending: int = 24,
        challengers: Sequence[Model] = (),
        promote_after: int = 500,
        drift: Drift | None = None,
        explain: int = 0,
        history: bool = False,
    ) -> None:
        check_name(name)
        self.name = name
        if not isinstance(label, Label):
            raise DefinitionError(f'Target("{name}"): label takes Happens(type, within=...), not {label!r}')
        if max_pending < 1:
            raise DefinitionError(f'Target("{name}"): max_pending must be at least 1')
        if promote_after < 10 or explain < 0:
            raise DefinitionError(f'Target("{name}"): promote_after must be at least 10, and explain at least 0')
        if history and label.task == "multiclass":
            raise DefinitionError(f'Target("{name}"): history takes labels that are yes or no, or numbers')
        if drift is not None and not isinstance(drift, Drift):
            raise DefinitionError(f'Target("{name}"): drift takes a detector such as ADWIN(reaction="reset")')
        self.label = label
        default = LinearRegression() if label.task == "regression" else LogisticRegression()
        self.model = default if model is None else model
        self.on = (on,) if isinstance(on, str) else None if on is None else tuple(on)
        self.inputs = None if inputs is None else list(inputs)
        self.every = every if isinstance(every, str) else _label(every)
        self.every_ms = to_ms(every)
        self.max_pending = max_pending
        self.challengers = tuple(challengers)
        self.promote_after = promote_after
        self.drift = drift
        self.explain = explain
        self.history = history
        searched = self.model.contenders() if isinstance(self.model, Search) else [self.model]
        #: Everything that learns, the one asked first comes first.
        self.models: list[Model] = [*searched, *self.challengers]
        check_models(self, label.task, self.models)

    @property
    def rung(self) -> int:
        return self.model.rung if isinstance(self.model, Search) else 0

    def advance(self, value: Any, now: int) -> Any:
        return value


_label = label


class CompiledTarget:
    """A target bound to the features of its definition. Holds no state: users' and partitions' are passed in."""

    def __init__(self, target: Target, features: Sequence[Feature]) -> None:
        self.target = target
        self.name = target.name
        self.label = target.label
        self._task, self._within_ms = target.label.task, target.label.within_ms
        self._every_ms, self._max_pending, self._explain = target.every_ms, target.max_pending, target.explain
        self._refers = getattr(target.label, "refers_to", None) is not None
        own = ("own_labels", "own_rate") if target.history else ()
        #: The end of a user's state before any label is known.
        self._no_labels: TargetState = [None, 0, 0.0] if target.history else [None]
        self._inputs = CompiledInputs(target, target.inputs, features, target.on or (), own)
        #: Kept examples and learned weights belong to these very inputs: with others, the target starts anew.
        sources = "".join([target.key, *self._inputs.keys])
        self.key = f"{target.name}:{blake2b(sources.encode(), digest_size=4).hexdigest()}"
        self._rules = Rules(
            target.label.task,
            target.models,
            target.rung,
            target.promote_after,
            target.drift,
            target.label.scale,
            self._inputs.names,
            self._inputs.standardised,
        )

    def learner(self, state: Any = None) -> Learner:
        """A learner for a partition, new or restored. Raises: StateError."""
        return Learner(self._rules, state)

    def awaits(self, event_type: str) -> bool:
        """Whether an event of this type can tell a label."""
        return self.label.types is None or event_type in self.label.types

    def predicts(self, event_type: str) -> bool:
        return self.target.on is None or event_type in self.target.on

    @property
    def max_bytes(self) -> int:
        one = NUMBER_BYTES + (
            MAX_CLASSES * (4 * MAX_LABEL_LENGTH + 5 + NUMBER_BYTES) if self._several else NUMBER_BYTES
        )
        text = 4 * MAX_LABEL_LENGTH + 5
        pending = 2 * NUMBER_BYTES + len(self.target.models) * one + MAX_TEXT_BYTES + self._inputs.packed_bytes
        pending += 2 * text + ID_DIGEST_BYTES + 16
        explained = self._explain * (3 * MAX_TEXT_BYTES)
        return 6 * NUMBER_BYTES + one + text + explained + self._max_pending * pending

    @property
    def _several(self) -> bool:
        return self._task == "multiclass"

    def predict(self, state: TargetState | None, slots: dict[str, Any], event: Event, learner: Learner) -> TargetState:
        """Predict for the user right after an event; keep an example when it is time for one."""
        time = event.time
        kept = self._inputs.read(slots, time, self._own(state) if self.target.history else ())
        inputs = self._inputs.expand(kept, event.type)
        predictions = learner.predict(inputs)
        if self._several:
            predictions = [_likeliest(each) if type(each) is dict else each for each in predictions]
        published = predictions[1]
        if self._explain:
            explained = learner.reasons(inputs, self._explain)
            if explained is not None:
                published = [published, explained]
        if state is None:
            state = [published, time, None, [], *self._no_labels]
        else:
            state += self._no_labels[len(state) - 4 :]
            state[0], state[1] = published, time
        last, pending = state[2], state[3]
        # One that has seen a later event is left as it is: what is read now could know of that event.
        again = (
            last == time and pending and pending[-1][0] == time + self._within_ms and pending[-1][4:5] in ([], [None])
        )
        if self.label.in_event:
            outcome = self.label.see(None, event)
            if outcome is not None:
                last_label, state[2] = state[4], time
                self._know(state, outcome)
                learner.learn(predictions, inputs, outcome, last_label, time)
        elif again or last is None or time - last >= self._every_ms:
            if again:
                pending.pop()
            if len(pending) < self._max_pending:
                state[2] = time
                last_label = self.label.last(event, state[4])
                digest = (
                    blake2b(event.event_id.encode(), digest_size=ID_DIGEST_BYTES).digest() if self._refers else None
                )
                example = [time + self._within_ms, predictions, event.type, self._inputs.pack(kept), None, last_label]
                pending.append([*example, digest] if digest is not None else example)
        return state

    def see(self, state: TargetState, event: Event, learner: Learner) -> bool:
        """Show an event to what waits for its label; returns whether that changed anything."""
        pending = state[3]
        if not pending:
            return False
        time, label = event.time, self.label
        about = label.refers(event) if self._refers else None
        digest = None if about is None else blake2b(about.encode(), digest_size=ID_DIGEST_BYTES).digest()
        changed, known = False, []
        for example in pending:
            if not example[0] - self._within_ms < time <= example[0]:
                continue
            if digest is not None and (len(example) < 7 or example[6] != digest):
                continue
            if len(example) == 4:
                example += (None, None)
            before = example[4]
            example[4] = label.see(before, event)
            changed = True
            if label.at_once and example[4] is not None:
                known.append(example)
        if known:
            state[3] = [example for example in pending if not any(example is each for each in known)]
            self._learn_all(state, known, learner)
        return changed

    def expire(self, state: TargetState, watermark: int, learner: Learner) -> bool:
        """Settle what waited until its time was up; returns whether anything did."""
        pending = state[3]
        due = [example for example in pending if example[0] < watermark]
        if not due:
            return False
        state[3] = [example for example in pending if example[0] >= watermark]
        self._learn_all(state, due, learner)
        return True

    def deadline(self, state: TargetState | None) -> int | None:
        """When the first pending example's time is up."""
        return min(example[0] for example in state[3]) if state and state[3] else None

    def snapshot(self, state: TargetState) -> Any:
        published, at = state[0], state[1]
        explained = None
        if type(published) is list:
            published, explained = published
        value: dict[str, Any]
        if self._task == "binary":
            value = {"score": published, "at": at}
        elif self._several:
            value = {"top": [[name, share] for name, share in list(published.items())[:_TOP]], "at": at}
        else:
            value = {"value": published, "at": at}
        if explained is not None:
            value["reasons"] = explained
        return value

    def advance(self, value: Any, now: int) -> Any:
        return value

    def _learn_all(self, state: TargetState, examples: Iterable[list[Any]], learner: Learner) -> None:
        failed: Exception | None = None
        for example in examples:
            try:
                self._learn(state, example, learner)
            except Exception as error:  # of somebody's own model; the other examples are learned all the same
                failed = failed or error
        if failed is not None:
            raise failed

    def _learn(self, state: TargetState, example: list[Any], learner: Learner) -> None:
        deadline, predictions, event_type, packed, *known = example
        outcome, last_label = known[:2] if known else (None, None)
        settled = self.label.settle(outcome)
        if settled is None:
            return
        if type(predictions) is not list:
            predictions = [0, predictions]
        self._know(state, settled)
        inputs = self._inputs.expand(self._inputs.unpack(packed), event_type)
        learner.learn(predictions, inputs, settled, last_label, deadline - self._within_ms)

    def _know(self, state: TargetState, label: Any) -> None:
        """Remember a label of the user that is known now."""
        state += self._no_labels[len(state) - 4 :]
        state[4] = label
        if self.target.history:
            state[5] += 1
            state[6] += label

    def _own(self, state: TargetState | None) -> tuple[float, float]:
        """What the user's known labels say: their number, and their mean, drawn to the middle while there are few."""
        number, total = (0, 0.0) if state is None or len(state) < 7 else (state[5], state[6])
        if self._task == "binary":
            return log1p(number), (total + 1.0) / (number + 2.0)
        mean = total / (number + 1.0)
        return log1p(number), copysign(log1p(abs(mean)), mean)


def _likeliest(prediction: dict[str, float]) -> dict[str, float]:
    ranked = sorted(prediction.items(), key=lambda each: (-each[1], each[0]))
    return dict(ranked[:MAX_CLASSES])
