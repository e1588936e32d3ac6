"""Segments: who belongs to a group, by a rule over the profile. Entering and leaving is a change of the profile.

A rule is asked when something it speaks of has changed, and, with `every`, also by the partition's clock, so that a
user leaves "active lately" when nothing arrives any more.
"""

from __future__ import annotations

from typing import Any

from .durations import Duration, label, to_ms
from .errors import DefinitionError
from .expressions import compile
from .features.base import NUMBER_BYTES, Declared, check_name

#: A user's state: `[whether they are in the segment, since when (ms; None: never in), when it was asked last (ms)]`.
SegmentState = list[Any]


class Segment(Declared):
    """A group of users by a rule over their profiles.

    The rule is asked at a user's first event, then whenever something that it speaks of has changed.

    Published when it changes: `{"in": True or False, "since": ms}`; nothing for a user who was never in it. So a delta
    that has the field tells that the user entered or left.

    Parameters:
        name: Field name.
        where: The rule, in the language of conditions, over the values of the profile as they are published and as of
            the moment: `spend.total > 500 and buys_soon.score > 0.5`. A part whose name is no plain word is written
            `field("views.30d")`.
        every: How often to ask by the clock alone, while nothing of the user arrives; None for never.

    Examples:
        >>> from stream_profiles import Count, Event, Partition, ProfileDefinition, ProfileUpdater, Segment
        >>> fan = Segment("fan", where="views.total >= 2")
        >>> partition = Partition(ProfileUpdater(ProfileDefinition("shop", features=[Count("views")], segments=[fan])))
        >>> for n in (1, 2):
        ...     change = partition.apply(Event(event_id=str(n), user_id="ada", type="view", time=n))
        >>> change.changed["fan"]
        {'in': True, 'since': 2}
    """

    on: tuple[str, ...] | None = None

    def __init__(self, name: str, *, where: str, every: Duration | None = None) -> None:
        check_name(name)
        self.name = name
        self.where = where
        self.every = None if every is None else label(every)
        self.every_ms = None if every is None else to_ms(every)
        try:
            self.rule = compile(where)
        except DefinitionError as error:
            raise DefinitionError(f"{self!r}: where: {error}") from None
        #: Names of the fields the rule speaks of.
        self.sources = tuple(dict.fromkeys(field.partition(".")[0] for field in self.rule.fields))

    def moment(self, state: SegmentState | None, now: int) -> int:
        """As of when to ask at `now` (ms): never earlier than the last time, which the clock can have moved ahead."""
        return now if state is None else max(now, state[2])

    def ask(self, state: SegmentState | None, values: dict[str, Any], now: int) -> tuple[SegmentState, bool]:
        """The new state, and whether the user entered or left.

        Parameters:
            state: None for a user who was never asked about.
            values: The values of `sources` as of `now`.
            now: What `moment` gave.
        """
        inside = self.rule(values)
        if state is None:
            return [inside, now if inside else None, now], inside
        state[2] = now
        if inside == state[0]:
            return state, False
        state[0], state[1] = inside, now
        return state, True

    def deadline(self, state: SegmentState | None) -> int | None:
        """When to ask by the clock (ms)."""
        if self.every_ms is None or state is None:
            return None
        asked: int = state[2]
        return asked + self.every_ms

    def snapshot(self, state: SegmentState) -> Any:
        return None if state[1] is None else {"in": state[0], "since": state[1]}

    def advance(self, value: Any, now: int) -> Any:
        return value

    @property
    def max_bytes(self) -> int:
        return 2 * NUMBER_BYTES + 2
