"""Settings of a deployment: from `stream_profiles.toml`, environment variables and the command line, later ones first.

Only what differs between deployments is here; what a profile is made of is in the definition.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from ._suggestions import did_you_mean
from .durations import to_ms
from .errors import DefinitionError, SettingsError
from .mapping import MappingConfig
from .names import Names

ENV_PREFIX = "STREAM_PROFILES_"
DEFAULT_FILE = Path("stream_profiles.toml")
#: Read elsewhere: where downloads of the embedded servers are kept.
_OTHER_VARIABLES = (f"{ENV_PREFIX}CACHE",)
#: What Kubernetes sets in every container for a service that is called, say, stream-profiles-redis.
_SERVICE_LINK = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_|$)|_PORT$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_|$)")
_BROKER = re.compile(r"([^\s:/@\[\]]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}")
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")
#: What pydantic's kinds of errors want, in words that follow "must be".
_WANTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "a text in quotes",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "path_type": "a path in quotes",
    "greater_than_equal": "at least {}",
    "less_than_equal": "at most {}",
}


def _is_duration(value: str) -> str:
    try:
        to_ms(value)
    except DefinitionError as error:
        raise ValueError(str(error)) from None
    return value


def _is_broker(value: str) -> str:
    addresses = [address.strip() for address in value.split(",")]
    for address in addresses:
        if not _BROKER.fullmatch(address):
            raise ValueError(
                f"{address!r} is not the address of a Kafka: write host:port, or several with commas between"
            )
    return ",".join(addresses)


def _is_redis_url(value: str) -> str:
    if not value.startswith(_REDIS_SCHEMES):
        # The value is not shown: it may hold a password.
        raise ValueError("this is not the URL of a Redis: write redis://host:port/0")
    return value


def _is_topic(value: str) -> str:
    if not _TOPIC.fullmatch(value):
        raise ValueError(f"{value!r} cannot name a topic: Kafka takes letters, digits, '.', '_' and '-'")
    return value


DurationText = Annotated[str, AfterValidator(_is_duration)]


class InputTopic(BaseModel):
    """A topic that events come from."""

    model_config = ConfigDict(extra="forbid")

    topic: Annotated[str, AfterValidator(_is_topic)]
    #: The topic holds events in the contract's format, keyed by user with Kafka's default partitioner: it needs no
    #: intake.
    keyed: bool = False
    #: How a record becomes an event; without one, its fields have the contract's names.
    mapping: MappingConfig = Field(default_factory=MappingConfig)

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"topic": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _keyed_has_no_mapping(self) -> InputTopic:
        if self.keyed and self.mapping != MappingConfig():
            raise ValueError(f"topic {self.topic!r} is keyed, so its records are events already: leave out the mapping")
        return self


class Settings(BaseSettings):
    """Settings of one deployment of one definition."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid")
    _file: ClassVar[Path | None] = None

    #: The profile definition, as `path/to/file.py:variable` or `package.module:variable`.
    definition: str | None = None
    #: Kafka's bootstrap servers, `host:port,host:port`. Without one, an embedded Kafka is started.
    broker: Annotated[str, AfterValidator(_is_broker)] | None = None
    #: `redis://host:port/db`. Without one, an embedded Redis is started.
    redis: Annotated[str, AfterValidator(_is_redis_url)] | None = None
    #: Topics that events come from; `NAME-clicks` when none is given.
    inputs: Annotated[list[InputTopic], NoDecode] = Field(default_factory=list)

    #: Partitions of the topics that are created. It cannot be changed later: users are spread over them.
    partitions: int = Field(4, ge=1, le=1024)
    #: Copies of each partition that are created.
    replication: int = Field(1, ge=1, le=9)
    #: How long the created topics keep events, deltas and dead letters.
    events_retention: DurationText = "7d"
    deltas_retention: DurationText = "7d"
    dead_letters_retention: DurationText = "30d"
    #: Texts and their vectors, which only have to get from one worker to the other.
    texts_retention: DurationText = "1d"

    #: A profile that nothing changes for so long leaves Redis.
    redis_ttl: DurationText = "90d"
    #: A record larger than this is set aside.
    max_record_bytes: int = Field(1_048_576, ge=1_024)
    #: An event whose time lies further ahead of its record's own timestamp, or of the worker's clock, is set aside.
    max_future: DurationText = "5m"

    #: A worker waits when this many events are applied but not yet written.
    max_unwritten_events: int = Field(20_000, ge=1)
    #: The largest changelog batch; the changelog topic is created to take it. One write of a partition is one batch.
    max_batch_bytes: int = Field(16_777_216, ge=1_048_576)
    #: A worker that Kafka does not hear from for so long loses its partitions.
    session_timeout: DurationText = "10s"
    #: A fixed name for this worker: restarted within `session_timeout`, it gets its partitions back without a
    #: rebalance.
    instance_id: str | None = None

    #: Where texts are encoded, in torch's words: "cuda", "cuda:1", "cpu". Without one, on a GPU if there is one.
    text_device: str | None = None
    #: Of a model's weights: "float32", "bfloat16" or "float16". Without one, half precision on a GPU and full on a CPU.
    text_precision: Literal["float32", "bfloat16", "float16"] | None = None
    #: Tokens in one batch of texts, as many as the GPU takes: when its memory runs out, smaller batches are made.
    text_batch_tokens: int = Field(16_384, ge=1)
    #: How long a text may wait for others to share a batch with.
    text_max_wait: DurationText = "5ms"
    #: How long Redis remembers the vector of a text, for all text workers.
    text_cache_ttl: DurationText = "7d"
    #: Vectors of texts that a text worker remembers in its own memory.
    text_cache_size: int = Field(50_000, ge=1)

    #: How often the worker logs its rates.
    log_every: DurationText = "5s"
    #: A file that the worker touches every few seconds while it is well, for health checks.
    heartbeat_file: Path | None = None

    def inputs_of(self, names: Names) -> list[InputTopic]:
        """The input topics, or the default one."""
        return self.inputs or [InputTopic(topic=names.clicks)]

    @model_validator(mode="before")
    @classmethod
    def _inputs_as_text(cls, values: Any) -> Any:
        inputs = values.get("inputs") if isinstance(values, dict) else None
        if isinstance(inputs, str):
            values["inputs"] = [name.strip() for name in inputs.split(",") if name.strip()]
        return values

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources = (init_settings, env_settings)
        return (*sources, TomlConfigSettingsSource(settings_cls, cls._file)) if cls._file else sources


def load_settings(file: Path | None = None, **given: Any) -> Settings:
    """Settings from a TOML file (`stream_profiles.toml` when there is one), the environment, and what is given.

    What is given wins over the environment, the environment over the file; None counts as not given.

    Raises:
        SettingsError: a file that is missing or is no TOML, an unknown setting or environment variable, a wrong value.
    """
    if file is not None and not file.is_file():
        raise SettingsError(f"there is no settings file {file}")
    chosen = file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    _check_environment()
    given = {name: value for name, value in given.items() if value is not None}
    source = type("Settings", (Settings,), {"_file": chosen, "__module__": __name__})
    try:
        settings: Settings = source(**given)
    except ValidationError as error:
        raise SettingsError(_sentence(error, chosen, given)) from None
    except (ValueError, OSError) as error:
        raise SettingsError(f'{chosen} is no TOML file: {error}; a text stands in quotes, as in key = "text"') from None
    return settings


def _check_environment() -> None:
    """Raises: SettingsError, for a variable that looks like a setting and is none.

    Pydantic passes over it: a broker with a typo in its name would silently be an embedded one.
    """
    settings = [f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields]
    for name in sorted(os.environ):
        known = name.upper() in (*settings, *_OTHER_VARIABLES) or _SERVICE_LINK.search(name.upper())
        if name.upper().startswith(ENV_PREFIX) and not known:
            raise SettingsError(
                f"the environment variable {name} is no setting; {did_you_mean(name.upper(), settings)}"
            )


def _sentence(error: ValidationError, file: Path | None, given: dict[str, Any]) -> str:
    """The first thing that is wrong: where it was said, what it is about, and what it should be."""
    first = error.errors()[0]
    path = [part for part in first["loc"] if part != "[key]"]
    setting = str(path[0]) if path else ""
    variable = f"{ENV_PREFIX}{setting.upper()}"
    if setting in given:
        place = ""
    elif any(name.upper() == variable for name in os.environ):
        place = f"{variable}: "
    else:
        place = f"{file}: " if file else ""
    if first["type"] == "extra_forbidden":
        return f"{place}there is no setting {_dotted(path)}; {did_you_mean(str(path[-1]), _names_beside(path))}"
    if first["type"] == "missing":
        return f"{place}{_dotted(path[:-1])} lacks {path[-1]!r}"
    if first["type"] == "value_error":
        # These name the value themselves.
        return f"{place}{_dotted(path)}: {first['ctx']['error']}"
    limit = next((str(value) for value in first.get("ctx", {}).values()), "")
    wanted = _WANTED.get(first["type"], "").format(limit) or first["msg"]
    return f"{place}{_dotted(path)} must be {wanted}, not {first['input']!r}"


def _dotted(path: Sequence[int | str]) -> str:
    """A place in the settings as TOML's users write it.

    Examples:
        >>> _dotted(["inputs", 0, "mapping", "fields"])
        'inputs[0].mapping.fields'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "the settings"


def _names_beside(path: Sequence[int | str]) -> list[str]:
    """The settings that could stand where the last part of the path does."""
    model: Any = Settings
    for part in path[:-1]:
        if not isinstance(part, int):
            field = model.model_fields.get(part)
            model = next(
                (each for each in _types_of(field and field.annotation) if hasattr(each, "model_fields")), None
            )
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _types_of(annotation: Any) -> list[Any]:
    """A type and those it is made of: `list[InputTopic]` has InputTopic."""
    return [annotation, *(inner for each in get_args(annotation) for inner in _types_of(each))]
