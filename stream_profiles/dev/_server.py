"""What the embedded servers have in common: a folder, a port, a log, and the way from "launched" to "answers".

Leaves to its subclasses how a server is run and how it is recognised, and to `_process.py` that it ends in time.
"""

from __future__ import annotations

import fcntl
import os
import random
import re
import shutil
import socket
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, Self

from rich.console import Console

from ..errors import EmbeddedServerError
from ._process import GuardedProcess

HOST = "127.0.0.1"

PORTS = range(20_000, 32_000)
"""Below the ports that systems hand out to outgoing connections (32768 up on Linux, 49152 up on macOS): from there
somebody's connection could take the port before the server does, and polling it could even connect to itself."""

ATTEMPTS = 3
"""Starts before giving up, when another program takes the port between our look and the server's."""

POLL_S = 0.02

_PORT_TAKEN = re.compile(r"address already in use", re.IGNORECASE)
_REDIS_PREFIX = re.compile(r"^\d+:\w [^#*]+[#*] ")
_NOISE = re.compile(
    r"\s|\.\.\. \d+ more|Picked up \w+|WARNING: |"
    r"Error: (A fatal exception has occurred|Could not create the Java Virtual Machine)"
)


def cache_folder() -> Path:
    """Where downloads and the logs of failed starts are kept: `$STREAM_PROFILES_CACHE`, else the user's cache."""
    if chosen := os.environ.get("STREAM_PROFILES_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stream_profiles"


def free_port() -> int:
    """A TCP port of this machine that nobody listens on now.

    Raises:
        EmbeddedServerError: none was found.
    """
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            # Servers set it too: a port whose last connections still linger is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise EmbeddedServerError(f"no free TCP port on {HOST} between {PORTS.start} and {PORTS.stop}")


def last_meaningful_line(log: str) -> str:
    """The line of a server's log that most likely says why it ended: the last that is no stack frame or chatter.

    Examples:
        >>> last_meaningful_line("ERROR Exiting\\njava.net.BindException: Address in use\\n\\tat java.base/sun.nio\\n")
        'java.net.BindException: Address in use'
    """
    lines = [line.rstrip() for line in log.splitlines() if line.strip() and not _NOISE.match(line)]
    return _REDIS_PREFIX.sub("", lines[-1]) if lines else ""


class EmbeddedServer(ABC):
    """A real server in a process of its own, on a free port of 127.0.0.1, that ends when this process does.

    Args:
        folder: Where its data is kept, and found again at the next start. By default a temporary folder that is
            removed at the end.
        console: Where progress and warnings are shown; standard error by default.
    """

    name: ClassVar[str]
    start_timeout_s: ClassVar[float] = 60
    grace_s: ClassVar[float] = 10
    """Time for a clean shutdown when the data is kept. Data that is thrown away needs none."""

    def __init__(self, folder: Path | None = None, *, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.port = 0
        self._kept_folder = folder
        self._folder: Path | None = None
        self._process: GuardedProcess | None = None

    @abstractmethod
    def _prepare(self) -> None:
        """Called first, once a start: find the programs, fetch what is missing.

        Raises:
            EmbeddedServerError: something is missing and cannot be had.
        """

    @abstractmethod
    def _commands(self, folder: Path, port: int) -> list[list[str]]:
        """Called with the folder made and empty, or as the last run left it: write the settings into it, and return
        the commands to run there; the last is the server."""

    @abstractmethod
    def _answers(self) -> bool:
        """Called every few milliseconds once something listens on the port: whether it is this server, and ready."""

    @property
    @abstractmethod
    def description(self) -> str:
        """What runs where, in a few words."""

    @property
    def log(self) -> Path:
        """The log of the server that runs now. That of a temporary folder goes with it."""
        assert self._folder is not None, "launch() comes first"
        return self._folder / f"{self.name.lower()}.log"

    @property
    def running(self) -> bool:
        """Whether the server runs: started, not stopped, and not ended by itself."""
        return self._process is not None and not self._process.ended()

    @property
    def address(self) -> str:
        """Host and port.

        Raises:
            EmbeddedServerError: it was not started.
        """
        if self._process is None:
            raise EmbeddedServerError(f"the embedded {self.name} was not started: use it in a with statement")
        return f"{HOST}:{self.port}"

    def start(self) -> Self:
        """Start the server and wait until it answers.

        Raises:
            EmbeddedServerError: it cannot be had, did not start, or its folder is in use.
        """
        self.launch()
        self.wait_until_ready()
        return self

    def launch(self) -> None:
        """Start the server without waiting for it: `wait_until_ready` must follow, and `stop` if anything fails."""
        if self._process is not None:
            raise EmbeddedServerError(f"the embedded {self.name} was started already")
        self._prepare()
        self._spawn()

    def wait_until_ready(self) -> None:
        """Wait until the launched server answers.

        Raises:
            EmbeddedServerError: it ended, or did not answer in time. It is stopped then, like at any other exception.
        """
        try:
            for attempt in range(1, ATTEMPTS + 1):
                failure = self._wait()
                if failure is None:
                    return
                if attempt == ATTEMPTS or not _PORT_TAKEN.search(self._logged()):
                    raise EmbeddedServerError(f"the embedded {self.name} {failure}; its log is {self._saved_log()}")
                self.stop()
                self._spawn()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and, unless a folder was given, throw its data away. Does nothing when it is stopped."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self) -> None:
        with ExitStack() as undo:
            try:
                if self._kept_folder is not None:
                    folder = self._kept_folder.expanduser().resolve()
                    folder.mkdir(parents=True, exist_ok=True)
                    lock = undo.enter_context(self._lock(folder))
                else:
                    folder = Path(tempfile.mkdtemp(prefix=f"stream-profiles-{self.name.lower()}-")).resolve()
                    lock = None
                    # From here on it is ours to remove, until the guard has it.
                    undo.callback(self._remove_unless_guarded, folder)
                self._folder = folder
                self.log.unlink(missing_ok=True)
                self.port = free_port()
                self._process = GuardedProcess(
                    self._commands(folder, self.port),
                    folder=folder,
                    log=self.log,
                    throw_away=self._kept_folder is None,
                    grace_s=0 if self._kept_folder is None else self.grace_s,
                    lock=lock,
                )
            except OSError as error:
                raise EmbeddedServerError(f"the embedded {self.name} cannot use its folder: {error}") from error

    def _remove_unless_guarded(self, folder: Path) -> None:
        if self._process is None:
            shutil.rmtree(folder, ignore_errors=True)

    def _lock(self, folder: Path) -> IO[str]:
        """Lock the folder. The lock lasts while the returned file is open, here or in the guard."""
        lock = (folder / ".lock").open("a+")
        deadline = time.monotonic() + self.grace_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                owner = lock.read().strip()
                # An owner that is gone leaves a guard behind for the moment that the server takes to shut down.
                if not (owner.isdigit() and _is_alive(int(owner))) and time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                lock.close()
                raise EmbeddedServerError(
                    f"{folder} is in use by the embedded {self.name} of process {owner or 'unknown'}: "
                    f"stop that one first, or give another folder"
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            return lock

    def _wait(self) -> str | None:
        """Wait until the server answers; else return what went wrong."""
        assert self._process is not None
        deadline = time.monotonic() + self.start_timeout_s
        while not self._process.ended(wait_s=POLL_S):
            if _listens(self.port) and self._answers():
                return None
            if time.monotonic() > deadline:
                return f"did not answer within {self.start_timeout_s:.0f} seconds{self._last_words()}"
        return f"ended during its start{self._last_words()}"

    def _logged(self) -> str:
        try:
            return self.log.read_text(errors="replace")
        except OSError:
            return ""

    def _last_words(self) -> str:
        line = last_meaningful_line(self._logged())
        return f": {line}" if line else ""

    def _saved_log(self) -> Path:
        """The log, out of the way of the removal of a temporary folder."""
        if self._kept_folder is not None:
            return self.log
        saved = cache_folder() / f"{self.name.lower()}-failed.log"
        try:
            saved.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.log, saved)
        except OSError:
            return self.log
        return saved


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
