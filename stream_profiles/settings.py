"""Settings of a deployment: from `stream_profiles.toml`, environment variables and the command line, later ones first.

Only what differs between deployments is here; what a profile is made of is in the definition.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from .durations import to_ms
from .errors import DefinitionError, SettingsError
from .mapping import MappingConfig
from .names import Names

ENV_PREFIX = "STREAM_PROFILES_"
DEFAULT_FILE = Path("stream_profiles.toml")


def _is_duration(value: str) -> str:
    try:
        to_ms(value)
    except DefinitionError as error:
        raise ValueError(str(error)) from None
    return value


DurationText = Annotated[str, AfterValidator(_is_duration)]


class InputTopic(BaseModel):
    """A topic that events come from."""

    model_config = ConfigDict(extra="forbid")

    topic: str
    #: The topic holds events in the contract's format, keyed by user with Kafka's default partitioner: no intake needed.
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

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid")
    _file: ClassVar[Path | None] = None

    #: The profile definition, as `path/to/file.py:variable` or `package.module:variable`.
    definition: str | None = None
    #: Kafka's bootstrap servers, `host:port,host:port`. Without one, an embedded Kafka is started.
    broker: str | None = None
    #: `redis://host:port/db`. Without one, an embedded Redis is started.
    redis: str | None = None
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

    #: A profile that nothing changes for so long leaves Redis.
    redis_ttl: DurationText = "90d"
    #: A record larger than this is set aside.
    max_record_bytes: int = Field(1_048_576, ge=1_024)
    #: An event whose time lies further ahead of its record's own timestamp is set aside.
    max_future: DurationText = "5m"

    #: A worker waits when this many events are applied but not yet written.
    max_unwritten_events: int = Field(20_000, ge=1)
    #: The largest changelog batch; the changelog topic is created to take it. One write of a partition is one batch.
    max_batch_bytes: int = Field(16_777_216, ge=1_048_576)
    #: A worker that Kafka does not hear from for so long loses its partitions.
    session_timeout: DurationText = "10s"
    #: A fixed name for this worker: restarted within `session_timeout`, it gets its partitions back without a rebalance.
    instance_id: str | None = None

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
        SettingsError: a file that is missing or is no TOML, an unknown setting, a wrong value.
    """
    if file is not None and not file.is_file():
        raise SettingsError(f"there is no settings file {file}")
    chosen = file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    source = type("Settings", (Settings,), {"_file": chosen, "__module__": __name__})
    try:
        settings: Settings = source(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(_sentence(error, chosen)) from None
    except ValueError as error:
        raise SettingsError(f"{chosen} is not a settings file: {error}") from None
    return settings


def _sentence(error: ValidationError, file: Path | None) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "settings"
    where = f"{name} (in {file} or {ENV_PREFIX}{name.split('.')[0].upper()})" if file else name
    if first["type"] == "extra_forbidden":
        known = ", ".join(Settings.model_fields)
        return f"there is no setting {where}; the settings are {known}"
    return f"setting {where}: {first['msg'].removeprefix('Value error, ')}, not {first['input']!r}"
