"""A persona says what is there, and nothing of what is not."""

from __future__ import annotations

from typing import Any

import pytest

from stream_profiles import Count, Lifecycle, Persona, ProfileDefinition, ProfileUpdater, Sum, TopK
from stream_profiles.checks import check_feature
from stream_profiles.errors import DefinitionError
from tests.events import DAY, event

VALUES: dict[str, Any] = {
    "visits": {"count": 3},
    "spend": {"total": 1234.5, "30d": 20.0},
    "categories": {"top": [["hats", 3.2], ["shoes", 1.0]]},
    "recent": ["a", "b"],
    "stage": {"stage": "active", "since": 1_709_251_200_000},
    "buys_soon": {"score": 0.134},
}


@pytest.mark.parametrize(
    ("sentence", "written"),
    [
        ("Visited {visits.count} times.", "Visited 3 times."),
        ("Spent {spend.total:,.2f}, lately {spend.30d:.0f}.", "Spent 1,234.50, lately 20."),
        ("Likes {categories.top:names}.", "Likes hats, shoes."),
        ("Saw {recent:names}.", "Saw a, b."),
        ("Since {stage.since:date}: {stage.stage}.", "Since 2024-03-01: active."),
        ("Buys with {buys_soon.score:percent}.", "Buys with 13%."),
        (("visits.count > 2", "Comes often."), ""),
        (("visits.count > 2", "Comes often: {visits.count}."), "Comes often: 3."),
        (("visits.count > 5", "Comes often: {visits.count}."), ""),
        ("Braces {{}} stay: {visits.count}", "Braces {} stay: 3"),
        ("Nothing of {carts.total} and {visits.count}.", ""),
        ("No number: {stage.stage:.2f}", ""),
        ("No list: {visits.count:names}", ""),
        ("No day: {spend.total:date}{stage.stage:date}", ""),
    ],
)
def test_a_sentence(sentence: Any, written: str) -> None:
    if sentence == ("visits.count > 2", "Comes often."):
        sentences = [sentence, "{missing}"]
        assert Persona("persona", sentences=sentences).derive(VALUES) == "Comes often."
    else:
        assert Persona("persona", sentences=[sentence]).derive(VALUES) == written


def test_it_follows_the_profile() -> None:
    definition = ProfileDefinition(
        "shop",
        features=[
            Count("views", on="view"),
            Sum("spend", of="amount", on="purchase"),
            TopK("categories", of="category", half_life="7d", k=2),
            Lifecycle("stage"),
            Persona(
                "persona",
                sentences=[
                    "A {stage.stage} customer.",
                    "Viewed {views.total} items.",
                    ("spend.total >= 100", "Spent {spend.total:.0f}."),
                    "Likes {categories.top:names}.",
                ],
            ),
        ],
    )
    updater = ProfileUpdater(definition)
    state = updater.new_state()
    first = updater.apply(state, event("view", category="hats"))
    assert first.changed["persona"] == "A new customer. Viewed 1 items. Likes hats."
    last = updater.apply(state, event("purchase", DAY, category="shoes", price=150.0))
    assert last.changed["persona"] == "A new customer. Viewed 1 items. Spent 150. Likes shoes, hats."
    assert updater.published(state)["persona"] == last.changed["persona"]


def test_it_is_what_every_feature_must_be() -> None:
    persona = Persona("persona", sentences=["Visited {visits.count} times.", ("visits.count > 2", "Often.")])
    check_feature(persona)
    assert persona.sources == ("visits",)
    assert len(Persona("persona", sentences=["{a}" + "x" * 5_000]).derive({"a": 1}) or "") == 2_000


@pytest.mark.parametrize(
    ("sentences", "problem"),
    [
        ([], "is empty"),
        (["Hello."], "no sentence has a part of the profile"),
        (["{visits.count"], "is no template"),
        (["{visits.count!r}"], "is no template"),
        (["{visits.count:{width}}"], "is no template"),
        (["{}"], "is no part of a profile"),
        (["{visits..count}"], "is no part of a profile"),
        ([("visits.count >", "x {visits.count}")], "ends too early"),
        ([("a", "b", "c")], "a pair of a condition and a text"),
        ([(1, "b")], "a pair of a condition and a text"),
    ],
)
def test_what_is_wrong_is_said(sentences: Any, problem: str) -> None:
    with pytest.raises(DefinitionError, match=problem):
        Persona("persona", sentences=sentences)
