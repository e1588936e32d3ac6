"""A server process under a guard, seen from the process that wants it.

Starts the guard (`_guard.py`), tells when the server has ended, and stops both. What the server is, where it listens
and whether it answers is left to `_server.py`.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

GUARD = Path(__file__).with_name("_guard.py")

_running: set[GuardedProcess] = set()


class GuardedProcess:
    """A server that ends when this process does, whatever ends it.

    Args:
        commands: What to run in the folder, one after the other; the last is the server.
        folder: Working directory of the commands.
        log: File that their output is appended to.
        throw_away: Remove the folder at the end.
        grace_s: Seconds the server gets to shut down by itself; 0 kills it at once.
        lock: An open file whose `flock` the guard takes over, and keeps until the server is gone.
    """

    def __init__(
        self,
        commands: list[list[str]],
        *,
        folder: Path,
        log: Path,
        throw_away: bool,
        grace_s: float,
        lock: IO[str] | None = None,
    ) -> None:
        self._folder = folder
        self._throw_away = throw_away
        self._grace_s = grace_s
        order = {"commands": commands, "folder": str(folder), "throw_away": throw_away, "grace_s": grace_s}
        with log.open("ab") as output:
            # A session of its own: Ctrl-C in the terminal is for the program, which may still want to flush into
            # the server. Popen's pipes are not inherited by programs this process starts later; see below for forks.
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                bufsize=0,
                start_new_session=True,
                pass_fds=() if lock is None else (lock.fileno(),),
            )
        _running.add(self)

    def ended(self, wait_s: float = 0) -> bool:
        """Whether the server has ended by itself. Waits for it up to `wait_s` seconds."""
        assert self._guard.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._guard.stdout, selectors.EVENT_READ)
            return bool(selector.select(wait_s))

    def stop(self) -> None:
        """Stop the server, if it still runs, and wait until it is gone. Does nothing the second time."""
        if self not in _running:
            return
        _running.discard(self)
        assert self._guard.stdin is not None and self._guard.stdout is not None
        self._guard.stdin.close()
        try:
            failed = self._guard.wait(self._grace_s + 10) != 0
        except subprocess.TimeoutExpired:
            failed = True
        if failed:
            # Somebody killed the guard, or it hangs. The server is in its process group.
            with suppress(ProcessLookupError):
                os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()
            if self._throw_away:
                shutil.rmtree(self._folder, ignore_errors=True)
        self._guard.stdout.close()

    def _forget(self) -> None:
        assert self._guard.stdin is not None and self._guard.stdout is not None
        self._guard.stdin.close()
        self._guard.stdout.close()


def _stop_all() -> None:
    for process in list(_running):
        process.stop()


def _forget_all() -> None:
    """In a forked child: the servers are the parent's, and must not live as long as its children do."""
    for process in _running:
        process._forget()
    _running.clear()


atexit.register(_stop_all)
os.register_at_fork(after_in_child=_forget_all)
