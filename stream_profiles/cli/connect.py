"""From options to a deployment: settings, the definition, and which servers to talk to.

Servers named in the settings come first. Without any, a worker starts embedded ones and notes in its data folder where
they listen; commands run in the same folder find them there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from ..definition import ProfileDefinition, load_definition
from ..dev.servers import embedded_servers
from ..engine.topics import admin, create_topics, plan_topics
from ..errors import SettingsError
from ..names import Names
from ..settings import Settings, load_settings

DEFAULT_FOLDER = Path(".stream_profiles")
_NOTE = "servers.json"


class Deployment:
    """What a command was asked to work on.

    Parameters:
        config: Settings file.
        name: Name of the definition, for commands that need nothing else of it.
        options: Settings given on the command line; None for not given.
    """

    def __init__(self, config: Path | None, *, name: str | None = None, **options: Any) -> None:
        self.settings: Settings = load_settings(config, **options)
        self._name = name

    @cached_property
    def definition(self) -> ProfileDefinition:
        """Raises: SettingsError, DefinitionError."""
        if self.settings.definition is None:
            raise SettingsError(
                "say which profiles to keep: --definition path/to/file.py:NAME, STREAM_PROFILES_DEFINITION, or "
                "definition = ... in stream_profiles.toml"
            )
        return load_definition(self.settings.definition)

    @cached_property
    def names(self) -> Names:
        """Raises: SettingsError, DefinitionError."""
        return Names(self._name or self.definition.name)

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
        address = _read_note(DEFAULT_FOLDER).get(server)
        if address is None:
            raise SettingsError(
                f"no {server.capitalize()} is named and no worker with embedded servers runs in this folder: "
                f"give --{setting}, set STREAM_PROFILES_{setting.upper()}, or start `stream-profiles worker` here"
            )
        return address

    @contextmanager
    def with_servers(self, folder: Path) -> Iterator[Settings]:
        """The settings with both servers in them; what they do not name is found running or started.

        Embedded servers get the definition's topics.
        """
        settings = self.settings
        running = _read_note(folder)
        wanted = {"kafka": settings.broker, "redis": settings.redis}
        missing = {name for name, address in wanted.items() if address is None and name not in running}
        with embedded_servers(kafka="kafka" in missing, redis="redis" in missing, folder=folder) as started:
            found = {
                "kafka": settings.broker or running.get("kafka") or started.kafka,
                "redis": settings.redis or running.get("redis") or started.redis,
            }
            complete = settings.model_copy(update={"broker": found["kafka"], "redis": found["redis"]})
            if settings.broker is None:
                with admin(complete.broker or "") as client:
                    create_topics(client, plan_topics(self.names, complete), complete.replication)
            with _note(folder, {"kafka": started.kafka, "redis": started.redis}):
                yield complete


@contextmanager
def _note(folder: Path, addresses: dict[str, str | None]) -> Iterator[None]:
    """Note in the folder what this process started, for as long as it runs."""
    if not any(addresses.values()):
        yield
        return
    file = folder / _NOTE
    folder.mkdir(parents=True, exist_ok=True)
    known = {name: address for name, address in addresses.items() if address}
    file.write_text(json.dumps({"pid": os.getpid(), **known}))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _read_note(folder: Path) -> dict[str, str]:
    """Where embedded servers listen that another process runs in the folder; nothing when it is gone."""
    with suppress(OSError, ValueError, KeyError):
        note = json.loads((folder / _NOTE).read_text())
        os.kill(note.pop("pid"), 0)
        return {str(name): str(address) for name, address in note.items()}
    return {}
