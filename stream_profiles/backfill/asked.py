"""When the moments of a partition are answered: exactly when its events have come as far, and from no later ones.

What counts for a user and a moment are the events up to that moment which came before the user's first later one. A
moment is answered when the partition's clock is about to pass it, because after that time alone may change a profile. A
late event of the user makes the answer stale: it is given anew when the user's first later event comes, or in the end.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path

import msgspec

from .spill import blocks

_decode_lines = msgspec.json.Decoder(tuple[str, int]).decode_lines


class Asked:
    """The moments of one partition, by their numbers in the order of the file.

    Parameters:
        path: The spilled moments.
        answer: Called with number, user and time (ms) of a moment while the partition is as it is to be seen.
    """

    def __init__(self, path: Path, answer: Callable[[int, str, int], None]) -> None:
        self._answer = answer
        self._users: list[str] = []
        self._times = array("q")
        #: Numbers of a user's open moments, the latest first.
        self._open: dict[str, list[int]] = {}
        known: dict[str, str] = {}
        for block in blocks(path):
            for user, time in _decode_lines(block):
                user = known.setdefault(user, user)
                self._open.setdefault(user, []).append(len(self._users))
                self._users.append(user)
                self._times.append(time)
        times = self._times
        for numbers in self._open.values():
            numbers.sort(key=times.__getitem__, reverse=True)
        #: Numbers by time, and the place of each number there.
        self._order = array("q", sorted(range(len(times)), key=times.__getitem__))
        self._place = array("q", bytes(8 * len(times)))
        for place, number in enumerate(self._order):
            self._place[number] = place
        #: How many of them are answered, in that order.
        self._answered = 0
        #: Users whose answers up to this place are stale.
        self._stale: dict[str, int] = {}
        self._clock = -1

    def __len__(self) -> int:
        return len(self._users)

    def before(self, user: str, time: int) -> None:
        """To be called before each event is applied."""
        if time > self._clock:
            self._clock = time
            order, times = self._order, self._times
            while self._answered < len(order) and times[number := order[self._answered]] < time:
                self._answer(number, self._users[number], times[number])
                self._answered += 1
        numbers = self._open.get(user)
        while numbers and self._times[numbers[-1]] < time:
            self._close(user, numbers.pop())

    def after(self, user: str, time: int) -> None:
        """To be called after each event that changed a profile."""
        if time < self._clock and self._open.get(user):
            self._stale[user] = self._answered

    def finish(self) -> None:
        """To be called after the last event."""
        for number in self._order[self._answered :]:
            self._answer(number, self._users[number], self._times[number])
        for user in self._stale:
            for number in self._open[user]:
                self._close(user, number)

    def _close(self, user: str, number: int) -> None:
        """No event that is still to come counts for this moment."""
        if self._place[number] < self._stale.get(user, 0):
            self._answer(number, user, self._times[number])
