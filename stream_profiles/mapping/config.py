"""The mapping as it is written: in a TOML file for replay, or inside the settings of an input topic.

Everything that can be wrong without a record at hand is found here, when the configuration is built.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .. import durations, expressions
from .._suggestions import did_you_mean
from ..errors import DefinitionError, InvalidEvent
from .times import check_format, check_zone
from .values import CLEANERS, EVENT_FIELDS, PROPERTY_PREFIX, converter

Constant = str | int | float | bool


def _event_field(name: str) -> str:
    if name not in EVENT_FIELDS and not (name.startswith(PROPERTY_PREFIX) and name != PROPERTY_PREFIX):
        known = [*EVENT_FIELDS, f"{PROPERTY_PREFIX}NAME"]
        raise ValueError(f"{name!r} is not a field of an event; {did_you_mean(name, known)}")
    return name


def _settable_field(name: str) -> str:
    if name in ("event_id", "time"):
        raise ValueError(f"{name} cannot be the same for every event; take it from a column with [fields]")
    return _event_field(name)


def _constants(constants: dict[str, Constant]) -> dict[str, Constant]:
    for name, value in constants.items():
        if name in EVENT_FIELDS:
            if value == "" or isinstance(value, bool):
                raise ValueError(f"{name} cannot be {value!r}")
            try:
                converter(EVENT_FIELDS[name])(value)
            except InvalidEvent as error:
                raise ValueError(str(error)) from None
    return constants


def _condition(text: str) -> str:
    try:
        expressions.compile(text)
    except DefinitionError as error:
        raise ValueError(str(error)) from None
    return text


def _duration(text: str) -> str:
    try:
        durations.to_ms(text)
    except DefinitionError as error:
        raise ValueError(str(error)) from None
    return text


def _encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise ValueError(f"{name!r} is not an encoding; write one like utf-8 or cp1252") from None
    return name


def _cleaner(name: str) -> str:
    if name not in CLEANERS:
        raise ValueError(f"{name!r} is not a cleaner; {did_you_mean(name, CLEANERS)}")
    return name


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


EventField = Annotated[str, AfterValidator(_event_field)]
SettableField = Annotated[str, AfterValidator(_settable_field)]
Constants = Annotated[dict[SettableField, Constant], AfterValidator(_constants)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceConfig(_Section):
    """How a file is read. Topics hold JSON objects and need only `keep`."""

    delimiter: str | None = Field(default=None, min_length=1, max_length=1, description='Of a CSV; "," by default.')
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    keep: bool | list[str] = Field(default=True, description="Columns nothing else names that become properties.")
    row_number: str | None = Field(default=None, min_length=1, description="A column to add: each row's number.")


class Source(_Section):
    """Where a field's value comes from: one column, several joined, or the first of several that has one."""

    columns: list[str] = []
    join: str = "-"
    first: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"columns": [value]}
        return {"columns": value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _one_way(self) -> Source:
        names = [*self.columns, *self.first]
        if bool(self.columns) == bool(self.first) or "" in names:
            raise ValueError('a field takes "column", ["columns", "to join"] or {first = ["columns", "to try"]}')
        return self


class PlusConfig(_Section):
    """Something added to a coarse time: `each` times the number in `column`."""

    column: str = Field(min_length=1)
    each: Annotated[str, AfterValidator(_duration)]


class TimeConfig(_Section):
    """How the column of `fields.time` is read; see `times.time_reader`."""

    format: Annotated[str, AfterValidator(check_format)] | None = None
    zone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    plus: PlusConfig | None = None


class RuleConfig(_Section):
    """What happens to a record that meets a condition: fields are set, or it is dropped for a reason."""

    when: Annotated[str, AfterValidator(_condition)]
    set: Constants = {}
    drop: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_action(self) -> RuleConfig:
        if bool(self.set) == bool(self.drop):
            raise ValueError('a rule has either set = {field = "value"} or drop = "reason"')
        return self


class MappingConfig(_Section):
    """Everything a mapping says. The empty one takes events as the contract has them.

    Examples:
        >>> config = MappingConfig(fields={"user_id": "CustomerID"}, constants={"type": "purchase"})
        >>> config.fields["user_id"].columns
        ['CustomerID']
    """

    source: SourceConfig = SourceConfig()
    fields: dict[EventField, Source] = {}
    time: TimeConfig = TimeConfig()
    constants: Constants = {}
    clean: dict[EventField, Annotated[list[Annotated[str, AfterValidator(_cleaner)]], BeforeValidator(_listed)]] = {}
    values: dict[EventField, dict[str, str | int | float]] = {}
    rules: list[RuleConfig] = []

    @model_validator(mode="after")
    def _consistent(self) -> MappingConfig:
        both = self.fields.keys() & self.constants.keys()
        if both:
            raise ValueError(f"{_first(both)} is both in [fields] and in [constants]; leave it in one of them")
        if "time" in self.values:
            raise ValueError("time cannot be translated by [values]; say how it is written with [time]")
        for section, names in (("clean", self.clean.keys()), ("values", self.values.keys())):
            idle = names & self.constants.keys()
            if idle:
                raise ValueError(f"{_first(idle)} is a constant, so [{section}] has nothing to do with it")
        return self

    @property
    def digest(self) -> str:
        """A short name of the mapping's content, the same on every machine.

        Examples:
            >>> MappingConfig().digest == MappingConfig(constants={"type": "view"}).digest
            False
        """
        content = self.model_dump(mode="json")
        if self.source.row_number is None:
            # Remembered places of a release that did not have it go on to hold.
            del content["source"]["row_number"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _first(names: Iterable[str]) -> str:
    return min(names)
