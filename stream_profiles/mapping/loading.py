"""A mapping file read and checked, with every fault told in one sentence."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from .._suggestions import did_you_mean
from ..errors import MappingError
from .config import MappingConfig, PlusConfig, RuleConfig, Source, SourceConfig, TimeConfig

_SECTIONS: dict[str, type[BaseModel]] = {
    "": MappingConfig,
    "source": SourceConfig,
    "fields": Source,
    "time": TimeConfig,
    "plus": PlusConfig,
    "rules": RuleConfig,
}


def read_config(path: Path) -> MappingConfig:
    """The configuration in a TOML file.

    Raises:
        MappingError: there is no such file, it is not TOML, or it is not a mapping.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise MappingError(f"there is no mapping file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise MappingError(f"the mapping {path} cannot be read: {reason}") from None
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"the mapping {path} is not TOML: {error}") from None
    try:
        return MappingConfig.model_validate(data)
    except ValidationError as error:
        raise MappingError(f"the mapping {path}{explain(error, data)}") from None


def explain(error: ValidationError, data: dict[str, Any]) -> str:
    """Where the first fault is and what it is, to follow the name of a file.

    Examples:
        >>> data = {"fields": {"usr_id": "CustomerID"}}
        >>> try:
        ...     MappingConfig.model_validate(data)
        ... except ValidationError as error:
        ...     print("shop.toml" + explain(error, data))
        shop.toml, [fields] usr_id: 'usr_id' is not a field of an event; did you mean 'user_id'?
    """
    first = error.errors()[0]
    path = _written_path(first["loc"], data)
    place = f", {_as_toml(path)}" if path else ""
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        key = str(path[-1]) if path else ""
        section = next((str(part) for part in reversed(path[:-1]) if str(part) in _SECTIONS), "")
        place = f", {_as_toml(path[:-1])}" if path[:-1] else ""
        message = f"there is no key {key!r}; {did_you_mean(key, _SECTIONS[section].model_fields)}"
    elif first["type"] != "value_error":
        message = f"{message[:1].lower()}{message[1:]}"
    return f"{place}: {message}"


def _written_path(location: tuple[int | str, ...], data: Any) -> list[int | str]:
    """The part of pydantic's location that is in the file: it also names types and validators."""
    path: list[int | str] = []
    for part in location:
        if isinstance(data, str):
            break
        try:
            data = data[part]
        except (LookupError, TypeError):
            break
        path.append(part)
    return path


def _as_toml(path: list[int | str]) -> str:
    section, *rest = path
    if section == "rules" and rest:
        return " ".join([f"[[rules]] number {int(rest[0]) + 1}", *(str(part) for part in rest[1:])])
    return " ".join([f"[{section}]", ".".join(str(part) for part in rest)]).strip()
