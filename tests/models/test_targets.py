"""Targets: when a prediction becomes an example, which label it gets, and that nothing leaks from the future."""

from __future__ import annotations

import struct
from math import log1p
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from stream_profiles import Count, Event, Last, ProfileDefinition, ProfileUpdater, Sum, Target
from stream_profiles.errors import DefinitionError
from stream_profiles.models.drift import ADWIN
from stream_profiles.models.inputs import OneHot, Standardise
from stream_profiles.models.labels import Churn, Given, Happens, HappensBefore, Label, Next, NextType, ValueWithin
from stream_profiles.models.learners import Learner
from stream_profiles.models.linear import LinearRegression, LogisticRegression
from stream_profiles.models.metrics import Evaluation
from stream_profiles.models.search import Search
from stream_profiles.updater import Change, Shared
from tests.events import DAY, HOUR, MINUTE, T0, event, streams
from tests.models.pretenders import Says, Stumbles

FEATURES = [Count("views", on="view"), Count("purchases", on="purchase")]


class Lessons:
    """A profile with one target, and what its models were taught."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        options.setdefault("label", Happens("purchase", within="1d"))
        self.target = Target("buys_soon", **options)
        features = [*FEATURES, Last("country", of="country")]
        self.updater = ProfileUpdater(ProfileDefinition("shop", features=features, targets=[self.target]))
        self.key = self.updater.targets[0].key
        self.shared = Shared(self.updater)
        self.state = self.updater.new_state()
        #: (prediction, inputs, label)
        self.taught: list[tuple[Any, dict[str, float], Any]] = []
        #: (last label, time of the prediction)
        self.about: list[tuple[Any, int]] = []
        learn = Learner.learn

        def note(learner: Learner, predictions: Any, inputs: Any, label: Any, last_label: Any, time: int) -> None:
            self.taught.append((predictions[1], inputs, label))
            self.about.append((last_label, time - T0))
            learn(learner, predictions, inputs, label, last_label, time)

        monkeypatch.setattr(Learner, "learn", note)

    def see(self, *events: Event) -> Any:
        change = None
        for each in events:
            change = self.updater.apply(self.state, each, self.shared)
            # What is stored is what there is.
            self.state.slots = msgspec.msgpack.decode(msgspec.msgpack.encode(self.state.slots))
        return change

    def expire(self, at: int) -> bool:
        """Let the time pass; returns whether anything was learned."""
        before = len(self.taught)
        assert self.updater.expire(self.state, "ada", "mover", T0 + at, self.shared) is None
        return len(self.taught) > before

    @property
    def learner(self) -> Learner:
        return self.shared.learners[self.key]

    @property
    def labels(self) -> list[Any]:
        return [label for _, _, label in self.taught]

    @property
    def pending(self) -> list[int]:
        """Times at which the examples were made that wait for their label."""
        return [deadline - T0 - self.target.label.within_ms for deadline, *_ in self.state.slots[self.key][3]]

    @property
    def deadline(self) -> int:
        return self.updater.deadline(self.state)


def test_true_when_it_happened_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is learned when the time is up, as a no would be: learned at once, good news would be believed too much."""
    lessons = Lessons(monkeypatch, on="view")
    lessons.see(event("view", 0), event("purchase", DAY))
    assert lessons.labels == []
    assert lessons.pending == [0]
    assert lessons.deadline == T0 + DAY
    assert not lessons.expire(DAY), "at the last moment it can still happen"
    assert lessons.expire(DAY + 1)
    assert lessons.labels == [True]
    assert lessons.pending == []
    assert not lessons.expire(2 * DAY)


def test_false_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view")
    lessons.see(event("view", 0))
    assert lessons.deadline == T0 + DAY
    assert not lessons.expire(DAY)
    assert lessons.expire(DAY + 1)
    assert lessons.labels == [False]
    assert lessons.deadline == 0
    lessons.see(event("purchase", DAY + 2))
    assert not lessons.expire(9 * DAY)


def test_what_happens_too_late_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The partition's clock settles what is due first; a profile on its own must not depend on that."""
    lessons = Lessons(monkeypatch, on="view")
    lessons.see(event("view", 0), event("purchase", DAY + 1))
    assert lessons.expire(DAY + 1)
    assert lessons.labels == [False]


def test_one_event_is_the_label_of_all_that_waited_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", every="1h")
    lessons.see(event("view", 0), event("view", HOUR), event("view", 20 * HOUR), event("purchase", DAY + 30 * MINUTE))
    lessons.expire(2 * DAY)
    assert lessons.labels == [False, True, True], "for the first it came too late"
    assert [time for _, time in lessons.about] == [0, HOUR, 20 * HOUR]


def test_an_event_is_not_the_label_of_its_own_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, every="1ms")
    lessons.see(event("purchase", 0), event("purchase", HOUR))
    assert lessons.pending == [0, HOUR]
    lessons.expire(3 * DAY)
    assert lessons.labels == [True, False], "the first one's, not its own"


def test_what_has_the_same_time_is_not_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of one order: the second does not come after the first."""
    lessons = Lessons(monkeypatch)
    lessons.see(event("purchase", 0, item_id="a"), event("purchase", 0, item_id="b"))
    lessons.expire(2 * DAY)
    assert lessons.labels == [False]


def test_of_several_events_at_one_moment_the_last_ones_example_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the first line of an order would not know of the others, though all are there at once."""
    lessons = Lessons(monkeypatch, inputs=["purchases"])
    lessons.see(*(event("purchase", 0, item_id=item) for item in "abc"), event("purchase", HOUR - 1))
    assert lessons.pending == [0]
    lessons.expire(2 * DAY)
    [(score, inputs, label)] = lessons.taught
    assert inputs == {"purchases_total": log1p(3)}
    assert (score, label) == (0.5, True)


def test_so_also_where_no_more_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, inputs=["purchases"], max_pending=1)
    lessons.see(*(event("purchase", 0, item_id=item) for item in "ab"), event("purchase", 2 * HOUR))
    assert lessons.pending == [0]
    lessons.expire(2 * DAY)
    assert lessons.taught[0][1] == {"purchases_total": log1p(2)}


def test_an_example_that_has_seen_what_came_later_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A late event of its moment would bring inputs that know of it, and forget its label."""
    lessons = Lessons(monkeypatch, on="view", inputs=["views", "purchases"])
    lessons.see(event("view", 0, item_id="a"), event("purchase", HOUR), event("view", 0, item_id="b"))
    lessons.expire(2 * DAY)
    [(_, inputs, label)] = lessons.taught
    assert inputs == {"views_total": log1p(1), "purchases_total": 0.0, "type=view": 1.0}
    assert label is True


def test_a_model_learns_from_what_was_known_when_it_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", every="1h")
    lessons.see(
        event("view", 0), *(event("view", minutes * MINUTE) for minutes in range(1, 10)), event("purchase", HOUR)
    )
    lessons.expire(2 * DAY)
    (score, inputs, label), *others = lessons.taught
    assert not others
    assert (score, label) == (0.5, True)
    assert inputs == {"views_total": pytest.approx(0.6931, abs=1e-4), "purchases_total": 0.0, "type=view": 1.0}


def test_the_score_that_counts_is_the_one_that_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics are of the score at the time, though the model has learned since."""
    lessons = Lessons(monkeypatch, on="view", every="1ms", model=LogisticRegression(1.0))
    for hour in range(5):
        lessons.see(event("view", 30 * hour * HOUR), event("purchase", (30 * hour + 1) * HOUR))
        lessons.expire((30 * hour + 25) * HOUR)
    given = lessons.see(event("view", 1_000 * HOUR)).changed["buys_soon"]["score"]
    assert given != 0.5
    lessons.learner.champion.running.learn({"views_total": 9.0}, False)
    lessons.expire(1_025 * HOUR)
    assert lessons.taught[-1][0] == given


def test_a_model_is_scored_before_it_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", every="1ms", model=LogisticRegression(1.0))
    for day in range(0, 60, 3):
        lessons.see(event("view", day * DAY))
        if day % 2:
            lessons.see(event("purchase", day * DAY + HOUR))
        lessons.expire((day + 2) * DAY)
    scored = Evaluation("binary")
    for (score, _, label), (last_label, _) in zip(lessons.taught, lessons.about, strict=True):
        scored.update(score, label, last_label)
    assert len(lessons.taught) == 20
    assert lessons.learner.evaluation.state() == scored.state()
    assert [last for last, _ in lessons.about] == [None, *lessons.labels[:-1]]


def test_the_last_label_is_the_last_one_that_was_known_then(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", every="1ms")
    lessons.see(event("view", 0), event("view", HOUR), event("purchase", 2 * HOUR))
    lessons.expire(3 * DAY)
    lessons.see(event("view", 4 * DAY))
    lessons.expire(6 * DAY)
    assert [last for last, _ in lessons.about] == [None, None, True]


def test_the_type_of_the_event_is_an_input_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on=("view", "cart"), every="1ms", model=LogisticRegression(0.1))
    for day in range(0, 200, 4):
        lessons.see(event("view", day * DAY))
        lessons.expire((day + 2) * DAY)
        lessons.see(event("cart", (day + 2) * DAY), event("purchase", (day + 2) * DAY + HOUR))
        lessons.expire((day + 4) * DAY)
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
    assert lessons.pending == [0, MINUTE, 2 * MINUTE], "those with an outcome wait for their time too"
    lessons.expire(DAY + 2 * MINUTE)
    lessons.see(event("view", DAY + HOUR))
    assert lessons.pending == [2 * MINUTE, DAY + HOUR], "there is room again"


def test_a_late_view_is_an_example_of_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", every="1h")
    lessons.see(event("view", 5 * DAY), event("view", 4 * DAY))
    assert lessons.pending == [5 * DAY], "earlier than the last example is not later by an hour"
    lessons = Lessons(monkeypatch, on="view", every="1h")
    lessons.see(event("purchase", 5 * DAY), event("view", 5 * DAY - HOUR))
    lessons.expire(7 * DAY)
    assert lessons.labels == [False], "what came before it was seen is no label of it"


def test_a_late_purchase_is_the_label_of_what_was_predicted_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", every="1h")
    lessons.see(event("view", 0), event("view", 10 * HOUR), event("purchase", 5 * HOUR))
    lessons.expire(2 * DAY)
    assert lessons.labels == [True, False]


def test_only_awaited_events_are_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", label=Happens("purchase", within="1d", where="price > 10"))
    lessons.see(event("view", 0), event("cart", HOUR), event("view", 2 * HOUR), event("purchase", 3 * HOUR, price=9.0))
    lessons.expire(2 * DAY)
    assert lessons.labels == [False, False]


def test_nothing_is_predicted_at_other_events(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view")
    assert "buys_soon" not in lessons.see(event("cart", 0)).changed
    assert "buys_soon" not in lessons.see(event("purchase", 1)).changed


def test_inputs_may_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", inputs=["purchases", OneHot("country", ["PT"])])
    lessons.see(event("purchase", 0, country="PT"), event("view", 0), event("view", 2 * HOUR, country="ES"))
    lessons.expire(3 * DAY)
    expected = {"purchases_total": log1p(1), "country=PT": 1.0, "country=other": 0.0, "type=view": 1.0}
    assert lessons.taught[0][1] == expected
    assert lessons.taught[1][1] == {**expected, "country=PT": 0.0, "country=other": 1.0}


def test_an_order_of_two_events(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", label=HappensBefore("purchase", before="refund", within="1d"))
    lessons.see(event("view", 0), event("refund", 10), event("purchase", 5), event("view", HOUR))
    lessons.see(event("refund", 2 * HOUR), event("purchase", 3 * HOUR), event("view", 4 * HOUR))
    lessons.expire(2 * DAY)
    assert lessons.labels == [True, False, False]


def test_who_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, label=Churn(after="30d"), every="1d")
    lessons.see(event("view", 0), event("view", 30 * DAY), event("view", 70 * DAY))
    assert not lessons.expire(30 * DAY)
    lessons.expire(101 * DAY)
    assert lessons.labels == [False, True, True]


def test_what_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", label=ValueWithin("amount", within="30d", on="purchase"))
    change = lessons.see(event("view", 0))
    assert change.changed["buys_soon"] == {"value": 0.0, "at": T0}
    assert isinstance(lessons.learner.champion.running, type(LinearRegression().start("regression")))
    lessons.see(event("purchase", 1, price=10.0, quantity=2), event("view", DAY), event("purchase", 2 * DAY, price=5.0))
    lessons.expire(32 * DAY)
    assert lessons.labels == [25.0, 5.0]
    change = lessons.see(event("view", 40 * DAY))
    assert change.changed["buys_soon"]["value"] == pytest.approx(15.0, abs=11)


def test_what_is_seen_next_is_learned_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", label=Next("category", within="30m", on="view"), every="1ms")
    change = lessons.see(event("view", 0, category="a"))
    assert change.changed["buys_soon"] == {"top": [], "at": T0}
    lessons.see(event("view", MINUTE, category="b"))
    assert lessons.labels == ["b"]
    lessons.see(event("view", HOUR, category="c"))
    assert lessons.labels == ["b"], "that is another visit"
    lessons.see(event("view", HOUR + MINUTE, category="c"))
    assert lessons.labels == ["b", "c"]
    lessons.expire(5 * HOUR)
    assert lessons.labels == ["b", "c"], "an example without a label teaches nothing"
    assert [last for last, _ in lessons.about] == ["a", "c"], "what it was in the event of the prediction"
    change = lessons.see(event("view", 2 * HOUR, category="b"))
    top = change.changed["buys_soon"]["top"]
    assert {name for name, _ in top} == {"b", "c"}
    assert sum(share for _, share in top) == pytest.approx(1.0)


def test_of_many_classes_the_likeliest_are_published(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = {f"class {number:02}": number / 2_080 for number in range(1, 65)}
    lessons = Lessons(monkeypatch, label=NextType(within="1d"), model=Says(shares), every="1ms")
    change = lessons.see(event("view", 0))
    assert [name for name, _ in change.changed["buys_soon"]["top"]] == [f"class {n}" for n in (64, 63, 62, 61, 60)]
    lessons.see(event("class 01", 1))
    assert lessons.taught[0][0] == dict(sorted(shares.items(), key=lambda each: -each[1])), "all are scored"


def test_a_verdict_is_about_one_event(monkeypatch: pytest.MonkeyPatch) -> None:
    label = Given("properties.fraud", on="verdict", refers_to="properties.about")
    lessons = Lessons(monkeypatch, on="purchase", label=label, every="1ms")
    lessons.see(*(event("purchase", n * HOUR, event_id=f"order-{n}") for n in range(4)))
    lessons.see(event("verdict", 5 * HOUR, properties={"fraud": True, "about": "order-2"}))
    assert (lessons.labels, lessons.about) == ([True], [(None, 2 * HOUR)])
    assert lessons.pending == [0, HOUR, 3 * HOUR]
    lessons.see(event("verdict", 6 * HOUR, properties={"fraud": "no", "about": "order-9"}))
    lessons.see(event("verdict", 7 * HOUR, properties={"fraud": "no"}))
    lessons.see(event("verdict", 8 * HOUR, properties={"about": "order-3"}))
    assert lessons.labels == [True], "of no order here, of none at all, and no verdict"
    lessons.see(event("verdict", 9 * HOUR, properties={"fraud": "no", "about": "order-0"}))
    assert lessons.labels == [True, False]
    lessons.expire(40 * DAY)
    assert lessons.labels == [True, False]
    assert lessons.pending == []


def test_a_verdict_on_everything_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    label = Given("properties.fraud", on="verdict", otherwise=False, within="7d")
    lessons = Lessons(monkeypatch, on="purchase", label=label, every="1ms")
    lessons.see(event("purchase", 0), event("purchase", HOUR))
    lessons.see(event("verdict", 2 * HOUR, properties={"fraud": True}), event("purchase", 3 * HOUR))
    assert lessons.labels == []
    lessons.expire(9 * DAY)
    assert lessons.labels == [True, True, False]


def test_a_label_in_the_event_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="review", label=Given("rating", task="regression"), inputs=["views"])
    change = lessons.see(event("view", 0), event("review", 1, rating=4.0))
    assert change.changed["buys_soon"]["value"] == 0.0
    lessons.see(event("review", 2), event("review", 3, rating=2.0))
    assert [(score, label) for score, _, label in lessons.taught] == [(0.0, 4.0), (4.0, 2.0)]
    assert [last for last, _ in lessons.about] == [None, 4.0]
    assert lessons.pending == []
    assert lessons.deadline == 0


def test_the_users_own_labels_can_be_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """They count once they are known, not before."""
    lessons = Lessons(monkeypatch, on="view", history=True, inputs=["views"], every="1ms")
    lessons.see(event("view", 0), event("purchase", 1), event("view", HOUR))
    lessons.expire(2 * DAY)
    lessons.see(event("view", 3 * DAY))
    lessons.expire(5 * DAY)
    numbers = [(inputs["own_labels"], inputs["own_rate"]) for _, inputs, _ in lessons.taught]
    assert numbers == [(0.0, 0.5), (0.0, 0.5), (log1p(2), 0.5)]
    assert lessons.labels == [True, False, False]
    lessons.see(event("view", 6 * DAY))
    lessons.expire(8 * DAY)
    assert lessons.taught[-1][1]["own_rate"] == 0.4


def test_reasons_are_published_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", explain=2, model=LogisticRegression(0.1), every="1ms")
    for day in range(0, 60, 2):
        lessons.see(event("view", day * DAY), *([event("purchase", day * DAY + 1)] if day % 4 else []))
        lessons.expire((day + 2) * DAY)
    value = lessons.see(event("view", 100 * DAY)).changed["buys_soon"]
    assert len(value["reasons"]) == 2
    for name, added, words in value["reasons"]:
        assert name in ("views_total", "purchases_total")
        assert added and words.startswith("more ")
    assert lessons.updater.published(lessons.state)["buys_soon"] == value
    silent = Lessons(monkeypatch, on="view", explain=2, model=Says(0.4))
    assert silent.see(event("view", 0)).changed["buys_soon"] == {"score": 0.4, "at": T0}


def test_challengers_are_scored_by_what_they_said(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", model=Says(0.5), challengers=[Says(0.9)], promote_after=20, every="1ms")
    for day in range(30):
        lessons.see(event("view", day * DAY), event("purchase", day * DAY + HOUR))
    lessons.expire(40 * DAY)
    assert lessons.learner.promotions == 1
    assert lessons.see(event("view", 50 * DAY)).changed["buys_soon"]["score"] == 0.9


def test_a_model_that_fails_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", model=Stumbles(), challengers=[Says(0.5)], every="1ms")
    lessons.see(*(event("view", hour * HOUR) for hour in range(6)))
    change = lessons.updater.expire(lessons.state, "ada", "mover", T0 + 3 * DAY, lessons.shared)
    assert change is not None
    assert (change.changed, change.failed) == ({}, {"buys_soon": "ValueError: out of luck"})
    assert lessons.pending == []
    assert len(lessons.taught) == 6
    assert [contender.running.examples for contender in lessons.learner.contenders] == [6, 6]


def test_a_score_is_as_old_as_it_is() -> None:
    target = Target("buys_soon", label=Happens("purchase", within="1d"))
    assert target.advance({"score": 0.3, "at": T0}, T0 + DAY) == {"score": 0.3, "at": T0}


LABELS: list[Label] = [
    Happens("purchase", within="1d"),
    HappensBefore("purchase", before="view", within="1d"),
    Next("category", within="1d"),
    Given("category", on="purchase", refers_to="item_id", task="multiclass", otherwise="\U0001f600" * 64),
    ValueWithin("price", within="1d"),
]


@pytest.mark.parametrize("label", LABELS, ids=repr)
def test_the_state_has_a_bound(monkeypatch: pytest.MonkeyPatch, label: Label) -> None:
    classes = {f"{number:02}" + "\U0001f600" * 62: 1 / 70 for number in range(70)}
    model = Says(classes) if label.task == "multiclass" else Says(0.123456789)
    lessons = Lessons(
        monkeypatch,
        label=label,
        model=model,
        challengers=[model],
        every="1ms",
        max_pending=5,
        history=label.task != "multiclass",
    )
    compiled = lessons.updater.targets[0]
    for number in range(50):
        fields: dict[str, Any] = {"category": "\U0001f600" * 256, "item_id": "x", "price": 1e99}
        lessons.see(event("\U0001f600" * 256, number * HOUR, event_id=str(number), **fields))
        if number % 7 == 0:
            lessons.see(event("purchase", number * HOUR + 1, event_id=f"p{number}", **fields))
        assert len(msgspec.msgpack.encode(lessons.state.slots[compiled.key])) <= compiled.max_bytes
    assert len(lessons.pending) == 5 or label.at_once


def test_reasons_have_a_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, explain=5, every="1ms", max_pending=1, model=LogisticRegression(0.1))
    compiled = lessons.updater.targets[0]
    for number in range(30):
        lessons.see(event("view" if number % 2 else "purchase", number * DAY))
        lessons.expire((number + 1) * DAY)
        assert len(msgspec.msgpack.encode(lessons.state.slots[compiled.key])) <= compiled.max_bytes
    assert len(lessons.state.slots[compiled.key][0][1]) > 0


def test_examples_are_stored_as_packed_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = Lessons(monkeypatch, on="view", inputs=["views", "purchases", OneHot("country", ["PT", "ES"])])
    lessons.see(event("view", 0, country="ES"))
    packed = lessons.state.slots[lessons.key][3][0][3]
    assert struct.unpack("<3d", packed) == (pytest.approx(0.6931, abs=1e-4), 0.0, 1.0)


def test_examples_of_the_first_release_are_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It kept one number as prediction, no outcome and no last label; of those with the same time the first."""
    lessons = Lessons(monkeypatch, on="view", inputs=["views"])
    packed = struct.pack("<d", 0.5)
    day = T0 + DAY
    lessons.state.slots[lessons.key] = [
        0.3,
        T0 + 3 * HOUR,
        T0 + 3 * HOUR,
        [[day + at * HOUR, 0.25, "view", packed] for at in (0, 1, 3)],
    ]
    assert lessons.updater.published(lessons.state)["buys_soon"] == {"score": 0.3, "at": T0 + 3 * HOUR}
    assert lessons.deadline == day
    lessons.see(event("purchase", HOUR))
    lessons.expire(DAY + HOUR)
    assert lessons.taught == [(0.25, {"views_total": 0.5, "type=view": 1.0}, True)]
    lessons.see(event("view", 3 * HOUR))
    assert lessons.pending == [HOUR, 3 * HOUR]
    lessons.expire(9 * DAY)
    assert lessons.labels == [True, False, False]
    assert lessons.taught[-1][1]["views_total"] == log1p(1)
    assert lessons.state.slots[lessons.key][4] is False


@settings(max_examples=60)
@given(streams(max_size=30))
def test_what_is_learned_is_what_happened(events: list[Event]) -> None:
    """Of every kept example, by the events that came after it and in time."""
    labels = [Happens("purchase", within="1d"), ValueWithin("price", within="1h"), Churn(after="1d", on="view")]
    targets = [Target(f"target_{n}", label=label, every="1ms", max_pending=1_000) for n, label in enumerate(labels)]
    updater = ProfileUpdater(ProfileDefinition("shop", features=FEATURES, targets=targets, lateness="3650d", dedup=0))
    shared, state = Shared(updater), updater.new_state()
    learned: list[list[tuple[int, Any]]] = [[] for _ in labels]
    for target, told in zip(updater.targets, learned, strict=True):
        shared.learners[target.key].observer = lambda _, label, last, time, told=told: told.append((time, label))
    for each in events:
        assert isinstance(updater.apply(state, each, shared), Change)
    updater.expire(state, "u", "e", max([T0, *(e.time for e in events)]) + 2 * DAY, shared)
    made = [n for n, each in enumerate(events) if each.time > max([-1, *(e.time for e in events[:n])])]
    for n, label in enumerate(labels):
        assert [time for time, _ in learned[n]] == [events[position].time for position in made]
        for position, (time, found) in zip(made, learned[n], strict=True):
            outcome = None
            # What arrived before the example was made is no label of it.
            for each in events[position:]:
                if time < each.time <= time + label.within_ms and (label.types is None or each.type in label.types):
                    outcome = label.see(outcome, each)
            assert found == label.settle(outcome)


def test_other_inputs_make_another_target() -> None:
    def key(**options: Any) -> str:
        features = [Count("views", half_life=options.pop("half_life", "1d")), Count("purchases")]
        label = options.pop("label", Happens("purchase", within=options.pop("within", "1d")))
        target = Target("buys_soon", label=label, **options)
        return ProfileUpdater(ProfileDefinition("shop", features=features, targets=[target])).targets[0].key

    assert key() == key() == "buys_soon:6422b930", "as in the first release"
    assert key(challengers=(), promote_after=500, drift=None, explain=0, history=False) == key()
    others = [
        key(half_life="2d"),
        key(within="2d"),
        key(label=Happens("purchase", within="1d", where="price > 1")),
        key(label=Churn(after="1d", on="purchase")),
        key(inputs=["purchases"]),
        key(inputs=[Standardise("purchases")]),
        key(on="view"),
        key(every="2h"),
        key(model=LogisticRegression(0.5)),
        key(model=Search(LogisticRegression, {"learning_rate": [0.1, 0.5]})),
        key(model=Search(LogisticRegression, {"learning_rate": [0.1, 0.6]})),
        key(challengers=[LogisticRegression(0.5)]),
        key(drift=ADWIN()),
        key(history=True),
    ]
    assert len({key(), *others}) == 1 + len(others)


def test_a_description_says_what_is_predicted() -> None:
    target = Target(
        "spends",
        label=ValueWithin("amount", within="30d"),
        model=Search(LinearRegression, {"l2": [0.0, 0.1]}),
        challengers=[LinearRegression(0.1)],
        drift=ADWIN(reaction="swap"),
        inputs=["views", Standardise("purchases")],
    )
    description = ProfileDefinition("shop", features=FEATURES, targets=[target]).describe()
    config = msgspec.json.decode(msgspec.json.encode(description))["fields"]["spends"]["config"]
    assert config["label"]["kind"] == "ValueWithin"
    assert config["model"]["config"]["grid"] == {"l2": [0.0, 0.1]}
    assert config["challengers"][0]["config"]["learning_rate"] == 0.1
    assert config["drift"]["config"]["reaction"] == "swap"
    assert config["inputs"] == ["views", {"kind": "Standardise", "config": {"of": "purchases"}}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "purchase"}, r'Target\("buys_soon"\): label takes Happens\(type, within=...\)'),
        ({"max_pending": 0}, "max_pending must be at least 1"),
        ({"every": "often"}, "'often' is not a duration"),
        ({"promote_after": 1}, "promote_after must be at least 10"),
        ({"explain": -1}, "explain at least 0"),
        ({"drift": "adwin"}, r'drift takes a detector such as ADWIN\(reaction="reset"\)'),
        ({"model": LinearRegression()}, "is a model for regression targets, and the label makes this one binary"),
        ({"challengers": [LinearRegression()]}, "is a model for regression targets"),
        ({"model": "logistic"}, "'logistic' is no model"),
        ({"history": True, "label": NextType(within="1d")}, "history takes labels that are yes or no, or numbers"),
    ],
)
def test_a_wrong_target_is_refused(options: dict[str, Any], message: str) -> None:
    options.setdefault("label", Happens("purchase", within="1d"))
    with pytest.raises(DefinitionError, match=message):
        Target("buys_soon", **options)


def test_inputs_are_as_of_right_after_the_event() -> None:
    spend = Sum("spend", of="amount")
    target = Target("t", label=Churn(after="1d"), inputs=["spend"])
    updater = ProfileUpdater(ProfileDefinition("shop", features=[spend], targets=[target]))
    shared, state = Shared(updater), updater.new_state()
    updater.apply(state, event("purchase", 0, price=3.0), shared)
    [example] = state.slots[updater.targets[0].key][3]
    assert struct.unpack("<d", example[3]) == (log1p(3.0),)
