"""Lifecycle: new, active, at risk or lost; a stage changes also when nothing arrives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..contracts import Event
from ..durations import Duration, label, to_ms
from ..errors import DefinitionError
from .base import NUMBER_BYTES, Feature, State, Value

STAGES = ("new", "active", "at risk", "lost")


class Lifecycle(Feature):
    """The stage a user is in: "new", "active", "at risk" or "lost".

    A user is at risk after `at_risk` without an event, and lost after `lost`; before that, new until `new` after the
    first event and active from then on. The stage is published when it changes, whether by an event or by time alone.

    Stage, `first` and `last` are exact in whatever order events arrive. What a late event tells about earlier absences
    does not change `returns`, nor since when a returned user has been there.
    State: `[first event, last event, the event that ended the latest absence or None, returns, as of]`.

    Published: `stage`, `since` when (ms), times of the `first` and the `last` event, `returns` (how often a lost user
    came back), `at`.

    Parameters:
        name: Field name.
        new: How long a user is new.
        at_risk: How long without an event puts a user at risk.
        lost: How long without an event means that a user is lost; longer than `at_risk`.
        on: Event type(s) that show that a user is there; None for all.
        where: Condition on the events.

    Examples:
        >>> from stream_profiles import Event, Lifecycle
        >>> lifecycle = Lifecycle("lifecycle", new="7d", at_risk="30d", lost="90d")
        >>> state = lifecycle.update(None, Event(event_id="1", user_id="u", type="view", time=0))
        >>> [lifecycle.value(state, now=86_400_000 * day)["stage"] for day in (0, 7, 30, 90)]
        ['new', 'active', 'at risk', 'lost']
    """

    def __init__(
        self,
        name: str,
        *,
        new: Duration = "7d",
        at_risk: Duration = "30d",
        lost: Duration = "90d",
        on: str | Iterable[str] | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(name, on=on, where=where)
        self.new, self.at_risk, self.lost = label(new), label(at_risk), label(lost)
        self._new_ms, self._at_risk_ms, self._lost_ms = to_ms(new), to_ms(at_risk), to_ms(lost)
        if self._lost_ms <= self._at_risk_ms:
            raise DefinitionError(f"{self!r}: lost={self.lost!r} has to be longer than at_risk={self.at_risk!r}")

    def update(self, state: State | None, event: Event) -> State | None:
        time = event.time
        if state is None:
            return [time, time, None, 0, time]
        first, last = state[0], state[1]
        if time > last:
            if time - last >= self._at_risk_ms:
                state[2] = time
                state[3] += time - last >= self._lost_ms
            state[1] = time
        elif time < first:
            state[0] = time
        else:
            return None
        if time > state[4]:
            state[4] = time
        return state

    def _stage(self, first: int, last: int, now: int) -> tuple[str, int]:
        """The stage at a moment, and since when if no absence came before it."""
        idle = now - last
        if idle >= self._lost_ms:
            return "lost", last + self._lost_ms
        if idle >= self._at_risk_ms:
            return "at risk", last + self._at_risk_ms
        return ("new", first) if now - first < self._new_ms else ("active", first + self._new_ms)

    def snapshot(self, state: State) -> Value:
        first, last, returned, returns, at = state
        stage, since = self._stage(first, last, at)
        if returned is not None and returned > since:
            since = returned
        return {"stage": stage, "since": since, "first": first, "last": last, "returns": returns, "at": at}

    def advance(self, value: Value, now: int) -> Value:
        if now <= value["at"]:
            return value
        stage, since = self._stage(value["first"], value["last"], now)
        return {**value, "stage": stage, "since": max(since, value["since"]), "at": now}

    def deadline(self, state: State) -> int | None:
        """When the stage changes next if nothing arrives; None for a lost user."""
        first, last, _, _, at = state
        changes = [last + self._at_risk_ms, last + self._lost_ms]
        if first + self._new_ms < changes[0]:
            changes.insert(0, first + self._new_ms)
        return next((change for change in changes if change > at), None)

    def expire(self, state: State, now: int) -> State:
        """The state as of the latest change up to `now`: not of `now`, which depends on what other users do."""
        while (change := self.deadline(state)) is not None and change <= now:
            state[4] = change
        return state

    @property
    def max_bytes(self) -> int:
        return 5 * NUMBER_BYTES + 1

    def category(self, state: State, now: int) -> str | None:
        stage: str = self.value(state, now)["stage"]
        return stage

    def input_names(self) -> tuple[str, ...]:
        names: list[Any] = [stage.replace(" ", "_") for stage in STAGES]
        return tuple(f"{self.name}_{each}" for each in (*names, "returns"))

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if state is None:
            return (0.0,) * (len(STAGES) + 1)
        stage, _ = self._stage(state[0], state[1], now)
        return (*(float(stage == each) for each in STAGES), float(state[3]))
