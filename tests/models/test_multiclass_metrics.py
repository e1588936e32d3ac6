"""Metrics of classes against scikit-learn's, and what becomes of classes beyond the fifty that are named."""

from __future__ import annotations

import math
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from stream_profiles.models.metrics import NO_GUESS, OTHER, MulticlassMetrics, MulticlassValues
from stream_profiles.models.multiclass_metrics import most_probable

Outcomes = list[tuple[dict[str, float], str]]
CLASSES = ["hats", "shirts", "shoes"]
weights = st.lists(st.integers(1, 20), min_size=3, max_size=3)
probabilities = weights.map(lambda parts: {name: part / sum(parts) for name, part in zip(CLASSES, parts, strict=True)})
outcomes = st.lists(st.tuples(probabilities, st.sampled_from(CLASSES)), min_size=1, max_size=40)

MANY = [f"class {number}" for number in range(70)]
#: A label and a guess, each with a few names that most of the examples share.
names = st.integers(0, 69).map(lambda number: MANY[number]) | st.sampled_from(MANY[:5])
guesses = st.lists(st.tuples(names, names), max_size=150)


def measured(pairs: Outcomes) -> MulticlassMetrics:
    metrics = MulticlassMetrics()
    for prediction, label in pairs:
        metrics.update(prediction, label)
    return metrics


def guessed(pairs: list[tuple[str, str]]) -> MulticlassMetrics:
    return measured([({guess: 0.9}, label) for label, guess in pairs])


def assert_true_of(values: MulticlassValues, pairs: list[tuple[str, str]]) -> None:
    """Whatever has a name is counted to the last example, and everything else as the rest."""
    named = values.classes.keys()
    assert len(named) <= 50
    expected = Counter(
        (label if label in named else OTHER, guess if guess in named else OTHER) for label, guess in pairs
    )
    found = {(label, guess): count for label, row in values.confusion.items() for guess, count in row.items()}
    assert found == expected
    for name, each in values.classes.items():
        assert each.examples == sum(label == name for label, _ in pairs)
        assert each.guessed == sum(guess == name for _, guess in pairs)
    assert values.examples == len(pairs)
    if pairs:
        assert values.accuracy == sum(label == guess for label, guess in pairs) / len(pairs)


def test_nothing_is_known_of_no_examples() -> None:
    values = MulticlassMetrics().values()
    assert values == MulticlassValues(examples=0, log_loss=None, accuracy=None, macro_f1=None, classes={}, confusion={})


@given(outcomes)
def test_like_scikit_learns(pairs: Outcomes) -> None:
    labels, guesses = [label for _, label in pairs], [most_probable(prediction) for prediction, _ in pairs]
    values = measured(pairs).values()
    scores = [[prediction[name] for name in CLASSES] for prediction, _ in pairs]
    assert values.log_loss == pytest.approx(sklearn_metrics.log_loss(labels, scores, labels=CLASSES))
    assert values.accuracy == pytest.approx(sklearn_metrics.accuracy_score(labels, guesses))
    assert values.macro_f1 == pytest.approx(sklearn_metrics.f1_score(labels, guesses, average="macro"))
    matrix = sklearn_metrics.confusion_matrix(labels, guesses, labels=CLASSES).tolist()
    for label, row in zip(CLASSES, matrix, strict=True):
        assert [values.confusion.get(label, {}).get(guess, 0) for guess in CLASSES] == row
    precision, recall, f1, examples = sklearn_metrics.precision_recall_fscore_support(
        labels, guesses, labels=CLASSES, zero_division=0.0
    )
    for position, name in enumerate(CLASSES):
        if name not in values.classes:
            assert examples[position] == 0
            continue
        each = values.classes[name]
        assert (each.precision or 0.0) == pytest.approx(precision[position])
        assert (each.recall or 0.0) == pytest.approx(recall[position])
        assert each.f1 == pytest.approx(f1[position])
        assert each.examples == examples[position]


def test_a_class_that_was_never_guessed_has_no_precision_and_one_that_never_came_no_recall() -> None:
    classes = guessed([("shoes", "hats")]).values().classes
    assert classes["shoes"].precision is None and classes["shoes"].recall == 0.0
    assert classes["hats"].recall is None and classes["hats"].precision == 0.0


class TestTheGuess:
    def test_is_the_most_probable(self) -> None:
        assert most_probable({"a": 0.2, "c": 0.5, "b": 0.3}) == "c"

    def test_is_the_first_by_name_among_equals_in_whatever_order(self) -> None:
        assert most_probable({"b": 0.4, "a": 0.4, "c": 0.2}) == most_probable({"c": 0.2, "a": 0.4, "b": 0.4}) == "a"
        assert most_probable({"b": 0.0, "a": 0.0}) == "a"

    def test_of_nothing_is_none_and_wrong(self) -> None:
        values = measured([({}, "shoes"), ({"shoes": 1.0}, "shoes")]).values()
        assert values.accuracy == 0.5
        assert values.confusion == {"shoes": {"shoes": 1, NO_GUESS: 1}}
        assert values.classes["shoes"].recall == 0.5
        assert values.classes["shoes"].precision == 1.0
        assert values.classes.keys() == {"shoes"}

    def test_is_not_a_class_whose_probability_is_not_a_number(self) -> None:
        assert most_probable({"a": math.nan, "b": 0.2}) == most_probable({"b": 0.2, "a": math.nan}) == "b"
        assert most_probable({"a": math.nan}) is None


def test_a_class_without_probability_costs_much_but_not_everything() -> None:
    for prediction in ({}, {"hats": 1.0}, {"shoes": 0.0}, {"shoes": math.nan}, {"shoes": -1.0}):
        log_loss = measured([(prediction, "shoes")]).values().log_loss
        assert log_loss == pytest.approx(-math.log(1e-15))
    assert 0.0 <= (measured([({"shoes": 1.5}, "shoes")]).values().log_loss or 0.0) < 1e-14


class TestManyClasses:
    def test_fifty_have_a_name(self) -> None:
        metrics = guessed([(name, name) for name in MANY])
        values = metrics.values()
        assert list(values.classes) == MANY[:50]
        assert values.confusion[OTHER] == {OTHER: 20}
        assert values.accuracy == values.macro_f1 == 1.0

    def test_the_rest_is_right_only_where_it_is_the_same(self) -> None:
        metrics = guessed([(name, name) for name in MANY])
        metrics.update({"class 60": 1.0}, "class 61")
        assert metrics.values().confusion[OTHER] == {OTHER: 21}
        assert metrics.values().accuracy == 70 / 71

    def test_the_state_stays_bounded(self) -> None:
        metrics = MulticlassMetrics()
        for number in range(20_000):
            metrics.update({f"class {number * 7 % 1_000}": 1.0}, f"class {number * number % 1_000}")
        assert len(metrics.state()[4]) <= 51 * 52
        assert len(msgspec.msgpack.encode(metrics.state())) < 20_000

    @given(guesses)
    def test_what_is_named_is_counted_in_full(self, pairs: list[tuple[str, str]]) -> None:
        assert_true_of(guessed(pairs).values(), pairs)

    @given(guesses, guesses, guesses)
    def test_and_when_merged(
        self, a: list[tuple[str, str]], b: list[tuple[str, str]], c: list[tuple[str, str]]
    ) -> None:
        merged = guessed(a)
        merged.merge(guessed(b))
        assert_true_of(merged.values(), a + b)
        for label, guess in c:
            merged.update({guess: 0.9}, label)
        assert_true_of(merged.values(), a + b + c)
        merged.merge(MulticlassMetrics(merged.state()))
        assert_true_of(merged.values(), (a + b + c) * 2)

    def test_two_halves_without_a_rest_keep_fifty_names(self) -> None:
        merged = guessed([(name, name) for name in MANY[:40]])
        merged.merge(guessed([(name, name) for name in MANY[30:]]))
        assert list(merged.values().classes) == MANY[:50]
        assert_true_of(merged.values(), [(name, name) for name in MANY[:40] + MANY[30:]])

    def test_a_name_is_lost_where_the_other_side_may_have_counted_it_with_the_rest(self) -> None:
        full, few = guessed([(name, name) for name in MANY]), guessed([(MANY[0], MANY[1]), (MANY[60], MANY[60])])
        few.merge(full)
        values = few.values()
        assert MANY[60] not in values.classes
        assert values.classes[MANY[0]].examples == 2
        assert values.confusion[OTHER] == {OTHER: 21}

    @pytest.mark.parametrize("stored", [False, True])
    @pytest.mark.parametrize("merged", [False, True])
    def test_no_new_name_once_there_is_a_rest(self, merged: bool, stored: bool) -> None:
        metrics = guessed([(name, name) for name in MANY])
        if merged:
            # Leaves but one name, so that there would be room.
            metrics.merge(guessed([(name, name) for name in (MANY[0], *(f"other {n}" for n in range(60)))]))
            assert metrics.values().classes.keys() == {MANY[0]}
        if stored:
            metrics = MulticlassMetrics(metrics.state())
        before = metrics.values().classes.keys()
        metrics.update({"class 65": 1.0}, "class 65")
        assert metrics.values().classes.keys() == before

    def test_a_class_may_be_called_like_the_rest(self) -> None:
        pairs = [(OTHER, OTHER), *((name, name) for name in MANY)]
        values = guessed(pairs).values()
        assert values.classes[OTHER].examples == 1
        assert values.confusion[OTHER] == {OTHER: 1 + 21}
