"""The guard: a tiny process that owns one embedded server, and ends it when the process that asked for it ends.

It is run as a script by `_process.py`, with the standard library alone, so that it starts in some twenty
milliseconds. Its parent holds the write end of the guard's standard input and never writes to it. When that end
closes, the guard ends the server, removes the folder if it is to be thrown away, and exits. The kernel closes it
however the parent ends: `stop()`, the end of the program, SIGTERM, SIGKILL or a crash. So there is one way to stop,
and it is taken every time.

The other way round, the guard closes its standard output when the server has ended by itself. It then still waits
for its parent, which may want to read the log first.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys

PARENT = 0
"""The file descriptor that reaches its end of file when the parent is gone."""


def main(commands: list[list[str]], folder: str, throw_away: bool, grace_s: float) -> None:
    """Run the commands in the folder, one after the other, until one fails or the parent is gone.

    The last command is the server. `grace_s` is the time it gets to shut down by itself; 0 kills it at once.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server: subprocess.Popen[bytes] | None = None
    try:
        for command in commands:
            # Only the server inherits the write end: when the pipe reaches its end, the server has ended. It needs
            # neither polling nor a thread, and works on Linux and macOS alike.
            ended, held = os.pipe()
            try:
                server = subprocess.Popen(
                    command, cwd=folder, stdin=subprocess.DEVNULL, stdout=sys.stderr, pass_fds=(held,)
                )
            except OSError as error:
                print(f"cannot run {command[0]}: {error}", file=sys.stderr, flush=True)
                break
            os.close(held)
            readable, _, _ = select.select([PARENT, ended], [], [])
            os.close(ended)
            if PARENT in readable:
                return
            if server.wait() != 0:
                break
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.read(PARENT, 1)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if server is not None:
            end(server, grace_s)
        if throw_away:
            shutil.rmtree(folder, ignore_errors=True)


def end(server: subprocess.Popen[bytes], grace_s: float) -> None:
    """End the server: politely while its grace lasts, then at once."""
    if grace_s > 0:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(grace_s)
    server.kill()
    server.wait()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
