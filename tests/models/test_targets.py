"""Targets: when a prediction becomes an example, which label it gets, and that nothing leaks from the future."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from stream_profiles import Count, Event, Happens, LogisticRegression, ProfileDefinition, ProfileUpdater, Target
from stream_profiles.errors import DefinitionError
from stream_profiles.models import BinaryMetrics
from stream_profiles.models.targets import Learner
from stream_profiles.updater import Shared
from tests.events import DAY, HOUR, MINUTE, T0, event


class Lessons:
    """A profile with one target, and what its model was taught."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        options.setdefault("label", Happens("purchase", within="1d"))
        self.target = Target("buys_soon", **options)
        self.updater = ProfileUpdater(
            ProfileDefinition(
                "shop", features=[Count("views", on="view"), Count("purchases", on="purchase")], targets=[self.target]
            )
        )
        self.shared = Shared(self.updater)
        self.state = self.updater.new_state()
        #: (score, inputs, label)
        self.taught: list[tuple[float, dict[str, float], bool]] = []
        learn = Learner.learn

        def note(learner: Learner, score: float, inputs: dict[str, float], label: bool) -> None:
            self.taught.append((score, inputs, label))
            learn(learner, score, inputs, label)

        monkeypatch.setattr(Learner, "learn", note)

    def see(self, *events: Event) -> Any:
        change = None
        for each in events:
            change = self.updater.apply(self.state, each, self.shared)
        return change

    def expire(self, at: int) -> bool:
        return self.updater.expire(self.state, T0 + at, self.shared)

    @property
    def labels(self) -> list[bool]:
        return [label for _, _, label in self.taught]

    @property
    def pending(self) -> list[int]:
        """Times at which the examples were made that wait for their label."""
        waiting = self.state.slots[self.updater.targets[0].key][3]
        return [deadline - T0 - self.target.label.within_ms for deadline, *_ in waiting]

    @property
    def deadline(self) -> int:
        return self.updater.deadline(self.state)


def test_true_when_it_happens_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view")
    lessons.see(event("view", 0), event("purchase", DAY))
    assert lessons.labels == [True]
    assert lessons.pending == []
    assert not lessons.expire(2 * DAY)


def test_false_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view")
    lessons.see(event("view", 0))
    assert lessons.deadline == T0 + DAY
    assert not lessons.expire(DAY), "at the last moment it can still happen"
    assert lessons.expire(DAY + 1)
    assert lessons.labels == [False]
    assert lessons.deadline == 0
    lessons.see(event("purchase", DAY + 2))
    assert lessons.labels == [False]


def test_what_happens_too_late_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The partition's clock settles what is due first; a profile on its own must not depend on that."""
    lessons = Lessons(monkeypatch, on="view")
    lessons.see(event("view", 0), event("purchase", DAY + 1))
    assert lessons.labels == []
    assert lessons.expire(DAY + 1)
    assert lessons.labels == [False]


def test_one_event_is_the_label_of_all_that_waited_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", every="1h")
    lessons.see(event("view", 0), event("view", HOUR), event("view", 20 * HOUR), event("purchase", DAY + 30 * MINUTE))
    assert lessons.labels == [True, True]
    assert lessons.pending == [0]
    lessons.expire(2 * DAY)
    assert lessons.labels == [True, True, False]


def test_an_event_is_not_the_label_of_its_own_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, every="1ms")
    lessons.see(event("purchase", 0))
    assert lessons.labels == []
    assert lessons.pending == [0]
    lessons.see(event("purchase", HOUR))
    assert lessons.labels == [True], "the first one's, not its own"
    assert lessons.pending == [HOUR]


def test_what_has_the_same_time_is_not_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of one order: the second does not come after the first."""
    lessons = Lessons(monkeypatch)
    lessons.see(event("purchase", 0, item_id="a"), event("purchase", 0, item_id="b"))
    assert lessons.labels == []
    lessons.expire(2 * DAY)
    assert lessons.labels == [False]


def test_a_model_learns_from_what_was_known_when_it_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", every="1h")
    lessons.see(
        event("view", 0), *(event("view", minutes * MINUTE) for minutes in range(1, 10)), event("purchase", HOUR)
    )
    (score, inputs, label), *others = lessons.taught
    assert not others
    assert (score, label) == (0.5, True)
    assert inputs == {"views_total": pytest.approx(0.6931, abs=1e-4), "purchases_total": 0.0, "type=view": 1.0}


def test_the_score_that_counts_is_the_one_that_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics are of the score at the time, though the model has learned since."""
    lessons = Lessons(monkeypatch, on="view", every="1ms", model=LogisticRegression(1.0))
    for hour in range(5):
        lessons.see(event("view", 30 * hour * HOUR), event("purchase", (30 * hour + 1) * HOUR))
    given = lessons.see(event("view", 1_000 * HOUR)).changed["buys_soon"]["score"]
    assert given != 0.5
    lessons.shared.learners[lessons.updater.targets[0].key].model.learn({"views_total": 9.0}, False)
    lessons.see(event("purchase", 1_001 * HOUR))
    assert lessons.taught[-1][0] == given


def test_a_model_is_scored_before_it_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", every="1ms", model=LogisticRegression(1.0))
    for day in range(0, 60, 3):
        lessons.see(event("view", day * DAY))
        if day % 2:
            lessons.see(event("purchase", day * DAY + HOUR))
        lessons.expire((day + 2) * DAY)
    scored = BinaryMetrics()
    for score, _, label in lessons.taught:
        scored.update(score, label)
    assert len(lessons.taught) == 20
    assert lessons.shared.learners[lessons.updater.targets[0].key].metrics.state() == scored.state()


def test_the_type_of_the_event_is_an_input_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on=("view", "cart"), every="1ms", model=LogisticRegression(0.1))
    for day in range(0, 200, 4):
        lessons.see(event("view", day * DAY))
        lessons.expire((day + 2) * DAY)
        lessons.see(event("cart", (day + 2) * DAY), event("purchase", (day + 2) * DAY + HOUR))
    assert lessons.taught[0][1].keys() == {"views_total", "purchases_total", "type=view", "type=cart"}
    assert lessons.taught[0][1]["type=cart"] == 0.0
    assert lessons.taught[1][1]["type=cart"] == 1.0
    cart = lessons.see(event("cart", 300 * DAY)).changed["buys_soon"]["score"]
    view = lessons.see(event("view", 300 * DAY + 1)).changed["buys_soon"]["score"]
    assert cart > 0.8 > 0.2 > view


def test_examples_are_at_least_so_far_apart_and_scores_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", every="1h")
    changes = [lessons.see(event("view", minutes * MINUTE)) for minutes in (0, 59, 60, 61, 125)]
    assert lessons.pending == [0, HOUR, 125 * MINUTE]
    assert [change.changed["buys_soon"]["at"] - T0 for change in changes] == [
        minutes * MINUTE for minutes in (0, 59, 60, 61, 125)
    ]


def test_only_so_many_examples_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", every="1m", max_pending=3)
    lessons.see(*(event("view", minutes * MINUTE) for minutes in range(10)))
    assert lessons.pending == [0, MINUTE, 2 * MINUTE]
    lessons.see(event("purchase", HOUR), event("view", 2 * HOUR))
    assert lessons.pending == [2 * HOUR], "there is room again"


def test_a_late_view_is_an_example_of_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", every="1h")
    lessons.see(event("view", 5 * DAY), event("view", 4 * DAY))
    assert lessons.pending == [5 * DAY], "earlier than the last example is not later by an hour"
    lessons = Lessons(monkeypatch, on="view", every="1h")
    lessons.see(event("purchase", 5 * DAY), event("view", 5 * DAY - HOUR))
    assert lessons.labels == [], "what came before it was seen is no label of it"
    lessons.expire(7 * DAY)
    assert lessons.labels == [False]


def test_a_late_purchase_is_the_label_of_what_was_predicted_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", every="1h")
    lessons.see(event("view", 0), event("view", 10 * HOUR), event("purchase", 5 * HOUR))
    assert lessons.labels == [True]
    assert lessons.pending == [10 * HOUR]


def test_only_awaited_events_are_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view")
    lessons.see(event("view", 0), event("cart", HOUR), event("view", 2 * HOUR))
    assert lessons.labels == []


def test_nothing_is_predicted_at_other_events(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view")
    assert "buys_soon" not in lessons.see(event("cart", 0)).changed
    assert "buys_soon" not in lessons.see(event("purchase", 1)).changed


def test_inputs_may_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", inputs=["purchases"])
    lessons.see(event("purchase", 0), event("view", 0), event("purchase", 1))
    assert lessons.taught[0][1] == {"purchases_total": pytest.approx(0.6931, abs=1e-4), "type=view": 1.0}


def test_a_score_is_as_old_as_it_is() -> None:
    target = Target("buys_soon", label=Happens("purchase", within="1d"))
    assert target.advance({"score": 0.3, "at": T0}, T0 + DAY) == {"score": 0.3, "at": T0}


def test_the_state_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    import msgspec

    lessons = Lessons(monkeypatch, every="1ms", max_pending=5, on=None)
    for number in range(50):
        lessons.see(event("\U0001f600" * 256, number * HOUR, event_id=str(number)))
    compiled = lessons.updater.targets[0]
    assert len(lessons.pending) == 5
    assert len(msgspec.msgpack.encode(lessons.state.slots[compiled.key])) <= compiled.max_bytes


def test_examples_are_stored_as_packed_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view")
    lessons.see(event("view", 0))
    packed = lessons.state.slots[lessons.updater.targets[0].key][3][0][3]
    assert struct.unpack("<2d", packed) == (pytest.approx(0.6931, abs=1e-4), 0.0)


def test_other_inputs_make_another_target() -> None:
    def key(**options: Any) -> str:
        features = [Count("views", half_life=options.pop("half_life", "1d")), Count("purchases")]
        target = Target("buys_soon", label=Happens("purchase", within=options.pop("within", "1d")), **options)
        return ProfileUpdater(ProfileDefinition("shop", features=features, targets=[target])).targets[0].key

    assert key() == key()
    others = [
        key(half_life="2d"),
        key(within="2d"),
        key(inputs=["purchases"]),
        key(on="view"),
        key(every="2h"),
        key(model=LogisticRegression(0.5)),
    ]
    assert len({key(), *others}) == 1 + len(others)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "purchase"}, r'Target\("buys_soon"\): label takes Happens\(type, within=...\)'),
        ({"max_pending": 0}, "max_pending must be at least 1"),
        ({"every": "often"}, "'often' is not a duration"),
    ],
)
def test_a_wrong_target_is_refused(options: dict[str, Any], message: str) -> None:
    options.setdefault("label", Happens("purchase", within="1d"))
    with pytest.raises(DefinitionError, match=message):
        Target("buys_soon", **options)
