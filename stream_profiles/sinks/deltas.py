"""Profile deltas: every change of every profile as a message for other services."""

from __future__ import annotations

import msgspec

from ..contracts import ProfileDelta
from ..updater import Change

_encode = msgspec.json.Encoder().encode


def encode_delta(profile: str, change: Change) -> bytes:
    """The message of a change; bytes in it (embeddings) become base64."""
    return _encode(
        ProfileDelta(
            user_id=change.user_id,
            profile=profile,
            version=change.version,
            event_id=change.event_id,
            event_time=change.event_time,
            changed=change.changed,
            removed=change.removed,
            snapshot=change.snapshot,
        )
    )
