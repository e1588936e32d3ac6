"""From options to a deployment: settings, the definition, and which servers to talk to.

Servers named in the settings come first. Without any, a worker starts embedded ones and notes in its data folder where
they listen; other commands given the same folder find them there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError, TopicError
from ..names import Names
from ..settings import Settings, load_settings

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

    from ..definition import ProfileDefinition

DEFAULT_FOLDER = Path(".stream_profiles")
_NOTE = "servers.json"


class Deployment:
    """What a command was asked to work on.

    Parameters:
        config: Settings file.
        name: Name of the definition, for commands that need nothing else of it.
        folder: Where embedded servers keep their data, and are found.
        options: Settings given on the command line; None for not given.
    """

    def __init__(
        self, config: Path | None, *, name: str | None = None, folder: Path = DEFAULT_FOLDER, **options: Any
    ) -> None:
        self.settings: Settings = load_settings(config, **options)
        self._name = name
        self._folder = folder

    @cached_property
    def definition(self) -> ProfileDefinition:
        """Raises: SettingsError, DefinitionError."""
        from . import definitions

        if self.settings.definition is None:
            raise SettingsError(
                "say which profiles to keep: --definition path/to/file.py:NAME, STREAM_PROFILES_DEFINITION, or "
                "definition = ... in stream_profiles.toml"
            )
        return definitions.load(self.settings.definition)

    @cached_property
    def names(self) -> Names:
        """Raises: SettingsError, DefinitionError."""
        if self._name is None and self.settings.definition is None:
            raise SettingsError(
                "say which profiles: --name NAME or --definition path/to/file.py:NAME, STREAM_PROFILES_DEFINITION, or "
                "definition = ... in stream_profiles.toml"
            )
        return Names(self._name or self.definition.name)

    @property
    def texts(self) -> bool | None:
        """Whether the definition has text embeddings; None when only its name is given."""
        return None if self.settings.definition is None else bool(self.definition.text_embeddings)

    def broker(self) -> str:
        """Kafka's address, of the settings or of running embedded servers.

        Raises:
            SettingsError: there is neither.
        """
        return self.settings.broker or self._running("kafka", "broker")

    def redis(self) -> str:
        """Redis's URL, of the settings or of running embedded servers.

        Raises:
            SettingsError: there is neither.
        """
        return self.settings.redis or self._running("redis", "redis")

    def _running(self, server: str, setting: str) -> str:
        address = _running_in(self._folder).get(server)
        if address is None:
            raise SettingsError(
                f"no {server.capitalize()} is named and no worker runs an embedded one in {self._folder}: "
                f"give --{setting}, set STREAM_PROFILES_{setting.upper()}, or start `stream-profiles worker` here"
            )
        return address

    @contextmanager
    def with_servers(self) -> Iterator[Settings]:
        """The settings with both servers in them; what they do not name is found running or started.

        An embedded Kafka gets the definition's topics.
        """
        from ..dev.servers import embedded_servers
        from ..engine.topics import create_topics, plan_topics

        settings, folder, names = self.settings, self._folder, self.names
        running = _running_in(folder)
        wanted = {"kafka": settings.broker, "redis": settings.redis}
        missing = {name for name, address in wanted.items() if address is None and name not in running}
        with embedded_servers(kafka="kafka" in missing, redis="redis" in missing, folder=folder) as started:
            found = {
                "kafka": settings.broker or running.get("kafka") or started.kafka,
                "redis": settings.redis or running.get("redis") or started.redis,
            }
            complete = settings.model_copy(update={"broker": found["kafka"], "redis": found["redis"]})
            if settings.broker is None:
                with kafka_admin(complete.broker or "") as client:
                    plans = plan_topics(names, complete, texts=self.texts is not False)
                    create_topics(client, plans, complete.replication)
            with _note(folder, {"kafka": started.kafka, "redis": started.redis}):
                yield complete


@contextmanager
def kafka_admin(bootstrap: str) -> Iterator[KafkaAdminClient]:
    """The admin client of a broker.

    Raises:
        KafkaUnavailable: no broker answers.
        TopicError: it answers, and refuses.
    """
    from kafka.errors import BrokerResponseError

    from ..engine.topics import admin

    with admin(bootstrap) as client:
        try:
            yield client
        except BrokerResponseError as error:
            reason = " ".join(str(part) for part in (error.description, *error.args) if part)
            raise TopicError(f"Kafka at {bootstrap} refuses: {reason or type(error).__name__}") from error


@contextmanager
def _note(folder: Path, started: dict[str, str | None]) -> Iterator[None]:
    """Note in the folder which servers this process started, for as long as it runs."""
    mine = {name: {"address": address, "pid": os.getpid()} for name, address in started.items() if address}
    if not mine:
        yield
        return
    _write_note(folder, {**_read_note(folder), **mine})
    try:
        yield
    finally:
        # Another worker may have noted the server that this one did not start.
        _write_note(folder, {name: entry for name, entry in _read_note(folder).items() if entry != mine.get(name)})


def _running_in(folder: Path) -> dict[str, str]:
    """Where the embedded servers of the folder listen whose processes still run."""
    running = {}
    for name, entry in _read_note(folder).items():
        with suppress(OSError, KeyError, TypeError, ValueError):
            os.kill(int(entry["pid"]), 0)
            running[name] = str(entry["address"])
    return running


def _read_note(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        note = json.loads((folder / _NOTE).read_text())
        if isinstance(note, dict):
            return note
    return {}


def _write_note(folder: Path, entries: dict[str, Any]) -> None:
    file = folder / _NOTE
    if not entries:
        file.unlink(missing_ok=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    # Renamed into place, so that nobody reads half of it.
    half = file.with_suffix(f".{os.getpid()}")
    half.write_text(json.dumps(entries))
    half.replace(file)
