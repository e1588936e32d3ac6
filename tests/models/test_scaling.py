"""Scales are River's, cut, and stored as numbers."""

from __future__ import annotations

import random

import pytest
from river import preprocessing

from stream_profiles.models.scaling import Complete, LabelScale, Standardised, UnitRange
from tests.models.problems import stored


def test_standardised_inputs_are_rivers_cut() -> None:
    ours, theirs = Standardised(), preprocessing.StandardScaler()
    random_ = random.Random(1)
    for number in range(300):
        inputs = {"x": random_.gauss(3, 2), "rare": float(number % 97 == 96), "same": 1.0}
        ours.learn_one(inputs)
        theirs.learn_one(inputs)
        expected = {name: min(max(value, -5.0), 5.0) for name, value in theirs.transform_one(inputs).items()}
        assert ours.transform_one(inputs) == expected
    assert ours.transform_one({"x": 1e9, "same": 2.0, "new": 3.0}) == {"x": 5.0, "same": 0.0, "new": 0.0}
    assert "x" in ours and "new" not in ours, "asking about an input does not make it known"
    assert Standardised(stored(ours)).transform_one({"x": 1.0}) == ours.transform_one({"x": 1.0})


def test_the_range_of_the_unit_is_of_the_first_inputs() -> None:
    scale = UnitRange()
    for x in (2.0, 4.0):
        scale.learn_one({"x": x, "y": 1.0})
    scale.learn_one({"x": 3.0, "late": 9.0})
    assert scale.transform_one({"x": 3.5}) == {"x": 0.75, "y": 0.5}
    assert scale.transform_one({"x": 99.0, "y": -99.0, "late": 1.0}) == {"x": 1.0, "y": 0.0}


def test_completed_inputs_stand_at_their_mean() -> None:
    scale = Complete()
    for x in (2.0, 4.0):
        scale.learn_one({"x": x, "y": x})
    assert scale.transform_one({"x": 4.0}) == {"x": 1.0, "y": 0.0}
    per_input = Complete(per_input=True)
    for x in (2.0, 4.0):
        per_input.learn_one({name: x for name in "abcd"})
    assert per_input.transform_one({name: 4.0 for name in "abcd"}) == {name: 0.5 for name in "abcd"}


def test_a_label_scale_tells_what_a_change_of_it_means() -> None:
    scale = LabelScale()
    labels = [3.0, 3.0, 5.0, 4.0, 900.0, 4.0]
    factor, standing = 1.0, None
    for label in labels:
        before = scale.deviation
        factor = scale.learn(label)
        if before:
            standing = 1.0 if standing is None else standing * factor
            assert factor * scale.deviation == pytest.approx(before)
        else:
            assert factor == 1.0
    again = LabelScale(stored(scale))
    assert (again.mean, again.deviation) == (scale.mean, scale.deviation)
    assert scale.restored(scale.standardised(900.0)) == pytest.approx(900.0)
    assert scale.restored(float("nan")) == scale.mean
    assert LabelScale().standardised(7.0) == LabelScale().restored(7.0) == 0.0
