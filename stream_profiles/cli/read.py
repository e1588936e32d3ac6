"""The commands that look: `get`, `tail`, `check` and `schemas`."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from .. import schemas
from ..client import ProfileClient
from ..errors import SettingsError, StreamProfilesError
from ..updater import ProfileUpdater
from . import definitions, output, show
from .connect import Deployment


def print_profile(deployment: Deployment, user: str, *, now: bool, as_json: bool) -> None:
    """Raises: StreamProfilesError, when there is no such user."""
    with ProfileClient(deployment.redis(), deployment.names.definition) as client:
        profile = client.get(user, now="now" if now else None)
    if profile is None:
        raise StreamProfilesError(f"there is no profile of user {user!r} in {deployment.names.definition}")
    if as_json:
        print(_json(profile))
    else:
        output.console().print(show.profile_panel(profile))


def print_deltas(
    deployment: Deployment, *, user: str | None, from_beginning: bool, limit: int | None, as_json: bool
) -> None:
    """Print deltas until Ctrl-C or the limit."""
    printed, console = 0, output.console()
    with (
        ProfileClient(deployment.redis(), deployment.names.definition, broker=deployment.broker()) as client,
        client.deltas(from_beginning=from_beginning) as deltas,
    ):
        if sys.stderr.isatty():
            output.console(stderr=True).print(f"following {deployment.names.deltas}, until Ctrl-C", style="dim")
        for delta in deltas:
            if user is not None and delta.user_id != user:
                continue
            if as_json:
                print(_json(delta), flush=True)
            else:
                console.print(show.delta_line(delta), soft_wrap=True)
                console.file.flush()
            printed += 1
            if printed == limit:
                return


def print_definition(reference: str) -> None:
    """Raises: DefinitionError."""
    definition = definitions.load(reference)
    updater, console = ProfileUpdater(definition), output.console()
    console.print(show.definition_table(definition))
    types = "any" if definition.event_types is None else ", ".join(definition.event_types)
    console.print(f"event types: {types}")
    console.print(f"a profile takes at most {updater.max_profile_bytes:,} bytes, usually far less")


def write_schemas(folder: Path, *, check: bool) -> None:
    """Raises: SettingsError, when files are stale and were only to be checked, or cannot be written."""
    console = output.console()
    if check:
        if stale := schemas.stale(folder):
            raise SettingsError(
                f"not up to date in {folder}: {', '.join(stale)}; run `stream-profiles schemas {folder}`"
            )
        console.print("all schemas are up to date")
        return
    try:
        written = schemas.write(folder)
    except OSError as error:
        raise SettingsError(f"the schemas cannot be written into {folder}: {error.strerror}") from error
    for path in written:
        console.print(str(path))


def _json(message: Any) -> str:
    return msgspec.json.encode(message, enc_hook=_encode).decode()


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return base64.b64encode(value.astype("<f4").tobytes()).decode()
    raise TypeError(f"no JSON for {type(value)}")
