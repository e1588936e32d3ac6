"""The figures of a report are those of scikit-learn."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stream_profiles.evaluation.examples import NO_CLASS, Collector, Examples
from stream_profiles.evaluation.scores import (
    Ranking,
    binary_scores,
    calibration,
    class_scores,
    confusion_matrix,
    lifts,
    multiclass_scores,
    regression_scores,
)

#: Many of them are equal.
_probabilities = st.one_of(st.sampled_from([0.01, 0.2, 0.5, 0.99]), st.floats(1e-6, 1 - 1e-6))


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-9)


@given(st.lists(st.tuples(st.booleans(), _probabilities), min_size=2, max_size=60))
def test_binary_scores(drawn: list[tuple[bool, float]]) -> None:
    labels, scores = np.array([float(label) for label, _ in drawn]), np.array([score for _, score in drawn])
    found, guesses = binary_scores(labels, scores), scores >= 0.5
    assert found.log_loss == near(sk.log_loss(labels, scores, labels=[0, 1]))
    assert found.brier_score == near(sk.brier_score_loss(labels, scores))
    assert found.accuracy == near(sk.accuracy_score(labels, guesses))
    tn, fp, fn, tp = sk.confusion_matrix(labels, guesses, labels=[0, 1]).ravel()
    assert found.confusion.__class__(tn=tn, fp=fp, fn=fn, tp=tp) == found.confusion
    if guesses.any():
        assert found.precision == near(sk.precision_score(labels, guesses))
    else:
        assert found.precision is None
    if labels.any():
        assert found.recall == near(sk.recall_score(labels, guesses))
        assert found.pr_auc == near(sk.average_precision_score(labels, scores))
        assert found.f1 == near(sk.f1_score(labels, guesses))
    else:
        assert found.recall is None and found.pr_auc is None
    if labels.min() < labels.max():
        assert found.roc_auc == near(sk.roc_auc_score(labels, scores))
    else:
        assert found.roc_auc is None


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=40))
def test_multiclass_scores(drawn: list[tuple[str, str]]) -> None:
    labels, guesses = np.array(drawn).T
    codes = np.array(["abcd".index(label) for label in labels])
    guessed = np.array(["abcd".index(guess) for guess in guesses])
    found = multiclass_scores(codes, guessed, np.where(codes == guessed, 0.7, 0.1))
    assert found.accuracy == near(sk.accuracy_score(labels, guesses))
    assert found.macro_f1 == near(sk.f1_score(labels, guesses, average="macro"))
    shares = np.full((len(codes), 4), 0.1)
    shares[np.arange(len(codes)), guessed] = 0.7
    assert found.log_loss == near(sk.log_loss(codes, shares, labels=range(4)))


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=2, max_size=40))
def test_regression_scores(drawn: list[tuple[float, float]]) -> None:
    labels, numbers = np.array(drawn).T
    found = regression_scores(labels, numbers)
    assert found.mae == near(sk.mean_absolute_error(labels, numbers))
    assert found.rmse == near(sk.root_mean_squared_error(labels, numbers))
    assert found.bias == near(np.mean(numbers - labels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if found.r2 is not None and np.isfinite(expected := sk.r2_score(labels, numbers)):
            assert found.r2 == pytest.approx(expected, rel=1e-6)


def test_no_examples_have_no_scores() -> None:
    none = np.array([])
    assert binary_scores(none, none).log_loss is None
    assert regression_scores(none, none).mae is None
    assert multiclass_scores(none.astype(int), none.astype(int), none).accuracy is None
    assert lifts(none, none) == [] and calibration(none, none) == []


@given(st.permutations(range(40)), st.sets(st.integers(0, 39), min_size=1), st.sampled_from([0.05, 0.1, 0.25, 1.0]))
def test_lift_counts_the_highest_scores(order: list[int], positive: set[int], share: float) -> None:
    labels, scores = np.array([float(n in positive) for n in range(40)]), np.array(order) / 40
    highest = np.argsort(-scores)[: round(share * 40)]
    expected = labels[highest].mean() / labels.mean()
    assert Ranking(labels, scores).lift(share) == near(expected)


def test_of_equal_scores_a_lift_takes_a_part() -> None:
    labels = np.array([1.0, 0.0, 0.0, 0.0, 1.0])
    [top, *_] = [each for each in lifts(labels, np.full(5, 0.3)) if each.top == 0.2]
    assert (top.lift, top.share_true, top.found, top.examples) == (near(1.0), near(0.4), near(0.2), 1)


@given(arrays(np.float64, st.integers(1, 80), elements=st.floats(0, 1).map(lambda x: round(x, 1))))
def test_calibration_groups_part_no_equal_predictions(predicted: Any) -> None:
    actual = (np.arange(len(predicted)) % 3 == 0).astype(float)
    groups = calibration(predicted, actual)
    assert sum(group.examples for group in groups) == len(predicted) and len(groups) <= 10
    for group, following in pairwise(groups):
        assert group.highest < following.lowest
    for group in groups:
        inside = (predicted >= group.lowest) & (predicted <= group.highest)
        assert group.examples == inside.sum()
        assert group.mean_predicted == near(predicted[inside].mean())
        assert group.mean_actual == near(actual[inside].mean())


def _of_classes(pairs: list[tuple[str, dict[str, float]]]) -> Examples:
    collector = Collector("multiclass")
    observe = collector.observer(lambda: "ada")
    for time, (label, prediction) in enumerate(pairs):
        observe(prediction, label, None, time)
    return collector.examples()


def test_classes_and_confusion() -> None:
    pairs = [("hat", {"hat": 0.6, "shoe": 0.4}), ("hat", {"shoe": 0.9}), ("shoe", {"shoe": 1.0}), ("bag", {})]
    examples = _of_classes(pairs)
    found = {each.name: each for each in class_scores(examples)}
    assert [*found] == ["hat", "shoe", "bag"]
    assert (found["hat"].precision, found["hat"].recall) == (1.0, 0.5)
    assert (found["shoe"].precision, found["shoe"].recall, found["shoe"].f1) == (0.5, 1.0, near(2 / 3))
    assert (found["bag"].precision, found["bag"].recall) == (None, 0.0)
    matrix = confusion_matrix(examples)
    assert matrix.labels == ["hat", "shoe", "bag"] and matrix.guesses == ["hat", "shoe", "bag", "(none)"]
    assert matrix.counts == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]


def test_the_confusion_of_rare_classes_is_counted_together() -> None:
    often = [(f"class {n}", {f"class {n}": 1.0}) for n in range(12) for _ in range(2)]
    matrix = confusion_matrix(_of_classes([*often, ("rare", {"rarer": 1.0}), ("class 0", {"rare": 1.0})]))
    assert matrix.labels[-1] == "(other)" and matrix.guesses[-1] == "(other)"
    assert matrix.counts[-1][-1] == 1 and matrix.counts[0][-1] == 1
    assert sum(map(sum, matrix.counts)) == 26


def test_examples_of_classes_keep_what_was_predicted() -> None:
    examples = _of_classes([("a", {"b": 0.6, "a": 0.3}), ("c", {}), ("a", {"a": 1.0})])
    assert examples.classes[examples.predicted["model"].guesses[0]] == "b"  # type: ignore[index]
    assert examples.predicted["model"].of_label is not None and examples.ranked is not None
    assert examples.predicted["model"].of_label.tolist() == [0.3, 0.0, 1.0]
    named = [[examples.classes[code] for code in row if code != NO_CLASS] for row in examples.ranked]
    assert named == [["b", "a"], [], ["a"]]
