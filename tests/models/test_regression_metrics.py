"""Metrics of numbers against scikit-learn's, also where naive sums would lose all their digits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from stream_profiles.models.metrics import RegressionMetrics, RegressionValues

Outcomes = list[tuple[float, float]]
#: Quarters, so that labels are the same or clearly not.
numbers = st.integers(-4_000, 4_000).map(lambda quarters: quarters / 4)
outcomes = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=40)


def measured(pairs: Outcomes) -> RegressionMetrics:
    metrics = RegressionMetrics()
    for prediction, label in pairs:
        metrics.update(prediction, label)
    return metrics


def test_nothing_is_known_of_no_examples() -> None:
    assert RegressionMetrics().values() == RegressionValues(
        examples=0, mean_label=None, mae=None, rmse=None, r2=None, bias=None
    )


@given(outcomes)
def test_like_scikit_learns(pairs: Outcomes) -> None:
    predictions, labels = zip(*pairs, strict=True)
    values = measured(pairs).values()
    assert values.examples == len(pairs)
    assert values.mean_label == pytest.approx(np.mean(labels), abs=1e-9)
    assert values.mae == pytest.approx(sklearn_metrics.mean_absolute_error(labels, predictions))
    assert values.rmse == pytest.approx(sklearn_metrics.root_mean_squared_error(labels, predictions))
    assert values.bias == pytest.approx(np.mean(predictions) - np.mean(labels), abs=1e-9)
    if len(set(labels)) == 1:
        assert values.r2 is None
    else:
        assert values.r2 == pytest.approx(sklearn_metrics.r2_score(labels, predictions))


def test_too_high_is_a_bias_above_zero() -> None:
    assert measured([(12.0, 10.0), (10.0, 10.0)]).values().bias == 1.0


def test_the_mean_explains_nothing() -> None:
    assert measured([(15.0, 10.0), (15.0, 20.0)]).values().r2 == 0.0


@pytest.mark.parametrize("pieces", [1, 2, 7, 500])
def test_labels_that_are_large_and_close_together_keep_their_digits(pieces: int) -> None:
    generator = np.random.default_rng(4)
    labels = 1e9 + generator.normal(0.0, 1.0, 5_000)
    predictions = labels + generator.normal(0.0, 0.5, 5_000)
    whole = RegressionMetrics()
    pairs = list(zip(predictions.tolist(), labels.tolist(), strict=True))
    for piece in range(pieces):
        whole.merge(measured(pairs[piece::pieces]))
    values = whole.values()
    assert values.r2 == pytest.approx(sklearn_metrics.r2_score(labels, predictions), rel=1e-6)
    assert 0.7 < values.r2 < 0.8
    assert values.mean_label == pytest.approx(labels.mean(), abs=1e-5)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 1e300, -1e300])
def test_a_model_that_diverged_looks_like_one_and_leaves_numbers(odd: float) -> None:
    metrics = measured([(odd, 1.0), (2.0, 3.0), (odd, odd)])
    assert all(math.isfinite(number) for number in metrics.state())
    other = measured([(-odd, 5.0), (1.0, -odd)])
    metrics.merge(other)
    values = metrics.values()
    assert values.rmse is not None and values.r2 is not None
    assert math.isfinite(values.rmse) and math.isfinite(values.r2)
    assert values.rmse > 1e40
