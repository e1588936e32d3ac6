"""`texts`: what a person reads, and what a program does."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import redis

from stream_profiles import Count, ProfileDefinition
from stream_profiles.dev.servers import EmbeddedRedis

from ..test_client_text_metrics import SHOP, encoder, partition
from .conftest import Ended, Run
from .test_errors import assert_one_sentence


@pytest.fixture
def store(store: redis.Redis) -> redis.Redis:
    """A Redis with nothing in it but the description."""
    store.set("shop:definition", json.dumps(SHOP.describe()))
    return store


@pytest.fixture
def texts(run: Run, server: EmbeddedRedis, store: redis.Redis) -> Any:
    def texts(*words: str, name: str = "shop") -> Ended:
        return run("texts", "--name", name, "--redis", server.url, *words)

    return texts


def report(store: redis.Redis) -> None:
    """What two partitions and one text worker say."""
    now = time.time_ns() // 1_000_000
    fields = {
        "0": partition(waiting=1_200, since=now - 90_000, asked=100, known=300, dropped=2, lost=3),
        "1": partition(failed=4, truncated=5),
        "encoder w1 hashing-384": encoder(
            "w1",
            at=now,
            requests=1_000,
            answered=990,
            memory_hits=100,
            redis_hits=50,
            shared=25,
            batches=40,
            tokens=750,
            padded_tokens=1_000,
            errors=6,
            queued=10,
        ),
    }
    store.hset("shop:text-metrics", mapping={field: json.dumps(value) for field, value in fields.items()})


def test_two_tables(texts: Any, store: redis.Redis) -> None:
    report(store)
    ended = texts()
    assert (ended.code, ended.err) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in ended.out.splitlines() if line.strip()}
    assert rows["embedding"] == ["waiting", "oldest", "known", "dropped", "lost", "failed", "truncated"]
    assert rows["interests"] == ["1,200", "1", "min", "75.0%", "2", "3", "4", "5"]
    assert rows["hashing-384@1"] == ["w1", "990", "17.5%", "40", "25.0%", "6", "10"]


def test_a_worker_that_has_seen_nothing(texts: Any, store: redis.Redis) -> None:
    now = time.time_ns() // 1_000_000
    store.hset("shop:text-metrics", "0", json.dumps(partition()))
    store.hset("shop:text-metrics", "encoder w1 hashing-384", json.dumps(encoder("w1", at=now)))
    ended = texts()
    rows = {line.split()[0]: line.split()[1:] for line in ended.out.splitlines() if line.strip()}
    assert ended.code == 0 and rows["interests"] == ["0", "-", "-", "0", "0", "0", "0"]
    assert rows["hashing-384@1"] == ["w1", "0", "-", "0", "-", "0", "0"]


def test_without_a_text_worker_there_is_one_table(texts: Any, store: redis.Redis) -> None:
    store.hset("shop:text-metrics", "0", json.dumps(partition(asked=1)))
    assert "interests" in (out := texts().out) and "encoder" not in out


def test_json(texts: Any, store: redis.Redis) -> None:
    report(store)
    ended = texts("--json")
    found = json.loads(ended.out)
    interests = found["embeddings"]["interests"]
    assert 90.0 <= interests.pop("oldest_seconds") < 120.0
    assert interests == {
        "waiting": 1_200,
        "asked": 100,
        "known": 300,
        "dropped": 2,
        "lost": 3,
        "failed": 4,
        "truncated": 5,
    }
    [one] = found["encoders"]
    assert (one["worker"], one["encoder"], one["version"], one["requests"]) == ("w1", "hashing-384", "1", 1_000)
    assert len(ended.out.splitlines()) == 1, "--json prints a line each"


def test_no_worker_yet(texts: Any) -> None:
    ended = texts()
    assert ended.code == 0
    assert " ".join(ended.out.split()) == "shop has no text embeddings, or no worker has reported yet"
    assert json.loads(texts("--json").out) == {"embeddings": {}, "encoders": []}


def test_a_definition_without_texts(texts: Any, store: redis.Redis) -> None:
    plain = ProfileDefinition("plain", features=[Count("views")])
    store.set("plain:definition", json.dumps(plain.describe()))
    assert texts(name="plain").out.startswith("plain has no text embeddings")


def test_a_name_that_is_not_there(texts: Any) -> None:
    assert_one_sentence(texts(name="shpo"), "shpo")


def test_what_is_no_report(texts: Any, store: redis.Redis) -> None:
    store.hset("shop:text-metrics", "0", "[]")
    assert_one_sentence(texts(), "shop:text-metrics of Redis at", code=texts().code)


def test_no_redis(run: Run) -> None:
    assert_one_sentence(run("texts", "--name", "shop"), "no Redis is named", "--redis")
    nowhere = run("texts", "--name", "shop", "--redis", "redis://127.0.0.1:1/0")
    assert_one_sentence(nowhere, "Redis at 127.0.0.1:1 does not answer", code=1)


def test_what_an_encoder_is_called_cannot_write_into_the_terminal(texts: Any, store: redis.Redis) -> None:
    now = time.time_ns() // 1_000_000
    nasty = "\x1b[2J[bold]:bug:[/]"
    store.hset("shop:text-metrics", "encoder w1 x", json.dumps(encoder("w1", at=now, encoder=nasty)))
    store.hset("shop:text-metrics", "0", json.dumps(partition(nasty)))
    ended = texts()
    assert ended.code == 0 and "\x1b" not in ended.out and "[bold]" in ended.out
