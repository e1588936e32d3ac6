"""Monitors: what a partition's model says about users without any label: how unusual one is, and in which cluster.

A monitor is asked first and learns right after, from the same inputs, so that a user is judged by what was known
before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from ..contracts import Event
from ..durations import Duration, label, to_ms
from ..errors import DefinitionError
from ..features.base import NUMBER_BYTES, Declared, Feature, check_name
from .anomaly import AnomalyModel, HalfSpaceTrees
from .clusters import ClusterModel, KMeans
from .inputs import CompiledInputs, Spec
from .journal import Journaled

#: A user's state of a monitor: [what is published, since when or when (ms), time of the last lesson].
MonitorState = list[Any]


class Monitor(Declared):
    """What Anomaly and Clusters share: when to look, at what, and how often to learn from one user."""

    model: AnomalyModel | ClusterModel
    #: Whether only a change is published.
    steps = False

    def __init__(
        self,
        name: str,
        *,
        on: str | Iterable[str] | None,
        inputs: Iterable[Spec] | None,
        every: Duration,
    ) -> None:
        check_name(name)
        self.name = name
        self.on = (on,) if isinstance(on, str) else None if on is None else tuple(on)
        self.inputs = None if inputs is None else list(inputs)
        self.every, self.every_ms = label(every), to_ms(every)

    def published(self, state: MonitorState) -> Any:
        raise NotImplementedError

    def advance(self, value: Any, now: int) -> Any:
        return value


class Anomaly(Monitor):
    """How unusual a user is among those of the partition, from 0 to 1: for fraud, abuse, bots, and bugs in tracking.

    Published: `{"score": number, "at": ms}`; `at` is the time of the event that was judged.

    Parameters:
        name: Field name.
        model: The detector; one learns per partition.
        on: Event type(s) at which to judge; None for all.
        inputs: What it sees, as of right after the event: names of features and transforms of them; None for the
            numbers of all features.
        every: The least event time between two lessons from one user, so that a busy one is not taken for normal.
    """

    def __init__(
        self,
        name: str,
        *,
        model: AnomalyModel | None = None,
        on: str | Iterable[str] | None = None,
        inputs: Iterable[Spec] | None = None,
        every: Duration = "1m",
    ) -> None:
        super().__init__(name, on=on, inputs=inputs, every=every)
        self.model = HalfSpaceTrees() if model is None else model
        if not isinstance(self.model, AnomalyModel):
            raise DefinitionError(f"{self!r}: model takes a detector such as HalfSpaceTrees(), not {model!r}")

    def published(self, state: MonitorState) -> Any:
        return {"score": state[0], "at": state[1]}


class Clusters(Monitor):
    """Which group of similar users someone is in: a segment that is learned, not declared.

    Published when it changes: `{"cluster": number, "since": ms}`; so a delta that has the field tells that the user
    left one cluster and entered another. Numbers mean the same within a partition only.

    Parameters:
        name: Field name.
        model: The clustering; one learns per partition.
        on: Event type(s) at which to look; None for all.
        inputs: What it sees, as of right after the event: names of features and transforms of them; None for the
            numbers of all features.
        every: The least event time between two lessons from one user.
    """

    steps = True

    def __init__(
        self,
        name: str,
        *,
        model: ClusterModel | None = None,
        on: str | Iterable[str] | None = None,
        inputs: Iterable[Spec] | None = None,
        every: Duration = "1h",
    ) -> None:
        super().__init__(name, on=on, inputs=inputs, every=every)
        self.model = KMeans() if model is None else model
        if not isinstance(self.model, ClusterModel):
            raise DefinitionError(f"{self!r}: model takes a clustering such as KMeans(), not {model!r}")

    def published(self, state: MonitorState) -> Any:
        return {"cluster": state[0], "since": state[1]}


class Watcher(Journaled):
    """One partition's model of a monitor.

    Parameters:
        monitor: What it is of.
        names: Names of the inputs, in the order in which they come.
        state: What `state` gave.

    Raises:
        StateError: the state is not one that this release can read.
    """

    def __init__(self, monitor: Monitor, names: Sequence[str], state: Any = None) -> None:
        super().__init__()
        self._names = names
        self.running = monitor.model.start(state)

    @property
    def compact(self) -> bool:
        return self.running.compact

    def state(self) -> Any:
        return self.running.state()

    def learn(self, inputs: dict[str, float]) -> None:
        self.note(list(inputs.values()))
        self.running.learn(inputs)

    def relearn(self, lesson: Any) -> None:
        self.learn(dict(zip(self._names, lesson, strict=True)))


class CompiledMonitor:
    """A monitor bound to the features of its definition. Holds no state: users' and partitions' are passed in."""

    def __init__(self, monitor: Monitor, features: Sequence[Feature]) -> None:
        self.monitor = monitor
        self.name = monitor.name
        self._inputs = CompiledInputs(monitor, monitor.inputs, features, monitor.on or ())
        sources = "".join([monitor.key, *self._inputs.keys])
        self.key = f"{monitor.name}:{blake2b(sources.encode(), digest_size=4).hexdigest()}"

    def watcher(self, state: Any = None) -> Watcher:
        """A watcher for a partition, new or restored. Raises: StateError."""
        return Watcher(self.monitor, self._inputs.names, state)

    def predicts(self, event_type: str) -> bool:
        return self.monitor.on is None or event_type in self.monitor.on

    def observe(
        self, state: MonitorState | None, slots: dict[str, Any], event: Event, watcher: Watcher
    ) -> MonitorState | None:
        """Judge the user right after an event, and learn when it is time; None when nothing changed."""
        time = event.time
        inputs = self._inputs.expand(self._inputs.read(slots, time), event.type)
        found = watcher.running.predict(inputs)
        learned = None if state is None else state[2]
        if learned is None or time - learned >= self.monitor.every_ms:
            watcher.learn(inputs)
            learned = time
        if state is None:
            return [found, time, learned]
        state[2] = learned
        if self.monitor.steps and found == state[0]:
            return None
        state[0], state[1] = found, time
        return state

    def snapshot(self, state: MonitorState) -> Any:
        return self.monitor.published(state)

    def advance(self, value: Any, now: int) -> Any:
        return value

    @property
    def max_bytes(self) -> int:
        return 3 * NUMBER_BYTES + 1
