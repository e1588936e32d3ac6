"""Metrics of probabilities against scikit-learn's and River's, and the state that the first release stored."""

from __future__ import annotations

import math
import random
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import metrics as river_metrics
from sklearn import metrics as sklearn_metrics

from stream_profiles.errors import SettingsError
from stream_profiles.models.metrics import BinaryMetrics, CalibrationRange, Confusion

Outcomes = list[tuple[float, bool]]
outcomes = st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), max_size=60)
#: Scores in the middle of the bins that they are counted in: those in one bin really are equal.
MIDDLES = [1 / (1 + math.exp(-(position + 0.5) / 10)) for position in range(-100, 100)]
both_kinds = (
    st.lists(st.tuples(st.sampled_from(MIDDLES), st.booleans()), min_size=2, max_size=60)
    | st.lists(st.tuples(st.sampled_from(MIDDLES[95:105]), st.booleans()), min_size=2, max_size=60)
).filter(lambda pairs: len({label for _, label in pairs}) == 2)

#: What release 0.1 stored of `OLD_PAIRS`.
OLD_PAIRS: Outcomes = [
    (0.0, False),
    (1.0, True),
    (0.03, False),
    (0.031, False),
    (0.03, True),
    (0.2, False),
    (0.21, True),
    (0.5, True),
    (0.55, False),
    (0.72, True),
    (0.9, True),
    (0.97, False),
]
OLD_STATE = [
    12,
    6,
    10.784376428202503,
    4,
    2,
    [
        [0, 1, 0, 0.0],
        [65, 2, 1, 0.091],
        [86, 1, 1, 0.41000000000000003],
        [100, 0, 1, 0.5],
        [102, 1, 0, 0.55],
        [109, 0, 1, 0.72],
        [121, 0, 1, 0.9],
        [134, 1, 0, 0.97],
        [199, 0, 1, 1.0],
    ],
]


def measured(pairs: Outcomes) -> BinaryMetrics:
    metrics = BinaryMetrics()
    for probability, label in pairs:
        metrics.update(probability, label)
    return metrics


def a_model(seed: int, examples: int, noise: float, log_odds: float = -1.0) -> Outcomes:
    """Calibrated probabilities with some noise on them."""
    random_ = random.Random(seed)
    pairs = []
    for _ in range(examples):
        odds = random_.gauss(log_odds, 1.5)
        label = random_.random() < 1 / (1 + math.exp(-odds))
        pairs.append((1 / (1 + math.exp(-odds - random_.gauss(0.0, noise))), label))
    return pairs


def test_nothing_is_known_of_no_examples() -> None:
    values = BinaryMetrics().values()
    assert values.examples == values.positives == 0
    assert {values.log_loss, values.roc_auc, values.accuracy, values.precision, values.recall, values.f1} == {None}
    assert {values.calibration_error, values.brier_score, values.pr_auc, values.top_decile_lift} == {None}
    assert values.confusion == Confusion(tn=0, fp=0, fn=0, tp=0)
    assert values.calibration == ()


def test_one_kind_of_label_has_no_auc() -> None:
    none_true = measured([(0.2, False), (0.7, False)]).values()
    assert none_true.roc_auc is none_true.pr_auc is none_true.top_decile_lift is None
    all_true = measured([(0.2, True)]).values()
    assert all_true.roc_auc is None
    assert all_true.pr_auc == all_true.top_decile_lift == 1.0


def test_by_hand() -> None:
    values = measured([(0.9, True), (0.8, False), (0.7, True), (0.4, True), (0.2, False), (0.1, False)]).values()
    assert (values.examples, values.positives) == (6, 3)
    assert values.accuracy == 4 / 6
    assert values.precision == values.recall == values.f1 == 2 / 3
    assert values.roc_auc == 7 / 9
    assert values.pr_auc == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)
    assert values.log_loss == pytest.approx(-sum(map(math.log, (0.9, 0.2, 0.7, 0.4, 0.8, 0.9))) / 6)
    assert values.brier_score == pytest.approx((0.01 + 0.64 + 0.09 + 0.36 + 0.04 + 0.01) / 6)
    assert values.confusion == Confusion(tn=2, fp=1, fn=1, tp=2)


def test_half_is_a_yes() -> None:
    assert measured([(0.5, True)]).values().accuracy == 1.0
    assert measured([(0.5, False)]).values().confusion == Confusion(tn=0, fp=1, fn=0, tp=0)


def test_certainty_that_was_wrong_costs_much_but_not_everything() -> None:
    log_loss = measured([(1.0, False), (0.0, True)]).values().log_loss
    assert log_loss is not None
    assert 30 < log_loss < 40


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, -0.2, 1.7])
def test_what_is_no_probability_leaves_numbers(odd: float) -> None:
    metrics = measured([(odd, True), (odd, False), (0.7, True)])
    values = metrics.values()
    assert values.log_loss is not None and values.brier_score is not None
    assert 0 < values.log_loss < 40
    assert 0 <= values.brier_score <= 1
    assert all(0 <= each.mean_score <= 1 for each in values.calibration)


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


@given(both_kinds)
def test_like_scikit_learns(pairs: Outcomes) -> None:
    scores, labels = [score for score, _ in pairs], [label for _, label in pairs]
    guesses = [score >= 0.5 for score in scores]
    values = measured(pairs).values()
    assert values.log_loss == pytest.approx(sklearn_metrics.log_loss(labels, scores))
    assert values.brier_score == pytest.approx(sklearn_metrics.brier_score_loss(labels, scores))
    assert values.roc_auc == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores))
    assert values.pr_auc == pytest.approx(sklearn_metrics.average_precision_score(labels, scores))
    assert values.f1 == pytest.approx(sklearn_metrics.f1_score(labels, guesses))
    [[tn, fp], [fn, tp]] = sklearn_metrics.confusion_matrix(labels, guesses).tolist()
    assert values.confusion == Confusion(tn=tn, fp=fp, fn=fn, tp=tp)


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.5, 2.0]))
def test_the_roc_auc_is_exact_but_for_ties_within_a_bin(seed: int, noise: float) -> None:
    pairs = a_model(seed, 150, noise)
    exact = sklearn_metrics.roc_auc_score([label for _, label in pairs], [score for score, _ in pairs])
    assert measured(pairs).values().roc_auc == pytest.approx(exact, abs=0.005)


@pytest.mark.parametrize("log_odds", [-4.0, -1.0, 2.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_pr_auc_is_exact_but_for_ties_within_a_bin(seed: int, log_odds: float) -> None:
    pairs = a_model(seed, 4_000, 0.5, log_odds)
    assert sum(label for _, label in pairs) > 100
    exact = sklearn_metrics.average_precision_score([label for _, label in pairs], [score for score, _ in pairs])
    found = measured(pairs).values().pr_auc
    assert found is not None
    assert exact - 0.01 < found <= exact


def test_scores_far_apart_are_ranked_exactly() -> None:
    pairs = [(probability, probability in (0.3, 0.9)) for probability in (0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99)]
    scores, labels = zip(*pairs, strict=True)
    values = measured(pairs).values()
    assert values.roc_auc == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores))
    assert values.pr_auc == pytest.approx(sklearn_metrics.average_precision_score(labels, scores))


class TestLift:
    def test_by_hand(self) -> None:
        metrics = measured([(0.9, True), (0.8, False), (0.7, True), (0.4, False), *[(0.1, False)] * 6])
        assert metrics.lift(0.1) == pytest.approx(1 / (1 * 0.2))
        assert metrics.lift(0.2) == pytest.approx(1 / (2 * 0.2))
        assert metrics.lift(0.3) == pytest.approx(2 / (3 * 0.2))
        assert metrics.lift(1.0) == 1.0
        assert metrics.values().top_decile_lift == metrics.lift(0.1)

    @given(st.lists(st.tuples(st.sampled_from(MIDDLES[99:102]), st.booleans()), min_size=1, max_size=5), st.data())
    def test_it_is_the_mean_over_all_orders_of_equal_scores(self, pairs: Outcomes, data: st.DataObject) -> None:
        if not any(label for _, label in pairs):
            pairs[0] = pairs[0][0], True
        top = data.draw(st.integers(1, len(pairs)))
        found = 0.0
        orders = list(permutations(pairs))
        for order in orders:
            highest = sorted(order, key=lambda pair: -pair[0])[:top]
            found += sum(label for _, label in highest) / top
        average = sum(label for _, label in pairs) / len(pairs)
        assert measured(pairs).lift(top / len(pairs)) == pytest.approx(found / len(orders) / average)

    @pytest.mark.parametrize("share", [0.0, -0.1, 1.01, 10, math.nan])
    def test_of_what_is_no_share(self, share: float) -> None:
        with pytest.raises(SettingsError, match="above 0 and at most 1"):
            BinaryMetrics().lift(share)


class TestCalibration:
    def test_the_error_of_a_calibrated_model_is_small(self) -> None:
        error = measured(a_model(1, 20_000, 0.0)).values().calibration_error
        assert error is not None
        assert error < 0.01

    def test_the_error_of_a_boastful_model_is_its_boast(self) -> None:
        boastful = [(p**0.25, label) for p, label in a_model(1, 20_000, 0.0)]
        gap = sum(p for p, _ in boastful) / len(boastful) - sum(label for _, label in boastful) / len(boastful)
        assert measured(boastful).values().calibration_error == pytest.approx(gap, abs=0.01)

    def test_the_table_by_hand(self) -> None:
        rare = [(0.005, False)] * 3
        table = (
            measured([(0.62, True), (0.96, True), (0.62, False), *rare, (0.64, True), (1.0, True)]).values().calibration
        )
        assert table == (
            CalibrationRange(above=0.0, below=0.01, examples=3, mean_score=0.005, share_true=0.0),
            CalibrationRange(
                above=0.6, below=0.7, examples=3, mean_score=pytest.approx(0.62 / 3 * 2 + 0.64 / 3), share_true=2 / 3
            ),
            CalibrationRange(above=0.95, below=0.98, examples=1, mean_score=0.96, share_true=1.0),
            CalibrationRange(above=0.99, below=1.0, examples=1, mean_score=pytest.approx(1.0), share_true=1.0),
        )

    @given(outcomes)
    def test_the_table_has_every_example_once_in_its_range(self, pairs: Outcomes) -> None:
        table = measured(pairs).values().calibration
        assert [each.above for each in table] == sorted({each.above for each in table})
        assert sum(each.examples for each in table) == len(pairs)
        assert sum(each.examples * each.share_true for each in table) == pytest.approx(sum(y for _, y in pairs))
        assert sum(each.examples * each.mean_score for each in table) == pytest.approx(sum(p for p, _ in pairs))
        for each in table:
            assert each.above - 0.0125 <= each.mean_score <= each.below + 0.0125

    def test_the_table_of_a_calibrated_model_is_a_diagonal(self) -> None:
        table = measured(a_model(5, 20_000, 0.0, log_odds=-3.0)).values().calibration
        assert len(table) > 10
        for each in table:
            error = math.sqrt(each.mean_score * (1 - each.mean_score) / each.examples)
            assert each.share_true == pytest.approx(each.mean_score, abs=4 * error)


class TestTheFirstReleasesState:
    def test_its_values_are_still_the_same(self) -> None:
        values, fresh = BinaryMetrics(OLD_STATE).values(), measured(OLD_PAIRS).values()
        assert values.roc_auc == 0.7083333333333334
        assert values.log_loss == 0.8986980356835419
        assert values.calibration_error == pytest.approx(0.24158333333333334, abs=1e-14)
        assert values.accuracy == values.precision == values.recall == values.f1 == 4 / 6
        assert values.confusion == fresh.confusion
        assert (values.pr_auc, values.top_decile_lift) == (fresh.pr_auc, fresh.top_decile_lift)

    def test_the_brier_score_it_lacks_is_nearly_the_true_one(self) -> None:
        fresh = measured(OLD_PAIRS).values().brier_score
        assert BinaryMetrics(OLD_STATE).values().brier_score == pytest.approx(fresh, abs=1e-3)
        many = measured(a_model(7, 5_000, 0.5))
        assert BinaryMetrics(many.state()[:6]).values().brier_score == pytest.approx(
            many.values().brier_score, abs=1e-4
        )
        assert BinaryMetrics([0, 0, 0.0, 0, 0, []]).values().brier_score is None

    @given(outcomes)
    def test_it_goes_on(self, pairs: Outcomes) -> None:
        old, whole = BinaryMetrics(OLD_STATE), measured(OLD_PAIRS + pairs)
        for probability, label in pairs:
            old.update(probability, label)
        assert old.state()[:5] == whole.state()[:5]
        assert [bin[:3] for bin in old.state()[5]] == [bin[:3] for bin in whole.state()[5]]
        stored = BinaryMetrics(old.state())
        assert stored.values() == old.values()

    def test_it_merges(self) -> None:
        merged = measured([(0.3, True)])
        merged.merge(BinaryMetrics(OLD_STATE))
        assert merged.values().roc_auc == measured([*OLD_PAIRS, (0.3, True)]).values().roc_auc
