"""Partitions computed side by side, each in a process of its own, under one eye.

Processes are spawned, not forked: a fork of a process with threads may hang. They end with this one, however it ends.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ..errors import StreamProfilesError
from .compute import Outcome, Task, compute

_LOOK_SECONDS = 0.2
#: As in a worker: profiles in memory are many objects without cycles.
_GC_THRESHOLD = 50_000


class _Stopped(Exception):
    """Somebody else failed, or the user has had enough."""


def compute_all(tasks: Sequence[Task], processes: int, show: Callable[[int], None]) -> list[Outcome]:
    """Compute partitions, at most `processes` at a time; with one, in this process.

    Parameters:
        show: Called now and then with the number of events applied so far.

    Returns:
        The outcome of each task, in their order.

    Raises:
        StreamProfilesError: a process was killed.
    """
    if processes == 1:
        return _compute_here(tasks, show)
    context = multiprocessing.get_context("spawn")
    # Without locks, which a process that is killed might take along: each task has a number that only it writes.
    stop, applied = context.RawValue("b", 0), context.RawArray("Q", len(tasks))
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(stop, applied))
    try:
        futures = [pool.submit(_compute_there, number, task) for number, task in enumerate(tasks)]
        # The pool notices the death of a process that it knew of when it was woken last, and it is woken before one is
        # started: so it has to be woken once more.
        pool.submit(_nothing)
        waiting: set[Future[Outcome]] = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            show(sum(applied))
            for future in done:
                future.result()
        return [future.result() for future in futures]
    except BrokenProcessPool:
        raise StreamProfilesError(
            "a process that computed a partition was killed, perhaps because there was no memory left: "
            "use fewer --processes, which hold less at a time"
        ) from None
    finally:
        stop.value = 1
        pool.shutdown(cancel_futures=True)


def _compute_here(tasks: Sequence[Task], show: Callable[[int], None]) -> list[Outcome]:
    applied = 0

    def tick(events: int) -> None:
        nonlocal applied
        applied += events
        show(applied)

    return [compute(task, tick) for task in tasks]


_stop: Any = None
_applied: Any = None


def _begin(stop: Any, applied: Any) -> None:
    """Set up a process."""
    global _stop, _applied
    _stop, _applied = stop, applied
    # Ctrl-C reaches all processes of a terminal; the first one tells the others when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(_GC_THRESHOLD, 20, 50)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _nothing() -> None:
    """A task that only wakes the pool."""


def _compute_there(number: int, task: Task) -> Outcome:
    def tick(events: int) -> None:
        if _stop.value:
            raise _Stopped
        _applied[number] += events

    return compute(task, tick)
