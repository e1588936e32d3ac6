"""TextEmbedding: the same mean whatever the order of answers, published when it moved, each event counted once."""

from __future__ import annotations

from math import cos, radians, sin
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_profiles import (
    Change,
    Count,
    Event,
    Partition,
    ProfileDefinition,
    ProfileUpdater,
    Segment,
    TextEmbedding,
)
from stream_profiles.errors import DefinitionError
from stream_profiles.models.text_embeddings import normalize, text_id
from stream_profiles.models.waiting_texts import KnownVectors
from stream_profiles.state import encode
from tests.events import DAY, HOUR, T0, event

DIMENSION = 16


class Toy:
    """An encoder of a user's own: never asked here, where tests answer."""

    name, dimension = "toy", DIMENSION

    def encode(self, batch: list[str]) -> Any:
        raise AssertionError("the core asks no encoder")


def vector_of(text: str) -> NDArray[np.float32]:
    vector = np.random.default_rng(sum(text.encode())).normal(size=DIMENSION).astype(np.float32)
    return vector / np.linalg.norm(vector)


def embedding(**options: Any) -> TextEmbedding:
    given: dict[str, Any] = {"half_life": ("1d", "30d"), "encoder": Toy(), "min_angle": 0, **options}
    return TextEmbedding("interests", **given)


class Shop:
    """One partition, and the answers to what it asks."""

    def __init__(self, *embeddings: TextEmbedding, known: KnownVectors | None = None, **parts: Any) -> None:
        self.definition = ProfileDefinition("shop", embeddings=embeddings or (embedding(),), **parts)
        self.partition = Partition(ProfileUpdater(self.definition), KnownVectors(0) if known is None else known)
        self.requests: dict[str, str] = {}
        self.changelog: dict[bytes, bytes] = {}
        self.fields: dict[str, dict[str, Any]] = {}

    def see(self, *events: Event, now: int = 0) -> None:
        for each in events:
            change = self.partition.apply(each, now=now)
            assert isinstance(change, Change)
            assert not change.failed
            self.follow([change])
        self.ask()

    def ask(self) -> None:
        self.requests |= {request.text_id: request.text for request in self.partition.take_requests()}

    def answer(self, text: str, version: str = "1", vector: Any = None, encoder: str = "toy") -> list[Change]:
        given = vector_of(text) if vector is None else vector
        changes = self.partition.answer(text_id(encoder, text), encoder, version, given.astype("<f4").tobytes())
        self.follow(changes)
        self.ask()
        return changes

    def follow(self, changes: list[Change]) -> None:
        for change in changes:
            known = {} if change.snapshot else self.fields.get(change.user_id, {})
            self.fields[change.user_id] = {**known, **change.changed}

    def answer_all(self, order: Random | None = None) -> None:
        while self.requests:
            texts = list(self.requests.values())
            if order is not None:
                order.shuffle(texts)
            self.requests.clear()
            for text in texts:
                self.answer(text)

    def write(self) -> None:
        for key, value in self.partition.take():
            if value is None:
                self.changelog.pop(key, None)
            else:
                self.changelog[key] = value

    def restart(self, *embeddings: TextEmbedding) -> None:
        """Another worker takes over, perhaps with another definition; what was not written is lost."""
        if embeddings:
            self.definition = ProfileDefinition("shop", embeddings=embeddings)
        self.partition = Partition(ProfileUpdater(self.definition), KnownVectors(0))
        for key, value in self.changelog.items():
            self.partition.restore(key, value)
        self.partition.restored()
        self.ask()

    def vector(self, field: str = "interests_1d", user: str = "ada") -> NDArray[np.float32]:
        published = self.partition.published(user)
        assert published is not None
        assert published == self.fields[user]
        return np.frombuffer(published[field], "<f4")


def mean(events: list[Event], half_life: int, weights: dict[str, float]) -> NDArray[np.float64]:
    """By the definition, all at once."""
    now = max(each.time for each in events)
    total = np.zeros(DIMENSION)
    for each in events:
        assert each.text is not None
        total += weights.get(each.type, 1.0) * 2.0 ** (-(now - each.time) / half_life) * vector_of(each.text)
    return total / np.linalg.norm(total)


EVENTS = st.lists(
    st.builds(
        lambda n, type, at, text: event(type, at, text=text, event_id=f"{n}-{type}-{at}-{text}"),
        st.integers(0, 1_000_000),
        st.sampled_from(["view", "purchase"]),
        st.integers(0, 5 * DAY),
        st.sampled_from(["red shoes", "garden gnome", "tea pot", "lamp", "a very long night"]),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda each: each.event_id,
)


@settings(max_examples=150)
@given(EVENTS, st.randoms(use_true_random=False))
def test_it_is_the_decayed_mean_whatever_the_order_of_answers(events: list[Event], order: Random) -> None:
    weights = {"purchase": 5.0}
    shop = Shop(embedding(weights=weights))
    for each in events:
        shop.see(each)
        if order.random() < 0.3:
            shop.answer_all(order)
    shop.answer_all(order)
    for field, half_life in (("interests_1d", DAY), ("interests_30d", 30 * DAY)):
        expected = mean(events, half_life, weights)
        # A mean of vectors that nearly cancel each other out has few digits.
        assert float(shop.vector(field) @ expected) > 0.999
        assert np.linalg.norm(shop.vector(field)) == pytest.approx(1.0, abs=1e-3)
    published = shop.partition.published("ada")
    assert published is not None
    assert published["interests"] == {"encoder": "toy@1", "texts": len(events)}


@settings(max_examples=100)
@given(EVENTS, st.randoms(use_true_random=False))
def test_each_event_counts_once_whatever_is_killed_in_between(events: list[Event], order: Random) -> None:
    weights = {"purchase": 5.0}
    shop = Shop(embedding(weights=weights))
    done = 0
    while done < len(events):
        applied = done
        while applied < len(events) and order.random() < 0.7:
            shop.see(events[applied])
            applied += 1
        for text in [text for text in shop.requests.values() if order.random() < 0.5]:
            shop.answer(text)  # and again, later: the answers of a text worker that was killed too
        if order.random() < 0.6:
            shop.write()
            done = applied
        if order.random() < 0.4:
            # What was not written is lost, and applied again.
            shop.fields.clear()
            shop.restart()
            state = shop.partition.state("ada")
            if state is not None:
                shop.fields["ada"] = shop.partition.published("ada") or {}
        else:
            shop.write()
            done = applied
    for text in sorted({each.text or "" for each in events}):
        shop.answer(text)
    assert float(shop.vector("interests_30d") @ mean(events, 30 * DAY, weights)) > 0.999
    published = shop.partition.published("ada")
    assert published is not None
    summary = published["interests"]
    assert summary["texts"] == len(events)


def test_users_who_meet_the_same_text_share_one_request() -> None:
    shop = Shop()
    shop.see(
        *(event("view", 0, user, text="red  shoes") for user in ("ada", "bob")), event("view", 1, text="red shoes")
    )
    assert list(shop.requests.values()) == ["red shoes"]
    changes = shop.answer("red shoes")
    assert sorted(change.user_id for change in changes) == ["ada", "bob"]
    assert [change.version for change in sorted(changes, key=lambda each: each.user_id)] == [3, 2]
    assert shop.fields["ada"]["interests"]["texts"] == 2
    assert shop.answer("red shoes") == []


def test_a_known_text_is_folded_in_at_once() -> None:
    shop = Shop(known=KnownVectors())
    shop.see(event("view", 0, text="lamp"))
    shop.answer("lamp")
    shop.requests.clear()
    shop.see(event("view", HOUR, "bob", text=" lamp\n"))
    assert shop.requests == {}
    np.testing.assert_allclose(shop.vector(user="bob"), vector_of("lamp"), atol=1e-3)
    assert shop.partition.shared.texts[shop.definition.text_embeddings[0].key].hits == 1


def test_it_is_published_only_when_it_has_moved_by_more_than_the_angle() -> None:
    shop = Shop(embedding(half_life="1000d", min_angle=5))

    def towards(degrees: float) -> NDArray[np.float64]:
        vector = np.zeros(DIMENSION)
        vector[:2] = cos(radians(degrees)), sin(radians(degrees))
        return vector

    shop.see(event("view", 0, text="a"), event("view", 1, text="b"), event("view", 2, text="c"))
    assert list(shop.answer("a", vector=towards(0))[0].changed) == ["interests_1000d", "interests"]
    assert shop.answer("b", vector=towards(9.9)) == []  # the mean is at 4.95 degrees
    [change] = shop.answer("c", vector=towards(9.9))  # and now at 6.6
    assert list(change.changed) == ["interests_1000d", "interests"]
    assert change.changed["interests"]["texts"] == 3
    assert change.version == 5
    expected = towards(6.6)
    np.testing.assert_allclose(shop.vector("interests_1000d"), expected, atol=2e-3)


def test_what_did_not_move_enough_is_in_the_changelog_all_the_same() -> None:
    shop = Shop(embedding(half_life="30d", min_angle=90))
    shop.see(event("view", 0, text="a"), event("view", 1, text="b"), event("view", 2, text="c"))
    shop.answer("a", vector=np.eye(DIMENSION)[0])
    shop.write()
    assert shop.answer("b", vector=np.eye(DIMENSION)[0] * 0.5 + np.eye(DIMENSION)[1]) == []
    shop.write()
    shop.restart()
    shop.answer("c", vector=np.eye(DIMENSION)[1] * 3)
    key = shop.definition.text_embeddings[0].key
    state = shop.partition.state("ada")
    assert state is not None
    assert state.slots[key][1] == 3


def test_labels_are_compared_with_each_half_life() -> None:
    labels = ["garden", "kitchen", "toys", "books", "music", "sports"]
    shop = Shop(embedding(labels=labels))
    shop.see(event("view", 0, text="tea pot"))
    assert set(shop.requests.values()) == {"tea pot", *labels}
    shop.answer("tea pot")
    assert "top" not in shop.fields["ada"]["interests"]
    shop.requests.clear()
    for label in labels:
        shop.answer(label)
    shop.see(event("view", HOUR, text="lamp"))
    shop.answer_all()
    value = shop.fields["ada"]["interests"]
    for half_life in ("1d", "30d"):
        exact = {label: float(shop.vector(f"interests_{half_life}") @ vector_of(label)) for label in labels}
        assert value["cosines"][half_life] == pytest.approx(exact, abs=1e-4)
        best_first = sorted(exact, key=lambda label: -exact[label])
        assert list(value["cosines"][half_life]) == best_first
        assert value["top"][half_life] == best_first[:5]
    msgspec.json.encode(value)


def test_labels_that_come_late_are_published_by_the_next_text_even_if_nothing_moves() -> None:
    shop = Shop(embedding(labels=["garden"], min_angle=10))
    shop.see(event("view", 0, text="lamp"), event("view", 1, text=" lamp"))
    shop.answer("lamp")
    assert "cosines" not in shop.fields["ada"]["interests"]
    shop.answer("garden")
    shop.see(event("view", 2, text="lamp"))
    [change] = shop.answer("lamp")
    assert list(change.changed) == ["interests"]
    assert list(change.changed["interests"]["cosines"]["1d"]) == ["garden"]


def test_other_labels_start_nothing_afresh_and_old_cosines_are_not_taken_for_theirs() -> None:
    shop = Shop(embedding(labels=["garden"]))
    shop.see(event("view", 0, text="lamp"))
    shop.answer("garden")
    shop.answer("lamp")
    shop.write()
    before = shop.vector()
    shop.restart(embedding(labels=["kitchen"]))
    published = shop.partition.published("ada")
    assert published is not None
    assert published["interests"] == {"encoder": "toy@1", "texts": 1}
    np.testing.assert_array_equal(np.frombuffer(published["interests_1d"], "<f4"), before)


class Other(Toy):
    name = "other"


def test_with_another_encoder_vectors_start_afresh_and_old_ones_stay_until_replaced() -> None:
    shop = Shop()
    shop.see(event("view", 0, text="lamp"), event("view", 0, "bob", text="lamp"))
    shop.answer("lamp")
    old = shop.fields["ada"]
    shop.write()
    shop.restart(embedding(encoder=Other()))
    shop.see(event("view", HOUR, text="tea pot"))
    # The profile is published whole, and the old vectors are in it, with the encoder they are of.
    assert {name: shop.fields["ada"][name] for name in old} == old
    assert old["interests"]["encoder"] == "toy@1"
    shop.write()
    shop.restart()
    [change] = shop.answer("tea pot", encoder="other")
    assert change.removed == []
    assert change.changed["interests"] == {"encoder": "other@1", "texts": 1}
    np.testing.assert_allclose(shop.vector(), vector_of("tea pot"), atol=1e-3)
    state = shop.partition.state("ada")
    assert state is not None
    assert sorted(key.rpartition(":")[0] for key in state.slots) == ["interests", "interests_1d", "interests_30d"]
    # Of who did nothing since, nothing was touched.
    bob = shop.partition.published("bob")
    assert bob is not None
    assert bob["interests"]["encoder"] == "toy@1"


def test_with_another_version_of_the_encoder_vectors_start_afresh() -> None:
    shop = Shop(embedding(min_angle=90))
    shop.see(event("view", 0, text="lamp"), event("view", 1, text="tea pot"))
    shop.answer("lamp", version="1")
    [change] = shop.answer("tea pot", version="2")
    assert change.changed["interests"] == {"encoder": "toy@2", "texts": 1}
    np.testing.assert_allclose(shop.vector(), vector_of("tea pot"), atol=1e-3)


def test_a_half_life_more_leaves_the_others_as_they_are() -> None:
    shop = Shop(embedding(half_life="1d"))
    shop.see(event("view", 0, text="lamp"))
    shop.answer("lamp")
    shop.write()
    shop.restart(embedding(half_life=("1d", "30d")))
    shop.see(event("view", HOUR, text="tea pot"))
    shop.answer("tea pot")
    both = mean([event("view", 0, text="lamp"), event("view", HOUR, text="tea pot")], DAY, {})
    assert float(shop.vector("interests_1d") @ both) > 0.9999
    np.testing.assert_allclose(shop.vector("interests_30d"), vector_of("tea pot"), atol=1e-3)


def test_an_embedding_that_is_gone_leaves_nothing() -> None:
    shop = Shop()
    shop.see(event("view", 0, text="lamp"), event("view", 1, text="tea pot"))
    shop.answer("lamp")
    shop.write()
    assert any(key.startswith(b"t") for key in shop.changelog)
    shop.definition = ProfileDefinition("shop", features=[Count("views")])
    shop.restart()
    change = shop.partition.apply(event("view", 2))
    assert isinstance(change, Change)
    assert change.removed == ["interests", "interests_1d", "interests_30d"]
    shop.write()
    assert not any(key.startswith(b"t") for key in shop.changelog)


@pytest.mark.parametrize(
    "vector", [np.zeros(DIMENSION), np.full(DIMENSION, np.nan), np.full(DIMENSION, 1e30), np.ones(3)]
)
def test_an_answer_that_is_no_direction_changes_nothing(vector: NDArray[np.float64]) -> None:
    shop = Shop()
    shop.see(event("view", 0, text="lamp"))
    assert shop.answer("lamp", vector=vector) == []
    published = shop.partition.published("ada")
    assert published == {}
    # Nobody waits for it any more.
    assert shop.answer("lamp") == []


def test_an_error_for_an_answer_lets_go_of_who_waits() -> None:
    shop = Shop()
    shop.see(event("view", 0, text="lamp"))
    assert shop.partition.answer(text_id("toy", "lamp"), "toy", "1", None) == []
    assert shop.partition.shared.texts[shop.definition.text_embeddings[0].key].failed == 1


def test_answers_of_offsets_that_were_taken_are_skipped() -> None:
    shop = Shop()
    shop.see(event("view", 0, text="lamp"), event("view", 1, text="tea pot"))
    vector = vector_of("lamp").tobytes()
    assert len(shop.partition.answer(text_id("toy", "lamp"), "toy", "1", vector, "answers", 7)) == 1
    assert shop.partition.answer(text_id("toy", "tea pot"), "toy", "1", vector, "answers", 7) == []


def test_who_waits_too_long_is_given_up() -> None:
    shop = Shop(embedding(answer_within="1h"))
    shop.see(event("view", 0, text="lamp"), now=T0)
    assert shop.partition.give_up_texts(T0 + HOUR) == 0
    assert shop.partition.give_up_texts(T0 + HOUR + 1) == 1
    assert shop.answer("lamp") == []


def test_only_who_is_to_wait_holds_events_up() -> None:
    for when_full, expected in (("drop", False), ("wait", True)):
        shop = Shop(embedding(max_waiting=1, when_full=when_full))
        assert not shop.partition.must_wait_for_texts
        shop.see(event("view", 0, text="lamp"))
        assert shop.partition.must_wait_for_texts == expected
        shop.answer("lamp")
        assert not shop.partition.must_wait_for_texts


def test_segments_see_what_is_said_about_the_vectors() -> None:
    fan = Segment("gardener", where='field("interests.cosines.30d.garden") > 0.9')
    shop = Shop(embedding(labels=["garden"]), segments=[fan])
    shop.see(event("view", 0, text="garden"))
    shop.answer("garden")
    assert shop.fields["ada"]["gardener"]["in"]


def test_texts_of_every_kind() -> None:
    texts = [
        "",
        "   ",
        "\n\t",
        "\U0001f600" * 50,
        "שלום עולם",
        "mixed 中文 and English",
        "\ud800 alone",
        "x" * 1_000_000,
        "\0",
    ]
    shop = Shop(embedding(max_characters=500))
    for number, text in enumerate(texts):
        shop.see(event("view", number, text=text, event_id=str(number)))
    asked = list(shop.requests.values())
    assert asked == ["\U0001f600" * 50, "שלום עולם", "mixed 中文 and English", "? alone", "x" * 500, "\0"]
    for text in asked:
        text.encode()
    assert shop.partition.shared.texts[shop.definition.text_embeddings[0].key].truncated == 1


def test_the_state_stays_within_its_bound() -> None:
    shop = Shop(embedding(labels=[f"label {n}" for n in range(64)]))
    shop.see(event("view", 0, text="lamp"))
    shop.answer_all()
    shop.see(*(event("view", n, text=f"text {n}") for n in range(200)))
    shop.answer_all()
    state = shop.partition.state("ada")
    assert state is not None
    assert len(encode(state)) <= shop.partition.updater.max_profile_bytes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"of": "txt"}, "an event has no field 'txt'; did you mean 'text'?"),
        ({"half_life": ()}, "give it at least one half_life"),
        ({"half_life": ("1d", "1d")}, "a half-life is given twice"),
        ({"weights": {"view": 0}}, "the weight of 'view' must be above 0"),
        ({"weights": {"view": 1}, "on": "purchase"}, "weights= has 'view', which on= leaves out"),
        ({"labels": ["a", " a"]}, "a label is given twice"),
        ({"labels": [""]}, "a label is a word or a phrase"),
        ({"labels": [str(n) for n in range(65)]}, "at most 64 labels, not 65"),
        ({"encoder": "my-model"}, "say how long the vectors of 'my-model' are: dimension=..."),
        ({"encoder": "hashing-x"}, 'after "hashing-" comes the dimension'),
        ({"encoder": "all-MiniLM-L6-v2", "dimension": 100}, "vectors of all-MiniLM-L6-v2 have dimension 384, not 100"),
        ({"encoder": 5}, "encoder= takes a name, a path, or an object with name, dimension and encode"),
        ({"min_angle": 100}, "min_angle must be from 0 to 90 degrees"),
        ({"when_full": "explode"}, "when_full must be"),
        ({"max_waiting": 0}, "max_waiting must be at least 1"),
        ({"max_characters": 10_001}, "max_characters must be from 1 to 10,000"),
        ({"where": "texxt == 'a'"}, "where: "),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        embedding(**options)
    assert message in str(caught.value)


def test_two_encoders_of_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match="two encoders called 'toy'"):
        ProfileDefinition("shop", embeddings=[embedding(), TextEmbedding("other", encoder=Toy())])


def test_a_name_that_a_vector_takes_is_refused() -> None:
    with pytest.raises(DefinitionError, match="'interests_1d' is given to two fields"):
        ProfileDefinition("shop", features=[Count("interests_1d")], embeddings=[embedding()])


def test_it_is_described_for_readers() -> None:
    described = ProfileDefinition("shop", embeddings=[embedding(labels=["garden"])]).describe()["fields"]
    assert described["interests_30d"] == {
        "kind": "TextEmbedding",
        "config": {"summary": "interests", "half_life": "30d", "on": None, "encoder": "toy", "dimension": DIMENSION},
    }
    assert described["interests"]["kind"] == "TextInterests"
    assert described["interests"]["config"]["labels"] == ["garden"]
    assert described["interests"]["config"]["encoder"] == "toy"


def test_normalized_texts_differ_only_where_words_do() -> None:
    assert normalize("Cafe\u0301  au\tlait ", 100) == "Caf\u00e9 au lait"
    assert normalize("Rot", 100) != normalize("rot", 100)
