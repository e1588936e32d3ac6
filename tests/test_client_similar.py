"""Similar users: exactly the nearest by cosine, and only those who can be compared.

Redis is real; its vector search is a fake here, which gives the replies of RediSearch 2.6 (RESP2) and those that newer
ones are documented to give (RESP3). `integration/test_similar.py` asks a real one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from math import fsum, sqrt
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import redis
import redis.exceptions

from stream_profiles import BehaviourEmbedding, Count, ProfileDefinition, TextEmbedding
from stream_profiles.client import ProfileClient, _reader, _similar
from stream_profiles.client._reader import Flow, Reader, redis_unavailable
from stream_profiles.client._similar import nearest_to, similar
from stream_profiles.client._vector_index import VectorIndex
from stream_profiles.dev.servers import EmbeddedRedis
from stream_profiles.errors import RedisUnavailable, SettingsError
from stream_profiles.names import Names
from stream_profiles.partitioner import Partitioner

from .test_client import OnALoop

DIMENSION = 16
SHOP = ProfileDefinition(
    "shop",
    features=[Count("views")],
    embeddings=[
        BehaviourEmbedding("taste", dimensions=DIMENSION),
        TextEmbedding("interests", half_life=("1d", "30d"), encoder="hashing-16"),
    ],
)
PARTITIONS = 3
ENCODER = "hashing-16@1"


@pytest.fixture
def store(store: redis.Redis) -> redis.Redis:
    """A Redis with the description of the shop, and no profiles."""
    describe(store, SHOP)
    return store


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, server: EmbeddedRedis, store: redis.Redis) -> Iterator[Any]:
    client = (ProfileClient if request.param == "sync" else OnALoop)(server.url, "shop")
    yield client
    client.close()


@pytest.fixture
def small_trips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_similar, "_PROFILES_PER_TRIP", 7)


def describe(store: redis.Redis, definition: ProfileDefinition, **more: Any) -> None:
    described = {**definition.describe(), "partitions": PARTITIONS, **more}
    store.set(Names(definition.name).redis_description, json.dumps(described))


Vector = list[float]


def put(store: redis.Redis, user: str, vector: Vector, *, field: str = "interests_1d", encoder: str = ENCODER) -> None:
    summary = json.dumps({"encoder": encoder, "texts": 3, "top": {}})
    stored = np.array(vector, "<f4").tobytes()
    store.hset(f"shop:profile:{user}", mapping={"_version": 1, field: stored, "interests": summary})


def vectors(number: int, seed: int = 0) -> dict[str, Vector]:
    """Of users, some with equal vectors."""
    drawn = np.random.default_rng(seed).normal(size=(number, DIMENSION)).astype(np.float32)
    drawn[::5] = drawn[0]
    return {f"u{n}": drawn[n].tolist() for n in range(number)}


def by_hand(user: str, of: dict[str, Vector], k: int) -> list[tuple[str, float]]:
    """The oracle, in other arithmetic."""

    def cosine(a: Vector, b: Vector) -> float:
        product = fsum(x * y for x, y in zip(a, b, strict=True))
        return round(product / sqrt(fsum(x * x for x in a) * fsum(y * y for y in b)), 7)

    others = [(other, cosine(of[user], vector)) for other, vector in of.items() if other != user]
    return sorted(others, key=lambda pair: (-pair[1], pair[0]))[:k]


def direction(*first: float) -> Vector:
    return [*first, *[0.0] * (DIMENSION - len(first))]


class TestSimilar:
    @pytest.mark.parametrize("k", [1, 3, 25, 99, 1_000])
    @pytest.mark.usefixtures("small_trips")
    def test_it_is_what_comparing_with_everybody_gives(self, client: Any, store: redis.Redis, k: int) -> None:
        of = vectors(100)
        for user, vector in of.items():
            put(store, user, vector)
        for user in ("u0", "u1", "u50"):
            found = client.similar(user, k)
            assert [name for name, _ in found] == [name for name, _ in by_hand(user, of, k)]
            assert found == [(name, pytest.approx(cosine, abs=2e-7)) for name, cosine in by_hand(user, of, k)]

    def test_the_highest_come_first_without_the_user_and_at_most_k(self, client: Any, store: redis.Redis) -> None:
        put(store, "ada", direction(1.0))
        put(store, "far", direction(-1.0))
        put(store, "near", direction(3.0, 4.0))
        put(store, "same", direction(2.0))
        assert client.similar("ada") == [("same", 1.0), ("near", 0.6), ("far", -1.0)]
        assert client.similar("ada", 1) == [("same", 1.0)]

    @pytest.mark.usefixtures("small_trips")
    def test_equal_cosines_go_by_user_id(self, client: Any, store: redis.Redis) -> None:
        users = [f"u{n:03}" for n in range(60)]
        for user in np.random.default_rng(1).permutation(users).tolist():
            put(store, user, direction(0.1, 0.7, 0.3))
        assert client.similar("u030", 5) == [(user, 1.0) for user in users[:5]]

    def test_who_has_no_vector_is_similar_to_nobody(self, client: Any, store: redis.Redis) -> None:
        put(store, "bob", direction(1.0))
        store.hset("shop:profile:new", mapping={"_version": 1})
        put(store, "zero", direction(0.0))
        put(store, "odd", direction(float("nan")))
        store.hset("shop:profile:torn", mapping={"_version": 1, "interests_1d": b"abc"})
        for mute in ("mute", "silent"):
            store.hset(f"shop:profile:{mute}", mapping={"interests_1d": np.array(direction(1.0), "<f4").tobytes()})
        put(store, "old", [1.0, 0.0])
        put(store, "older", [1.0, 0.0])
        for user in ("nobody", "new", "zero", "odd", "torn", "mute", "old"):
            assert client.similar(user) == []

    def test_what_cannot_be_compared_is_left_out(self, client: Any, store: redis.Redis) -> None:
        put(store, "ada", direction(1.0))
        put(store, "bob", direction(1.0, 1.0))
        put(store, "zero", direction(0.0))
        put(store, "nan", direction(1.0, float("nan")))
        put(store, "infinite", direction(float("inf")))
        put(store, "short", [1.0, 0.0])
        put(store, "elsewhere", direction(1.0), field="interests_30d")
        store.hset("shop:profile:torn", mapping={"interests_1d": b"abc", "interests": b"{}"})
        store.set("shop:profile:string", "no hash")
        store.hset("shop2:profile:eve", mapping={"interests_1d": np.array(direction(1.0), "<f4").tobytes()})
        assert client.similar("ada") == [("bob", 0.7071068)]

    def test_vectors_of_another_encoder_or_version_are_left_out(self, client: Any, store: redis.Redis) -> None:
        put(store, "ada", direction(1.0))
        put(store, "bob", direction(1.0, 1.0))
        put(store, "older", direction(1.0), encoder="hashing-16@0")
        put(store, "other", direction(1.0), encoder="lengths@1")
        put(store, "strange", direction(1.0))
        store.hset("shop:profile:strange", "interests", "{")
        put(store, "silent", direction(1.0))
        store.hdel("shop:profile:silent", "interests")
        assert client.similar("ada") == [("bob", 0.7071068)]
        assert client.similar("older") == client.similar("other") == []

    def test_any_text_can_name_a_user(self, client: Any, store: redis.Redis) -> None:
        names = ["with space", "ü:*?[a]", "définition", "a\nb", "profile:", ""]
        put(store, "ada", direction(1.0))
        for name in names:
            put(store, name, direction(1.0))
        assert client.similar("ada") == [(name, 1.0) for name in sorted(names)]
        assert client.similar("ü:*?[a]", 1) == [("", 1.0)]

    def test_beyond_the_limit_it_says_what_to_do(self, client: Any, store: redis.Redis) -> None:
        for n in range(12):
            put(store, f"u{n}", direction(1.0, n))
        assert len(client.similar("u0", 20, scan_limit=12)) == 11
        with pytest.raises(SettingsError, match=r"more than 11 profiles 'shop', .*vector search.*raise scan_limit"):
            client.similar("u0", scan_limit=11)

    @pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "7"])
    def test_a_count_is_a_whole_number_from_1(self, client: Any, wrong: Any) -> None:
        with pytest.raises(SettingsError, match="k must be a whole number"):
            client.similar("ada", wrong)
        with pytest.raises(SettingsError, match="scan_limit must be a whole number"):
            client.similar("ada", scan_limit=wrong)

    def test_a_redis_that_does_not_answer_is_an_error(self, client: Any, server: EmbeddedRedis) -> None:
        with ProfileClient("redis://127.0.0.1:1/0", "shop") as elsewhere, pytest.raises(RedisUnavailable):
            elsewhere.similar("ada")


class TestField:
    def test_the_first_text_embedding_is_meant(self, client: Any, store: redis.Redis) -> None:
        put(store, "ada", direction(1.0))
        put(store, "ada", direction(1.0), field="interests_30d")
        put(store, "bob", direction(1.0))
        put(store, "eve", direction(1.0), field="interests_30d")
        assert client.similar("ada") == client.similar("ada", field="interests_1d") == [("bob", 1.0)]
        assert client.similar("ada", field="interests_30d") == [("eve", 1.0)]

    def test_the_only_one_is_meant(self, client: Any, store: redis.Redis) -> None:
        describe(store, ProfileDefinition("shop", embeddings=[BehaviourEmbedding("taste")]), partitions=1)
        put(store, "ada", [1.0] * 64, field="taste")
        put(store, "bob", [1.0] * 64, field="taste")
        assert client.similar("ada") == [("bob", 1.0)]

    def test_among_others_one_has_to_be_chosen(self, client: Any, store: redis.Redis) -> None:
        both = [BehaviourEmbedding("taste"), BehaviourEmbedding("brands", of="properties.brand")]
        describe(store, ProfileDefinition("shop", embeddings=both))
        with pytest.raises(SettingsError, match="several embeddings: say which with field=, 'taste' or 'brands'"):
            client.similar("ada")

    def test_there_may_be_none(self, client: Any, store: redis.Redis) -> None:
        describe(store, ProfileDefinition("shop", features=[Count("views")]))
        with pytest.raises(SettingsError, match="'shop' have no embedding: give their definition one"):
            client.nearest([1.0])

    @pytest.mark.parametrize(
        ("field", "hint"), [("interest_1d", "did you mean 'interests_1d'?"), ("views", "there are taste, interests_1d")]
    )
    def test_an_unknown_one_is_an_error_that_names_the_others(self, client: Any, field: str, hint: str) -> None:
        with pytest.raises(SettingsError) as raised:
            client.similar("ada", field=field)
        assert f"have no embedding '{field}'; {hint}" in str(raised.value)

    def test_one_that_is_new_is_noticed(self, client: Any, store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        describe(store, ProfileDefinition("shop", features=[Count("views")]))
        with pytest.raises(SettingsError):
            client.similar("ada")
        describe(store, SHOP)
        monkeypatch.setattr(_reader, "_DESCRIPTION_AGE_S", -1.0)
        assert client.similar("ada") == []

    def test_vectors_of_behaviour_are_compared_within_a_partition(self, client: Any, store: redis.Redis) -> None:
        users = [f"u{n}" for n in range(30)]
        for user in users:
            put(store, user, direction(1.0), field="taste")
        partition = Partitioner(PARTITIONS)
        home = [user for user in users if partition(user.encode()) == partition(b"u7")]
        assert 2 < len(home) < 30
        assert client.similar("u7", 30, field="taste") == [(user, 1.0) for user in sorted(home) if user != "u7"]

    def test_without_the_number_of_partitions_they_are_not_compared(self, client: Any, store: redis.Redis) -> None:
        describe(store, SHOP, partitions=None)
        with pytest.raises(SettingsError, match="'taste' can only be compared within a partition, and the worker"):
            client.similar("ada", field="taste")


class TestNearest:
    def test_everybody_is_compared_with_the_vector(self, client: Any, store: redis.Redis) -> None:
        put(store, "ada", direction(1.0))
        put(store, "bob", direction(0.0, 1.0))
        assert client.nearest(direction(6.0, 8.0)) == [("bob", 0.8), ("ada", 0.6)]
        assert client.nearest(np.array(direction(6.0, 8.0), np.float16), 1) == [("bob", 0.8)]

    @pytest.mark.parametrize(
        "vector",
        ["red shoes", [], direction(0.0), direction(float("nan")), [direction(1.0)], None, 1.0, [[1.0], [1, 2]]],
    )
    def test_what_is_no_direction_is_an_error(self, client: Any, vector: Any) -> None:
        with pytest.raises(SettingsError, match="vector= takes a list of finite numbers"):
            client.nearest(vector)

    def test_another_length_is_an_error(self, client: Any) -> None:
        with pytest.raises(SettingsError, match="vectors of 'interests_1d' are 16 long, the given one is 2"):
            client.nearest([1.0, 2.0])

    def test_of_several_versions_one_has_to_be_chosen(self, client: Any, store: redis.Redis) -> None:
        put(store, "ada", direction(1.0))
        put(store, "bob", direction(1.0), encoder="hashing-16@2")
        put(store, "eve", direction(1.0), encoder="hashing-160@1")
        with pytest.raises(SettingsError, match="vectors of hashing-16@1, hashing-16@2: say with encoder= which"):
            client.nearest(direction(1.0))
        assert client.nearest(direction(1.0), encoder="hashing-16@2") == [("bob", 1.0)]
        store.delete("shop:profile:bob")
        assert client.nearest(direction(1.0)) == [("ada", 1.0)]

    def test_no_vector_is_comparable_with_those_of_all_partitions(self, client: Any, store: redis.Redis) -> None:
        put(store, "ada", direction(1.0), field="taste")
        with pytest.raises(SettingsError, match="'taste' are learned in each of 3 partitions by itself"):
            client.nearest(direction(1.0), field="taste")
        describe(store, SHOP, partitions=1)
        elsewhere = Reader("shop", "here")
        assert drive(nearest_to(elsewhere, direction(1.0), 10, "taste", None, 10), store) == [("ada", 1.0)]


Answer = Callable[[tuple[Any, ...]], Any]


def drive(flow: Flow[Any], answer: Answer | redis.Redis, search: Answer | None = None) -> Any:
    """What a client does, with a vector search that Redis may lack."""
    redis_answer: Any = (
        (lambda command: answer.execute_command(*command)) if isinstance(answer, redis.Redis) else answer
    )
    go_on: Callable[[], Any] = partial(flow.send, None)
    while True:
        try:
            request = go_on()
        except StopIteration as end:
            return end.value
        try:
            replies = [
                search(command) if search and command[0].startswith("FT.") else redis_answer(command)
                for command in request
            ]
        except redis.exceptions.RedisError as error:
            unavailable = redis_unavailable("here", error)
            unavailable.__cause__ = error
            go_on = partial(flow.throw, unavailable)
        else:
            go_on = partial(flow.send, replies)


class Search:
    """RediSearch's replies, over the profiles of a real Redis."""

    def __init__(self, store: redis.Redis, *, resp3: bool = False) -> None:
        self._store, self._resp3 = store, resp3
        self.commands: list[tuple[Any, ...]] = []
        self.indexes: set[str] = set()
        self.building = False
        #: What refuses which command.
        self.refusals: dict[str, Exception] = {}
        self.most = 1_000_000
        #: Of its cosines, at most.
        self.error = 6e-7

    def asked(self, command: str) -> int:
        return sum(name == command for name, *_ in self.commands)

    def __call__(self, command: tuple[Any, ...]) -> Any:
        self.commands.append(command)
        if command[0] in self.refusals:
            raise self.refusals[command[0]]
        answers: dict[str, Any] = {"FT.INFO": self._info, "FT.CREATE": self._create, "FT.SEARCH": self._search}
        return answers[command[0]](*command[1:])

    def _info(self, index: str) -> Any:
        if index not in self.indexes:
            raise redis.exceptions.ResponseError("Unknown Index name")
        said = {b"index_name": index.encode(), b"num_docs": 7, b"indexing": int(self.building), b"percent_indexed": 1}
        if self._resp3:
            return {**said, b"attributes": [{b"identifier": b"x"}]}
        return [part for name, value in said.items() for part in (name, str(value).encode())]

    def _create(self, index: str, *arguments: Any) -> Any:
        if index in self.indexes:
            raise redis.exceptions.ResponseError("Index already exists")
        self.indexes.add(index)
        self._field, self._dimension = arguments[6], arguments[-3]
        return b"OK"

    def _search(self, index: str, query: str, *arguments: Any) -> Any:
        assert query == "*=>[KNN $k @vector $vector]"
        at = arguments.index("PARAMS")
        k, vector = arguments[at + 3], np.frombuffer(arguments[at + 5], "<f4")
        assert arguments[arguments.index("LIMIT") + 1 :][:2] == (0, k)
        assert np.linalg.norm(vector) == pytest.approx(1.0)
        if k > self.most:
            raise redis.exceptions.ResponseError(f"LIMIT exceeds maximum of {self.most}")
        distances = []
        for key in self._store.scan_iter("shop:profile:*", _type="hash"):
            raw: Any = self._store.hget(key, self._field) or b""
            if len(raw) == 4 * self._dimension:
                other = np.frombuffer(raw, "<f4")
                noise = crc32(key) % 7 / 6 * self.error
                distances.append((1 - float(vector @ other / np.linalg.norm(other)) + noise, key))
        keys = [key for _, key in sorted(distances, key=lambda pair: pair[0])[:k]][::-1]
        if not self._resp3:
            return [len(keys), *keys]
        results = [{b"id": key, b"values": []} for key in keys]
        said = {b"attributes": [], b"warning": [], b"total_results": len(keys), b"format": b"STRING"}
        return {**said, b"results": results}


INDEX = "shop:vectors:interests_1d:16"


def made() -> Flow[None]:
    """Makes the index, as a call before would."""
    yield [VectorIndex(Names("shop"), "interests_1d", DIMENSION).create]


@pytest.fixture(params=["RESP2", "RESP3"])
def search(request: pytest.FixtureRequest, store: redis.Redis) -> Search:
    return Search(store, resp3=request.param == "RESP3")


class TestVectorSearch:
    @pytest.mark.parametrize("k", [1, 3, 25, 1_000])
    def test_it_is_what_reading_all_profiles_gives(
        self, store: redis.Redis, search: Search, k: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_similar, "_MORE", 2)
        for user, vector in vectors(100).items():
            put(store, user, vector)
        reader = Reader("shop", "here")
        for user in ("u0", "u1", "u50"):
            read = drive(similar(reader, user, k, None, 1_000), store)
            for _ in range(2):
                assert drive(similar(reader, user, k, None, 1_000), store, search) == read
        assert search.asked("FT.SEARCH") >= 5

    def test_the_first_call_makes_the_index_and_reads_the_second_asks_it(
        self, store: redis.Redis, search: Search
    ) -> None:
        put(store, "ada", direction(1.0))
        put(store, "bob", direction(1.0))
        for _ in range(2):
            assert drive(similar(Reader("shop", "here"), "ada", 10, None, 10), store, search) == [("bob", 1.0)]
        asked = [command[0] for command in search.commands]
        assert asked == ["FT.INFO", "FT.CREATE", "FT.INFO", "FT.SEARCH"]
        assert search.commands[1] == (
            *("FT.CREATE", INDEX, "ON", "HASH", "PREFIX", 1, "shop:profile:"),
            *("SCHEMA", "interests_1d", "AS", "vector", "VECTOR", "FLAT", 6),
            *("TYPE", "FLOAT32", "DIM", 16, "DISTANCE_METRIC", "COSINE"),
        )

    def test_profiles_are_not_read_when_the_index_is_there(self, store: redis.Redis, search: Search) -> None:
        for n in range(20):
            put(store, f"u{n}", direction(1.0, n))
        drive(made(), store, search)
        found = drive(similar(Reader("shop", "here"), "u0", 3, None, scan_limit=1), store, search)
        assert [user for user, _ in found] == ["u1", "u2", "u3"]

    def test_until_it_is_complete_profiles_are_read(self, store: redis.Redis, search: Search) -> None:
        put(store, "ada", direction(1.0))
        put(store, "bob", direction(1.0))
        drive(made(), store, search)
        search.building = True
        assert drive(similar(Reader("shop", "here"), "ada", 10, None, 2), store, search) == [("bob", 1.0)]
        assert search.asked("FT.SEARCH") == 0
        with pytest.raises(RedisUnavailable, match=f"still building the index '{INDEX}', .* more than 1 users"):
            drive(similar(Reader("shop", "here"), "ada", 10, None, 1), store, search)

    def test_those_who_cannot_be_compared_do_not_stand_before_others(self, store: redis.Redis, search: Search) -> None:
        put(store, "ada", direction(1.0))
        for n in range(300):
            put(store, f"older{n}", direction(1.0, 0.001 * n), encoder="hashing-16@0")
        put(store, "bob", direction(1.0, 5.0))
        drive(made(), store, search)
        assert drive(similar(Reader("shop", "here"), "ada", 1, None, 1), store, search) == [("bob", 0.1961161)]
        assert search.asked("FT.SEARCH") == 3

    def test_equal_cosines_go_by_user_id(self, store: redis.Redis, search: Search) -> None:
        for n in range(200):
            put(store, f"u{n:03}", direction(0.1, 0.7, 0.3))
        put(store, "far", direction(-1.0))
        drive(made(), store, search)
        found = drive(similar(Reader("shop", "here"), "u100", 3, None, 1), store, search)
        assert found == [("u000", 1.0), ("u001", 1.0), ("u002", 1.0)]

    def test_of_very_many_equal_ones_some_are_taken(
        self, store: redis.Redis, search: Search, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_similar, "_MOST_TIED", 40)
        for n in range(500):
            put(store, f"u{n:03}", direction(1.0))
        drive(made(), store, search)
        found = drive(similar(Reader("shop", "here"), "u100", 3, None, 1), store, search)
        assert [cosine for _, cosine in found] == [1.0] * 3
        assert search.asked("FT.SEARCH") == 2

    def test_a_vector_of_ones_own_may_have_any_length_in_space(self, store: redis.Redis, search: Search) -> None:
        put(store, "ada", direction(1.0))
        for _ in range(2):
            flow = nearest_to(Reader("shop", "here"), direction(3e30, 4e30), 1, None, None, 10)
            assert drive(flow, store, search) == [("ada", 0.6)]
        assert search.asked("FT.SEARCH") == 1

    @pytest.mark.parametrize(
        ("command", "error"),
        [
            ("FT.INFO", redis.exceptions.ResponseError("unknown command 'FT.INFO', with args beginning with: 'x' ")),
            (
                "FT.INFO",
                redis.exceptions.NoPermissionError("this user has no permissions to run the 'ft.info' command"),
            ),
            ("FT.CREATE", redis.exceptions.NoPermissionError("no permissions to run the 'ft.create' command")),
            ("FT.CREATE", redis.exceptions.ResponseError("Cannot create index on db != 0")),
        ],
    )
    def test_where_there_can_be_no_index_profiles_are_read(
        self, store: redis.Redis, search: Search, command: str, error: Exception
    ) -> None:
        put(store, "ada", direction(1.0))
        put(store, "bob", direction(1.0))
        search.refusals[command] = error
        assert drive(similar(Reader("shop", "here"), "ada", 10, None, 2), store, search) == [("bob", 1.0)]
        assert search.commands[-1][0] == command
        with pytest.raises(SettingsError, match="raise scan_limit"):
            drive(similar(Reader("shop", "here"), "ada", 10, None, 1), store, search)

    def test_another_client_may_be_quicker(self, store: redis.Redis, search: Search) -> None:
        put(store, "ada", direction(1.0))
        put(store, "bob", direction(1.0))
        search.refusals["FT.CREATE"] = redis.exceptions.ResponseError("Index already exists")
        assert drive(similar(Reader("shop", "here"), "ada", 10, None, 2), store, search) == [("bob", 1.0)]
        with pytest.raises(RedisUnavailable, match="still building"):
            drive(similar(Reader("shop", "here"), "ada", 10, None, 1), store, search)

    def test_when_it_may_not_give_as_many_as_it_takes_profiles_are_read(
        self, store: redis.Redis, search: Search
    ) -> None:
        put(store, "ada", direction(1.0))
        put(store, "bob", direction(1.0))
        for n in range(100):
            put(store, f"older{n}", direction(1.0, 0.1), encoder="hashing-16@0")
        put(store, "eve", direction(0.0, 1.0))
        drive(made(), store, search)
        search.most = 50
        found = drive(similar(Reader("shop", "here"), "ada", 2, None, 1_000), store, search)
        assert found == [("bob", 1.0), ("eve", 0.0)]
        assert search.asked("FT.SEARCH") == 2

    def test_redis_may_take_very_near_ones_for_nearer(
        self, store: redis.Redis, search: Search, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_similar, "_MORE", 0)
        search.error = 8e-6
        put(store, "ada", direction(1.0))
        for n in range(100):
            put(store, f"u{n}", direction(1.0, 1.0 + 5e-7 * n))
        drive(made(), store, search)
        reader = Reader("shop", "here")
        read = drive(similar(reader, "ada", 4, None, 1_000), store)
        assert drive(similar(reader, "ada", 4, None, 1), store, search) == read

    @pytest.mark.parametrize("command", ["FT.INFO", "FT.CREATE", "FT.SEARCH"])
    def test_a_redis_that_dies_is_an_error(self, store: redis.Redis, search: Search, command: str) -> None:
        put(store, "ada", direction(1.0))
        if command == "FT.SEARCH":
            drive(made(), store, search)
        search.refusals[command] = redis.exceptions.ConnectionError("gone")
        with pytest.raises(RedisUnavailable, match="does not answer: gone"):
            drive(similar(Reader("shop", "here"), "ada", 3, None, 10), store, search)


@pytest.mark.usefixtures("small_trips")
def test_profiles_may_vanish_and_come_twice_while_they_are_read(store: redis.Redis) -> None:
    of = vectors(40)
    for user, vector in of.items():
        put(store, user, vector)
    gone: list[str] = []

    def answer(command: tuple[Any, ...]) -> Any:
        reply: Any = store.execute_command(*command)
        if command[0] != "SCAN":
            return reply
        cursor, keys = reply
        if keys and not gone and keys[0] != b"shop:profile:u3":
            store.delete(keys[0])
            gone.append(keys[0].decode().removeprefix("shop:profile:"))
        return cursor, [*keys, *keys[:2], b"shop:profile:u7"]

    found = drive(similar(Reader("shop", "here"), "u3", 50, None, 100), answer)
    [vanished] = gone
    del of[vanished]
    assert [user for user, _ in found] == [user for user, _ in by_hand("u3", of, 50)]
