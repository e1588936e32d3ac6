"""Sentiment and Language: what the libraries say of texts, added up."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from stream_profiles import Event, Language, Sentiment
from stream_profiles.errors import DefinitionError
from stream_profiles.features import texts
from tests.events import DAY, HOUR, T0, event

GOOD, BAD, PLAIN = "I love it, what a great coat!", "Awful. It came torn and late.", "It is a coat with four buttons."


def run(feature: Sentiment | Language, *events: Event) -> Any:
    state = None
    for each in events:
        new = feature.update(state, each)
        state = state if new is None else new
    return state


def said(*said: str) -> list[Event]:
    return [event("review", at, text=text) for at, text in enumerate(said)]


def test_the_mood_of_some_texts() -> None:
    mood, vader = Sentiment("mood"), SentimentIntensityAnalyzer()
    compounds = [vader.polarity_scores(text)["compound"] for text in (GOOD, BAD, PLAIN, BAD)]
    assert mood.snapshot(run(mood, *said(GOOD, BAD, PLAIN, BAD))) == {
        "lifetime": {
            "count": 4,
            "mean": pytest.approx(sum(compounds) / 4),
            "positive": 1,
            "negative": 2,
            "neutral": 1,
        },
        "last": compounds[3],
    }


def test_what_is_no_text_has_no_mood() -> None:
    mood = Sentiment("mood", of="properties.text")
    for text in ("", "  \n ", None, 4, True, ["good"]):
        assert mood.update(None, event(properties={"text": text})) is None


def test_a_mood_fades_by_half_life() -> None:
    mood = Sentiment("mood", half_life="1d", window="1d", lifetime=False)
    state = run(mood, event(text=GOOD), event(at=DAY, text=BAD))
    good, bad = (mood.snapshot(run(mood, *said(text)))["last"] for text in (GOOD, BAD))
    assert mood.value(state, T0 + 2 * DAY)["1d"] == {
        "count": 0.75,
        "mean": pytest.approx((good / 2 + bad) / 1.5),
        "positive": 0.25,
        "negative": 0.5,
        "neutral": 0.0,
    }
    assert mood.value(state, T0 + 2 * DAY)["last_1d"]["negative"] == 1
    assert mood.value(state, T0 + 4 * DAY)["last_1d"] is None
    assert mood.inputs(state, T0 + 2 * DAY) == pytest.approx(
        (0.75, (good / 2 + bad) / 1.5, 0.25, 0.5, 0.0, 1.0, bad, 0.0, 1.0, 0.0, bad)
    )


def test_of_a_long_text_the_beginning_is_read() -> None:
    mood, language = Sentiment("mood"), Language("language")
    padded = "It is a coat. " * 36
    assert mood.snapshot(run(mood, *said(padded + GOOD)))["last"] == 0.0
    assert language.snapshot(run(language, *said(padded + "Das ist ein Mantel. " * 400)))["shares"] == {"en": 1.0}


def test_a_text_of_nothing_but_emoji_takes_no_time() -> None:
    """Each is several words to VADER, whose time grows by the square of their number."""
    assert texts._compound("\N{SMILING FACE WITH SMILING EYES}" * 500) == texts._compound(
        "\N{SMILING FACE WITH SMILING EYES}" * 32
    )


def test_what_is_said_in_a_language_counts_for_it() -> None:
    language = Language("language", k=2)
    state = run(
        language,
        event(text="This coat fits"),
        event(query="Wintermantel für Damen, gefüttert", at=1),
        event(query="rote Schuhe mit hohem Absatz", at=2),
        event(text="Les chaussures sont arrivées en retard", at=3),
    )
    value = language.snapshot(state)
    assert list(value["shares"]) == ["de", "fr"]
    percents = {"en": 53, "de": 168, "fr": 99}
    assert state[2] == percents
    assert value["shares"] == {name: pytest.approx(percents[name] / sum(percents.values())) for name in ("de", "fr")}
    assert value["other"] == pytest.approx(1 - sum(value["shares"].values()))
    assert language.category(state, T0) == "de"


def test_the_first_field_that_an_event_has_is_read() -> None:
    language = Language("language")
    german = event(text="  ", query="rote Schuhe mit hohem Absatz")
    assert language.category(run(language, german), T0) == "de"
    both = event(text="This coat fits very well", query="rote Schuhe mit hohem Absatz")
    assert language.category(run(language, both), T0) == "en"


@pytest.mark.parametrize("text", ["", "12345", "ps5", "nike", "!!!", "a" * 500])
def test_what_could_be_any_language_counts_for_none(text: str) -> None:
    assert Language("language").update(None, event(text=text)) is None


@pytest.mark.parametrize("text", ["12345", "ps5", "!!!"])
def test_what_is_in_no_language_is_not_shared_out_among_few(text: str) -> None:
    assert Language("language", languages=["en", "de", "fr", "es"]).update(None, event(text=text)) is None


def test_short_queries_need_languages_to_choose_from() -> None:
    any_language, shop = Language("language"), Language("language", languages=["en", "es", "pt"])
    query = event(query="vestido azul")
    assert any_language.snapshot(run(any_language, query))["shares"].keys() == {"es", "gl", "pt"}
    assert shop.category(run(shop, query), T0) == "es"
    assert run(shop, query)[2].keys() <= {"es", "pt"}


def test_a_language_is_forgotten_by_half_life_and_by_window() -> None:
    english, german = (
        event(text="This coat fits very well"),
        event(at=5 * DAY, query="Wintermantel für Damen, gefüttert"),
    )
    for parameters in ({"half_life": "1d"}, {"window": "7d"}):
        language = Language("language", **parameters)  # type: ignore[arg-type]
        state = run(language, english, english, german)
        assert language.category(state, T0 + 5 * DAY) == ("de" if "half_life" in parameters else "en")
        assert language.category(state, T0 + 8 * DAY) == "de"
    assert language.category(state, T0 + 20 * DAY) is None
    assert language.value(state, T0 + 8 * DAY)["shares"] == {"de": 1.0}
    assert language.value(state, T0 + 20 * DAY)["shares"] == {}


def test_languages_come_in_any_order_and_in_parts() -> None:
    phrases = ["This coat fits well", "rote Schuhe", "chaussures de femme", "zapatos rojos", "sapatos de mulher"]
    events = [event(at=n * HOUR, text=phrases[n % 5] + "!" * (n % 3)) for n in range(40)]
    for parameters in ({}, {"half_life": "1d"}, {"window": "1d"}):
        language = Language("language", k=20, **parameters)  # type: ignore[arg-type]
        now = events[-1].time
        value = language.value(run(language, *events), now)["shares"]
        assert len(value) >= 5
        for seed in range(3):
            shuffled = random.Random(seed).sample(events, 40)
            assert language.value(run(language, *shuffled), now)["shares"] == pytest.approx(value)
            merged = language.merge(run(language, *shuffled[:15]), run(language, *shuffled[15:]))
            assert language.value(merged, now)["shares"] == pytest.approx(value)


def test_percents_do_not_depend_on_the_processor() -> None:
    """Those of one machine; a BLAS for another processor has other last bits."""
    assert texts._languages("zapatos rojos", None) == [("es", 34), ("lt", 14), ("hu", 10)]
    assert texts._languages("sapatos de mulher", None) == [("pt", 58), ("an", 13)]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"of": ()}, "takes an event field or a list of them"),
        ({"of": ("txt",)}, "did you mean 'text'"),
        ({"languages": "de"}, "takes a list of at least two codes"),
        ({"languages": ["de"]}, "takes a list of at least two codes"),
        ({"languages": ["de", "de"]}, "a language is given twice"),
        ({"languages": ["de", "deu"]}, "'deu' is not a language it knows; did you mean"),
        ({"half_life": "1d", "window": "1d"}, "at most one half_life or one window"),
    ],
)
def test_what_makes_no_language_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Language("language", **parameters)


def test_a_definition_loads_no_library_before_it_has_a_text() -> None:
    code = (
        "import sys; from stream_profiles import Language, Sentiment; Sentiment('mood'), Language('language');"
        "print([m for m in ('vaderSentiment', 'py3langid', 'datasketches', 'ddsketch') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
