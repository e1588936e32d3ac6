"""ProfileClient and AsyncProfileClient: a reader gets what the workers write, and every failure says what it is.

Redis is real, and written by the workers' own code. Kafka is a fake here; `integration/test_client_deltas.py` has a
real one.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import kafka
import kafka.errors
import msgspec
import numpy as np
import pytest
import redis
import redis.asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_profiles import (
    BehaviourEmbedding,
    Count,
    Event,
    EWMean,
    First,
    Happens,
    Last,
    Partition,
    ProfileDefinition,
    ProfileUpdater,
    RecentItems,
    Sessions,
    Sum,
    Target,
    TimeSince,
    TopK,
)
from stream_profiles.client import AsyncProfileClient, ProfileClient, _consumer, _reader, apply_delta
from stream_profiles.client._schema import Schema
from stream_profiles.dev.servers import EmbeddedRedis
from stream_profiles.errors import KafkaUnavailable, RedisUnavailable, SettingsError, StateError
from stream_profiles.models.metrics import Evaluation
from stream_profiles.names import Names
from stream_profiles.sinks.deltas import encode_delta
from stream_profiles.sinks.redis import ProfileUpdate, RedisWriter, encode_fields
from stream_profiles.updater import Change, Shared

DAY = 86_400_000
FEATURES = [
    Count("views", on="view", half_life=("1h", "1d")),
    Sum("spend", of="amount", on="purchase", half_life=timedelta(days=30), lifetime=False),
    Count("events"),
    TopK("categories", of="category", k=3, half_life="7d"),
    TimeSince("last_purchase", on=["purchase"]),
    RecentItems("recent", n=5),
    Sessions("sessions", gap="30m"),
    EWMean("price", of="price", half_life="1d"),
    First("channel", of="channel"),
    Last("country", of="country"),
]
SHOP = ProfileDefinition(
    "shop",
    features=FEATURES,
    targets=[Target("buys_soon", label=Happens("purchase", within="1d"))],
    embeddings=[BehaviourEmbedding("taste", dimensions=16)],
)


class Worker:
    """Does to Redis what a worker does, and keeps the messages that it would send."""

    def __init__(self, definition: ProfileDefinition, url: str) -> None:
        self.updater = ProfileUpdater(definition)
        self.shared = Shared(self.updater)
        self.states: dict[str, Any] = {}
        self.messages: list[bytes] = []
        self._url, self._names = url, Names(definition.name)
        with redis.Redis.from_url(url) as store:
            store.set(self._names.redis_description, json.dumps(definition.describe()))

    def apply(self, *events: Event) -> None:
        touched = set()
        for event in events:
            state = self.states.setdefault(event.user_id, self.updater.new_state())
            change = self.updater.apply(state, event, self.shared)
            if isinstance(change, Change):
                self.messages.append(encode_delta(self._names.definition, change))
                touched.add(event.user_id)
        updates = []
        for user in touched:
            state = self.states[user]
            fields = encode_fields(self.updater.published(state))
            updates.append(ProfileUpdate(self._names.redis_profile(user), state.version, state.last_time, 0, fields))
        asyncio.run(self._write(updates))

    async def _write(self, updates: list[ProfileUpdate]) -> None:
        async with redis.asyncio.Redis.from_url(self._url) as store:
            await RedisWriter(store, ttl_ms=DAY).write(updates, now=1_234)


@pytest.fixture
def worker(server: EmbeddedRedis, store: redis.Redis) -> Worker:
    return Worker(SHOP, server.url)


def event(number: int, user: str = "ada", *, time: int = 0, type: str = "view", **fields: Any) -> Event:
    return Event(event_id=f"{user}-{number}", user_id=user, type=type, time=time, **fields)


def visit(user: str = "ada") -> list[Event]:
    """Events that give a user a value of every field."""
    return [
        event(0, "somebody", time=1, item_id="hat", session_id="s"),
        event(1, user, time=1_000, item_id="hat", category="hats", price=10.0, channel="mail", country="IT"),
        event(2, user, time=61_000, item_id="hat", category="hats", price=20.0),
        event(3, user, time=DAY, type="purchase", item_id="hat", price=20.0, quantity=2, country="FR"),
    ]


class OnALoop:
    """An AsyncProfileClient that is called like a ProfileClient, so that both pass the same tests."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        try:
            self._client = AsyncProfileClient(*args, **options)
        except BaseException:
            self._loop.close()
            raise

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **options: self._loop.run_until_complete(getattr(self._client, name)(*args, **options))

    def deltas(self, **options: Any) -> DeltasOnALoop:
        return DeltasOnALoop(self._loop, self._client.deltas(**options))

    def close(self) -> None:
        self._loop.run_until_complete(self._client.aclose())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class DeltasOnALoop:
    def __init__(self, loop: asyncio.AbstractEventLoop, stream: Any) -> None:
        self._loop, self._stream = loop, stream
        loop.run_until_complete(stream.__aenter__())

    def __iter__(self) -> DeltasOnALoop:
        return self

    def __next__(self) -> Any:
        try:
            return self._loop.run_until_complete(anext(self._stream))
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        self._loop.run_until_complete(self._stream.aclose())


Open = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def open_client(request: pytest.FixtureRequest) -> Iterator[Open]:
    opened: list[Any] = []

    def client(*args: Any, **options: Any) -> Any:
        opened.append((ProfileClient if request.param == "sync" else OnALoop)(*args, **options))
        return opened[-1]

    yield client
    for each in opened:
        each.close()


@pytest.fixture
def client(open_client: Open, server: EmbeddedRedis) -> Any:
    return open_client(server.url, "shop")


def commands(store: redis.Redis, name: str) -> int:
    """How often Redis was given a command since it was emptied."""
    return store.info("commandstats").get(f"cmdstat_{name}", {}).get("calls", 0)


class TestGet:
    def test_every_kind_of_field_comes_back_as_the_worker_publishes_it(self, client: Any, worker: Worker) -> None:
        worker.apply(*visit())
        profile = client.get("ada")
        published = worker.updater.published(worker.states["ada"])
        vector = profile.values.pop("taste")
        assert profile.values == {name: value for name, value in published.items() if name != "taste"}
        assert list(profile.values) == [name for name in SHOP.field_names if name != "taste"]
        assert vector.dtype == np.float32
        assert vector.shape == (16,)
        assert vector.tobytes() == published["taste"]
        assert np.linalg.norm(vector) == pytest.approx(1.0)

    def test_it_says_how_fresh_it_is(self, client: Any, worker: Worker) -> None:
        worker.apply(*visit())
        profile = client.get("ada")
        assert (profile.user_id, profile.profile, profile.version) == ("ada", "shop", 3)
        assert (profile.event_time, profile.updated_at) == (DAY, 1_234)

    def test_a_field_without_a_value_is_absent(self, client: Any, worker: Worker) -> None:
        worker.apply(event(1, country="IT"))
        assert "spend" not in client.get("ada").values

    def test_a_missing_user_is_none(self, client: Any, worker: Worker) -> None:
        assert client.get("nobody") is None
        assert client.get("nobody", fields=["views"]) is None

    def test_what_no_worker_wrote_is_an_error(self, client: Any, worker: Worker, store: redis.Redis) -> None:
        store.hset("shop:profile:ada", mapping={"views": "1"})
        assert client.get("ada") is None
        store.hset("shop:profile:ada", mapping={"_version": "one", b"\xff": "?"})
        with pytest.raises(StateError, match="'shop' of 'ada' in Redis was not written by a worker"):
            client.get("ada")

    def test_any_text_can_name_a_user(self, client: Any, worker: Worker) -> None:
        for user in ("with space", "ü:*?[a]", "définition", "a\nb"):
            worker.apply(event(1, user))
            assert client.get(user).user_id == user

    def test_only_the_fields_asked_for(self, client: Any, worker: Worker) -> None:
        worker.apply(*visit())
        profile = client.get("ada", fields=["taste", "views"])
        assert profile.values.keys() == {"views", "taste"}
        assert profile.version == 3
        assert profile.values["views"] == client.get("ada").values["views"]
        assert client.get("ada", fields=[]).values == {}

    def test_an_unknown_field_is_an_error_with_a_suggestion(self, client: Any, worker: Worker) -> None:
        with pytest.raises(SettingsError, match=r"'shop' have no field 'veiws'; did you mean 'views'\?"):
            client.get("ada", fields=["recent", "veiws"])
        with pytest.raises(SettingsError, match="no field '_version'"):
            client.get_many(["ada"], fields=["_version"])


class TestNow:
    def test_every_feature_is_brought_to_now(self, client: Any, worker: Worker) -> None:
        worker.apply(*visit())
        state, now = worker.states["ada"], 30 * DAY
        values = client.get("ada", now=now).values
        for feature in FEATURES:
            assert values[feature.name] == feature.value(state.slots[feature.key], now)
        assert values["views"]["total"] == 2
        assert values["last_purchase"] == {"seconds": 29 * 86_400.0, "at": now}
        assert values["sessions"]["active"] is False

    def test_targets_and_embeddings_stay_as_they_are(self, client: Any, worker: Worker) -> None:
        worker.apply(*visit())
        then, now = client.get("ada").values, client.get("ada", now=30 * DAY).values
        assert now["buys_soon"] == then["buys_soon"]
        assert np.array_equal(now["taste"], then["taste"])

    def test_a_time_may_be_written_in_three_ways(self, client: Any, worker: Worker) -> None:
        worker.apply(*visit())
        midnight = datetime(2026, 1, 1, tzinfo=UTC)
        by_number = client.get("ada", now=1_767_225_600_000).values["views"]
        assert client.get("ada", now=midnight).values["views"] == by_number
        assert client.get("ada", now=midnight.astimezone(timezone(timedelta(hours=5)))).values["views"] == by_number
        before = time.time_ns() // 1_000_000
        assert before <= client.get("ada", now="now").values["views"]["at"] <= time.time_ns() // 1_000_000

    def test_the_past_is_left_alone(self, client: Any, worker: Worker) -> None:
        worker.apply(*visit())
        assert client.get("ada", now=0, fields=["views"]) == client.get("ada", fields=["views"])

    @pytest.mark.parametrize("now", [datetime(2026, 1, 1), "yesterday", 1.5])
    def test_what_is_no_point_in_time_is_an_error(self, client: Any, worker: Worker, now: Any) -> None:
        with pytest.raises(SettingsError, match="time"):
            client.get("ada", now=now)

    @settings(deadline=None, max_examples=40)
    @given(
        events=st.lists(
            st.builds(
                Event,
                event_id=st.uuids().map(str),
                user_id=st.just("ada"),
                type=st.sampled_from(["view", "purchase"]),
                time=st.integers(0, 100 * DAY),
                category=st.sampled_from(["a", "b", None]),
                price=st.none() | st.floats(0, 1e6),
            ),
            min_size=1,
            max_size=8,
        ),
        now=st.integers(0, 400 * DAY),
    )
    def test_it_is_what_the_worker_would_say_then(self, events: list[Event], now: int) -> None:
        updater = ProfileUpdater(ProfileDefinition("shop", features=FEATURES))
        state = updater.new_state()
        for each in events:
            updater.apply(state, each)
        schema = Schema(json.dumps(updater.definition.describe()).encode())
        stored = {name.encode(): value for name, value in encode_fields(updater.published(state)).items()}
        stored |= {b"_version": b"1", b"_event_time": b"0", b"_updated_at": b"0"}
        strange: set[str] = set()
        profile = schema.profile("shop", "ada", stored, now, strange)
        assert profile is not None
        assert profile.values == {
            f.name: f.value(state.slots[f.key], now) for f in FEATURES if state.slots.get(f.key) is not None
        }
        assert not strange


class TestGetMany:
    def test_in_order_with_none_for_the_missing(self, client: Any, worker: Worker) -> None:
        worker.apply(*(event(1, user) for user in ("ada", "bob", "eve")))
        profiles = client.get_many(user for user in ["eve", "nobody", "ada", "eve"])
        assert list(profiles) == ["eve", "nobody", "ada"]
        assert profiles["nobody"] is None
        assert profiles["eve"] == client.get("eve")

    def test_nobody_is_an_empty_answer(self, client: Any, worker: Worker) -> None:
        assert client.get_many([]) == {}

    def test_thousands_in_one_round_trip(self) -> None:
        reader = _reader.Reader("shop", "here")
        description = json.dumps(SHOP.describe()).encode()

        def trips(users: int) -> int:
            flow, replies, count = reader.get_many(map(str, range(users)), None, None), None, 0
            while True:
                try:
                    request = flow.send(replies)
                except StopIteration:
                    return count
                assert not callable(request)
                replies, count = [description if command[0] == "GET" else {} for command in request], count + 1

        assert trips(5_000) == 2  # the first one for the description
        assert trips(5_000) == 1
        assert trips(5_001) == 2

    @pytest.mark.parametrize("fields", [None, ["views", "taste"]])
    def test_more_than_fit_into_one_trip(
        self, client: Any, worker: Worker, monkeypatch: pytest.MonkeyPatch, fields: list[str] | None
    ) -> None:
        monkeypatch.setattr(_reader, "_USERS_PER_TRIP", 3)
        users = [f"user-{number}" for number in range(10)]
        worker.apply(*(event(1, user) for user in users[:8]))
        profiles = client.get_many(users, fields=fields)
        assert [user for user, profile in profiles.items() if profile and profile.user_id == user] == users[:8]
        assert list(profiles) == users

    def test_one_text_is_not_a_list_of_users(self, client: Any, worker: Worker) -> None:
        with pytest.raises(SettingsError, match="for one user call get"):
            client.get_many("ada")


class TestDescription:
    def test_it_is_read_once(self, client: Any, worker: Worker, store: redis.Redis) -> None:
        worker.apply(event(1))
        store.config_resetstat()
        for _ in range(5):
            client.get("ada")
        assert commands(store, "get") == 1

    def test_profiles_that_are_not_there(self, client: Any, open_client: Open, server: EmbeddedRedis) -> None:
        with redis.Redis.from_url(server.url) as store:
            store.flushall()
            with pytest.raises(SettingsError, match=rf"{server.address} has no profiles called 'shop'; is its worker"):
                client.get("ada")
            # A user may be called what the description's key is called.
            Worker(ProfileDefinition("blog", features=[Count("views")]), server.url).apply(event(1, "definition"))
            with pytest.raises(SettingsError, match="called 'shop'; there are blog"):
                client.get("ada")
            Worker(ProfileDefinition("shops", features=[Count("views")]), server.url)
            with pytest.raises(SettingsError, match=r"called 'shop'; did you mean 'shops'\?"):
                client.get_many(["ada"])
            Worker(SHOP, server.url)
            assert client.get("ada") is None

    def test_a_newer_definition_is_noticed_by_its_fields(self, client: Any, worker: Worker) -> None:
        worker.apply(event(1, country="IT"))
        assert client.get("ada").values["country"] == "IT"
        newer = ProfileDefinition("shop", features=[*FEATURES, Count("clicks", half_life="1h")])
        Worker(newer, worker._url).apply(event(2, "bob", time=1))
        assert client.get("bob", now=3_600_001).values["clicks"] == {"total": 1, "1h": 0.5, "at": 3_600_001}
        assert client.get("bob", fields=["clicks"]).values["clicks"]["total"] == 1

    def test_a_newer_field_can_be_asked_for_at_once(self, client: Any, worker: Worker) -> None:
        client.get("ada")
        Worker(ProfileDefinition("shop", features=[Count("clicks")]), worker._url).apply(event(2, "bob"))
        assert client.get("bob", fields=["clicks"]).values == {"clicks": {"total": 1}}

    def test_a_newer_definition_is_noticed_in_time(
        self, client: Any, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worker.apply(event(1, category="hats"))
        client.get("ada")
        Worker(ProfileDefinition("shop", features=[TopK("categories", of="category", half_life="1d")]), worker._url)
        monkeypatch.setattr(_reader, "_DESCRIPTION_AGE_S", 0.0)
        assert client.get("ada", now=DAY).values == {"categories": {"top": [["hats", 0.5]], "at": DAY}}

    def test_fields_of_an_older_definition_are_left_out(self, client: Any, worker: Worker, store: redis.Redis) -> None:
        worker.apply(*visit())
        # Removed; changed to another kind; changed to another configuration; an embedding that was none, and was one.
        features = [Last("spend", of="item_id"), Count("views", half_life="7d"), Last("taste", of="item_id")]
        Worker(ProfileDefinition("shop", features=features), worker._url)
        store.config_resetstat()
        values = client.get("ada").values
        assert values.keys() == {"spend", "views"}
        assert values["views"]["total"] == 2
        assert client.get("ada", now=9 * DAY).values["views"] == values["views"]
        # Once read at first, once for those that cannot be read, once for the one that cannot be brought to now.
        assert commands(store, "get") == 3
        client.get_many(["ada", "bob"], now="now")
        assert commands(store, "get") == 3

    def test_kinds_that_this_library_does_not_have_are_read(self, client: Any, store: redis.Redis) -> None:
        fields = {
            "mine": {"kind": "MyOwn", "config": {}},
            "newer": {"kind": "Count", "config": {"name": "newer", "shape": "round"}},
            "text": {"kind": "TextEmbedding", "config": {"name": "text"}},
        }
        store.set("shop:definition", json.dumps({"name": "shop", "fields": fields}))
        stored = {"mine": "[1]", "newer": '{"total":1}', "text": np.ones(4, "<f4").tobytes(), "_version": 1}
        store.hset("shop:profile:ada", mapping=stored)
        values = client.get("ada", now="now").values
        assert values.pop("text").tolist() == [1.0] * 4
        assert values == {"mine": [1], "newer": {"total": 1}}

    @pytest.mark.parametrize("raw", ["", "[]", "{}", '{"fields": 1}', '{"fields": {"a": 1}}'])
    def test_one_that_is_none_is_an_error(self, client: Any, store: redis.Redis, raw: str) -> None:
        store.set("shop:definition", raw)
        with pytest.raises(StateError, match=r"shop:definition of Redis at .* cannot be read"):
            client.get("ada")

    def test_losing_it_does_not_stop_a_reader(
        self, client: Any, worker: Worker, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_reader, "_DESCRIPTION_AGE_S", 0.0)
        worker.apply(event(1))
        client.get("ada")
        store.delete("shop:definition")
        assert client.get("ada").values["events"] == {"total": 1}


class TestMetrics:
    """Reading them. How they are merged is in `test_client_metrics`."""

    @pytest.fixture
    def partitions(self, store: redis.Redis) -> list[Partition]:
        """Two partitions that have learned, as a worker reports them."""
        partitions = [Partition(ProfileUpdater(SHOP)) for _ in range(2)]
        for number in range(400):
            kind = "purchase" if number % 5 == 0 else "view"
            partitions[number % 2].apply(event(number, f"user-{number % 7}", time=number * DAY // 4, type=kind))
        for number, partition in enumerate(partitions):
            store.hset("shop:metrics", str(number), msgspec.json.encode(partition.metrics()))
        return partitions

    def test_partitions_are_merged(self, client: Any, partitions: list[Partition]) -> None:
        reports = [partition.metrics()["buys_soon"] for partition in partitions]
        whole, other = [Evaluation("binary", report["evaluation"]) for report in reports]
        whole.merge(other)
        expected = whole.values()
        found = client.metrics()["buys_soon"]
        assert found.examples == expected.model.examples == sum(report["examples"] for report in reports) > 100
        assert (found.model, found.prevalence) == (expected.model, expected.prevalence)
        assert found.last_label == expected.last_label != found.prevalence

    def test_partitions_by_themselves(self, client: Any, partitions: list[Partition]) -> None:
        found = client.partition_metrics()
        assert list(found) == [0, 1]
        for number, partition in enumerate(partitions):
            report = partition.metrics()["buys_soon"]
            assert found[number]["buys_soon"].model == Evaluation("binary", report["evaluation"]).values().model
            assert found[number]["buys_soon"].importances == pytest.approx(report["importances"])

    def test_models_are_called_what_the_description_says(
        self, client: Any, worker: Worker, store: redis.Redis, partitions: list[Partition]
    ) -> None:
        assert [each.name for each in client.metrics()["buys_soon"].contenders] == ["LogisticRegression"]

    def test_they_can_be_read_without_a_description(self, client: Any, partitions: list[Partition]) -> None:
        assert [each.name for each in client.metrics()["buys_soon"].contenders] == [None]

    def test_none_yet(self, client: Any, store: redis.Redis) -> None:
        assert client.metrics() == client.partition_metrics() == {}

    @pytest.mark.parametrize("raw", ["", "[]", '{"a": 1}', '{"a": [1]}', '{"a": {}}', '{"a": {"evaluation": {}}}'])
    def test_what_is_none_is_an_error(self, client: Any, store: redis.Redis, raw: str) -> None:
        store.hset("shop:metrics", "0", raw)
        for call in (client.metrics, client.partition_metrics):
            with pytest.raises(StateError, match=r"shop:metrics of Redis at .* is not metrics: "):
                call()

    def test_a_field_that_is_no_partition_is_an_error(self, client: Any, store: redis.Redis) -> None:
        store.hset("shop:metrics", "all", "{}")
        with pytest.raises(StateError, match="shop:metrics"):
            client.metrics()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def silence() -> Iterator[int]:
    """A port where connections are taken and nothing is ever answered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


class TestRedisErrors:
    def test_nothing_listens(self, open_client: Open) -> None:
        port = free_port()
        client = open_client(f"redis://user:s3cret@127.0.0.1:{port}/3", "shop")
        for call in (lambda: client.get("ada"), lambda: client.get_many(["ada"]), client.metrics):
            with pytest.raises(RedisUnavailable, match=f"^Redis at 127.0.0.1:{port}/3 does not answer: .*{port}") as e:
                call()
            assert "s3cret" not in told(e.value)

    def test_nothing_is_answered(self, open_client: Open) -> None:
        with silence() as port:
            client = open_client(f"redis://127.0.0.1:{port}", "shop", timeout_s=0.3)
            began = time.monotonic()
            with pytest.raises(RedisUnavailable, match=f"Redis at 127.0.0.1:{port} does not answer: Timeout"):
                client.get("ada")
            assert time.monotonic() - began < 1.0

    def test_no_such_host(self, open_client: Open) -> None:
        with pytest.raises(RedisUnavailable, match=r"Redis at no-such-host\.invalid:6379 does not answer"):
            open_client("redis://no-such-host.invalid", "shop").get("ada")

    def test_a_wrong_password(
        self, open_client: Open, server: EmbeddedRedis, worker: Worker, store: redis.Redis
    ) -> None:
        store.config_set("requirepass", "right")
        try:
            for url in (server.url, server.url.replace("//", "//:s3cret@")):
                with pytest.raises(RedisUnavailable, match=f"Redis at {server.address} ") as e:
                    open_client(url, "shop").get("ada")
                assert "s3cret" not in told(e.value)
            assert open_client(server.url.replace("//", "//:right@"), "shop").get("ada") is None
        finally:
            store.execute_command("AUTH", "right")
            store.config_set("requirepass", "")

    def test_a_refused_command(self, client: Any, worker: Worker, store: redis.Redis) -> None:
        store.set("shop:profile:ada", "not a hash")
        with pytest.raises(RedisUnavailable, match=r"refuses: .*WRONGTYPE"):
            client.get("ada")
        with pytest.raises(RedisUnavailable, match=r"refuses: .*WRONGTYPE"):
            client.get_many(["ada", "bob"])

    def test_a_lost_connection_is_made_again(self, client: Any, worker: Worker, store: redis.Redis) -> None:
        worker.apply(event(1))
        for _ in range(3):
            assert client.get_many(["ada", "bob"])["ada"].version == 1
            store.client_kill_filter(_type="normal", skipme=True)

    @pytest.mark.parametrize(
        "url",
        [
            "localhost:6379",
            "http://localhost:6379",
            "",
            None,
            "redis://localhost:port",
            "redis://:pa/s3cret@localhost:6379",
            "redis://user:s3cret@localhost:99x/0",
            "redis://localhost?password=s3cret&colour=red",
            "//:s3cret@localhost",
        ],
    )
    def test_what_is_no_url(self, open_client: Open, url: Any) -> None:
        with pytest.raises(SettingsError, match=r"is not the URL of a Redis: write redis://host:port/0") as e:
            open_client(url, "shop")
        assert "s3cret" not in told(e.value)

    def test_a_url_cannot_turn_vectors_into_text(
        self, open_client: Open, server: EmbeddedRedis, worker: Worker
    ) -> None:
        worker.apply(*visit())
        client = open_client(f"{server.url}?decode_responses=True", "shop")
        assert client.get("ada").values["taste"].shape == (16,)

    def test_a_unix_socket_is_a_url(self, open_client: Open, tmp_path: Any) -> None:
        with pytest.raises(RedisUnavailable, match=f"Redis at {tmp_path}/redis.sock does not answer"):
            open_client(f"unix://{tmp_path}/redis.sock", "shop").get("ada")


def test_threads_may_share_a_client(server: EmbeddedRedis, worker: Worker) -> None:
    users = [f"user-{number}" for number in range(8)]
    worker.apply(*(event(1, user) for user in users))
    wrong: list[Any] = []
    with ProfileClient(server.url, "shop") as client:

        def read(user: str) -> None:
            for _ in range(50):
                profile = client.get(user)
                if profile is None or profile.user_id != user:
                    wrong.append(profile)

        threads = [threading.Thread(target=read, args=(user,)) for user in users]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


class FakeKafka:
    """One topic with some partitions, and a consumer of it that a test can make fail and rebalance."""

    DEFAULT_CONFIG = kafka.KafkaConsumer.DEFAULT_CONFIG

    def __init__(self, topic: str = "shop-profile-deltas", partitions: int = 2) -> None:
        self.partitions = [kafka.TopicPartition(topic, number) for number in range(partitions)]
        self.log: dict[Any, list[bytes]] = {partition: [] for partition in self.partitions}
        self.committed_offsets: dict[Any, int] = {}
        self.commits: list[dict[Any, int]] = []
        self.fail_commits = False
        self.positions: dict[Any, int] = {}
        self.listener: Any = None
        self.closed = 0
        self.polling = threading.Event()

    def __call__(self, **options: Any) -> FakeKafka:
        self.options = options
        return self

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {partition.partition for partition in self.partitions if partition.topic == topic}

    def assign(self, partitions: list[Any]) -> None:
        self.positions = dict.fromkeys(partitions, 0)

    def subscribe(self, topics: list[str], listener: Any) -> None:
        self.listener = listener
        self.rebalance(self.partitions)

    def rebalance(self, partitions: list[Any]) -> None:
        """What kafka-python does in a poll."""
        self.positions = {partition: self.committed_offsets.get(partition, 0) for partition in partitions}
        self.listener.on_partitions_assigned(set(partitions))

    def seek(self, partition: Any, offset: int) -> None:
        self.positions[partition] = offset

    def seek_to_end(self, partition: Any) -> None:
        self.seek(partition, len(self.log[partition]))

    def seek_to_beginning(self, partition: Any) -> None:
        self.seek(partition, 0)

    def position(self, partition: Any, timeout_ms: int) -> int:
        return self.positions[partition]

    def committed(self, partition: Any, timeout_ms: int) -> int | None:
        return self.committed_offsets.get(partition)

    def commit(self, offsets: dict[Any, Any], timeout_ms: int) -> None:
        if self.fail_commits:
            raise kafka.errors.CommitFailedError
        self.commits.append({partition.partition: offset.offset for partition, offset in offsets.items()})
        self.committed_offsets |= {partition: offset.offset for partition, offset in offsets.items()}

    def poll(self, timeout_ms: int) -> dict[Any, list[Any]]:
        fetched = {}
        self.polling.set()
        until = time.monotonic() + timeout_ms / 1000
        while not (fetched := self.fetch()) and time.monotonic() < until:
            time.sleep(0.002)
        return fetched

    def fetch(self) -> dict[Any, list[Any]]:
        fetched = {}
        for partition, offset in self.positions.items():
            if records := self.log[partition][offset : offset + 2]:
                fetched[partition] = [
                    SimpleNamespace(
                        topic=partition.topic, partition=partition.partition, offset=offset + n, value=value
                    )
                    for n, value in enumerate(records)
                ]
                self.positions[partition] += len(records)
        return fetched

    def close(self, autocommit: bool, timeout_ms: int) -> None:
        assert autocommit is False
        self.closed += 1


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch, worker: Worker) -> FakeKafka:
    """A topic with five deltas in its first partition and one in its second."""
    worker.apply(*(event(number, time=number, country=f"c{number}") for number in range(5)), event(9, "bob"))
    topic = FakeKafka()
    topic.log[topic.partitions[0]] = worker.messages[:5]
    topic.log[topic.partitions[1]] = worker.messages[5:]
    monkeypatch.setattr(_consumer.kafka, "KafkaConsumer", topic)
    monkeypatch.setattr(_consumer, "knock", lambda broker, timeout_s: None)
    return topic


@pytest.fixture
def reader(open_client: Open, server: EmbeddedRedis) -> Any:
    return open_client(server.url, "shop", broker="somewhere:9092")


class TestDeltas:
    def test_all_of_them_in_order(self, reader: Any, topic: FakeKafka) -> None:
        deltas = list(reader.deltas(from_beginning=True, timeout_s=0.05))
        assert [delta.version for delta in deltas if delta.user_id == "ada"] == [1, 2, 3, 4, 5]
        assert [delta.user_id for delta in deltas].count("bob") == 1
        assert deltas[-1].profile == "shop"
        assert topic.closed == 1

    def test_those_from_now_on(self, reader: Any, topic: FakeKafka, worker: Worker) -> None:
        deltas = reader.deltas(timeout_s=0.05)
        topic.log[topic.partitions[1]].append(worker.messages[0])
        assert [delta.version for delta in deltas] == [1]
        assert topic.commits == []

    def test_applied_in_order_they_give_the_profile(self, reader: Any, topic: FakeKafka, worker: Worker) -> None:
        worker.messages.clear()
        worker.apply(*visit("eve"), *visit("joe"))
        topic.log[topic.partitions[0]] = worker.messages
        topic.log[topic.partitions[1]] = []
        values: dict[str, dict[str, Any]] = {}
        for delta in reader.deltas(from_beginning=True, timeout_s=0.05):
            apply_delta(values.setdefault(delta.user_id, {}), delta)
        for user in ("eve", "joe"):
            stored = reader.get(user).values
            assert values[user].pop("taste").tolist() == stored.pop("taste").tolist()
            assert values[user] == stored

    def test_after_its_end_a_stream_stays_at_its_end(self, reader: Any, topic: FakeKafka) -> None:
        deltas = reader.deltas(timeout_s=0.01)
        assert list(deltas) == list(deltas) == []
        deltas.close()
        assert topic.closed == 1

    def test_a_closed_stream_ends(self, reader: Any, topic: FakeKafka) -> None:
        deltas = reader.deltas(from_beginning=True)
        next(deltas)
        deltas.close()
        assert list(deltas) == []

    def test_a_closed_client_closes_its_streams(self, server: EmbeddedRedis, topic: FakeKafka) -> None:
        with ProfileClient(server.url, "shop", broker="somewhere:9092") as client:
            deltas = client.deltas(from_beginning=True)
            next(deltas)
        assert topic.closed == 1
        assert list(deltas) == []

    def test_a_forgotten_stream_is_closed(self, server: EmbeddedRedis, topic: FakeKafka) -> None:
        with ProfileClient(server.url, "shop", broker="somewhere:9092") as client:
            for _ in client.deltas(from_beginning=True):
                break
            assert topic.closed == 1

    def test_another_thread_may_close_a_waiting_stream(self, server: EmbeddedRedis, topic: FakeKafka) -> None:
        with ProfileClient(server.url, "shop", broker="somewhere:9092") as client:
            deltas = client.deltas()
            closer = threading.Timer(0.1, deltas.close)
            closer.start()
            assert list(deltas) == []
            closer.join()

    def test_a_message_that_is_no_delta_is_an_error_and_passes(
        self, reader: Any, topic: FakeKafka, worker: Worker
    ) -> None:
        topic.log[topic.partitions[0]] = [b'{"user_id": 1}', worker.messages[0]]
        topic.log[topic.partitions[1]] = []
        deltas = reader.deltas(group="g", from_beginning=True, timeout_s=0.05)
        with pytest.raises(StateError, match="shop-profile-deltas-0, offset 0: it is not a profile delta"):
            next(deltas)
        assert next(deltas).version == 1

    def test_fields_are_left_out_like_in_redis(self, reader: Any, topic: FakeKafka, worker: Worker) -> None:
        Worker(ProfileDefinition("shop", features=[Last("country", of="country")]), worker._url)
        deltas = reader.deltas(from_beginning=True, timeout_s=0.05)
        assert next(deltas).changed == {"country": "c0"}
        Worker(SHOP, worker._url)
        worker.messages.clear()
        worker.apply(*visit("eve"))
        topic.log[topic.partitions[0]] += worker.messages
        *_, last = deltas
        assert isinstance(last.changed["taste"], np.ndarray)

    def test_redis_away_loses_no_delta(self, reader: Any, topic: FakeKafka, worker: Worker, store: redis.Redis) -> None:
        deltas = reader.deltas(from_beginning=True, timeout_s=0.05)
        next(deltas)
        # A field that needs Redis to be explained.
        worker.messages.clear()
        Worker.apply(
            newer := Worker(ProfileDefinition("shop", features=[Count("clicks")]), worker._url), event(1, "eve")
        )
        topic.log[topic.partitions[0]] = newer.messages
        topic.log[topic.partitions[1]] = []
        topic.seek(topic.partitions[0], 0)
        for _ in range(2):
            next(deltas)
        store.config_set("requirepass", "away")
        store.client_kill_filter(_type="normal", skipme=True)
        try:
            for _ in range(2):
                with pytest.raises(RedisUnavailable):
                    next(deltas)
        finally:
            store.config_set("requirepass", "")
        assert next(deltas).changed == {"clicks": {"total": 1}}


class TestGroups:
    def test_what_the_reader_came_back_for_is_done(self, reader: Any, topic: FakeKafka) -> None:
        deltas = reader.deltas(group="g", from_beginning=True)
        seen = [next(deltas) for _ in range(3)]
        deltas.close()
        assert topic.options["group_id"] == "g"
        assert topic.options["enable_auto_commit"] is False
        assert sum(topic.commits[-1].values()) == 2
        again = list(reader.deltas(group="g", timeout_s=0.05))
        assert len(again) == 4
        assert seen[-1] in again
        assert topic.commits[-1] == {0: 5, 1: 1}

    def test_offsets_are_committed_on_the_way(
        self, reader: Any, topic: FakeKafka, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_consumer, "_COMMIT_EVERY_S", 0.0)
        deltas = reader.deltas(group="g", from_beginning=True)
        for _ in range(4):
            next(deltas)
        assert [sum(commit.values()) for commit in topic.commits] == [0, 1, 2, 3]

    def test_a_new_group_has_its_place_at_once(self, reader: Any, topic: FakeKafka, worker: Worker) -> None:
        reader.deltas(group="g").close()
        assert topic.committed_offsets == {topic.partitions[0]: 5, topic.partitions[1]: 1}
        topic.log[topic.partitions[1]].append(worker.messages[0])
        assert len(list(reader.deltas(group="g", timeout_s=0.05))) == 1

    def test_what_is_kept_in_a_rebalance_goes_on_where_it_was(self, reader: Any, topic: FakeKafka) -> None:
        deltas = reader.deltas(group="g", from_beginning=True, timeout_s=0.05)
        first = [next(deltas) for _ in range(3)]
        topic.rebalance(topic.partitions[:1])
        rest = list(deltas)
        versions = [delta.version for delta in [*first, *rest] if delta.user_id == "ada"]
        assert versions == [1, 2, 3, 4, 5]
        assert 1 not in topic.commits[-1]

    def test_what_was_taken_away_is_not_committed_any_more(
        self, reader: Any, topic: FakeKafka, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_consumer, "_COMMIT_EVERY_S", 0.0)
        deltas = reader.deltas(group="g", from_beginning=True, timeout_s=0.05)
        next(deltas)
        topic.rebalance(topic.partitions[:1])
        topic.commits.clear()
        assert len(list(deltas)) >= 4
        assert topic.commits[-1] == {0: 5}
        assert all(commit.keys() == {0} for commit in topic.commits)

    def test_what_is_given_in_a_rebalance_starts_where_it_was_left(self, reader: Any, topic: FakeKafka) -> None:
        topic.committed_offsets[topic.partitions[0]] = 3
        deltas = reader.deltas(group="g", timeout_s=0.05)
        assert [delta.version for delta in deltas] == [4, 5]

    def test_a_failed_commit_is_tried_again(
        self, reader: Any, topic: FakeKafka, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_consumer, "_COMMIT_EVERY_S", 0.0)
        deltas = reader.deltas(group="g", from_beginning=True, timeout_s=0.05)
        topic.fail_commits = True
        assert [next(deltas) for _ in range(3)]
        topic.fail_commits = False
        assert len(list(deltas)) == 3
        assert topic.commits[-1] == {0: 5, 1: 1}


class TestKafkaErrors:
    def test_no_broker_was_given(self, client: Any, worker: Worker) -> None:
        with pytest.raises(SettingsError, match="give the client its address, as in broker="):
            client.deltas()

    def test_no_broker_answers(self, open_client: Open, worker: Worker) -> None:
        port = free_port()
        client = open_client(worker._url, "shop", broker=f"127.0.0.1:{port}", timeout_s=0.5)
        for group in (None, "g"):
            with pytest.raises(KafkaUnavailable, match=f"^Kafka at 127.0.0.1:{port} does not answer: .*refused"):
                client.deltas(group=group)

    def test_what_answers_is_no_kafka(self, open_client: Open, worker: Worker) -> None:
        before = set(threading.enumerate())
        with silence() as port:
            client = open_client(worker._url, "shop", broker=f"127.0.0.1:{port}", timeout_s=0.5)
            with pytest.raises(KafkaUnavailable, match=f"^Kafka at 127.0.0.1:{port} does not answer within 0.5 s"):
                client.deltas()
        left = set(threading.enumerate()) - before
        assert [thread.name for thread in left if thread.name.startswith("kafka")] == []

    def test_what_is_no_address(self, open_client: Open, worker: Worker) -> None:
        with pytest.raises(SettingsError, match="'localhost:port' is not the address of a Kafka"):
            open_client(worker._url, "shop", broker="localhost:port").deltas()


def test_a_cancelled_wait_loses_no_delta(server: EmbeddedRedis, topic: FakeKafka, worker: Worker) -> None:
    async def read() -> list[int]:
        versions = []
        async with AsyncProfileClient(server.url, "shop", broker="somewhere:9092") as client, client.deltas() as deltas:
            for number in range(5):
                topic.polling.clear()
                waiting = asyncio.ensure_future(anext(deltas))
                await asyncio.to_thread(topic.polling.wait)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                # The poll is still under way, and this is for it.
                topic.log[topic.partitions[0]].append(worker.messages[number])
                versions.append((await anext(deltas)).version)
        return versions

    assert asyncio.run(read()) == [1, 2, 3, 4, 5]


def test_many_tasks_may_share_a_client(server: EmbeddedRedis, worker: Worker) -> None:
    users = [f"user-{number}" for number in range(50)]
    worker.apply(*(event(1, user) for user in users))

    async def read() -> list[Any]:
        async with AsyncProfileClient(server.url, "shop") as client:
            return await asyncio.gather(*(client.get(user) for user in users))

    assert [profile.user_id for profile in asyncio.run(read())] == users


class TestApplyDelta:
    @settings(deadline=None, max_examples=50)
    @given(
        types=st.lists(st.sampled_from(["view", "purchase", "other"]), min_size=1, max_size=12),
        sent_again=st.integers(0, 11),
    )
    def test_all_in_order_give_what_is_published(self, types: list[str], sent_again: int) -> None:
        updater = ProfileUpdater(ProfileDefinition("shop", features=FEATURES))
        schema = Schema(json.dumps(updater.definition.describe()).encode())
        state, messages = updater.new_state(), deque()
        for number, type in enumerate(types):
            change = updater.apply(state, event(number, time=number * 1_000, type=type, price=1.0, category=type))
            assert isinstance(change, Change)
            messages.append(encode_delta("shop", change))
        messages.extend(list(messages)[sent_again:])
        values: dict[str, Any] = {}
        for message in messages:
            apply_delta(values, schema.delta(message, set()))
        assert values == updater.published(state)
