"""Naive Bayes is River's, with a state of plain numbers."""

from __future__ import annotations

import pytest
from river import naive_bayes

from stream_profiles.models.bayes import NaiveBayes
from tests.models.problems import examples, stored


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_it_predicts_what_river_predicts(task: str) -> None:
    ours, theirs = NaiveBayes().start(task), naive_bayes.GaussianNB()
    for inputs, label in examples(task, 300):
        ours.learn(inputs, label)
        theirs.learn_one(inputs, label)
        expected = theirs.predict_proba_one(inputs)
        prediction = ours.predict(inputs)
        if isinstance(prediction, dict):
            assert prediction == pytest.approx(expected)
        else:
            assert prediction == pytest.approx(expected.get(True, 0.0))


def test_the_state_is_numbers() -> None:
    running = NaiveBayes().start("binary")
    running.learn({"x": 1.0}, True)
    running.learn({"x": 3.0}, True)
    running.learn({"x": 2.0}, False)
    assert stored(running) == [3, [[True, 2, {"x": [2.0, 2.0, 2.0]}], [False, 1, {"x": [1.0, 2.0, 0.0]}]]]
