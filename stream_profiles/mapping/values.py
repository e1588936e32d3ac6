"""What may stand in each field of an event, and how a record's value gets there: cleaned, translated, checked.

The event's contract is the only list of fields; kinds and lengths are read from it. Which column a value comes from is
the mapping's.

A reason for refusing a value is "what is wrong: the value", so that the part before ": " can be counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import msgspec

from ..contracts import Event
from ..errors import InvalidEvent
from .times import shown

Convert = Callable[[Any], Any]
Clean = Callable[[str, Any], Any]

#: `properties.NAME` stands for an entry of the event's properties wherever a mapping names an event field.
PROPERTY_PREFIX = "properties."


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the event contract.

    Attributes:
        kind: "text", "number" or "time".
        max_length: of a text.
        required: an event cannot do without it.
    """

    name: str
    kind: str
    max_length: int
    required: bool


def _contract() -> dict[str, Field]:
    info = msgspec.inspect.type_info(Event)
    assert isinstance(info, msgspec.inspect.StructType)
    fields = {}
    for field in info.fields:
        if field.name == "properties":
            continue
        kind, max_length = _kind(field.type)
        fields[field.name] = Field(field.name, "time" if field.name == "time" else kind, max_length, field.required)
    return fields


def _kind(declared: msgspec.inspect.Type) -> tuple[str, int]:
    match declared:
        case msgspec.inspect.Metadata(type=inner):
            return _kind(inner)
        case msgspec.inspect.UnionType(types=types):
            return next(_kind(one) for one in types if not isinstance(one, msgspec.inspect.NoneType))
        case msgspec.inspect.StrType(max_length=max_length):
            return "text", max_length or 0
        case msgspec.inspect.FloatType() | msgspec.inspect.IntType():
            return "number", 0
    raise TypeError(f"the event contract has a field of a kind the mapping does not know: {declared!r}")


#: The event's fields by name, in the contract's order, without `properties`.
EVENT_FIELDS: Mapping[str, Field] = _contract()


def converter(field: Field) -> Convert:
    """A function from a present value (neither None nor "") to one the contract takes.

    A whole number stands for its digits where a text belongs, and a text for the number it is written as where a number
    does. Nothing else is turned into anything.

    Raises:
        InvalidEvent: by the function.

    Examples:
        >>> converter(EVENT_FIELDS["price"])("2.55"), converter(EVENT_FIELDS["user_id"])(17850)
        (2.55, '17850')
        >>> converter(EVENT_FIELDS["price"])("2,55")
        Traceback (most recent call last):
        ...
        stream_profiles.errors.InvalidEvent: price is not a number: '2,55'
    """
    return _text(field.name, field.max_length) if field.kind == "text" else _number(field.name)


def _text(name: str, max_length: int) -> Convert:
    def convert(value: Any) -> str:
        if type(value) is int and value.bit_length() <= 256:
            value = str(value)
        if type(value) is not str:
            raise InvalidEvent(f"{name} is not a text: {shown(value)}")
        if len(value) > max_length:
            raise InvalidEvent(f"{name} is longer than {max_length:,} characters: {shown(value)}")
        return value

    return convert


def _number(name: str) -> Convert:
    def convert(value: Any) -> float:
        kind = type(value)
        try:
            if kind is float or kind is int or (kind is str and "_" not in value):
                number = float(value)
                if isfinite(number):
                    return number
        except (ValueError, OverflowError):
            pass
        raise InvalidEvent(f"{name} is not a number: {shown(value)}")

    return convert


def _integer(name: str, value: Any) -> Any:
    """ "17850.0" -> "17850": the trace a table with gaps leaves on its whole numbers."""
    if type(value) is int:
        return value
    if type(value) is str:
        text = value.strip()
        if text.isdecimal():
            return text
        whole, dot, zeros = text.partition(".")
        if dot and whole.removeprefix("-").isdecimal() and not zeros.strip("0"):
            return whole
    try:
        number = float(value) if type(value) in (str, float) else float("nan")
    except ValueError:
        number = float("nan")
    if isfinite(number) and number.is_integer():
        return str(int(number))
    raise InvalidEvent(f"{name} is not a whole number: {shown(value)}")


def _decimal_comma(name: str, value: Any) -> Any:
    return value.replace(".", "").replace(",", ".") if type(value) is str else value


def _as_number(name: str, value: Any) -> Any:
    """A number in a CSV is a text, and stays one in a property: nothing says what that is to be."""
    return _number(name)(value)


def _absolute(name: str, value: Any) -> Any:
    return abs(_number(name)(value))


def _cut(name: str, value: Any) -> Any:
    field = EVENT_FIELDS.get(name)
    return value[: field.max_length] if type(value) is str and field and field.max_length else value


def _on_text(method: Callable[[str], str]) -> Clean:
    return lambda name, value: method(value) if type(value) is str else value


#: Cleaners by name. Each takes the field's name, for its message, and a present value.
CLEANERS: Mapping[str, Clean] = {
    "strip": _on_text(str.strip),
    "lower": _on_text(str.lower),
    "upper": _on_text(str.upper),
    "integer": _integer,
    "number": _as_number,
    "comma": _decimal_comma,
    "absolute": _absolute,
    "cut": _cut,
}


def pipeline(
    name: str, cleaners: Sequence[str], translations: Mapping[str, str | float] | None, last: Convert | None
) -> Convert | None:
    """One function that cleans, translates, then converts; None when there is nothing to do.

    A cleaner may leave nothing ("   " stripped): the function then gives None, as for a value that was never there.
    """
    cleans = tuple(CLEANERS[cleaner] for cleaner in cleaners)
    if not cleans and not translations:
        return last

    def convert(value: Any) -> Any:
        for clean in cleans:
            value = clean(name, value)
            if value == "":
                return None
        if translations:
            value = translations.get(_key(value), value)
        return value if last is None else last(value)

    return convert


def _key(value: object) -> str:
    """The text a `[values]` table lists a value under."""
    if type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else ""
