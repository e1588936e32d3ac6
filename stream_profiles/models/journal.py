"""How a partition stores what learns: all of it with every write, or now and then with the lessons since.

Weights of a linear model are small and go into every write. A forest takes a megabyte: writing that ten times a second
would drown the changelog. What learns is deterministic, so a state of a while ago and the lessons since, in their
order, say the same: restored, they are learned again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

#: A large state is stored again after so many lessons. Learning that many again is what a recovery waits for.
_LESSONS_A_STATE = 1_000


class Journaled(ABC):
    """Something that learns from lessons, and its stored form: a state, and batches of lessons by version."""

    def __init__(self) -> None:
        #: Whether it learned since `take`.
        self.changed = False
        self._lessons: list[Any] = []
        #: Versions of the stored batches, and how many lessons they and `_lessons` hold.
        self._batches: list[int] = []
        self._lessons_total = 0
        self._stored = False

    @property
    @abstractmethod
    def compact(self) -> bool:
        """Whether the state is small enough for every write."""

    @abstractmethod
    def state(self) -> Any:
        """Everything it knows, for MessagePack."""

    @abstractmethod
    def relearn(self, lesson: Any) -> None:
        """Learn from a noted lesson again, exactly as the first time."""

    def note(self, lesson: Any) -> None:
        """Call with each lesson, in a form that MessagePack can hold."""
        self.changed = True
        if not self.compact:
            self._lessons.append(lesson)
            self._lessons_total += 1

    def take(self, version: int) -> list[tuple[int, Any]]:
        """What to store now, under which number: 0 for the state, else a batch's version; None deletes."""
        self.changed = False
        if not self.compact and self._stored and self._lessons_total < _LESSONS_A_STATE:
            lessons, self._lessons = self._lessons, []
            self._batches.append(version)
            return [(version, lessons)]
        stored: list[tuple[int, Any]] = [(0, self.state()), *((batch, None) for batch in self._batches)]
        self._lessons, self._batches, self._lessons_total, self._stored = [], [], 0, True
        return stored

    def resume(self, version: int, batches: dict[int, list[Any]]) -> None:
        """Go on after a recovery.

        Parameters:
            version: Of the stored state it was made from.
            batches: Stored lessons by version; those that the state knows already are passed over.
        """
        self._stored = True
        for batch in sorted(batches):
            self._batches.append(batch)
            if batch > version:
                for lesson in batches[batch]:
                    with suppress(Exception):  # of somebody's own model: it was said the first time
                        self.relearn(lesson)
        self.changed = False
        self._lessons = []
