"""The command line end to end, by itself: every step is a command in a process of its own, on real servers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shlex import quote

import pytest

from .live import ROOT, Live

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

SAMPLE = ROOT / "tests" / "data" / "online_retail_sample.csv"
MAPPING = ROOT / "examples" / "online_retail.toml"
SHOP = ROOT / "examples" / "shop.py"


class Shell:
    """Runs commands in one folder, and ends what is left of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "stream_profiles", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            # Elsewhere than in the repository the package must be found too, whether it is installed or not.
            env={**os.environ, "PYTHONPATH": str(ROOT), "STREAM_PROFILES_SESSION_TIMEOUT": "6s"},
        )
        self._started.append(process)
        return process

    def run(self, *words: str | Path) -> tuple[int, str]:
        process = self.start(*words)
        printed, _ = process.communicate(timeout=90)
        return process.returncode, printed

    def stop(self, process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
        process.send_signal(number)
        printed, _ = process.communicate(timeout=60)
        return process.returncode, printed

    def until(self, what: Callable[[], tuple[int, str]]) -> str:
        """What a command prints once it succeeds."""
        until = time.monotonic() + 60
        while True:
            code, printed = what()
            if code == 0:
                return printed
            assert "Traceback" not in printed and time.monotonic() < until, printed
            time.sleep(0.3)

    def kill_all(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.kill_all()


def descendants(pid: int) -> set[int]:
    """All processes that a process started, and those that they did."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, listed.splitlines())}
    found, before = {pid}, 0
    while len(found) > before:
        before = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found - {pid}


def assert_gone(processes: set[int]) -> None:
    until = time.monotonic() + 10
    while left := {pid for pid in processes if Path(f"/proc/{pid}").exists()}:
        assert time.monotonic() < until, f"still running: {left}"
        time.sleep(0.1)


def test_topics_worker_replay_get_and_tail(live: Live, shell: Shell) -> None:
    # `live` makes its topics by itself; this definition has none yet.
    (shell.folder / "shop.py").write_text(SHOP.read_text().replace('"shop",', f'"{live.names.definition}-cli",', 1))
    (shell.folder / "stream_profiles.toml").write_text(
        f'definition = "shop.py"\nbroker = "{live.kafka}"\nredis = "{live.redis_url}"\npartitions = 2\n'
    )
    code, printed = shell.run("topics", "check")
    assert code == 2 and "run `stream-profiles topics create`" in printed.splitlines()[-1]
    code, printed = shell.run("worker")
    assert code == 2 and "run `stream-profiles topics create`" in printed.splitlines()[-1]

    code, printed = shell.run("topics", "create")
    assert code == 0 and f"{live.names.definition}-cli-events: created, 2 partitions, delete" in printed
    assert shell.run("topics", "check")[0] == 0

    worker = shell.start("worker")
    code, printed = shell.run("replay", SAMPLE, "--mapping", MAPPING)
    assert code == 0 and printed.startswith("sent "), printed
    sent = int(printed.split()[1])

    profile = json.loads(shell.until(lambda: shell.run("get", "17850", "--json")))
    assert profile["user_id"] == "17850" and profile["values"]["country"] == "United Kingdom"
    code, printed = shell.run("get", "nobody")
    assert code == 1 and printed.startswith("error: there is no profile of user 'nobody'")

    code, printed = shell.run("tail", "--from-beginning", "--json", "--limit", str(sent))
    deltas = [json.loads(line) for line in printed.splitlines()]
    assert code == 0 and len(deltas) == sent
    assert {delta["user_id"] for delta in deltas} >= {"17850"}
    code, printed = shell.run("tail", "--from-beginning", "--user", "17850", "--limit", "1")
    assert code == 0 and printed.startswith("17850 v1 2010-12-01 08:26:00 UTC  ") and printed.count("\n") == 1

    code, printed = shell.stop(worker, signal.SIGTERM)
    assert code == 0
    assert all(line[:2] == "20" for line in printed.splitlines()), "not a dated line each"


def test_kafka_refuses_more_copies_than_it_has_brokers(live: Live, shell: Shell) -> None:
    (shell.folder / "stream_profiles.toml").write_text(f'broker = "{live.kafka}"\nreplication = 3\n')
    code, printed = shell.run("topics", "create", "--name", "copies")
    assert code == 2 and printed.count("\n") == 1
    assert printed.startswith(f"error: Kafka at {live.kafka} refuses: ") and "eplication" in printed


def test_a_worker_with_servers_of_its_own_serves_the_commands_in_its_folder(shell: Shell) -> None:
    worker = shell.start("worker", "--definition", SHOP)
    note = shell.folder / ".stream_profiles" / "servers.json"
    until = time.monotonic() + 60
    while not note.is_file():
        assert worker.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    code, printed = shell.run("replay", SAMPLE, "--mapping", MAPPING, "--name", "shop")
    assert code == 0, printed
    assert "17850" in shell.until(lambda: shell.run("get", "17850", "--name", "shop"))

    servers = descendants(worker.pid)
    assert servers
    code, printed = shell.stop(worker, signal.SIGTERM)
    assert code == 0, printed
    assert_gone(servers)
    assert not note.exists()
    code, printed = shell.run("get", "17850", "--name", "shop")
    assert code == 2 and "no worker runs an embedded one in .stream_profiles" in printed


def test_the_demo_ends_with_profiles_to_read_and_nothing_left(shell: Shell) -> None:
    code, printed = shell.run("demo", "--seconds", "3")
    assert code == 0, printed
    assert "events are in the profiles of" in printed and "buys_soon: " in printed
    assert printed.count("recent_items") == 3
    assert re.search(r"^interests of u\d+ \(30d, \d+ texts\), more than others: near \"", printed, flags=re.MULTILINE)
    assert f" worker --definition {quote(str(SHOP))}\n" in printed
    assert list(shell.folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_ends_with_a_word_and_leaves_nothing(shell: Shell, number: signal.Signals) -> None:
    demo = shell.start("demo", "--seconds", "60")
    assert demo.stdout is not None
    while "A worker keeps profiles of shop" not in (line := demo.stdout.readline()):
        assert line, "the demo ended"
    time.sleep(1)
    processes = descendants(demo.pid)
    assert len(processes) >= 5, "Kafka, Redis, the worker and their guards"
    code, printed = shell.stop(demo, number)
    assert code == 130 and printed.strip().endswith("demo stopped") and "Traceback" not in printed
    assert_gone(processes)


def test_a_demo_whose_worker_dies_says_so(shell: Shell) -> None:
    demo = shell.start("demo", "--seconds", "60")
    assert demo.stdout is not None
    while "A worker keeps profiles of shop" not in (line := demo.stdout.readline()):
        assert line, "the demo ended"
    time.sleep(1)
    processes = descendants(demo.pid)
    arguments = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in processes}
    (worker,) = [pid for pid, words in arguments.items() if words[1:4] == [b"-m", b"stream_profiles", b"worker"]]
    os.kill(worker, signal.SIGKILL)
    printed, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert printed.splitlines()[-1].startswith("error: the worker stopped; the last it said: ")
    assert_gone(processes)
