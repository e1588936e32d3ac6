"""Labels: what the events that follow a prediction make of it."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_profiles import Event
from stream_profiles.errors import DefinitionError
from stream_profiles.models.labels import (
    SCALES,
    Churn,
    Given,
    Happens,
    HappensBefore,
    Label,
    Next,
    NextType,
    ValueWithin,
)
from tests.events import DAY, HOUR, event, streams

LABELS: list[Label] = [
    Happens("purchase", within="1d"),
    Happens("purchase", within="1d", where="price > 10"),
    HappensBefore("purchase", before="cart", within="7d"),
    Churn(after="30d"),
    Churn(after="30d", on=("view", "cart")),
    ValueWithin("amount", within="30d", on="purchase"),
    ValueWithin("properties.size", within="1h", where="category == 'a'"),
    ValueWithin("price", within="1d", scale="log"),
    Next("category", within="30m", on="view"),
    Next("item_id", within="30m"),
    NextType(within="30m"),
    NextType(within="30m", on=("cart", "purchase")),
    Given("properties.fraud", on="verdict", refers_to="properties.about"),
    Given("properties.mood", on="review", task="multiclass", within="7d"),
    Given("rating", on="review", task="regression", otherwise=3),
    Given("category", task="multiclass"),
]
every_label = pytest.mark.parametrize("label", LABELS, ids=repr)


def outcome_of(label: Label, *events: Event) -> Any:
    outcome = None
    for each in events:
        if label.types is None or each.type in label.types:
            outcome = label.see(outcome, each)
    return outcome


def label_of(label: Label, *events: Event) -> Any:
    return label.settle(outcome_of(label, *events))


@every_label
def test_a_label_is_its_configuration(label: Label) -> None:
    again = type(label)(**label.config)
    assert again.config == label.config
    assert repr(again) == repr(label)
    assert (again.task, again.at_once, again.in_event, again.types) == (
        label.task,
        label.at_once,
        label.in_event,
        label.types,
    )
    sent = msgspec.json.decode(msgspec.json.encode(label.config))
    assert msgspec.json.encode(type(label)(**sent).config) == msgspec.json.encode(label.config)


@every_label
@settings(max_examples=20)
@given(events=streams())
def test_a_label_is_of_its_task_and_outcomes_can_be_stored(label: Label, events: list[Event]) -> None:
    outcome = None
    for each in events:
        outcome = label.see(outcome, each)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(outcome)) == outcome
        assert len(msgspec.msgpack.encode(outcome)) <= 2 + 9 + 4 * 64
    settled = label.settle(outcome)
    kind = {"binary": bool, "multiclass": str, "regression": float}[label.task]
    assert settled is None or type(settled) is kind


def test_happens() -> None:
    label = Happens("purchase", within="1d")
    assert label_of(label) is False
    assert label_of(label, event("view", 1), event("cart", 2)) is False
    assert label_of(label, event("purchase", 1), event("view", 2)) is True


def test_happens_where() -> None:
    label = Happens("purchase", within="1d", where="price > 10")
    assert label_of(label, event("purchase", 1, price=10.0), event("purchase", 2)) is False
    assert label_of(label, event("purchase", 1, price=11.0), event("purchase", 2, price=1.0)) is True


def test_what_the_first_release_did_not_have_is_in_no_configuration_of_it() -> None:
    """Stored examples and weights are found by it."""
    assert Happens("purchase", within="1d").config == {"type": "purchase", "within": "1d"}
    assert Happens("purchase", within="1d", where="price > 1").config["where"] == "price > 1"


@pytest.mark.parametrize("late", [False, True])
def test_which_of_two_comes_first(late: bool) -> None:
    """By event time, whichever arrives first."""
    label = HappensBefore("purchase", before="refund", within="1d")
    bought_first = [event("purchase", HOUR), event("refund", 2 * HOUR)]
    refunded_first = [event("refund", HOUR), event("purchase", 2 * HOUR), event("purchase", 3 * HOUR)]
    if late:
        bought_first.reverse()
        refunded_first.reverse()
    assert label_of(label, *bought_first) is True
    assert label_of(label, *refunded_first) is False
    assert label_of(label, event("purchase", 1)) is True
    assert label_of(label, event("refund", 1)) is False
    assert label_of(label) is False


def test_churn_is_that_nothing_comes() -> None:
    assert label_of(Churn(after="30d")) is True
    assert label_of(Churn(after="30d"), event("anything", 1)) is False
    label = Churn(after="30d", on="purchase")
    assert label_of(label, event("view", 1)) is True
    assert label_of(label, event("view", 1), event("purchase", 1)) is False
    assert Churn(after="30d").within_ms == 30 * DAY


def test_what_is_spent_in_time() -> None:
    label = ValueWithin("amount", within="30d", on=("purchase", "refund"))
    spent = label_of(
        label,
        event("purchase", 1, price=10.0, quantity=3.0),
        event("view", 2, price=99.0),
        event("refund", 3, price=10.0, quantity=-1.0),
        event("purchase", 4),
    )
    assert spent == 20.0
    assert label_of(label) == 0.0
    assert label_of(label, event("refund", 3, price=10.0, quantity=-1.0)) == -10.0


def test_only_some_of_it() -> None:
    label = ValueWithin("price", within="1d", where="category == 'a'")
    assert label_of(label, event("view", 1, price=2.0, category="b"), event("view", 1, price=3.0, category="a")) == 3.0


@pytest.mark.parametrize("price", [float("nan"), float("inf"), 1e300, None])
def test_what_cannot_be_summed_is_left_out(price: float | None) -> None:
    label = ValueWithin("price", within="1d")
    assert label_of(label, event(price=price), event(price=2.0)) == 2.0


@pytest.mark.parametrize("scale", SCALES)
@given(x=st.floats(-1e99, 1e99), y=st.floats(allow_nan=False))
def test_a_scale_goes_both_ways(scale: str, x: float, y: float) -> None:
    there, back = SCALES[scale]
    assert math.isclose(back(there(x)), x, rel_tol=1e-9, abs_tol=1e-300)
    assert there(-x) == -there(x)
    assert abs(there(x)) <= 1e50
    assert math.isfinite(back(y)), "a model may say anything"


def test_the_next_category() -> None:
    label = Next("category", within="30m", on="view")
    assert label_of(label) is None, "an example without a label teaches nothing"
    assert label_of(label, event("cart", 1, category="a"), event("view", 2, category="b")) == "b"
    assert label_of(label, event("view", 1), event("view", 2, category=""), event("view", 3, category="c")) == "c"
    assert label_of(label, event("view", 1, category="x" * 200), event("view", 2, category="b")) == "x" * 64
    assert label.at_once


def test_the_next_type() -> None:
    assert label_of(NextType(within="30m"), event("cart", 1), event("view", 2)) == "cart"
    assert label_of(NextType(within="30m", on=("view", "purchase")), event("cart", 1), event("view", 2)) == "view"


def test_what_the_last_label_was() -> None:
    """Of the next category the present one is; of most labels the one that came before."""
    next_viewed = Next("category", within="30m", on="view")
    assert next_viewed.last(event("view", 0, category="a"), "before") == "a"
    assert next_viewed.last(event("view", 0), "before") == "before"
    assert next_viewed.last(event("cart", 0, category="a"), "before") == "before", "it is no label of theirs"
    assert NextType(within="30m").last(event("view", 0), None) == "view"
    assert Happens("purchase", within="1d").last(event("purchase", 0), False) is False
    assert Churn(after="1d").last(event(), None) is None


@pytest.mark.parametrize(
    ("stated", "label"),
    [
        (True, True),
        (False, False),
        (1, True),
        (0.0, False),
        ("yes", True),
        (" FALSE ", False),
        ("1", True),
        (2, None),
        ("perhaps", None),
        ("", None),
        (None, None),
        (float("nan"), None),
        ([True], None),
        ({"a": 1}, None),
    ],
)
def test_a_yes_or_a_no_is_given(stated: Any, label: bool | None) -> None:
    given_label = Given("properties.fraud", on="verdict")
    found = label_of(given_label, event("verdict", 1, properties={"fraud": stated}))
    assert found is label


@pytest.mark.parametrize(
    ("task", "stated", "label"),
    [
        ("multiclass", "good", "good"),
        ("multiclass", 3, "3"),
        ("multiclass", True, "True"),
        ("multiclass", "x" * 300, "x" * 64),
        ("multiclass", "", None),
        ("multiclass", None, None),
        ("multiclass", [1], None),
        ("regression", 4, 4.0),
        ("regression", -0.5, -0.5),
        ("regression", "4", None),
        ("regression", True, None),
        ("regression", float("nan"), None),
        ("regression", 1e200, None),
    ],
)
def test_a_text_or_a_number_is_given(task: str, stated: Any, label: Any) -> None:
    given_label = Given("properties.it", on="verdict", task=task)
    found = label_of(given_label, event("verdict", 1, properties={"it": stated}))
    assert (type(found), found) == (type(label), label)


def test_the_latest_statement_holds() -> None:
    given_label = Given("properties.fraud", on="verdict", otherwise=False)
    stated = [event("verdict", at, properties={"fraud": fraud}) for at, fraud in ((1, True), (2, None), (3, False))]
    assert label_of(given_label, *stated[:2]) is True
    assert label_of(given_label, *stated) is False


def test_what_is_not_stated() -> None:
    assert label_of(Given("properties.fraud", on="verdict")) is None
    assert label_of(Given("properties.fraud", on="verdict", otherwise=False)) is False
    assert label_of(Given("properties.fraud", on="verdict", otherwise="no")) is False
    assert label_of(Given("rating", on="review", task="regression", otherwise=3)) == 3.0


def test_when_a_given_label_is_learned() -> None:
    """At once, unless silence says something too: good and bad news are learned at the same time."""
    assert Given("properties.fraud", on="verdict").at_once
    assert not Given("properties.fraud", on="verdict", otherwise=False).at_once
    assert Given("properties.fraud").in_event
    assert not Given("properties.fraud", on="verdict").in_event


def test_what_a_statement_is_about() -> None:
    given_label = Given("properties.fraud", on="verdict", refers_to="properties.about")
    assert given_label.refers(event("verdict", 1, properties={"about": "order-7"})) == "order-7"
    assert given_label.refers(event("verdict", 1, properties={"about": 7})) == "7"
    assert given_label.refers(event("verdict", 1)) == "", "nothing in particular, and so nothing"
    assert Given("properties.fraud", on="verdict").refers(event("verdict", 1)) is None
    assert Happens("purchase", within="1d").refers(event("purchase", 1)) is None


@given(st.permutations(range(6)))
def test_the_order_of_arrival_changes_no_sum_and_no_first(order: list[int]) -> None:
    events = [event("cart" if n % 3 == 0 else "purchase", n, price=2.0**n) for n in range(1, 7)]
    shuffled = [events[n] for n in order]
    for label in (ValueWithin("price", within="1d"), HappensBefore("purchase", before="cart", within="1d")):
        assert label_of(label, *shuffled) == label_of(label, *events)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Happens("purchase", within="soon"), "'soon' is not a duration"),
        (lambda: Happens("purchase", within="1d", where="prise > 1"), "where: .*there is no field 'prise'"),
        (
            lambda: HappensBefore("a", before="a", within="1d"),
            r"HappensBefore\('a'\): before= takes another event type",
        ),
        (lambda: ValueWithin("prise", within="1d"), "an event has no field 'prise'; did you mean 'price'"),
        (lambda: ValueWithin("price", within="1d", where="price >"), "where: .*ends too early"),
        (lambda: ValueWithin("price", within="1d", scale="cube"), "scale is 'sqrt' or 'log', not 'cube'"),
        (lambda: Next("categorie", within="1d"), "an event has no field 'categorie'; did you mean 'category'"),
        (lambda: Given("properties.x", on="y", task="ordinal"), 'task is "binary", "multiclass" or "regression"'),
        (lambda: Given("properties.x", refers_to="item_id"), "refers_to and otherwise need on="),
        (lambda: Given("properties.x", otherwise=False), "refers_to and otherwise need on="),
        (
            lambda: Given("properties.x", on="y", otherwise="perhaps"),
            "otherwise='perhaps' is no label of a binary task",
        ),
        (lambda: Given("x", on="y"), "for a field of your own write 'properties.x'"),
    ],
)
def test_a_wrong_label_is_refused(build: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        build()
