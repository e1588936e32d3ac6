"""How the fields of a profile are read: their raw bytes in Redis and their JSON in deltas become values.

A reader knows the fields from the description that the worker writes, so it needs no definition and may be older or
newer than the worker. Where the description is kept and when it is read again is `_reader`'s business.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from ..contracts import Profile, ProfileDelta
from ..definition import described_features
from ..errors import StateError, StreamProfilesError
from ..features import Feature
from ..features.derived import Derived

#: A profile's hash as Redis gives it.
Stored = dict[bytes, bytes]

VERSION, EVENT_TIME, UPDATED_AT, LINEAGE = b"_version", b"_event_time", b"_updated_at", b"_lineage"
META = (VERSION, EVENT_TIME, UPDATED_AT, LINEAGE)

_decode_json = msgspec.json.Decoder().decode
_decode_delta = msgspec.json.Decoder(ProfileDelta).decode


class _Field:
    """One field of the description."""

    __slots__ = ("advance", "derived", "is_vector", "name", "read")

    def __init__(self, name: str, described: dict[str, Any]) -> None:
        self.name = name
        # By the name of the kind, so that a reader that is older than an embedding can read it all the same.
        self.is_vector = str(described.get("kind")).endswith("Embedding")
        self.read: Callable[[bytes], Any] = _vector if self.is_vector else _decode_json
        #: Brings a value to a later time (ms); None when the value does not change by itself.
        self.advance: Callable[[Any, int], Any] | None = None
        try:
            feature = described_features({"fields": {name: described}}).get(name)
        except (StreamProfilesError, TypeError):
            # A newer library's kind of feature, or one of the user's own: read, but left as of its last update.
            feature = None
        if feature is not None and type(feature).advance is not Feature.advance:
            self.advance = feature.advance
        #: Made of other fields: brought to a later time by computing it anew when they are there.
        self.derived = feature if isinstance(feature, Derived) else None


class Schema:
    """The fields of one definition's profiles.

    Parameters:
        raw: `ProfileDefinition.describe()` as JSON.

    Raises:
        StateError: it is no description.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        try:
            #: Each field's kind and configuration.
            self.described: dict[str, Any] = _decode_json(raw)["fields"]
            self.fields = {name: _Field(name, field) for name, field in self.described.items()}
        except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as error:
            raise StateError(f"it is not a description of profiles: {error}") from None
        self._by_key = [(name.encode(), field) for name, field in self.fields.items()]
        self._derived = [field.derived for field in self.fields.values() if field.derived is not None]

    def profile(self, name: str, user_id: str, stored: Stored, now: int | None, strange: set[str]) -> Profile | None:
        """A user's profile, its values in the definition's order; None when nothing is stored.

        Parameters:
            name: The definition's.
            user_id: The user's.
            stored: What Redis has of it.
            now: Time (ms) to bring the values to; None leaves them as they are stored.
            strange: Gets the names of fields that this schema cannot read. They are left out: they belong to an older
                definition, or to a newer one.

        Raises:
            StateError: what is stored is no profile.
        """
        version = stored.get(VERSION)
        if version is None:
            return None
        values: dict[str, Any] = {}
        for key, field in self._by_key:
            raw = stored.get(key)
            if raw is None:
                continue
            try:
                value = field.read(raw)
            except (msgspec.MsgspecError, ValueError):
                strange.add(field.name)
                continue
            if now is not None and field.advance is not None:
                try:
                    value = field.advance(value, now)
                except Exception:  # of a configuration that is not this one's, so it can look like anything
                    strange.add(field.name)
            values[field.name] = value
        for derived in self._derived if now is not None else ():
            # Of chosen fields, those that it is made of may be missing: then it stays as of its last change.
            if derived.name in values and all(source in values for source in derived.sources):
                try:
                    values[derived.name] = derived.derive(values)
                except Exception:  # as above
                    strange.add(derived.name)
        if len(values) + len(META) < len(stored):
            names = (key.decode(errors="replace") for key in stored if key not in META)
            strange.update(unread for unread in names if unread not in values)
        try:
            return Profile(
                user_id=user_id,
                profile=name,
                version=int(version),
                event_time=int(stored.get(EVENT_TIME, 0)),
                updated_at=int(stored.get(UPDATED_AT, 0)),
                values=values,
            )
        except ValueError:
            raise StateError(f"the profile {name!r} of {user_id!r} in Redis was not written by a worker") from None

    def delta(self, message: bytes, strange: set[str]) -> ProfileDelta:
        """A delta message, its embeddings as arrays.

        Parameters:
            message: The record's value.
            strange: Gets the names of changed fields that this schema cannot read; they are left out.

        Raises:
            StateError: it is not a delta.
        """
        try:
            delta = _decode_delta(message)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StateError(f"it is not a profile delta: {error}") from None
        changed = {}
        for name, value in delta.changed.items():
            field = self.fields.get(name)
            if field is None:
                strange.add(name)
            elif not field.is_vector:
                changed[name] = value
            else:
                try:
                    changed[name] = _vector(a2b_base64(value))
                except (ValueError, TypeError):
                    strange.add(name)
        delta.changed = changed
        return delta


def _vector(raw: bytes) -> Any:
    return np.frombuffer(raw, "<f4")
