"""When an event happened: from whatever a record holds to milliseconds UTC.

It reads one value; which column holds it, and what is added to it, is the mapping's. Whether a time is too far in the
future is the engine's question: nothing here reads a clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from math import floor, isfinite
from zoneinfo import ZoneInfo, available_timezones

from .._suggestions import did_you_mean
from ..contracts import MAX_TIME_MS
from ..errors import InvalidEvent

#: Units of a number that counts from 1970, in milliseconds.
UNITS = {"s": 1000.0, "ms": 1.0, "us": 0.001, "ns": 0.000001}

_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
#: Rows of one invoice, and of one second, repeat the same text; a table of this size stays under 4 MB.
_CACHE_SIZE = 20_000
#: Formats whose texts `datetime.fromisoformat` reads too, 40 times faster than `strptime`, once the shape is checked.
_ISO_SHAPES = {
    "%Y-%m-%d": re.compile(r"\d{4}-\d\d-\d\d"),
    "%Y-%m-%d %H:%M": re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d"),
    "%Y-%m-%d %H:%M:%S": re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"),
    "%Y-%m-%dT%H:%M:%S": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"),
}


def check_format(time_format: str) -> str:
    """The format itself, when a time can be read with it.

    Raises:
        ValueError: it is neither a name nor a `strptime` format that tells at least the year.
    """
    if time_format == "iso" or time_format in UNITS:
        return time_format
    if "%" not in time_format:
        hint = did_you_mean(time_format, ["iso", *UNITS])
        raise ValueError(f'{time_format!r} is not a time format; {hint} or write one like "%d.%m.%Y %H:%M"')
    if not re.search("%[YyGcx]", time_format):
        raise ValueError(f"{time_format!r} does not tell the year (%Y)")
    sample = datetime(2001, 2, 3, 4, 5, 6)
    try:
        parsed = datetime.strptime(sample.strftime(time_format), time_format)
    except (ValueError, re.error) as error:
        raise ValueError(f"{time_format!r} is not a time format: {error}") from None
    if parsed.year != sample.year:
        raise ValueError(f"{time_format!r} does not tell the year (%Y)")
    return time_format


def check_zone(name: str) -> str:
    """The name itself, when there is such a time zone.

    Raises:
        ValueError: there is none.
    """
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError; "Europe" is a directory.
        zones = sorted(available_timezones())
        hint = did_you_mean(name, zones)
        raise ValueError(
            f"{name!r} is not a time zone; {hint if hint.startswith('did') else 'write one like Europe/Paris'}"
        ) from None
    return name


def time_reader(time_format: str | None = None, zone: str = "UTC") -> Callable[[object], int]:
    """A function from a record's value to milliseconds UTC.

    Parameters:
        time_format: "iso"; "s", "ms", "us" or "ns" for a number since 1970; or a `strptime` format. None takes a
            number as "ms" and a text as "iso".
        zone: of times that do not tell theirs. Where a clock is put forward or back, an hour that does not exist is
            read with the offset that held before the change, and of one that exists twice the first is taken
            (fold=0 of PEP 495): no time is refused, and the same text is always the same moment.

    A `datetime` or `date`, as Parquet has them, is taken whatever the format.

    Raises:
        InvalidEvent: by the function, for a value that is not such a time between 1970 and 9999.

    Examples:
        >>> read = time_reader("%d.%m.%Y %H:%M", "Europe/Paris")
        >>> read("01.02.2011 08:26")
        1296545160000
        >>> time_reader()("2011-02-01T07:26:00Z"), time_reader("s")("1296545160.5")
        (1296545160000, 1296545160500)
        >>> read("2011-02-01")
        Traceback (most recent call last):
        ...
        stream_profiles.errors.InvalidEvent: time is not in the format '%d.%m.%Y %H:%M': '2011-02-01'
    """
    tz = None if zone == "UTC" else ZoneInfo(zone)
    unit = UNITS.get(time_format or "ms")
    parse = _text_parser(time_format)
    cache: dict[str, int] = {}

    def of_datetime(moment: datetime) -> int:
        if moment.tzinfo is None:
            if tz is None:
                return (moment - _EPOCH) // _MILLISECOND
            moment = moment.replace(tzinfo=tz)
        return (moment - _EPOCH_UTC) // _MILLISECOND

    def of_text(text: str) -> int:
        if unit is not None:
            number = _number(text)
            if number is not None:
                return of_number(number)
        return of_datetime(parse(text))

    def of_number(number: int | float) -> int:
        if unit is None:
            return of_text(str(number))  # A date such as 20110201 that JSON or Parquet holds as a number.
        if unit == 1.0:
            return floor(number)
        # Whole numbers stay exact: nanoseconds have more digits than a float.
        if isinstance(number, int):
            return number * 1000 if unit == UNITS["s"] else number // round(1 / unit)
        return round(number * unit)

    def read(value: object) -> int:
        kind = type(value)
        if kind is str:
            known = cache.get(value)  # type: ignore[call-overload]
            if known is not None:
                return known  # type: ignore[no-any-return]
        try:
            if kind is str:
                time = of_text(value)  # type: ignore[arg-type]
            elif kind is int or kind is float:
                time = of_number(value)  # type: ignore[arg-type]
            elif isinstance(value, datetime):
                time = of_datetime(value)
            elif isinstance(value, date):
                time = of_datetime(datetime(value.year, value.month, value.day))
            else:
                raise InvalidEvent(f"time is not a time: {shown(value)}")
        except (ValueError, OverflowError):
            raise InvalidEvent(f"time is not {_named(time_format)}: {shown(value)}") from None
        if not 0 <= time <= MAX_TIME_MS:
            raise InvalidEvent(f"time is outside of 1970 to 9999: {shown(value)}")
        if kind is str:
            if len(cache) >= _CACHE_SIZE:
                cache.clear()
            cache[value] = time  # type: ignore[index]
        return time

    return read


def shown(value: object) -> str:
    """A value as a message quotes it, cut to a length that fits one.

    Examples:
        >>> shown("abc"), len(shown("x" * 1000))
        ("'abc'", 83)
    """
    if isinstance(value, str):
        text = repr(value[:100])
    elif isinstance(value, int) and value.bit_length() > 300:
        text = "a number of more than 90 digits"
    else:
        text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _text_parser(time_format: str | None) -> Callable[[str], datetime]:
    if time_format is None or time_format == "iso":
        return datetime.fromisoformat
    if time_format in UNITS:
        return _refuse
    shape = _ISO_SHAPES.get(time_format)
    if shape is None:
        return lambda text: datetime.strptime(text, time_format)
    matches = shape.fullmatch

    def parse(text: str) -> datetime:
        # strptime also takes "2008-4-1".
        return datetime.fromisoformat(text) if matches(text) else datetime.strptime(text, time_format)

    return parse


def _refuse(text: str) -> datetime:
    raise ValueError(text)


def _number(text: str) -> int | float | None:
    if text.isdecimal():
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) and "_" not in text else None


def _named(time_format: str | None) -> str:
    if time_format is None:
        return "an ISO time or a number of milliseconds"
    if time_format == "iso":
        return "an ISO time"
    if time_format in UNITS:
        return f"a number of {time_format} since 1970"
    return f"in the format {time_format!r}"
