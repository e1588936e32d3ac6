"""Fetching the pinned jars: from a repository of the test's own, through the real jgo."""

from __future__ import annotations

import gc
import hashlib
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from stream_profiles.dev import _jars
from stream_profiles.dev._jars import COORDINATES, Jar, fetch, kafka_jars, pinned_jars
from stream_profiles.errors import EmbeddedServerError

QUIET = Console(quiet=True)
CONTENT = b"not really a jar" * 1_000


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def a_jar(name: str, content: bytes = CONTENT) -> Jar:
    return Jar("org.example", name, "1.0", len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A Maven repository with the files one and two."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    pytest.importorskip("jgo")
    root = tmp_path / "repository"
    for name in ("one", "two"):
        folder = root / "org" / "example" / name / "1.0"
        folder.mkdir(parents=True)
        (folder / f"{name}-1.0.jar").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield {"test": f"http://127.0.0.1:{server.server_port}"}
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_list_has_what_was_asked_for() -> None:
    jars = pinned_jars()
    assert [(jar.group, jar.artifact, jar.version) for jar in jars[: len(COORDINATES)]] == list(COORDINATES)
    assert len({jar.filename for jar in jars}) == len(jars), "names are unique in the one folder of the cache"
    assert all(len(jar.sha256) == 64 and jar.size > 0 for jar in jars)


def test_files_arrive_and_nothing_else_stays(tmp_path: Path, repository: dict[str, str]) -> None:
    cache = tmp_path / "cache"
    fetch([a_jar("one"), a_jar("two")], cache, QUIET, repository)
    assert sorted(file.name for file in cache.iterdir()) == ["one-1.0.jar", "two-1.0.jar"]
    assert (cache / "one-1.0.jar").read_bytes() == CONTENT
    assert a_jar("one").is_in(cache)


def test_a_file_with_other_content_is_refused(tmp_path: Path, repository: dict[str, str]) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(EmbeddedServerError, match=r"one-1\.0\.jar is not the file that was expected"):
        fetch([a_jar("one", b"something else")], cache, QUIET, repository)
    assert list(cache.iterdir()) == []


def test_what_arrived_before_a_failure_stays(tmp_path: Path, repository: dict[str, str]) -> None:
    cache = tmp_path / "cache"
    fetch([a_jar("one")], cache, QUIET, repository)
    with pytest.raises(EmbeddedServerError, match="does not have a file of it"):
        fetch([a_jar("three")], cache, QUIET, repository)
    assert a_jar("one").is_in(cache)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # jgo leaves the answer "not found" open
        gc.collect()


def test_no_network_is_one_sentence_with_a_way_out(tmp_path: Path, repository: dict[str, str]) -> None:
    nobody = {"test": "http://127.0.0.1:9"}
    with pytest.raises(EmbeddedServerError) as error:
        fetch([a_jar("one")], tmp_path / "cache", QUIET, nobody)
    message = str(error.value)
    assert message.startswith(f"Kafka {_jars.KAFKA_VERSION} could not be downloaded (the Maven repository")
    assert "STREAM_PROFILES_BROKER" in message
    assert "\n" not in message and "http" not in message


def test_a_cache_that_cannot_be_written(tmp_path: Path, repository: dict[str, str]) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(
        EmbeddedServerError, match=r"cannot be stored in .*cache \(Not a directory\): set STREAM_PROFILES_CACHE"
    ):
        fetch([a_jar("one")], file / "cache", QUIET, repository)


def test_without_jgo_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    with pytest.raises(EmbeddedServerError, match=r'pip install "stream_profiles\[embedded\]"'):
        fetch([a_jar("one")], tmp_path, QUIET)


def test_a_full_cache_needs_neither_network_nor_jgo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: dict[str, str]
) -> None:
    monkeypatch.setenv("STREAM_PROFILES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_jars, "pinned_jars", lambda: [a_jar("one"), a_jar("two")])
    monkeypatch.setattr(_jars, "fetch", partial(fetch, repositories=repository))
    first = kafka_jars(QUIET)
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    assert kafka_jars(QUIET) == first
    first[1].write_bytes(b"cut off")
    with pytest.raises(EmbeddedServerError, match="jgo"):
        kafka_jars(QUIET)
