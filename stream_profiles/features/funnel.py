"""Funnel: how far users get on the way from a first step to a last one, and where they stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..contracts import Event
from ..durations import Duration, label, to_ms
from ..errors import DefinitionError
from .base import MAX_TEXT_BYTES, NUMBER_BYTES, Feature, State, Value, field_getter, text

#: How far one attempt got: [index of the step, time it was reached, time of its latest event].
_Attempt = list[Any]


class Funnel(Feature):
    """How often each step was reached in order, each within a time of the one before, and how often it ended there.

    An attempt begins with an event of the first step. It goes on with an event of the next step that comes no later
    than `within` after the latest event of the step it is at; when none does, it is abandoned at that step. Events of
    other steps are left aside, so a purchase without a cart before it is none of the funnel's. With `by` there is an
    attempt of its own for each item.

    Steps have to arrive in order: an event that comes late counts when it continues the attempt as it stands then.
    State: `[time, reached, {item: [step, since, latest event of the step]}]`; without `by` the item is "".

    Published: by step, `reached` (number of attempts that got there), `conversion` (share of the attempts at the step
    before, None where there are none) and `abandoned`; `at`. Without `by`, the attempt's `step` and `since` when (ms),
    and `until` when it can go on; a completed one stays at the last step, and of an abandoned one they are None. With
    `by`, the `open` attempts as `[item, step, since, until]`, the furthest first.

    Parameters:
        name: Field name.
        steps: Event types in order, two or more.
        within: How long to wait for the next step.
        by: Event field with the item; None for one attempt at a time.
        max_open: The most items with an attempt. For one more, that with the least steps and longest without an event
            is given up as abandoned.
        where: Condition on the events.

    Examples:
        >>> from stream_profiles import Event, Funnel
        >>> funnel = Funnel("funnel", steps=("view", "cart", "purchase"), within="1h")
        >>> state = None
        >>> for minute, type in enumerate(["view", "view", "cart"]):
        ...     event = Event(event_id=str(minute), user_id="u", type=type, time=60_000 * minute)
        ...     state = funnel.update(state, event) or state
        >>> funnel.snapshot(state)["reached"], funnel.snapshot(state)["step"]
        ({'view': 1, 'cart': 1, 'purchase': 0}, 'cart')
        >>> funnel.value(state, now=7_200_000)["abandoned"]
        {'view': 0, 'cart': 1}
    """

    def __init__(
        self,
        name: str,
        *,
        steps: Sequence[str] = ("view", "cart", "purchase"),
        within: Duration = "7d",
        by: str | None = None,
        max_open: int = 20,
        where: str | None = None,
    ) -> None:
        super().__init__(name, on=steps, where=where)
        self.steps = list(self.on or ())
        if len(self.steps) < 2 or len(set(self.steps)) < len(self.steps):
            raise DefinitionError(f"{self!r}: steps= takes two or more event types, each once")
        if max_open < 1:
            raise DefinitionError(f"{self!r}: max_open must be at least 1")
        self.within = label(within)
        self._within_ms = to_ms(within)
        self.by = by
        self.max_open = max_open
        self._item = None if by is None else field_getter(self, by)
        self._index = {step: index for index, step in enumerate(self.steps)}
        self._last = len(self.steps) - 1

    def update(self, state: State | None, event: Event) -> State | None:
        item = "" if self._item is None else text(self._item(event))
        if item is None:
            return None
        step, time = self._index[event.type], event.time
        attempt = None if state is None else state[2].get(item)
        if state is None:
            state = [time, [0] * len(self.steps), {}]
        if attempt is None or attempt[0] == self._last or time > attempt[2] + self._within_ms:
            if step or (attempt is not None and time < attempt[2]):
                return None
            self._begin(state, item, time)
        elif step == attempt[0]:
            if time <= attempt[2]:
                return None
            attempt[2] = time
        elif step == attempt[0] + 1 and time >= attempt[1]:
            state[1][step] += 1
            attempt[:] = [step, time, time]
            if step == self._last and self._item is not None:
                del state[2][item]
        else:
            return None
        if time > state[0]:
            state[0] = time
        return state

    def _begin(self, state: State, item: str, time: int) -> None:
        attempts = state[2]
        attempts.pop(item, None)
        if self._item is not None and len(attempts) >= self.max_open:
            over = [known for known, (_, _, last) in attempts.items() if last + self._within_ms < state[0]]
            for known in over or [min(attempts, key=lambda known: (attempts[known][0], attempts[known][2], known))]:
                del attempts[known]
        attempts[item] = [0, time, time]
        state[1][0] += 1

    def snapshot(self, state: State) -> Value:
        at, reached, attempts = state
        value: dict[str, Any] = {
            "reached": dict(zip(self.steps, reached, strict=True)),
            "conversion": {
                step: reached[index + 1] / reached[index] if reached[index] else None
                for index, step in enumerate(self.steps[1:])
            },
            "abandoned": dict(zip(self.steps, self._abandoned(state, at), strict=False)),
        }
        if self._item is None:
            step, since, last = attempts[""]
            until = None if step == self._last else last + self._within_ms
            value |= {"step": self.steps[step], "since": since, "until": until}
            if until is not None and until < at:
                value |= _ABANDONED
        else:
            value["open"] = [
                [item, self.steps[step], since, last + self._within_ms]
                for item, (step, since, last) in sorted(attempts.items(), key=_furthest)
                if last + self._within_ms >= at
            ]
        value["at"] = at
        return value

    def _open(self, state: State, now: int) -> list[int]:
        """How many attempts stand at each step but the last and can go on."""
        waiting = [0] * self._last
        for step, _, last in state[2].values():
            if step < self._last and last + self._within_ms >= now:
                waiting[step] += 1
        return waiting

    def _abandoned(self, state: State, now: int) -> list[int]:
        reached, waiting = state[1], self._open(state, now)
        return [reached[step] - reached[step + 1] - waiting[step] for step in range(self._last)]

    def advance(self, value: Value, now: int) -> Value:
        if now <= value["at"]:
            return value
        brought = {**value, "at": now}
        if self._item is None:
            until = value["until"]
            if until is None or until >= now:
                return brought
            over = [value["step"]]
            brought |= _ABANDONED
        else:
            over = [step for _, step, _, until in value["open"] if until < now]
            brought["open"] = [attempt for attempt in value["open"] if attempt[3] >= now]
        brought["abandoned"] = {step: count + over.count(step) for step, count in value["abandoned"].items()}
        return brought

    @property
    def max_bytes(self) -> int:
        attempts = 1 if self._item is None else self.max_open
        return (len(self.steps) + 2) * NUMBER_BYTES + attempts * (MAX_TEXT_BYTES + 3 * NUMBER_BYTES)

    def category(self, state: State, now: int) -> str | None:
        step: str | None = self.value(state, now).get("step")
        return step

    def input_names(self) -> tuple[str, ...]:
        before = self.steps[:-1]
        return (
            *(f"{self.name}_reached_{step}" for step in self.steps),
            *(f"{self.name}_conversion_{step}" for step in self.steps[1:]),
            *(f"{self.name}_abandoned_{step}" for step in before),
            *(f"{self.name}_open_{step}" for step in before),
        )

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if state is None:
            return (0.0,) * (4 * len(self.steps) - 3)
        now, reached = max(now, state[0]), state[1]
        conversions = [reached[index + 1] / reached[index] if reached[index] else 0.0 for index in range(self._last)]
        waiting = self._open(state, now)
        abandoned = [reached[step] - reached[step + 1] - waiting[step] for step in range(self._last)]
        return (*map(float, reached), *conversions, *map(float, abandoned), *map(float, waiting))


_ABANDONED: dict[str, Any] = {"step": None, "since": None, "until": None}


def _furthest(attempt: tuple[str, _Attempt]) -> tuple[int, int, str]:
    item, (step, since, _) = attempt
    return -step, -since, item
