"""Persona: a profile in words, from templates that the definition declares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from string import Formatter
from typing import Any

from .. import expressions
from ..errors import DefinitionError
from .base import Value
from .derived import Derived, Values, path_reader

#: The longest text that is published.
_MAX_LENGTH = 2_000
#: Of a template: the text before a placeholder, and how to read what stands there and to write it; None at the end.
_Part = tuple[str, Callable[[Values], Any] | None, str]


class Persona(Derived):
    """A paragraph about a user for people (support, sales) and for language models.

    Each sentence is a template with parts of the profile in braces, like `Visited {visits.count} times.` A sentence of
    which a part is missing is left out. After a colon stands how a value is written: as in Python's format language,
    `{spend.total:,.0f}`; besides, `{stage.since:date}` writes milliseconds as a day in UTC, `{categories.top:names}`
    the names of a list of names and scores, `{buys_soon.score:percent}` a share.

    Published: the sentences that apply, with blanks between; nothing before any part of the profile that they name is
    there.

    Parameters:
        name: Field name.
        sentences: The templates in order; one may be a pair of a condition on the profile and a template, which then
            applies only where the condition is met.

    Examples:
        >>> from stream_profiles import Persona
        >>> persona = Persona(
        ...     "persona",
        ...     sentences=[
        ...         "Visited {visits.count} times.",
        ...         ("spend.total > 100", "A good customer, who spent {spend.total:,.0f}."),
        ...         "Likes {categories.top:names}.",
        ...     ],
        ... )
        >>> persona.derive({"visits": {"count": 3}, "spend": {"total": 1234.5}})
        'Visited 3 times. A good customer, who spent 1,234.'
    """

    def __init__(self, name: str, *, sentences: Iterable[str | Iterable[str]]) -> None:
        super().__init__(name)
        given = [sentences] if isinstance(sentences, str) else sentences
        self.sentences = [each if isinstance(each, str) else list(each) for each in given]
        if not self.sentences:
            raise DefinitionError(f"{self!r}: sentences= is empty")
        fields: dict[str, None] = {}
        self._sentences = [self._parsed(each, fields) for each in self.sentences]
        self.sources = tuple(fields)
        if not self.sources:
            raise DefinitionError(f"{self!r}: no sentence has a part of the profile in braces, like {{visits.count}}")

    def derive(self, values: Values) -> Value | None:
        if values.keys().isdisjoint(self.sources):
            return None
        written = [
            sentence
            for condition, parts in self._sentences
            if condition is None or condition(values)
            for sentence in [_written(parts, values)]
            if sentence
        ]
        return " ".join(written)[:_MAX_LENGTH]

    def _parsed(
        self, sentence: str | list[str], fields: dict[str, None]
    ) -> tuple[expressions.Expression | None, list[_Part]]:
        """Condition and parts of a sentence; the fields they speak of are added to `fields`."""
        if isinstance(sentence, str):
            sentence = ["", sentence]
        if len(sentence) != 2 or not all(isinstance(each, str) for each in sentence):
            raise DefinitionError(f"{self!r}: a sentence is a text, or a pair of a condition and a text: {sentence!r}")
        condition, template = None, sentence[1]
        if sentence[0]:
            try:
                condition = expressions.compile(sentence[0])
            except DefinitionError as error:
                raise DefinitionError(f"{self!r}: {error}") from None
            fields.update(dict.fromkeys(name.partition(".")[0] for name in condition.fields))
        parts: list[_Part] = []
        try:
            for text, path, spec, conversion in Formatter().parse(template):
                read = None
                if path is not None:
                    if conversion or "{" in (spec or ""):
                        raise ValueError("in braces stands a path, or a path, a colon and a format")
                    field, read = path_reader(self, path)
                    fields[field] = None
                parts.append((text, read, spec or ""))
        except ValueError as error:
            raise DefinitionError(f"{self!r}: {template!r} is no template: {error}") from None
        return condition, parts


def _written(parts: list[_Part], values: Values) -> str | None:
    """A sentence; None when a part of it is missing."""
    written = []
    for text, read, spec in parts:
        written.append(text)
        if read is not None:
            value = _formatted(read(values), spec)
            if value is None:
                return None
            written.append(value)
    return "".join(written)


def _formatted(value: Any, spec: str) -> str | None:
    """A value in words; None where it is missing or cannot be written so."""
    if value is None or value in ("", []):
        return None
    try:
        if spec == "date":
            return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d")
        if spec == "percent":
            return f"{value:.0%}"
        if spec == "names":
            return ", ".join(str(each[0] if isinstance(each, list) else each) for each in value)
        return format(value, spec)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
