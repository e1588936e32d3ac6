"""Replay at a multiple of real speed: when each event is due, by the time between events.

It says how long to wait and never waits itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Pacer:
    """Keeps events `speed` times as close together as they happened.

    The first event is due at once. An event that is older than the ones before it is due at once too, and time moves
    on only with newer ones. What was held up (a slow broker, workers that were behind) is caught up with: the schedule
    stays tied to the first event.

    Parameters:
        speed: 1 for real time, 3600 for an hour a second.
        clock: seconds, monotonic.

    Examples:
        >>> now = 100.0
        >>> pacer = Pacer(60, clock=lambda: now)
        >>> pacer.delay(1_000_000), pacer.delay(1_060_000)  # a minute later is a second later
        (0.0, 1.0)
    """

    def __init__(self, speed: float, clock: Callable[[], float] = time.monotonic) -> None:
        if not speed > 0 or speed == float("inf"):
            raise ValueError(f"the speed of a replay is a number above 0, not {speed}")
        self._ms_per_second = speed * 1000
        self._clock = clock
        self._first: tuple[float, int] | None = None

    def delay(self, event_time: int) -> float:
        """Seconds to wait until an event of this time (milliseconds) is due; 0 when it is."""
        if self._first is None:
            self._first = self._clock(), event_time
            return 0.0
        started, first_time = self._first
        return max(0.0, started + (event_time - first_time) / self._ms_per_second - self._clock())

    def restart(self) -> None:
        """Let the next event be due at once, as the first one was: at the start of another file, after a pause."""
        self._first = None
