"""The loss of one prediction against the metrics of one, and fading means against weighted ones."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles.errors import DefinitionError
from stream_profiles.models.metrics import BinaryMetrics, FadingLoss, MulticlassMetrics, RegressionMetrics, loss

values = st.lists(st.floats(-100.0, 100.0), min_size=1, max_size=60)
half_lives = st.sampled_from([1, 2.5, 20, 1_000_000])


class TestLoss:
    @given(st.floats(0.0, 1.0) | st.just(math.nan), st.booleans())
    def test_of_a_probability_is_the_log_loss(self, probability: float, label: bool) -> None:
        metrics = BinaryMetrics()
        metrics.update(probability, label)
        assert loss("binary", probability, label) == metrics.values().log_loss

    @given(st.dictionaries(st.sampled_from("abc"), st.floats(0.0, 1.0)), st.sampled_from("abc"))
    def test_of_probabilities_by_class_is_the_log_loss(self, prediction: dict[str, float], label: str) -> None:
        metrics = MulticlassMetrics()
        metrics.update(prediction, label)
        assert loss("multiclass", prediction, label) == metrics.values().log_loss

    @given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
    def test_of_a_number_is_the_squared_error(self, prediction: float, label: float) -> None:
        metrics = RegressionMetrics()
        metrics.update(prediction, label)
        rmse = metrics.values().rmse
        assert rmse is not None
        assert loss("regression", prediction, label) == pytest.approx(rmse**2)

    @pytest.mark.parametrize(
        ("task", "prediction", "label"),
        [
            *(("binary", odd, label) for odd in (0.0, 1.0, math.nan, math.inf, -3.0) for label in (True, False)),
            *(("multiclass", odd, "a") for odd in ({}, {"a": math.nan}, {"a": math.inf}, {"a": -1.0})),
            *(("regression", odd, 1e300) for odd in (math.nan, math.inf, -math.inf, 1e308)),
        ],
    )
    def test_is_finite_whatever_the_prediction(self, task: str, prediction: Any, label: Any) -> None:
        found = loss(task, prediction, label)
        assert 0.0 <= found < math.inf
        # So much that a difference of two can still be squared and added up.
        assert found * found * 1e12 < math.inf

    def test_of_no_task(self) -> None:
        with pytest.raises(DefinitionError, match=r"'ranking'.*binary, multiclass, regression"):
            loss("ranking", 0.5, True)


class TestFadingLoss:
    def test_knows_nothing_at_first(self) -> None:
        fading = FadingLoss(10)
        assert fading.mean is fading.variance is fading.standard_error is None
        assert fading.effective_size == 0.0
        fading.update(3.0)
        assert fading.mean == 3.0
        assert fading.variance is fading.standard_error is None
        assert fading.effective_size == 1.0

    @given(values, half_lives)
    def test_is_the_mean_weighted_by_age(self, given_: list[float], half_life: float) -> None:
        fading = FadingLoss(half_life)
        for value in given_:
            fading.update(value)
        weights = 0.5 ** (np.arange(len(given_))[::-1] / half_life)
        mean = np.average(given_, weights=weights)
        assert fading.mean == pytest.approx(mean, abs=1e-9)
        assert fading.effective_size == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
        if len(given_) > 1:
            freedom = weights.sum() - (weights**2).sum() / weights.sum()
            variance = (weights * (given_ - mean) ** 2).sum() / freedom
            assert fading.variance == pytest.approx(variance, abs=1e-9)
            assert fading.standard_error == pytest.approx(
                math.sqrt(variance * (weights**2).sum()) / weights.sum(), abs=1e-6
            )

    def test_an_example_counts_half_after_a_half_life(self) -> None:
        fading = FadingLoss(3)
        for value in (1.0, 0.0, 0.0, 0.0):
            fading.update(value)
        assert fading.mean == pytest.approx(0.5 / (0.5 + 2 ** (-2 / 3) + 2 ** (-1 / 3) + 1))

    def test_forgets_what_was(self) -> None:
        fading = FadingLoss(100)
        for n in range(4_000):
            fading.update(5.0 if n < 2_000 else 1.0 + n % 2)
        assert fading.mean == pytest.approx(1.5, abs=0.01)
        assert fading.variance == pytest.approx(0.25, abs=0.01)

    def test_counts_some_2_9_half_lives_in_the_long_run(self) -> None:
        fading = FadingLoss(100)
        for _ in range(3_000):
            fading.update(1.0)
        assert fading.effective_size == pytest.approx(288.5, rel=0.01)
        assert fading.variance == 0.0

    def test_the_standard_error_is_how_far_the_mean_strays(self) -> None:
        generator = np.random.default_rng(11)
        strayed, errors = [], []
        for _ in range(400):
            fading = FadingLoss(50)
            for value in generator.exponential(2.0, 300).tolist():
                fading.update(value)
            assert fading.mean is not None and fading.standard_error is not None
            strayed.append(fading.mean - 2.0)
            errors.append(fading.standard_error)
        assert np.std(strayed) == pytest.approx(np.mean(errors), rel=0.1)

    @given(values, values, half_lives)
    def test_a_stored_state_goes_on_bit_for_bit(
        self, before: list[float], after: list[float], half_life: float
    ) -> None:
        kept = FadingLoss(half_life)
        for value in before:
            kept.update(value)
        packed = FadingLoss(half_life, msgspec.msgpack.decode(msgspec.msgpack.encode(kept.state())))
        written = FadingLoss(half_life, json.loads(json.dumps(kept.state())))
        for value in after:
            for each in (kept, packed, written):
                each.update(value)
        assert packed.state() == written.state() == kept.state()
        assert packed.standard_error == kept.standard_error

    @given(st.lists(st.floats(1e9, 1e9 + 1e-5), min_size=2, max_size=20), half_lives)
    def test_has_a_variance_even_of_losses_that_hardly_differ(self, given_: list[float], half_life: float) -> None:
        fading = FadingLoss(half_life)
        for value in given_:
            fading.update(value)
        assert fading.standard_error is not None
        assert 0.0 <= fading.standard_error < 1e-4

    @pytest.mark.parametrize("half_life", [0, -1, 0.5, math.nan])
    def test_a_half_life_is_at_least_one_example(self, half_life: float) -> None:
        with pytest.raises(DefinitionError, match="half_life"):
            FadingLoss(half_life)
