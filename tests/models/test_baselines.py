"""What is usual and what follows from the last label: proper predictions, by the labels so far and no others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles.models.baselines import MeanOfLabels, ShareOfTrue, SharesOfClasses

labels = st.lists(st.sampled_from(["hats", "shirts", "shoes", "socks"]), max_size=30)


def shares(of: list[str]) -> SharesOfClasses:
    baseline = SharesOfClasses()
    for label in of:
        baseline.learn(label)
    return baseline


class TestShareOfTrue:
    def test_is_even_at_first_and_then_the_share(self) -> None:
        share = ShareOfTrue()
        assert share.predict() == share.after(None) == 0.5
        for number in range(1_000):
            share.learn(number % 10 == 0)
        assert share.predict() == pytest.approx(0.1, abs=0.001)

    def test_is_never_certain(self) -> None:
        share = ShareOfTrue()
        share.learn(False)
        assert share.predict() == 0.25

    def test_trusts_a_last_label_but_not_blindly(self) -> None:
        share = ShareOfTrue()
        assert (share.after(True), share.after(False)) == (0.99, 0.01)


class TestSharesOfClasses:
    def test_knows_no_class_at_first(self) -> None:
        assert shares([]).predict() == shares([]).after(None) == {}
        assert shares([]).after("hats") == {"hats": 0.99}

    @given(labels, st.sampled_from(["hats", "coats"]))
    def test_are_those_of_the_labels(self, given_: list[str], last: str) -> None:
        baseline = shares(given_)
        usual, after = baseline.predict(), baseline.after(last)
        assert usual == {label: given_.count(label) / len(given_) for label in given_}
        assert after.keys() == {last, *given_}
        assert after[last] == pytest.approx(0.99 + 0.01 * usual.get(last, 0.0))
        for label in usual.keys() - {last}:
            assert after[label] == pytest.approx(0.01 * usual[label])
        assert sum(after.values()) == pytest.approx(1.0 if given_ else 0.99)

    def test_are_bounded(self) -> None:
        baseline = shares([f"class {number}" for number in range(1_500)])
        assert len(baseline.predict()) == 1_000
        assert baseline.predict()["class 0"] == 1 / 1_500

    @given(labels, labels)
    def test_merge(self, a: list[str], b: list[str]) -> None:
        merged = shares(a)
        merged.merge(shares(b))
        assert merged.state() == shares(a + b).state()

    def test_merged_the_most_frequent_classes_are_kept(self) -> None:
        merged = shares([f"class {number}" for number in range(900)])
        merged.merge(shares([f"class {number}" for number in range(800, 1_100) for _ in range(2)]))
        usual = merged.predict()
        assert len(usual) == 1_000
        assert usual["class 850"] == 3 / 1_500
        assert usual["class 1050"] == 2 / 1_500
        assert sum(share == 1 / 1_500 for share in usual.values()) == 700


class TestMeanOfLabels:
    def test_is_zero_at_first_and_then_the_mean(self) -> None:
        mean = MeanOfLabels()
        assert mean.predict() == mean.after(None) == 0.0
        for label in (10.0, 20.0, 60.0):
            mean.learn(label)
        assert mean.predict() == mean.after(None) == pytest.approx(30.0)
        assert mean.after(12.0) == 12.0

    def test_merges(self) -> None:
        a, b = MeanOfLabels(), MeanOfLabels()
        a.merge(b)
        assert a.state() == [0, 0.0]
        b.learn(4.0)
        b.learn(6.0)
        a.merge(b)
        assert a.state() == b.state()
        b.learn(20.0)
        a.merge(b)
        assert a.predict() == pytest.approx((4 + 6 + 4 + 6 + 20) / 5)
