"""BehaviourEmbedding: who meets the same items points the same way, and a restored partition goes on bit for bit."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_profiles import BehaviourEmbedding, Event
from stream_profiles.errors import DefinitionError
from stream_profiles.models.embeddings import ItemVectors, _index_vector
from tests.events import DAY, HOUR, MINUTE, event, streams

Vector = NDArray[np.float32]


class Users:
    """Users of one partition and its items."""

    def __init__(self, **options: Any) -> None:
        self.embedding = BehaviourEmbedding("taste", **options)
        self.items = ItemVectors(self.embedding.max_items)
        self.states: dict[str, Any] = {}

    def see(self, *events: Event) -> None:
        for each in events:
            user = each.user_id
            new = self.embedding.update(self.states.get(user), each, self.items)
            if new is not None:
                self.states[user] = new

    def visit(self, user: str, items: str, at: int = 0, **fields: Any) -> None:
        """A visit in which the user meets some items, a minute from one to the next."""
        self.see(*(event("view", at + n * MINUTE, user, item_id=item, **fields) for n, item in enumerate(items)))

    def vector(self, user: str) -> Vector | None:
        stored = self.embedding.snapshot(self.states[user])
        return None if stored is None else np.frombuffer(stored, "<f4")

    def likeness(self, one: str, other: str) -> float:
        a, b = self.vector(one), self.vector(other)
        assert a is not None
        assert b is not None
        return float(a @ b)


def read(items: ItemVectors) -> list[tuple[str, int, int, bytes]]:
    return [(item, sequence, time, vector.tobytes()) for item, (sequence, time, vector) in items._items.items()]


def test_items_seen_together_point_the_same_way_and_so_do_their_users() -> None:
    users = Users()
    for number in range(30):
        users.visit(f"walker-{number}", "abcd"[number % 3 :] + "abcd"[: number % 3], number * HOUR)
        users.visit(f"cook-{number}", "wxyz"[number % 3 :] + "wxyz"[: number % 3], number * HOUR)
    assert users.likeness("walker-28", "walker-29") > 0.9
    assert users.likeness("cook-28", "cook-29") > 0.9
    assert abs(users.likeness("walker-29", "cook-29")) < 0.5
    users.visit("new", "b", 40 * HOUR)
    assert users.likeness("new", "walker-29") > 0.8, "one item is enough to know a walker"


def test_a_vector_has_length_one_and_little_endian_floats() -> None:
    users = Users(dimensions=32)
    users.visit("ada", "aa")
    vector = users.vector("ada")
    assert vector is not None
    assert vector.shape == (32,)
    assert float(vector @ vector) == pytest.approx(1.0, abs=1e-6)
    assert len(users.embedding.snapshot(users.states["ada"]) or b"") == 4 * 32


def test_nothing_is_published_before_an_item_was_seen_with_anything() -> None:
    users = Users()
    users.visit("ada", "abc")
    assert users.vector("ada") is None, "its own first sight of an item says nothing about it"
    users.visit("bob", "a", HOUR)
    assert users.vector("bob") is not None


def test_an_event_without_an_item_is_passed_over() -> None:
    embedding, items = BehaviourEmbedding("taste"), ItemVectors(10)
    assert embedding.update(None, event(), items) is None
    assert len(items) == 0


def test_a_session_ends_after_the_gap_or_with_its_id() -> None:
    def together(second_at: int, *sessions: str | None) -> float:
        users = Users()
        for at, item, session in zip((0, second_at), "ab", sessions, strict=True):
            users.see(event(at=at, item_id=item, session_id=session))
        a, b = (vector for _, _, vector in users.items._items.values())
        return float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b))

    assert together(10 * MINUTE, None, None) == pytest.approx(1.0)
    assert together(31 * MINUTE, None, None) < 0.5
    assert together(10 * MINUTE, "s1", "s2") < 0.5
    assert together(31 * MINUTE, "s1", "s1") == pytest.approx(1.0)


def test_what_a_user_saw_long_ago_fades() -> None:
    users = Users(half_life="1d", item_half_life="3650d")
    for number in range(20):
        users.visit(f"walker-{number}", "abcd")
        users.visit(f"cook-{number}", "wxyz")
    users.visit("ada", "abcd", HOUR)
    assert users.likeness("ada", "walker-19") > 0.9
    users.visit("ada", "wxyz", 10 * DAY)
    assert users.likeness("ada", "cook-19") > 0.9
    assert users.likeness("ada", "walker-19") < 0.5


def test_index_vectors_are_sparse_and_nearly_orthogonal() -> None:
    vectors = [_index_vector(f"session-{number}", 256) for number in range(50)]
    for vector in vectors:
        assert set(np.unique(vector)) <= {-1.0, 0.0, 1.0}
        assert 6 <= np.count_nonzero(vector) <= 8
    likeness = [float(a @ b) / 8 for n, a in enumerate(vectors) for b in vectors[:n]]
    assert abs(float(np.mean(likeness))) < 0.02
    assert float(np.std(likeness)) < 0.1


def test_an_index_vector_is_the_same_in_every_release() -> None:
    """Vectors of items in a changelog were made of them."""
    assert {
        int(place): float(_index_vector("ada:1", 64)[place]) for place in np.flatnonzero(_index_vector("ada:1", 64))
    } == INDEX


@given(streams(users=2))
def test_the_vectors_are_the_decayed_sums_they_are_said_to_be(events: list[Event]) -> None:
    users = Users(half_life="1d", item_half_life="30d")
    users.see(*events)
    sums = Plain(DAY, 30 * DAY)
    start: dict[str, tuple[int, int]] = {}
    for each in events:
        if each.item_id is None:
            continue
        begun, last = start.get(each.user_id, (each.time, each.time))
        if each.time - last > 30 * MINUTE:
            begun = last = each.time
        start[each.user_id] = begun, max(last, each.time)
        sums.add(each.user_id, each.item_id, each.session_id or f"{each.user_id}:{begun}", each.time)
    for item, (_, _, vector) in users.items._items.items():
        assert vector == pytest.approx(sums.items[item][1], rel=1e-4, abs=1e-4)
    for user, state in users.states.items():
        if state[2]:
            assert np.frombuffer(state[2], "<f4") == pytest.approx(sums.users[user][1], rel=1e-4, abs=1e-4)


class Plain:
    """The same sums, in double precision and without any care for speed."""

    def __init__(self, half_life: int, item_half_life: int) -> None:
        self.half_life, self.item_half_life = half_life, item_half_life
        self.items: dict[str, tuple[int, Any]] = {}
        self.users: dict[str, tuple[int, Any]] = {}

    def add(self, user: str, item: str, session: str, time: int) -> None:
        index = _index_vector(session, 64).astype(float)
        if item in self.items:
            vector = self.items[item][1]
            norm = float(np.linalg.norm(vector))
            if norm > 0:
                self.users[user] = self.faded_sum(self.users.get(user), vector / norm, time, self.half_life)
        self.items[item] = self.faded_sum(self.items.get(item), index, time, self.item_half_life)

    @staticmethod
    def faded_sum(known: tuple[int, Any] | None, vector: Any, time: int, half_life: int) -> tuple[int, Any]:
        if known is None:
            return time, vector
        then, total = known
        now = max(then, time)
        return now, total * 2.0 ** (-(now - then) / half_life) + vector * 2.0 ** (-(now - time) / half_life)


def test_beyond_the_cap_the_item_not_seen_for_longest_is_forgotten() -> None:
    users = Users(max_items=3)
    users.visit("ada", "abcad")
    assert [item for item, *_ in read(users.items)] == ["c", "a", "d"]
    assert len(users.items) == 3
    taken = {item: body for item, _, body in users.items.take()}
    assert taken.keys() == {"a", "b", "c", "d"}
    assert taken["b"] is None


def test_only_what_changed_is_taken() -> None:
    users = Users()
    users.visit("ada", "ab")
    assert [item for item, _, _ in users.items.take()] == ["a", "b"]
    assert users.items.take() == []
    users.visit("ada", "b", HOUR)
    assert [item for item, _, _ in users.items.take()] == ["b"]


@given(st.lists(streams(users=3, max_size=15), min_size=2, max_size=4), st.integers(1, 6))
def test_restored_items_go_on_bit_for_bit(parts: list[list[Event]], max_items: int) -> None:
    """After every part one partition is restored from all records so far, of which only the last of a key is left."""
    kept, stored = Users(max_items=max_items), Users(max_items=max_items)
    records: dict[str, Any] = {}
    for number, events in enumerate(parts):
        renamed = [msgspec.structs.replace(e, event_id=f"{number}-{e.event_id}") for e in events]
        kept.see(*renamed)
        stored.see(*renamed)
        assert kept.states == stored.states
        taken = kept.items.take()
        assert taken == stored.items.take()
        for item, version, body in taken:
            records[item] = None if body is None else (version, msgspec.msgpack.decode(msgspec.msgpack.encode(body)))
        stored.items = ItemVectors(max_items)
        stored.items.restore(records)
        stored.states = msgspec.msgpack.decode(msgspec.msgpack.encode(kept.states))
        assert read(stored.items) == read(kept.items)


def test_a_restored_vector_can_go_on() -> None:
    """Bytes read from a changelog are not to be written to."""
    users = Users()
    users.visit("ada", "aa")
    items = ItemVectors(10)
    items.restore({item: (version, body) for item, version, body in users.items.take() if body is not None})
    users.items = items
    users.visit("ada", "aab", HOUR)
    assert len(items) == 2


def test_sharing_a_session_shares_no_vector() -> None:
    users = Users()
    users.visit("ada", "ab", session_id="s")
    users.visit("ada", "a", HOUR, session_id="t")
    assert users.items._items["b"][2] == pytest.approx(_index_vector("s", 64))
    assert _index_vector("s", 64) == pytest.approx(_index_vector.__wrapped__("s", 64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimensions": 100}, "dimensions must be 16, 32, 64, 128 or 256"),
        ({"max_items": 0}, "max_items must be at least 1"),
        ({"of": "itm_id"}, "did you mean 'item_id'"),
        ({"half_life": "long"}, "'long' is not a duration"),
    ],
)
def test_a_wrong_embedding_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        BehaviourEmbedding("taste", **options)


@given(streams(users=1))
def test_the_state_has_a_bound(events: list[Event]) -> None:
    users = Users()
    users.see(*events)
    for state in users.states.values():
        assert len(msgspec.msgpack.encode(state)) <= users.embedding.max_bytes


#: Places and signs of the index vector of "ada:1".
INDEX = {1: -1.0, 3: 1.0, 9: 1.0, 17: 1.0, 27: -1.0, 46: -1.0, 52: 1.0, 61: 1.0}
