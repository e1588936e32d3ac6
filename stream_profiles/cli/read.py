"""The commands that look: `get`, `tail`, `check` and `schemas`."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Console

from .. import schemas
from ..client import ProfileClient
from ..definition import load_definition
from ..errors import SettingsError
from ..updater import ProfileUpdater
from . import show
from .connect import Deployment

console = Console()


def print_profile(deployment: Deployment, user: str, *, now: bool, as_json: bool) -> None:
    """Raises: SettingsError, when there is no such user."""
    with ProfileClient(deployment.redis(), deployment.names.definition) as client:
        profile = client.get(user, now="now" if now else None)
    if profile is None:
        raise SettingsError(f"there is no profile of user {user!r} in {deployment.names.definition}")
    if as_json:
        print(_json(profile))
    else:
        console.print(show.profile_panel(profile))


def print_deltas(
    deployment: Deployment, *, user: str | None, from_beginning: bool, limit: int | None, as_json: bool
) -> None:
    """Print deltas until Ctrl-C or the limit."""
    printed = 0
    with ProfileClient(deployment.redis(), deployment.names.definition, broker=deployment.broker()) as client:
        for delta in client.deltas(from_beginning=from_beginning):
            if user is not None and delta.user_id != user:
                continue
            if as_json:
                print(_json(delta), flush=True)
            else:
                changes = "; ".join(f"[cyan]{name}[/] {show.readable(v)}" for name, v in delta.changed.items())
                time = show.moment(delta.event_time)
                console.print(f"[bold]{delta.user_id}[/] v{delta.version} {time}  {changes}", highlight=False)
            printed += 1
            if printed == limit:
                return


def print_definition(reference: str) -> None:
    """Raises: DefinitionError."""
    definition = load_definition(reference)
    updater = ProfileUpdater(definition)
    console.print(show.definition_table(definition))
    types = "any" if definition.event_types is None else ", ".join(definition.event_types)
    console.print(f"event types: {types}", highlight=False)
    console.print(f"a profile takes at most {updater.max_profile_bytes:,} bytes, usually far less", highlight=False)


def write_schemas(folder: Path, *, check: bool) -> None:
    """Raises: SettingsError, when files are stale and were only to be checked."""
    if check:
        stale = schemas.stale(folder)
        if stale:
            raise SettingsError(f"{', '.join(stale)} in {folder} is not up to date: run `stream-profiles schemas {folder}`")
        console.print("all schemas are up to date")
        return
    for path in schemas.write(folder):
        console.print(str(path), highlight=False)


def _json(message: Any) -> str:
    return msgspec.json.encode(message, enc_hook=_encode).decode()


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return base64.b64encode(value.astype("<f4").tobytes()).decode()
    raise TypeError(f"no JSON for {type(value)}")
