"""What features have in common that say several things of a number: how many there were, their mean, the last one."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from ..contracts import Event
from . import decay, windows
from .base import NUMBER_BYTES, State, Value
from .statistics import Partial, _Statistic


class Summary(_Statistic):
    """Several statistics of one number. State: that of a statistic, and at its end the last number."""

    #: The statistics, as they are called in a profile.
    names: tuple[str, ...]
    #: Those of them that count, and so fade by half-life.
    counts: ClassVar[frozenset[str]] = frozenset({"count"})

    @abstractmethod
    def result(self, partial: Partial | None) -> Any:
        """Each statistic by its name; None of nothing where that has no answer."""

    def update(self, state: State | None, event: Event) -> State | None:
        new = super().update(state, event)
        if new is None:
            return None
        if state is None:
            new.append(self._get(event))
        elif event.time == new[0]:
            new[-1] = self._get(event)
        return new

    def snapshot(self, state: State) -> Value:
        value = {**super().snapshot(state), "last": state[-1]}
        if self._half_lives and not self._windows:
            value["at"] = state[0]
        return value

    def advance(self, value: Value, now: int) -> Value:
        at = value.get("at")
        if at is None or now <= at:
            return value
        faded = {
            name: self._faded(value[name], decay.factor(now - at, half_life))
            for name, half_life in self._half_lives.items()
        }
        value = {**value, **faded, "at": now}
        return windows.advance(value, now) if self._windows else value

    def _faded(self, result: dict[str, Any], kept: float) -> dict[str, Any]:
        return {name: each * kept if name in self.counts else each for name, each in result.items()}

    def merge(self, a: State, b: State) -> State:
        return [*super().merge(a[:-1], b[:-1]), (b if b[0] >= a[0] else a)[-1]]

    @property
    def max_bytes(self) -> int:
        return super().max_bytes + NUMBER_BYTES

    def input_names(self) -> tuple[str, ...]:
        return (*(f"{self.name}_{label}_{name}" for label in self._labels for name in self.names), f"{self.name}_last")

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if state is None:
            return (0.0,) * (len(self._labels) * len(self.names) + 1)
        results: list[Any] = list(super().inputs(state[:-1], now))
        first = 1 if self.lifetime else 0
        for index, half_life in enumerate(self._half_lives.values(), start=first):
            results[index] = self._faded(results[index], decay.factor(max(0, now - state[0]), half_life))
        numbers = [float(each[name]) if each else 0.0 for each in results for name in self.names]
        return (*numbers, float(state[-1]))
