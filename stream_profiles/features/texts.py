"""Sentiment and Language: how a user writes, and in which language.

What a text says is asked of libraries that need neither a network nor a GPU. They are imported, and what they know is
loaded, when the first text comes: it takes a second and 100 MB, and a reader of profiles never has a text.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from functools import cache, lru_cache
from typing import Any

from .._suggestions import did_you_mean
from ..contracts import Event
from ..durations import Duration
from ..errors import DefinitionError
from . import decay, tallies, windows
from .base import State, field_getter
from .statistics import Partial
from .summaries import Summary
from .tallies import Tallied, Weights

#: What is looked at of a text. The time that VADER takes grows by the square of the number of words, and an emoji is
#: several: these keep it below 10 ms whatever is sent, and leave all there is in most reviews.
_MAX_CHARACTERS, _MAX_EMOJI = 500, 32
#: Texts whose answer is remembered, in a process: reviews are sent again, and queries are what others look for too.
_REMEMBERED = 4096

#: From which compound on a text is positive, or negative below zero (Hutto and Gilbert 2014).
_CLEAR = 0.05

#: A language is one of a text's from this probability on, and when it is so much likelier than by chance: of "nike"
#: nothing can be said.
_LEAST_PERCENT, _LEAST_LIFT = 10, 1.5
#: More than the library knows, and the most bytes that the code of one takes.
_MOST_LANGUAGES, _CODE_BYTES = 200, 9


class Sentiment(Summary):
    """How positive a user's English texts are, from -1 to 1.

    The compound score of VADER (Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
    Social Media Text", ICWSM 2014), a lexicon of 7,500 words with rules for negation, emphasis and emoji: for reviews
    and messages in English. In any other language nearly all is neutral. A text counts as positive from 0.05 on and as
    negative from -0.05 down. Of a long text the first 500 characters are read.

    Parameters:
        name: Field name.
        of: Event field with the text.
        half_life: One or several durations, in which a text's weight halves.
        window: One or several durations, published as `last_7d` and the like.
        resolution: How long the tiles of a window are; 1/24 of the window or less when not given.
        lifetime: Keep the statistics since ever.
        on: Event type(s); None for all.
        where: Condition on the events.

    Published: for the `lifetime`, each half-life and each window `count`, `mean`, and of `count` how many were
    `positive`, `negative` and `neutral`, None (`null`) for a window without texts; and `last`, of the last text. A
    half-life's counts fade as time goes by, so there is `at`; for a window also `then`.

    Examples:
        >>> from stream_profiles import Event, Sentiment
        >>> mood = Sentiment("mood")
        >>> state = None
        >>> for n, text in enumerate(["A great coat, I love it!", "Not what I ordered.", "It came torn. Awful."]):
        ...     state = mood.update(state, Event(event_id=str(n), user_id="u", type="review", time=n, text=text))
        >>> mood.snapshot(state)
        {'lifetime': {'count': 3, 'mean': 0.083..., 'positive': 1, 'negative': 1, 'neutral': 1}, 'last': -0.6124}
    """

    width = 5
    names = ("count", "mean", "positive", "negative", "neutral")
    counts = frozenset({"count", "positive", "negative", "neutral"})

    def __init__(
        self,
        name: str,
        *,
        of: str = "text",
        half_life: decay.HalfLives = None,
        window: windows.Durations = None,
        resolution: Duration | None = None,
        lifetime: bool = True,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(
            name,
            of=of,
            on=on,
            where=where,
            half_life=half_life,
            window=window,
            resolution=resolution,
            lifetime=lifetime,
        )
        self._read, self._get = self._get, self._score

    def _score(self, event: Event) -> float | None:
        text = _beginning(self._read(event))
        return None if text is None else _compound(text)

    def lift(self, value: float) -> list[Any]:
        positive, negative = int(value >= _CLEAR), int(value <= -_CLEAR)
        return [1, value, positive, negative, 1 - positive - negative]

    def combine(self, a: Partial, b: Partial) -> list[Any]:
        return [one + other for one, other in zip(a, b, strict=True)]

    def fade(self, partial: Partial, kept: float) -> list[Any]:
        return [each * kept for each in partial]

    def result(self, partial: Partial | None) -> Any:
        if partial is None or not partial[0]:
            return None
        count, total, *kinds = partial
        return dict(zip(self.names, (count, total / count, *kinds), strict=True))


class Language(Tallied):
    """The languages a user most likely writes in: since ever, by half-life, or in a sliding window.

    Each text gives every language its probability by a naive Bayes classifier over byte n-grams (Lui and Baldwin,
    "langid.py: An Off-the-shelf Language Identification Tool", ACL 2012; the model of py3langid has 140 languages), in
    whole percent and where they are clearly more than chance (10 % at least, and half as likely again as each of
    `languages` would be). So a clear text counts one, and a word that could be anything little or nothing. Of a long
    text the first 500 characters are read.

    State: a table of `tallies`, by language.

    Parameters:
        name: Field name.
        of: Event field, or fields, with the text: the first one that an event has is read.
        k: How many languages to publish.
        half_life: A text loses half its weight in this time.
        window: Instead of a half-life: what lies within this time, exact at its resolution.
        resolution: How long the tiles of the window are; 1/24 of the window or less when not given.
        languages: The languages it can be, as ISO 639 codes; None for all 140. Short queries need it most.
        on: Event type(s); None for all.
        where: Condition on the events.

    Published: `shares`, by language, the largest first, and the share of all `other` languages together; for a window
    also `at` and `then`. As an input of a model it is the first of the languages.

    Examples:
        >>> from stream_profiles import Event, Language
        >>> language = Language("language")
        >>> event = Event(event_id="1", user_id="u", type="search", time=0, query="rote Schuhe für Damen")
        >>> language.snapshot(language.update(None, event))
        {'shares': {'de': 1.0}, 'other': 0.0}
    """

    mergeable = True
    order_free = True

    def __init__(
        self,
        name: str,
        *,
        of: str | Iterable[str] = ("text", "query"),
        k: int = 3,
        half_life: Duration | None = None,
        window: Duration | None = None,
        resolution: Duration | None = None,
        languages: Iterable[str] | None = None,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(
            name,
            half_life=half_life,
            window=window,
            resolution=resolution,
            capacity=_MOST_LANGUAGES,
            on=on,
            where=where,
            value_bytes=_CODE_BYTES,
        )
        self.of = [of] if isinstance(of, str) else list(of)
        if not self.of:
            raise DefinitionError(f"{self!r}: of= takes an event field or a list of them")
        self._getters = [field_getter(self, field) for field in self.of]
        self.k = k
        if k < 1:
            raise DefinitionError(f"{self!r}: k must be at least 1")
        self.languages = [languages] if isinstance(languages, str) else None if languages is None else list(languages)
        self._among = None if self.languages is None else self._checked(self.languages)

    def _checked(self, languages: list[str]) -> tuple[str, ...]:
        if len(languages) < 2:
            raise DefinitionError(f"{self!r}: languages= takes a list of at least two codes, as in ['en', 'de']")
        if len(set(languages)) < len(languages):
            raise DefinitionError(f"{self!r}: a language is given twice in languages={languages}")
        known = _identifier(None).labels
        for language in languages:
            if language not in known:
                raise DefinitionError(
                    f"{self!r}: {language!r} is not a language it knows; {did_you_mean(language, known)}"
                )
        return tuple(languages)

    def update(self, state: State | None, event: Event) -> State | None:
        for get in self._getters:
            text = _beginning(get(event))
            if text is not None:
                new = None
                for language, percent in _languages(text, self._among):
                    new = self._tally.add(state if new is None else new, language, event.time, percent)
                return new
        return None

    def result(self, weights: Weights) -> dict[str, Any]:
        return tallies.shares(weights, self.k)

    def merge(self, a: State, b: State) -> State:
        return self._tally.merge(a, b)

    def category(self, state: State, now: int) -> str | None:
        return next(iter(self.result(self._tally.weights(state, now))["shares"]), None)


def _beginning(value: object) -> str | None:
    """What is read of a text; None of anything else, and of blanks."""
    return (value[:_MAX_CHARACTERS].strip() or None) if type(value) is str else None


@cache
def _analyzer() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # type: ignore[import-untyped]

    return SentimentIntensityAnalyzer()


@lru_cache(_REMEMBERED)
def _compound(text: str) -> float:
    """From -1 to 1, with four decimals."""
    analyzer = _analyzer()
    if not text.isascii():
        places = [place for place, character in enumerate(text) if character in analyzer.emojis]
        if len(places) > _MAX_EMOJI:
            text = text[: places[_MAX_EMOJI]]
    return float(analyzer.polarity_scores(text)["compound"])


@cache
def _identifier(among: tuple[str, ...] | None) -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    if among is None:
        return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier = copy(_identifier(None))
    identifier.set_languages(among)
    return identifier


@lru_cache(_REMEMBERED)
def _languages(text: str, among: tuple[str, ...] | None) -> list[tuple[str, int]]:
    """The likely languages of a text and how likely each is, in percent.

    In percent, because the last bits of a probability depend on the machine's processor.
    """
    ranked = _identifier(among).rank(text)
    least = max(_LEAST_PERCENT, 100 * _LEAST_LIFT / len(ranked))
    percents = [(language, round(100 * share)) for language, share in ranked]
    return [(language, percent) for language, percent in percents if percent >= least]
