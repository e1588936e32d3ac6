"""A mapping at work: `EventMapping.to_event` turns a record into an event, or says why there is none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Final

import msgspec

from .. import durations, expressions
from .._suggestions import did_you_mean
from ..contracts import MAX_TEXT_LENGTH, PROSE_FIELDS, Event
from ..errors import InvalidEvent, MappingError
from .config import Constant, MappingConfig, RuleConfig, Source, TimeConfig
from .loading import read_config
from .times import shown, time_reader
from .values import EVENT_FIELDS, PROPERTY_PREFIX, Convert, converter, pipeline

_KNOWN: Final = frozenset(Event.__struct_fields__)
_REQUIRED: Final = tuple(name for name, field in EVENT_FIELDS.items() if field.required and name != "event_id")

#: A field's name, where its value is read (None: from the column that follows), that column, what makes it fit.
_Step = tuple[str, Callable[[Any], Any] | None, str, Convert | None]


class Dropped(msgspec.Struct, frozen=True):
    """What `to_event` gives for a record that a rule of the mapping drops on purpose."""

    reason: str


class EventMapping:
    """A compiled mapping.

    Parameters:
        config: what to do; the default takes records that are events already.

    Examples:
        >>> mapping = EventMapping(
        ...     MappingConfig(
        ...         fields={"user_id": "CustomerID", "time": "InvoiceDate"},
        ...         constants={"type": "purchase"},
        ...         rules=[{"when": "missing(CustomerID)", "drop": "anonymous"}],
        ...     )
        ... )
        >>> event = mapping.to_event({"CustomerID": "17850", "InvoiceDate": "2010-12-01 08:26:00"}, "retail-1")
        >>> event.event_id, event.user_id, event.type, event.time
        ('retail-1', '17850', 'purchase', 1291191960000)
        >>> mapping.to_event({"CustomerID": "", "InvoiceDate": "2010-12-01 08:26:00"}, "retail-2")
        Dropped(reason='anonymous')
        >>> mapping.to_event({"CustomerID": "17850"}, "retail-3")
        Traceback (most recent call last):
        ...
        stream_profiles.errors.InvalidEvent: time is missing
    """

    def __init__(self, config: MappingConfig | None = None) -> None:
        self.config = config if config is not None else MappingConfig()
        config = self.config
        self._identity = config == MappingConfig()
        self._rules = tuple(_Rule(rule) for rule in config.rules)
        self._constants, self._constant_properties = _split(config.constants)
        steps = [self._step(name, config.fields.get(name)) for name in EVENT_FIELDS if name not in config.constants]
        self._steps: tuple[_Step, ...] = tuple(steps)
        self._property_steps = tuple(
            self._step(name, source) for name, source in config.fields.items() if name not in EVENT_FIELDS
        )
        # A column that rules only look at is still somebody's property.
        self._consumed = frozenset(self._named_columns()) | {"properties"}
        #: Texts of which only the beginning was taken, since the start: prose may be cut where a name may not.
        self.cut_texts = 0
        keep = config.source.keep
        self._keep: frozenset[str] | None = None if keep is True else frozenset(keep or ())

    @classmethod
    def load(cls, path: str | Path) -> EventMapping:
        """The mapping in a TOML file.

        Raises:
            MappingError: the file cannot be read, or is not a mapping; it names the file and the key.
        """
        return cls(read_config(Path(path)))

    def to_event(self, record: Any, default_id: str) -> Event | Dropped:
        """The event a record stands for.

        Parameters:
            record: a dict by column or field name. It is not changed; values may be shared with the event.
            default_id: the event's id where the record has none. It must be the same each time the record is read.

        Returns:
            The event, or `Dropped` when a rule says so.

        Raises:
            InvalidEvent: the record is no event. The part of the reason before ": " is the same for all records with
                that fault; what follows is the value.
        """
        if type(record) is not dict:
            raise InvalidEvent(f"the record is not an object: {shown(record)}")
        if self._identity and "" not in record.values():
            event = _as_contract(record, default_id)
            if event is not None:
                return event
        return self._mapped(record, default_id)

    def check_columns(self, columns: Collection[str], where: str) -> None:
        """Compare the mapping with the header of a file, before its first row.

        Raises:
            MappingError: a column that the mapping needs is not there.
        """
        for name in (*_REQUIRED, *self.config.fields):
            source = self.config.fields.get(name)
            if source is None:
                if name not in self.config.constants and name not in columns and not self._set_by_rule(name):
                    raise MappingError(
                        f"{where} has no column {name!r}, and the mapping does not say where {name} comes from; "
                        f"its columns are {_list(columns)}"
                    )
                continue
            if source.first:
                if not any(_has(columns, column) for column in source.first):
                    raise MappingError(
                        f"{where} has none of the columns {_list(source.first)} that [fields] {name} names; "
                        f"its columns are {_list(columns)}"
                    )
                continue
            for column in source.columns:
                _need(columns, column, f"[fields] {name}", where)
        if self.config.time.plus is not None:
            _need(columns, self.config.time.plus.column, "[time] plus", where)
        for rule in self._rules:
            for column in rule.columns:
                _need(columns, column, f"the rule {rule.text!r}", where)
        if self._keep:
            for column in self._keep:
                _need(columns, column, "[source] keep", where)

    def _mapped(self, record: dict[str, Any], default_id: str) -> Event | Dropped:
        values: dict[str, Any] = self._constants.copy()
        properties: dict[str, Any] = {}
        rule_sets: list[_Rule] = []
        for rule in self._rules:
            if rule.check(record):
                if rule.dropped is not None:
                    return rule.dropped
                rule_sets.append(rule)
        for name, read, column, convert in self._steps:
            value = record.get(column) if read is None else read(record)
            if value is None or value == "":
                continue
            if convert is not None:
                value = convert(value)
                if value is None:
                    continue
            values[name] = value

        given = record.get("properties")
        if given is not None and given != "":
            if type(given) is not dict:
                raise InvalidEvent(f"properties is not an object: {shown(given)}")
            properties.update(given)
        keep, consumed = self._keep, self._consumed
        for column, value in record.items():
            if column not in consumed and value is not None and value != "" and (keep is None or column in keep):
                properties[column] = value
        for name, read, column, convert in self._property_steps:
            value = record.get(column) if read is None else read(record)
            if value is not None and value != "" and convert is not None:
                value = convert(value)
            if value is not None and value != "":
                properties[name] = value
        if self._constant_properties:
            properties.update(self._constant_properties)
        for rule in rule_sets:
            values.update(rule.values)
            properties.update(rule.properties)
        if properties:
            values["properties"] = properties
        if "event_id" not in values:
            values["event_id"] = default_id
        try:
            return Event(**values)
        except TypeError:
            missing = next((name for name in _REQUIRED if name not in values), None)
            if missing is None:
                raise
            raise InvalidEvent(f"{missing} is missing") from None

    def _step(self, name: str, source: Source | None) -> _Step:
        """How one field is filled; `source` is None for a field that comes from a column of its own name."""
        field = EVENT_FIELDS.get(name)
        last: Convert | None = None
        if name == "time":
            last = time_reader(self.config.time.format, self.config.time.zone)
        elif field is not None:
            last = converter(field)
            if field.name in PROSE_FIELDS:
                last = self._cutting(last)
        convert = pipeline(name, self.config.clean.get(name, ()), self.config.values.get(name), last)
        target = name if field is not None else name.removeprefix(PROPERTY_PREFIX)
        if name == "time" and self.config.time.plus is not None:
            assert convert is not None
            return target, _time_plus(_source_reader(source, name), convert, self.config.time), "", None
        if source is None:
            return target, None, name, convert
        if len(source.columns) == 1 and "." not in source.columns[0]:
            return target, None, source.columns[0], convert
        return target, _source_reader(source, name), "", convert

    def _cutting(self, convert: Convert) -> Convert:
        def cut(value: Any) -> Any:
            if type(value) is str and len(value) > MAX_TEXT_LENGTH:
                self.cut_texts += 1
                value = value[:MAX_TEXT_LENGTH]
            return convert(value)

        return cut

    def _named_columns(self) -> list[str]:
        """The columns some field is filled from."""
        named = [name for name in EVENT_FIELDS if name not in self.config.fields and name not in self.config.constants]
        for source in self.config.fields.values():
            named += [*source.columns, *source.first]
        if self.config.time.plus is not None:
            named.append(self.config.time.plus.column)
        return named

    def _set_by_rule(self, name: str) -> bool:
        return any(name in rule.values for rule in self._rules)


class _Rule:
    """A rule with its condition compiled and its values as the contract takes them."""

    def __init__(self, config: RuleConfig) -> None:
        condition = expressions.compile(config.when)
        self.check = condition.check
        self.text = condition.text
        self.columns = condition.fields
        self.dropped = Dropped(config.drop) if config.drop is not None else None
        self.values, self.properties = _split(config.set)


def _as_contract(record: dict[str, Any], default_id: str) -> Event | None:
    """The event in a record that follows the contract to the letter; None for any other, which costs a second look."""
    try:
        event = msgspec.convert(record if "event_id" in record else {"event_id": default_id, **record}, Event)
    except (msgspec.ValidationError, OverflowError):
        return None
    if not isfinite((event.price or 0.0) + (event.quantity or 0.0) + (event.rating or 0.0)):
        return None
    if not _KNOWN.issuperset(record):
        unknown = {name: value for name, value in record.items() if name not in _KNOWN and value is not None}
        event.properties = {**event.properties, **unknown}
    return event


def _source_reader(source: Source | None, name: str) -> Callable[[Any], Any]:
    if source is None:
        return expressions.reader(name)
    if source.first:
        readers = tuple(expressions.reader(column) for column in source.first)

        def first(record: Any) -> Any:
            for read in readers:
                value = read(record)
                if not expressions.is_missing(value):
                    return value
            return None

        return first
    if len(source.columns) == 1:
        return expressions.reader(source.columns[0])
    parts = tuple(expressions.reader(column) for column in source.columns)
    join = source.join

    def joined(record: Any) -> str | None:
        values = [read(record) for read in parts]
        if any(expressions.is_missing(value) for value in values):
            return None
        return join.join([value if type(value) is str else _part(name, value) for value in values])

    return joined


def _part(name: str, value: Any) -> str:
    if isinstance(value, bool | float | int) and (not isinstance(value, int) or value.bit_length() <= 256):
        return str(value)
    raise InvalidEvent(f"{name} is joined from something that is neither text nor number: {shown(value)}")


def _time_plus(read: Callable[[Any], Any], convert: Convert, config: TimeConfig) -> Callable[[Any], Any]:
    assert config.plus is not None
    column, each = config.plus.column, durations.to_ms(config.plus.each)
    read_plus = expressions.reader(column)
    number = converter(EVENT_FIELDS["quantity"])
    in_range = time_reader("ms")

    def time(record: Any) -> Any:
        value = read(record)
        if expressions.is_missing(value):
            return None
        base, more = convert(value), read_plus(record)
        if base is None:
            return None
        try:
            return in_range(base + number(more) * each)
        except InvalidEvent:
            raise InvalidEvent(f"time cannot be counted on by {column!r}: {shown(more)}") from None

    return time


def _split(constants: Mapping[str, Constant]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values of event fields as the contract takes them, and values of properties."""
    fields = {name: converter(EVENT_FIELDS[name])(value) for name, value in constants.items() if name in EVENT_FIELDS}
    properties = {
        name.removeprefix(PROPERTY_PREFIX): value for name, value in constants.items() if name not in EVENT_FIELDS
    }
    return fields, properties


def _has(columns: Collection[str], column: str) -> bool:
    return column in columns or column.split(".")[0] in columns


def _need(columns: Collection[str], column: str, who: str, where: str) -> None:
    if not _has(columns, column):
        raise MappingError(f"{where} has no column {column!r}, which {who} names; {did_you_mean(column, columns)}")


def _list(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in names)
