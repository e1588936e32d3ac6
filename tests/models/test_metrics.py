"""Progressive metrics against River's, against all pairs, and merged over partitions."""

from __future__ import annotations

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import metrics as river_metrics

from stream_profiles.models import BinaryMetrics

Outcomes = list[tuple[float, bool]]
outcomes = st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), max_size=60)


def measured(pairs: Outcomes) -> BinaryMetrics:
    metrics = BinaryMetrics()
    for probability, label in pairs:
        metrics.update(probability, label)
    return metrics


def auc_of_pairs(pairs: Outcomes) -> float:
    """Share of the pairs of a true and a false example that are in the right order; half for equal ones."""
    ones = [p for p, label in pairs if label]
    zeros = [p for p, label in pairs if not label]
    return sum((a > b) + (a == b) / 2 for a in ones for b in zeros) / (len(ones) * len(zeros))


def a_model(seed: int, examples: int, noise: float) -> Outcomes:
    """Calibrated probabilities with some noise on them."""
    random_ = random.Random(seed)
    pairs = []
    for _ in range(examples):
        log_odds = random_.gauss(-1.0, 1.5)
        label = random_.random() < 1 / (1 + math.exp(-log_odds))
        pairs.append((1 / (1 + math.exp(-log_odds - random_.gauss(0.0, noise))), label))
    return pairs


def test_nothing_is_known_of_no_examples() -> None:
    values = BinaryMetrics().values()
    assert values.examples == values.positives == 0
    assert {values.log_loss, values.roc_auc, values.accuracy, values.precision, values.recall, values.f1} == {None}
    assert values.calibration_error is None


def test_one_kind_of_label_has_no_auc() -> None:
    assert measured([(0.2, False), (0.7, False)]).values().roc_auc is None
    assert measured([(0.2, True)]).values().roc_auc is None


def test_by_hand() -> None:
    values = measured([(0.9, True), (0.8, False), (0.7, True), (0.4, True), (0.2, False), (0.1, False)]).values()
    assert (values.examples, values.positives) == (6, 3)
    assert values.accuracy == 4 / 6
    assert values.precision == values.recall == values.f1 == 2 / 3
    assert values.roc_auc == 7 / 9
    assert values.log_loss == pytest.approx(-sum(map(math.log, (0.9, 0.2, 0.7, 0.4, 0.8, 0.9))) / 6)


def test_half_is_a_yes() -> None:
    assert measured([(0.5, True)]).values().accuracy == 1.0


def test_certainty_that_was_wrong_costs_much_but_not_everything() -> None:
    log_loss = measured([(1.0, False), (0.0, True)]).values().log_loss
    assert log_loss is not None
    assert 30 < log_loss < 40


@given(outcomes)
def test_like_rivers(pairs: Outcomes) -> None:
    values = measured(pairs).values()
    theirs = {
        "accuracy": river_metrics.Accuracy(),
        "precision": river_metrics.Precision(),
        "recall": river_metrics.Recall(),
        "f1": river_metrics.F1(),
    }
    log_loss = river_metrics.LogLoss()
    for probability, label in pairs:
        for metric in theirs.values():
            metric.update(label, probability >= 0.5)
        log_loss.update(label, {True: probability, False: 1 - probability})
    for name, metric in theirs.items():
        assert (getattr(values, name) or 0.0) == pytest.approx(metric.get()), name
    if pairs:
        assert values.log_loss == pytest.approx(log_loss.get(), rel=1e-6)


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.5, 2.0]))
def test_the_auc_is_that_of_all_pairs_but_for_ties_within_a_bin(seed: int, noise: float) -> None:
    pairs = a_model(seed, 150, noise)
    assert measured(pairs).values().roc_auc == pytest.approx(auc_of_pairs(pairs), abs=0.005)


def test_scores_far_apart_are_ranked_exactly() -> None:
    pairs = [(probability, probability in (0.3, 0.9)) for probability in (0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99)]
    assert measured(pairs).values().roc_auc == auc_of_pairs(pairs)


def test_calibration() -> None:
    honest, boastful = a_model(1, 20_000, 0.0), [(p**0.25, label) for p, label in a_model(1, 20_000, 0.0)]
    error = measured(honest).values().calibration_error
    assert error is not None
    assert error < 0.01
    gap = sum(p for p, _ in boastful) / len(boastful) - sum(label for _, label in boastful) / len(boastful)
    assert measured(boastful).values().calibration_error == pytest.approx(gap, abs=0.01)


@given(outcomes, outcomes)
def test_partitions_merge_exactly(here: Outcomes, there: Outcomes) -> None:
    merged, whole = measured(here), measured(here + there)
    other = measured(there)
    before = other.state()
    merged.merge(other)
    assert other.state() == before
    values, expected = merged.values(), whole.values()
    for name in ("examples", "positives", "roc_auc", "accuracy", "precision", "recall", "f1"):
        assert getattr(values, name) == getattr(expected, name), name
    assert values.log_loss == pytest.approx(expected.log_loss)
    assert values.calibration_error == pytest.approx(expected.calibration_error)


@given(outcomes, outcomes)
def test_a_stored_state_goes_on_bit_for_bit(before: Outcomes, after: Outcomes) -> None:
    kept = measured(before)
    stored = BinaryMetrics(msgspec.msgpack.decode(msgspec.msgpack.encode(kept.state())))
    for probability, label in after:
        kept.update(probability, label)
        stored.update(probability, label)
    assert stored.state() == kept.state()
    assert stored.values() == kept.values()
