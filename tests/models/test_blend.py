"""A blend is the mean of its members in log-odds."""

from __future__ import annotations

from typing import Any

import pytest

from stream_profiles.errors import DefinitionError
from stream_profiles.features.base import config_as_json
from stream_profiles.models.base import Model, logit, sigmoid
from stream_profiles.models.blend import Blend
from stream_profiles.models.linear import LinearRegression, LogisticRegression
from stream_profiles.models.trees import HoeffdingAdaptiveTree
from tests.models.problems import examples

ONE, OTHER = LogisticRegression(0.1), LogisticRegression(0.01, optimizer="adam")


def learned(*models: Model) -> list[Any]:
    running = [model.start("binary") for model in models]
    for inputs, label in examples("binary", 300):
        for each in running:
            each.learn(inputs, label)
    return running


def test_the_mean_in_log_odds() -> None:
    blend, one, other = learned(Blend([ONE, OTHER]), ONE, OTHER)
    for inputs, _ in examples("binary", 20, 2):
        a, b = one.predict(inputs), other.predict(inputs)
        expected = sigmoid((logit(a, 0.001) + logit(b, 0.001)) / 2)
        assert blend.predict(inputs) == pytest.approx(expected)
        parts = blend.contributions(inputs)
        assert parts["a"] == pytest.approx((one.contributions(inputs)["a"] + other.contributions(inputs)["a"]) / 2)
    importances = [each.importances()["a"] for each in (one, other)]
    assert blend.importances()["a"] == pytest.approx(sum(importances) / 2)


def test_one_member_that_is_sure_does_not_overrule_the_others() -> None:
    (blend,) = learned(Blend([ONE, OTHER]))

    class Sure:
        def predict(self, inputs: Any) -> float:
            return 1.0

    inputs = examples("binary", 1, 3)[0][0]
    other = blend._members[0].predict(inputs)
    blend._members[1] = Sure()
    assert blend.predict(inputs) == pytest.approx(sigmoid((logit(other) + logit(0.999)) / 2))


def test_it_is_compact_when_all_are() -> None:
    tree = HoeffdingAdaptiveTree()
    assert Blend([ONE, OTHER]).start("binary").compact is True
    mixed = Blend([ONE, tree]).start("binary")
    assert mixed.compact is False
    assert mixed.contributions({"a": 1.0}) is None
    assert mixed.importances() is None


def test_its_configuration_tells_all() -> None:
    told = config_as_json(Blend([ONE, OTHER]).config)
    assert told == {
        "models": [
            {"kind": "LogisticRegression", "config": {"learning_rate": 0.1, "l2": 0.0}},
            {"kind": "LogisticRegression", "config": {"learning_rate": 0.01, "l2": 0.0, "optimizer": "adam"}},
        ]
    }


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "models takes two or more"),
        ([ONE], "models takes two or more"),
        ([ONE, LinearRegression()], r"models takes models for binary targets, not LinearRegression\(\)"),
        ([ONE, "adam"], "models takes models for binary targets, not 'adam'"),
    ],
)
def test_what_cannot_be_blended_is_refused(models: list[Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=f"Blend: {message}"):
        Blend(models)
