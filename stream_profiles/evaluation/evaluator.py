"""Runs a definition over events in memory and keeps what its learners are scored by.

Where events come from is the business of `run`; what is made of the examples, that of `report`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .._suggestions import did_you_mean
from ..contracts import Event
from ..definition import ProfileDefinition
from ..errors import SettingsError
from ..models.targets import CompiledTarget
from ..partition import Partition
from ..state import ProfileState
from ..text.offline import OfflineTexts
from ..updater import Change, ProfileUpdater, Shared, Skipped
from .examples import Collector, Examples
from .population import Population
from .report import TargetReport, target_report

#: Events between two times that a partition lets go of decoded profiles.
_TAKE_EVERY = 25_000


class Evaluator:
    """A definition at work, observed.

    Parameters:
        definition: What the profiles are made of.
        targets: Names of the targets to observe; none for all.

    Raises:
        SettingsError: there are no targets, or none of such a name.

    Examples:
        >>> from stream_profiles import Count, Happens, ProfileDefinition, Target
        >>> from stream_profiles.dev.shop import shop_events
        >>> buys = Target("buys", label=Happens("purchase", within="1h"), on="cart")
        >>> evaluator = Evaluator(ProfileDefinition("shop", features=[Count("views", on="view")], targets=[buys]))
        >>> evaluator.run([list(shop_events(users=50, events=3_000))])
        >>> [report] = evaluator.reports(slices=4)
        >>> report.examples, report.waiting, report.whole.model.positives
        (122, 0, 54)
    """

    def __init__(self, definition: ProfileDefinition, targets: Sequence[str] = ()) -> None:
        self._updater = _Observed(definition)
        if not self._updater.targets:
            raise SettingsError(f"{definition!r} has no targets: there are no predictions to evaluate")
        names = [target.name for target in self._updater.targets]
        for name in targets:
            if name not in names:
                raise SettingsError(f"{definition!r} has no target {name!r}; {did_you_mean(name, names)}")
        self._targets = [target for target in self._updater.targets if not targets or target.name in targets]
        self._collectors = {target.name: Collector(target.target.label.task) for target in self._targets}
        self._learners: dict[str, list[dict[str, Any]]] = {target.name: [] for target in self._targets}
        self._texts = OfflineTexts(definition.text_embeddings)
        self._partitions = 0
        self.population = Population()
        self.events = 0
        #: Time of the earliest and the latest event; None without events.
        self.start: int | None = None
        self.end: int | None = None
        #: As `backfill.BackfillReport` has them.
        self.rejected: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    @property
    def targets(self) -> list[CompiledTarget]:
        """Those that are observed."""
        return self._targets

    def allows(self, event_type: str) -> bool:
        return self._updater.allows(event_type)

    def run(self, batches: Iterable[Sequence[Event]], tick: Callable[[int], None] = lambda _: None) -> None:
        """Apply the events of one more partition, in order, from its beginning to its end.

        Parameters:
            batches: The events.
            tick: Called after each batch with its size.
        """
        partition, since_taken = Partition(self._updater), 0
        for target in self._targets:
            collector = self._collectors[target.name]
            partition.shared.learners[target.key].observer = collector.observer(self._updater.whose)
        for events in batches:
            self._texts.prepare(partition, events)
            for event in events:
                self._apply(partition, event)
            self._texts.refuse(partition)
            for change in partition.take_timed():
                self.failed.update(change.failed.keys())
            since_taken += len(events)
            if since_taken >= _TAKE_EVERY:
                partition.take()
                since_taken = 0
            tick(len(events))
        partition.take()
        for target in self._targets:
            self._learners[target.name].append(partition.shared.learners[target.key].report())
        self.population.add(self._partitions, partition)
        self._partitions += 1

    def examples(self) -> dict[str, Examples]:
        """Of each target, those whose label is known."""
        return {name: collector.examples() for name, collector in self._collectors.items()}

    def reports(self, slices: int, examples: dict[str, Examples] | None = None) -> list[TargetReport]:
        """What there is to say of each target.

        Parameters:
            slices: Into how many spans of time the stream is cut.
            examples: As `examples` gives them, where they are at hand.
        """
        gathered = self.examples() if examples is None else examples
        waiting, learners = self.population.waiting, self._learners
        return [
            target_report(target, gathered[target.name], waiting[target.name], learners[target.name], slices)
            for target in self._targets
        ]

    def _apply(self, partition: Partition, event: Event) -> None:
        time = event.time
        if self.start is None or time < self.start:
            self.start = time
        if self.end is None or time > self.end:
            self.end = time
        try:
            result = partition.apply(event)
        except Exception:  # as a worker does: the others go on
            self.rejected["the definition failed"] += 1
            return
        if isinstance(result, Change):
            self.events += 1
            self.failed.update(result.failed.keys())
        else:
            self.skipped[result.value] += 1


class _Observed(ProfileUpdater):
    """An updater that knows whose profile it is at: a learner's observer is told an example, and not whose it is."""

    _user = ""

    def whose(self) -> str:
        return self._user

    def apply(self, state: ProfileState, event: Event, shared: Shared | None = None, now: int = 0) -> Change | Skipped:
        self._user = event.user_id
        return super().apply(state, event, shared, now)

    def expire(self, state: ProfileState, user_id: str, event_id: str, now: int, shared: Shared) -> Change | None:
        self._user = user_id
        return super().expire(state, user_id, event_id, now, shared)
