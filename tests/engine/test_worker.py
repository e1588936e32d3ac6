"""The worker around the apps: how it ends, and what it tells of itself meanwhile. Its work is in tests/integration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.exceptions import ConsumerNotStarted

from stream_profiles import Count, ProfileDefinition
from stream_profiles.engine import worker as module
from stream_profiles.engine.worker import Role, Worker
from stream_profiles.errors import StreamProfilesError
from stream_profiles.settings import load_settings


def new_worker(**settings: Any) -> Worker:
    definition = ProfileDefinition("shop", features=[Count("views")])
    return Worker(definition, load_settings(broker="localhost:1", redis="redis://localhost:1", **settings), Role.ALL)


class App:
    """A Faust app, as far as the worker sees it."""

    def __init__(self, journal: list[str], name: str, fails: dict[str, Callable[[], Any]] | None = None) -> None:
        self._journal, self._name, self._fails = journal, name, fails or {}
        self.started, self.crash_reason = True, None
        self.settle = lambda: self._step("settle")
        self.consumer = SimpleNamespace(commit=lambda: self._step("commit"), assignment=set)
        self.tables = SimpleNamespace(changelog_topics=set())

    async def stop(self) -> None:
        await self._step("stop")

    async def _step(self, what: str) -> None:
        self._journal.append(f"{what} {self._name}")
        if what in self._fails:
            await self._fails[what]()


async def _hang() -> None:
    await asyncio.sleep(60)


async def _raise() -> None:
    raise RuntimeError("Event loop is closed")


async def close(worker: Worker, apps: list[App], journal: list[str]) -> asyncio.Task[None]:
    """Close a worker of these apps; returns a task that it had."""

    async def note(what: str) -> None:
        journal.append(what)

    task = asyncio.create_task(asyncio.sleep(60))
    worker._apps = apps
    producer, client = SimpleNamespace(stop=lambda: note("producer")), SimpleNamespace(aclose=lambda: note("redis"))
    await asyncio.wait_for(worker._close([task], producer, client), 5)  # type: ignore[arg-type]
    return task


async def test_closing_writes_and_commits_before_it_leaves() -> None:
    journal: list[str] = []
    apps = [App(journal, "profiles"), App(journal, "intake")]
    task = await close(new_worker(), apps, journal)
    assert journal == [
        "settle profiles",
        "commit profiles",
        "settle intake",
        "commit intake",
        "stop intake",
        "stop profiles",
        "producer",
        "redis",
    ]
    assert task.cancelled()


async def test_an_app_that_was_not_started_has_nothing_to_write() -> None:
    journal: list[str] = []
    app = App(journal, "profiles")
    app.started = False
    await close(new_worker(), [app], journal)
    assert "settle profiles" not in journal and journal[-1] == "redis"


@pytest.mark.parametrize("step", ["commit", "stop"])
@pytest.mark.parametrize(
    "fails",
    [
        _hang,
        pytest.param(
            _raise,
        ),
    ],
)
async def test_closing_goes_on_whatever_a_step_does(
    monkeypatch: pytest.MonkeyPatch, step: str, fails: Callable[[], Any]
) -> None:
    monkeypatch.setattr(module, "_STOP_STEP_S", 0.01)
    journal: list[str] = []
    apps = [App(journal, "profiles", {step: fails}), App(journal, "intake")]
    task = await close(new_worker(), apps, journal)
    assert "stop profiles" in journal and "stop intake" in journal and journal[-2:] == ["producer", "redis"]
    assert task.cancelled()


async def test_a_task_that_ends_ends_the_worker_and_is_named() -> None:
    worker = new_worker()
    task: asyncio.Task[None] = asyncio.create_task(_raise(), name="intake commit")
    with pytest.raises(StreamProfilesError, match="the worker's intake commit ended: RuntimeError") as caught:
        await asyncio.wait_for(worker._until_stopped([task]), 5)
    assert isinstance(caught.value.__cause__, RuntimeError)


async def test_stop_ends_it_without_an_error() -> None:
    worker = new_worker()
    waiting = asyncio.create_task(worker._until_stopped([asyncio.create_task(asyncio.sleep(60))]))
    await asyncio.sleep(0)
    worker.stop()
    await asyncio.wait_for(waiting, 5)


def test_the_lag_is_unknown_until_the_consumers_have_started() -> None:
    """The report must not end the worker because Kafka takes long at the start."""

    def assignment() -> set[Any]:
        raise ConsumerNotStarted

    worker, app = new_worker(), App([], "profiles")
    app.consumer.assignment = assignment
    worker._apps = [app]
    assert worker._lag() is None


async def test_the_heartbeat_beats_while_writes_succeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HEARTBEAT_S", 0.001)
    file = tmp_path / "deep" / "alive"
    worker, commit = new_worker(heartbeat_file=file), SimpleNamespace(failing=True)
    worker._commits = [commit]
    beating = asyncio.create_task(worker._beat())
    await asyncio.sleep(0.01)
    assert not file.exists()
    commit.failing = False
    await asyncio.sleep(0.05)
    beating.cancel()
    assert file.exists()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@host:6379/0", "redis://host:6379/0"),
        ("rediss://user:s@cret@host", "rediss://host"),
        ("redis://host:6379", "redis://host:6379"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert module._without_password(url) == shown
