"""Reasons: the largest contributions, in words that say which way an input is off."""

from __future__ import annotations

import pytest

from stream_profiles.models.explanations import reasons, words
from stream_profiles.models.linear import LogisticRegression


def test_the_largest_come_first_and_ties_by_name() -> None:
    contributions = {"b": 0.5, "a": -0.5, "d": 0.1, "c": 2.0, "e": 0.0}
    found = reasons(contributions, dict.fromkeys(contributions, 1.0), top=4)
    assert [[name, added] for name, added, _ in found] == [["c", 2.0], ["a", -0.5], ["b", 0.5], ["d", 0.1]]
    shuffled = dict(reversed(contributions.items()))
    assert reasons(shuffled, dict.fromkeys(shuffled, 1.0), top=4) == found
    assert reasons(contributions, dict.fromkeys(contributions, 1.0), top=1) == found[:1]


def test_what_is_as_usual_is_no_reason() -> None:
    assert reasons({"a": 0.3, "b": 0.0}, {"a": 0.0, "b": 2.0}) == []
    assert reasons({"a": 0.3}, {}) == []


def test_a_models_own_numbers_give_reasons() -> None:
    running = LogisticRegression(0.1).start("binary")
    for number in range(400):
        running.learn({"views_1d": float(number % 5), "spend_total": float(number % 3)}, number % 5 > 2)
    inputs = {"views_1d": 0.0, "spend_total": 1.0}
    contributions, deviations = running.contributions(inputs), running.deviations(inputs)
    assert contributions is not None and deviations is not None
    (first, *_) = reasons(contributions, deviations)
    assert first == ["views_1d", contributions["views_1d"], "fewer views (1d) than usual (lowers it)"]


@pytest.mark.parametrize(
    ("name", "above", "below"),
    [
        ("views_total", "more views than usual", "fewer views than usual"),
        ("views_1d", "more views (1d) than usual", "fewer views (1d) than usual"),
        ("spend_500ms", "higher spend (500ms) than usual", "lower spend (500ms) than usual"),
        (
            "last_purchase_seconds",
            "longer since last_purchase than usual",
            "less long since last_purchase than usual",
        ),
        ("last_purchase_ever", "last_purchase has happened", "no last_purchase yet"),
        ("visits_seconds", "longer visits than usual", "shorter visits than usual"),
        ("visits_events", "more events in visits than usual", "fewer events in visits than usual"),
        ("visits_count", "more visits than usual", "fewer visits than usual"),
        ("visits_active", "visits active", "visits not active"),
        ("return_ratio", "higher return_ratio than usual", "lower return_ratio than usual"),
        ("type=cart", "type is cart", "type is not cart"),
        ("channel=a_1d", "channel is a_1d", "channel is not a_1d"),
        ("item#12", "item is in group 12", "item is not in group 12"),
        ("age", "higher age than usual", "lower age than usual"),
        ("", "higher  than usual", "lower  than usual"),
    ],
)
def test_words(name: str, above: str, below: str) -> None:
    others = ["last_purchase_seconds", "last_purchase_ever", "visits_seconds"]
    assert words(name, True, others=others) == above
    assert words(name, False, others=others) == below
    assert words(name, True, False, others=others) == f"{above} (lowers it)"
