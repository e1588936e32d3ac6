"""The journal of what learns: a state and the lessons since say the same as the state of now."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_profiles.models import journal
from stream_profiles.models.drift import ADWIN
from stream_profiles.models.journal import Journaled
from stream_profiles.models.learners import Learner, Rules
from stream_profiles.models.linear import LogisticRegression
from stream_profiles.models.trees import AdaptiveRandomForest, HoeffdingAdaptiveTree, MondrianForest
from tests.models.pretenders import Says, Stumbles


class Remembers(Journaled):
    """Knows all its lessons, in their order."""

    compact = False

    def __init__(self, state: Any = None) -> None:
        super().__init__()
        self.learned: list[Any] = [] if state is None else list(state)

    def state(self) -> Any:
        return list(self.learned)

    def relearn(self, lesson: Any) -> None:
        self.note(lesson)
        self.learned.append(lesson)
        if lesson == "fails":
            raise ValueError("fails")

    def learn(self, lesson: Any) -> None:
        with suppress(ValueError):
            self.relearn(lesson)


class Changelog:
    """What a partition keeps of one learner: records by number, each with the version it was written at."""

    def __init__(self) -> None:
        self.version = 0
        self.records: dict[int, tuple[int, bytes]] = {}
        #: Sizes of what was written: the state's lessons, or a batch's.
        self.written: list[tuple[str, int]] = []

    def take(self, learner: Journaled) -> None:
        self.version += 1
        if not learner.changed:
            return
        for number, body in learner.take(self.version):
            if body is None:
                del self.records[number]
            else:
                self.records[number] = self.version, msgspec.msgpack.encode(body)
                self.written.append(("batch" if number else "state", len(body)))
        assert not learner.changed

    def restored(self, fresh: Any) -> Any:
        if not self.records:
            return fresh(None)
        version, _ = self.records[0]
        bodies = {number: msgspec.msgpack.decode(body) for number, (_, body) in self.records.items()}
        learner = fresh(bodies.pop(0))
        learner.resume(version, bodies)
        return learner


@pytest.fixture(autouse=True)
def few_lessons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_LESSONS_A_STATE", 10)


def test_lessons_are_written_until_a_state_is_due() -> None:
    learner, log = Remembers(), Changelog()
    for number in range(36):
        learner.learn(number)
        if number % 4 == 3:
            log.take(learner)
    assert log.written == [
        ("state", 4),
        ("batch", 4),
        ("batch", 4),
        ("state", 16),
        ("batch", 4),
        ("batch", 4),
        ("state", 28),
        ("batch", 4),
        ("batch", 4),
    ]
    assert {number: version for number, (version, _) in log.records.items()} == {0: 7, 8: 8, 9: 9}
    assert log.restored(Remembers).learned == list(range(36))


def test_nothing_learned_is_nothing_written() -> None:
    learner, log = Remembers(), Changelog()
    log.take(learner)
    assert log.records == {}
    learner.learn("a")
    log.take(learner)
    log.take(learner)
    assert log.written == [("state", 1)]


def test_what_is_small_is_written_whole() -> None:
    class Small(Remembers):
        compact = True

    learner, log = Small(), Changelog()
    for number in range(3):
        learner.learn(number)
        log.take(learner)
    assert log.written == [("state", 1), ("state", 2), ("state", 3)]
    assert learner._lessons == [], "it keeps no lessons that are never written"


def test_what_comes_to_be_small_leaves_no_lessons_behind() -> None:
    learner, log = Remembers(), Changelog()
    for number in range(4):
        learner.learn(number)
        log.take(learner)
    assert len(log.records) == 4
    learner.compact = True
    learner.learn(4)
    log.take(learner)
    assert list(log.records) == [0]
    assert log.restored(Remembers).learned == list(range(5))


def test_lessons_that_the_state_knows_already_are_passed_over() -> None:
    """A write that was cut in two left them: they are deleted at the next chance."""
    learner = Remembers(["a", "b", "c"])
    learner.resume(7, {5: ["a", "b"], 6: ["c"], 8: ["d"]})
    assert learner.learned == ["a", "b", "c", "d"]
    assert not learner.changed
    learner.learn("e")
    assert learner.take(9) == [(9, ["e"])]
    for number in range(10):
        learner.learn(number)
    (what, _), *deleted = learner.take(10)
    assert (what, deleted) == (0, [(5, None), (6, None), (8, None), (9, None)])


def test_a_restored_one_is_due_for_a_state_when_the_other_is() -> None:
    """Both count the lessons since the last state the same way."""
    kept, log = Remembers(), Changelog()
    again = Remembers()
    shadow = Changelog()
    for number in range(60):
        kept.learn(number)
        again.learn(number)
        if number % 3 == 0:
            log.take(kept)
            shadow.take(again)
            again = shadow.restored(Remembers)
    assert shadow.written == log.written
    assert shadow.records == log.records


def test_a_lesson_that_fails_fails_again_and_no_more() -> None:
    learner, log = Remembers(), Changelog()
    for lesson in ("a", "fails", "b"):
        learner.learn(lesson)
        log.take(learner)
    assert log.restored(Remembers).learned == ["a", "fails", "b"]


@settings(max_examples=200)
@given(st.lists(st.integers(0, 7), max_size=40), st.sets(st.integers(0, 40)))
def test_whatever_is_written_when_it_is_all_there(lessons: list[int], restores: set[int]) -> None:
    learner, log, taught = Remembers(), Changelog(), 0
    for step, count in enumerate(lessons):
        for _ in range(count):
            learner.learn(taught)
            taught += 1
        log.take(learner)
        again = log.restored(Remembers)
        assert again.learned == learner.learned == list(range(taught))
        batches = [msgspec.msgpack.decode(body) for number, (_, body) in log.records.items() if number]
        assert sum(map(len, batches)) < 10 + 7, "a recovery is bounded"
        assert len(log.records) <= 11
        if step in restores:
            learner = again


FOREST = AdaptiveRandomForest(trees=3, max_depth=4, grace_period=5)
HEAVY: dict[str, Rules] = {
    "tree": Rules("binary", [HoeffdingAdaptiveTree(grace_period=5)], names=("x", "y")),
    "forest": Rules("binary", [FOREST], names=("x", "y")),
    "mondrian": Rules("binary", [MondrianForest(trees=3)], names=("x", "y"), standardised=("y",)),
    "challenged": Rules(
        "binary",
        [LogisticRegression(0.1), HoeffdingAdaptiveTree(grace_period=5), Says(0.5, noise=0.3), Stumbles()],
        promote_after=10,
        names=("x", "y"),
        drift=ADWIN(delta=0.2, clock=1, grace_period=2, reaction="swap"),
    ),
    "searching": Rules(
        "binary", [Says(0.1, compact=False), Says(0.9), HoeffdingAdaptiveTree()], rung=30, names=("x", "y")
    ),
}


@pytest.mark.parametrize("kind", HEAVY)
def test_a_heavy_learner_goes_on_bit_for_bit(kind: str) -> None:
    """Whatever was learned between two states is learned again; what is predicted then is the same."""
    rules = HEAVY[kind]

    def fresh(state: Any) -> Learner:
        return Learner(rules, state)

    kept, again, log = fresh(None), fresh(None), Changelog()
    for number in range(160):
        x, y = float(number * 7 % 11), float(number % 5)
        inputs, label = {"x": x, "y": y}, x > 5 if number < 90 else x < 5
        predictions = kept.predict(inputs)
        assert again.predict(inputs) == predictions
        for learner in (kept, again):
            try:
                learner.learn(predictions, inputs, label, None, number)
            except ValueError:
                assert kind == "challenged"
        if number % 3 == 0:
            log.take(again)
            again = log.restored(fresh)
    assert again.report() == kept.report()
    assert any(what == "batch" for what, _ in log.written)
