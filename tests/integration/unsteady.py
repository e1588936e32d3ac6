"""A way to a server that the test can break: it lets everything through, takes its time, or lets nobody in."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType


class Unsteady:
    """A TCP relay in front of a server, in threads of its own.

    Parameters:
        host: The server's.
        port: The server's.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        #: Each answer of the server waits so long, s.
        self.delay_s = 0.0
        #: Answers that waited, and connections that were refused.
        self.delayed = self.refused = 0
        self._refusing = False
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def refuse(self) -> None:
        """Break all connections, and every new one."""
        self._refusing = True
        while self._open:
            _close(self._open.pop())

    def admit(self) -> None:
        """Let everything through again, at once."""
        self._refusing, self.delay_s = False, 0.0

    def __enter__(self) -> Unsteady:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _close(self._listener)
        self.refuse()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                self.refused += 1
                _close(client)
                continue
            server = socket.create_connection(self._server)
            self._open += client, server
            threading.Thread(target=self._relay, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._relay, args=(server, client, True), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while some := source.recv(65_536):
                if answers and self.delay_s:
                    self.delayed += 1
                    time.sleep(self.delay_s)
                target.sendall(some)
        _close(source)
        _close(target)


def _close(connection: socket.socket) -> None:
    # Closing alone does not wake up who is reading.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
