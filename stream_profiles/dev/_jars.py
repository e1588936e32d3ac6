"""The jars of the embedded Kafka, and the one with a Redis in it: a pinned list, fetched once into the user's cache.

`kafka.lock` names each file with its size and SHA-256: nothing is resolved at run time, a start with a full cache
touches no network, and a file that is not the one we tested with is never run. Running it is left to `kafka.py` and
`redis.py`.
To make the list anew after changing a version here: `python -m stream_profiles.dev._jars > kafka.lock`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ..errors import EmbeddedServerError
from ._server import cache_folder

KAFKA_VERSION = "4.2.0"

COORDINATES = (
    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
    # Kafka logs through SLF4J 1.7. This binding writes errors to standard error and needs no settings file; with
    # slf4j-nop a broker that cannot start would end without a word.
    ("org.slf4j", "slf4j-simple", "1.7.36"),
)

LOCK_FILE = Path(__file__).with_name("kafka.lock")

CONNECTIONS = 8
TIMEOUT_S = 15
TRIES = 2
KAFKA = f"Kafka {KAFKA_VERSION}"
OWN_BROKER = "set STREAM_PROFILES_BROKER to a broker of your own instead"
REDIS = "Redis 6.2"
OWN_REDIS = "set STREAM_PROFILES_REDIS to a Redis of your own instead"


@dataclasses.dataclass(frozen=True)
class Jar:
    """One file of the list."""

    group: str
    artifact: str
    version: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        """Its name in the cache."""
        return f"{self.artifact}-{self.version}.jar"

    def is_in(self, folder: Path) -> bool:
        """Whether the folder has it. Files get there whole and checked, so the size is enough."""
        try:
            return (folder / self.filename).stat().st_size == self.size
        except OSError:
            return False


REDIS_JAR = Jar(
    "com.github.codemonstur",
    "embedded-redis",
    "1.4.3",
    11_953_653,
    "ffbc63265c60d25dee453d6f656b527d98200d98657c6a0ab4dec4ea2c3a5cd6",
)
"""Java that nobody runs here, around the `redis-server` of several systems."""


def pinned_jars() -> list[Jar]:
    """The list of `kafka.lock`, in the order of the class path."""
    jars = []
    for line in LOCK_FILE.read_text().splitlines():
        if not line.startswith("#"):
            coordinate, size, sha256 = line.split()
            group, artifact, version = coordinate.split(":")
            jars.append(Jar(group, artifact, version, int(size), sha256))
    return jars


def kafka_jars(console: Console) -> list[Path]:
    """The class path of Kafka. Fetches what the cache lacks.

    Raises:
        EmbeddedServerError: a file is missing and cannot be fetched.
    """
    folder = cache_folder() / f"kafka-{KAFKA_VERSION}"
    jars = pinned_jars()
    missing = [jar for jar in jars if not jar.is_in(folder)]
    if missing:
        fetch(missing, folder, console)
    return [folder / jar.filename for jar in jars]


def redis_jar(folder: Path, console: Console) -> Path:
    """The jar that has a Redis in it. Fetches it into the folder when it is not there.

    Raises:
        EmbeddedServerError: it is missing and cannot be fetched.
    """
    if not REDIS_JAR.is_in(folder):
        fetch([REDIS_JAR], folder, console, what=REDIS, otherwise=OWN_REDIS)
    return folder / REDIS_JAR.filename


def fetch(
    jars: list[Jar],
    folder: Path,
    console: Console,
    repositories: dict[str, str] | None = None,
    *,
    what: str = KAFKA,
    otherwise: str = OWN_BROKER,
) -> None:
    """Download the files into the folder, several at a time, each checked before it gets its name.

    What has arrived stays when the rest fails, so the next start goes on from there. Two processes may do this at
    the same time.

    Args:
        jars: What to fetch.
        folder: Where to; made if needed.
        console: Where progress is shown.
        repositories: Names and addresses of Maven repositories; jgo's own default if not given.
        what: What the files are, for progress and errors.
        otherwise: What to do without them, for errors.

    Raises:
        EmbeddedServerError: a file could not be fetched, is not the one of the list, or cannot be written.
    """
    try:
        maven = import_module("jgo.maven")
    except ImportError:
        raise EmbeddedServerError(
            f"{what} is not in the cache and jgo, which fetches it, is not installed: "
            f'pip install "stream_profiles[embedded]", or {otherwise}'
        ) from None
    size = sum(jar.size for jar in jars)
    files = "file" if len(jars) == 1 else "files"
    title = f"Fetching {what}, once"
    if not console.is_terminal:
        console.print(f"{title}: {len(jars)} {files}, {size / 1e6:.1f} MB", highlight=False)
    cancelled = threading.Event()
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[files]} of {task.fields[all]} " + files),
        console=console,
        transient=True,
    )
    bar = progress.add_task(title, total=size, files=0, all=len(jars))

    def advance(byte_count: int) -> None:
        if cancelled.is_set():
            raise InterruptedError("cancelled")
        progress.advance(bar, byte_count)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as staging,
            progress,
            ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="fetch") as pool,
        ):
            futures = [
                pool.submit(_fetch_one, maven, jar, Path(staging), folder, advance, repositories) for jar in jars
            ]
            try:
                for count, future in enumerate(as_completed(futures), start=1):
                    future.result()
                    progress.update(bar, files=count)
            except BaseException:
                cancelled.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    except (OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.strerror:
            # One of the file system's; those of `requests` are OSErrors too, without a number.
            raise EmbeddedServerError(
                f"{what} cannot be stored in {folder} ({error.strerror}): "
                f"set STREAM_PROFILES_CACHE to a folder that can be written, or {otherwise}"
            ) from error
        raise EmbeddedServerError(
            f"{what} could not be downloaded ({_reason(error)}): try again with a network connection, or {otherwise}"
        ) from error


def _fetch_one(
    maven: Any,
    jar: Jar,
    staging: Path,
    folder: Path,
    advance: Callable[[int], None],
    repositories: dict[str, str] | None,
) -> None:
    arrived = 0

    @contextmanager
    def count(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        def add(byte_count: int) -> None:
            nonlocal arrived
            arrived += byte_count
            advance(byte_count)

        yield add

    # A context of its own for each file: jgo's are not meant to be shared by threads. The staging folder keeps
    # jgo's files, which may be half there, out of the cache and of ~/.m2.
    context = maven.MavenContext(
        resolver=maven.PythonResolver(progress_callback=count),
        repo_cache=staging,
        local_repos=[],
        remote_repos=repositories,
        timeout=TIMEOUT_S,
    )
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
    for attempt in range(1, TRIES + 1):
        try:
            file: Path = artifact.resolve()
        except InterruptedError:
            raise
        except OSError:
            artifact.cached_path.unlink(missing_ok=True)
            advance(-arrived)
            arrived = 0
            if attempt == TRIES:
                raise
        else:
            break
    if hashlib.sha256(file.read_bytes()).hexdigest() != jar.sha256:
        raise RuntimeError(f"{jar.filename} is not the file that was expected")
    os.replace(file, folder / jar.filename)


def _reason(error: BaseException) -> str:
    """A few words for an error of the download. Those of `requests` and jgo are paragraphs with addresses."""
    kind = type(error).__name__
    if kind in ("ConnectionError", "ConnectTimeout", "ReadTimeout", "ProxyError", "SSLError", "ChunkedEncodingError"):
        return f"the Maven repository does not answer: {kind}"
    if "not found in remote repositories" in str(error):
        return "the Maven repository does not have a file of it"
    return str(error)


def _lock() -> Iterator[str]:
    """The lines of `kafka.lock`, resolved and fetched now."""
    maven, parse = import_module("jgo.maven"), import_module("jgo.parse")
    with tempfile.TemporaryDirectory() as cache:
        context = maven.MavenContext(repo_cache=Path(cache), local_repos=[])
        wanted = [
            context.create_dependency(dataclasses.replace(parse.Coordinate.parse(":".join(c)), scope="compile"))
            for c in COORDINATES
        ]
        inputs, transitive = context.resolver.resolve(wanted)
        yield f"# The class path of Kafka {KAFKA_VERSION}: Maven coordinate, bytes, SHA-256. Made by _jars.py."
        for dependency in [*inputs, *(d for d in transitive if d.scope in ("compile", "runtime"))]:
            artifact = dependency.artifact
            content = artifact.resolve().read_bytes()
            coordinate = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
            yield f"{coordinate} {len(content)} {hashlib.sha256(content).hexdigest()}"


if __name__ == "__main__":
    for text in _lock():
        print(text, file=sys.stdout, flush=True)
