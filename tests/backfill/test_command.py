"""`stream-profiles backfill` as a user of it sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from tests.backfill.oracle import IMPORTS, write_definition, write_events
from tests.cli.conftest import Run, run  # noqa: F401  (a fixture)
from tests.events import DAY, event

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "shop.py"
SAMPLE = ROOT / "tests" / "data" / "online_retail_sample.csv"
MAPPING = ROOT / "examples" / "online_retail.toml"


def test_profiles_of_a_sample(run: Run, tmp_path: Path) -> None:  # noqa: F811
    ended = run("backfill", SAMPLE, "-d", SHOP, "-m", MAPPING, "-o", "profiles.parquet", "--processes", "1")
    assert ended.code == 0 and ended.out == ""
    first, *_, last = ended.err.splitlines()
    assert first.startswith("computed 4 profiles from 9 events in ")
    assert last == "wrote 4 rows of 41 columns to profiles.parquet, as of 2011-12-09 12:50:00 UTC"
    assert set(pl.read_parquet(tmp_path / "profiles.parquet")["user_id"]) == {"17850", "15311", "14527", "12680"}


def test_features_as_of_times(run: Run, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "labels.csv").write_text("customer,when,label\n17850,2010-12-01T08:26:00Z,1\n17850,2010-01-01,0\n")
    (tmp_path / "stream_profiles.toml").write_text(f'definition = "{SHOP}"\npartitions = 2\n')
    columns = ("--user-column", "customer", "--time-column", "when")
    ended = run("backfill", SAMPLE, "-m", MAPPING, "--at", "labels.csv", *columns, "-o", "train.csv")
    assert ended.code == 0
    assert "1 rows are of users who had no events by then: their features are empty" in ended.err
    frame = pl.read_csv(tmp_path / "train.csv")
    assert frame["label"].to_list() == [1, 0] and frame["purchases_total"].to_list() == [5, None]


def test_until_is_a_time(run: Run, tmp_path: Path) -> None:  # noqa: F811
    file = write_events(tmp_path / "events.jsonl", [event(at=0), event(at=DAY)])
    reference = write_definition(tmp_path, f'{IMPORTS}shop = ProfileDefinition("shop", features=[Count("views")])\n')
    ended = run("backfill", file, "-d", reference, "-o", "p.csv", "--until", "2024-03-02T00:00:00Z", "--processes", "1")
    assert ended.code == 0 and "left out 1 events that came at the end (--until) or later" in ended.err
    assert "as of 2024-03-02 00:00:00 UTC" in ended.err
    assert pl.read_csv(tmp_path / "p.csv")["views_total"].to_list() == [1]
    ended = run("backfill", file, "-d", reference, "-o", "p.csv", "--until", "soon")
    assert (ended.code, ended.err) == (
        2,
        "error: --until: time is not an ISO time or a number of milliseconds: 'soon'\n",
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("-d", SHOP), "say where the profiles go: --out FILE.parquet, or --warm"),
        (("-d", SHOP, "-o", "p.xlsx"), "none of the suffixes"),
        (("-o", "p.csv"), "say which profiles to keep: --definition"),
        (("-d", "none.py", "-o", "p.csv"), "there is no file none.py"),
        (("-d", SHOP, "-o", "p.csv", "-m", "none.toml"), "there is no mapping file none.toml"),
        (("-d", SHOP, "-o", "p.csv"), "no column 'user_id'"),
        (("-d", SHOP, "-o", "p.csv"), "--mapping FILE.toml says how rows become events"),
        (("-d", SHOP, "-m", MAPPING, "-o", "p.csv", "--at", "none.csv"), "there is no file none.csv"),
        (("-d", SHOP, "-m", MAPPING, "-o", "p.csv", "--partitions", "0"), "from 1 to 1024"),
        (("-d", SHOP, "-m", MAPPING, "--warm", "--partitions", "8"), "leave out --partitions with --warm"),
    ],
)
def test_what_is_wrong_is_one_sentence(run: Run, words: tuple[str | Path, ...], sentence: str) -> None:  # noqa: F811
    ended = run("backfill", SAMPLE, *words)
    assert ended.code == 2 and ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert sentence in ended.err


def test_a_deployment_to_be_loaded_must_be_there(run: Run) -> None:  # noqa: F811
    servers = ("--broker", "127.0.0.1:1", "--redis", "redis://127.0.0.1:1/0")
    ended = run("backfill", SAMPLE, "-d", SHOP, "-m", MAPPING, "--warm", *servers)
    assert ended.code == 1 and ended.err.startswith("error: Kafka at 127.0.0.1:1 does not answer")


# -- ended early -------------------------------------------------------------------------------------------------------

SLOW = f"""{IMPORTS}
import time

class Slow(Count):
    def update(self, state, event):
        time.sleep(0.005)
        return super().update(state, event)

shop = ProfileDefinition("shop", features=[Slow("views")])
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], set[int]]]:
    """A backfill in the middle of its work, in a process group of its own, and the processes that it started."""
    write_events(tmp_path / "events.jsonl", [event(at=n, user=f"user-{n % 40}") for n in range(40_000)])
    reference = write_definition(tmp_path, SLOW)
    two = ("--processes", "2", "--partitions", "2", "--rejects", "rejects.jsonl")
    process = subprocess.Popen(
        [sys.executable, "-m", "stream_profiles", "backfill", "events.jsonl", "-d", reference, "-o", "out.csv", *two],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        until, started = time.monotonic() + 90, set[int]()
        # The two of the pool, and multiprocessing's own.
        while len(started) < 3 or not all(map(_is_computing, started)):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.2)
            started = _group(process.pid) - {process.pid}
        yield process, started
    finally:
        for pid in _group(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def _group(leader: int) -> set[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in listed.splitlines())
    return {int(pid) for pid, group, state in rows if int(group) == leader and "Z" not in state}


def _is_computing(pid: int) -> bool:
    """Whether the process has set itself up, or is none of the pool."""
    if b"spawn_main" not in Path(f"/proc/{pid}/cmdline").read_bytes():
        return True
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigIgn")]
    return bool(ignored and ignored[0] & 1 << (signal.SIGINT - 1))


def _assert_gone(processes: set[int]) -> None:
    until = time.monotonic() + 30
    while left := {pid for pid in processes if Path(f"/proc/{pid}").exists()}:
        assert time.monotonic() < until, f"still running: {left}"
        time.sleep(0.1)


Running = tuple[subprocess.Popen[str], set[int]]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_stopped_leaves_nothing_and_says_so(running: Running, tmp_path: Path, number: int) -> None:
    process, started = running
    # Ctrl-C goes to all processes of the terminal, `kill` to one.
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said == "backfill stopped; nothing is left of it\n"
    _assert_gone(started)
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"definition.py", "events.jsonl"}


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
def test_no_process_outlives_it(running: Running) -> None:
    process, started = running
    process.kill()
    process.communicate()
    _assert_gone(started)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
def test_a_process_that_is_killed_is_said(running: Running, tmp_path: Path) -> None:
    process, started = running
    victim = next(pid for pid in started if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(victim, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and said.startswith("error: a process that computed a partition was killed")
    assert said.count("\n") == 1 and "Traceback" not in said
    _assert_gone(started)
    assert not list(tmp_path.glob(".stream-profiles*"))
