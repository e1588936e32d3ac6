"""Passive-aggressive learning is River's; its margins become probabilities that hold."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from river import compose, linear_model, preprocessing

from stream_profiles.errors import DefinitionError
from stream_profiles.models.base import logit
from stream_profiles.models.linear import LogisticRegression
from stream_profiles.models.passive_aggressive import PassiveAggressive
from tests.models.problems import examples
from tests.models.test_linear import cut


def test_the_weights_are_rivers() -> None:
    ours = PassiveAggressive(c=0.05).start("binary")
    theirs = preprocessing.StandardScaler() | compose.FuncTransformer(cut) | linear_model.PAClassifier(C=0.05)
    for inputs, label in examples("binary", 300):
        ours.learn(inputs, label)
        theirs.learn_one(inputs, label)
    assert ours.state()[0][4] == dict(theirs["PAClassifier"].weights)


def test_probabilities_hold() -> None:
    running = PassiveAggressive().start("binary")
    for inputs, label in examples("binary", 4_000):
        running.learn(inputs, label)
    shown: list[tuple[Any, bool]] = [(running.predict(inputs), label) for inputs, label in examples("binary", 4_000, 2)]
    for low, high in ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0)):
        within = [(probability, label) for probability, label in shown if low <= probability < high]
        expected = math.fsum(probability for probability, _ in within) / len(within)
        assert sum(label for _, label in within) / len(within) == pytest.approx(expected, abs=0.12)


def test_contributions_are_the_log_odds() -> None:
    running = PassiveAggressive().start("binary")
    for inputs, label in examples("binary", 200):
        running.learn(inputs, label)
    for inputs, _ in examples("binary", 20, 2):
        contributions = running.contributions(inputs)
        assert contributions is not None
        total = math.fsum(contributions.values()) + running.intercept  # type: ignore[attr-defined]
        assert logit(running.predict(inputs)) == pytest.approx(total)  # type: ignore[arg-type]


def test_a_change_is_followed_sooner_than_by_gradient_descent() -> None:
    aggressive, patient = PassiveAggressive(c=0.1).start("binary"), LogisticRegression().start("binary")
    random_ = random.Random(1)
    for number in range(600):
        x = random_.gauss(0, 1)
        for running in (aggressive, patient):
            running.learn({"x": x}, (x > 0) == (number < 500))
    assert aggressive.predict({"x": 1.0}) < 0.5 < 0.6 < patient.predict({"x": 1.0})  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"c": 0.0}, "c must be above 0"),
        ({"mode": 3}, "mode must be 0, 1 or 2"),
        ({"eps": -1.0}, "eps must be at least 0"),
    ],
)
def test_what_cannot_learn_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=f"PassiveAggressive: {message}"):
        PassiveAggressive(**arguments)
