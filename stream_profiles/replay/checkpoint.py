"""Where a replay stopped: a small JSON file of rows whose events Kafka has acknowledged.

A place is remembered for one content (path and size), read in one way (the mapping's digest), sent to one topic. The
topic goes by its id too, so a topic that was made anew, or one on another cluster, starts from the first row.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SettingsError

#: Where `replay` keeps its checkpoint unless told otherwise.
DEFAULT_PATH = Path(".stream-profiles-replay.json")
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Place:
    """How far one replay of one file is.

    Attributes:
        rows: every row up to this number was acknowledged, rejected or dropped.
        finished: so was the last one.
    """

    rows: int = 0
    finished: bool = False


class Checkpoint:
    """The places in one state file. Other replays may keep theirs in the same file.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     key = Checkpoint.key(Path(folder, "clicks.csv"), 1_000, "2f6b", "clicks#1")
        ...     Checkpoint(Path(folder, "state.json")).save(key, Place(500))
        ...     Checkpoint(Path(folder, "state.json")).place(key)
        Place(rows=500, finished=False)
    """

    def __init__(self, path: Path = DEFAULT_PATH) -> None:
        self.path = path

    @staticmethod
    def key(path: Path, size: int, mapping: str, topic: str) -> str:
        """What a place is remembered by."""
        return f"{path.absolute()} ({size} bytes, mapping {mapping}) to {topic}"

    def place(self, key: str) -> Place:
        """Where a replay stopped; the beginning for one that never ran.

        Raises:
            SettingsError: the file is there and is no checkpoint.
        """
        entry = self._read().get(key)
        if entry is None:
            return Place()
        try:
            return Place(int(entry["rows"]), bool(entry["finished"]))
        except (TypeError, KeyError, ValueError):
            raise self._damaged() from None

    def save(self, key: str, place: Place) -> None:
        """Remember a place. The file is whole at every moment: a new one takes the place of the old one.

        Raises:
            SettingsError: it cannot be written.
        """
        places = self._read()
        places[key] = {"rows": place.rows, "finished": place.finished}
        text = json.dumps({"version": _VERSION, "places": places}, indent=1, ensure_ascii=False)
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        try:
            with beside.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise SettingsError(
                f"the replay's place cannot be kept in {self.path}: {error.strerror}; name another file with --state"
            ) from None

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SettingsError(f"{self.path} cannot be read: {error.strerror}") from None
        except ValueError:
            raise self._damaged() from None
        if not isinstance(content, dict) or content.get("version") != _VERSION:
            raise self._damaged()
        places = content.get("places")
        if not isinstance(places, dict):
            raise self._damaged()
        return places

    def _damaged(self) -> SettingsError:
        return SettingsError(
            f"{self.path} is not a checkpoint of a replay; delete it, or name another file with --state"
        )
