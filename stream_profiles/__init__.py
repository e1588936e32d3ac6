"""stream_profiles: one live profile per user, updated one event at a time."""

from typing import TYPE_CHECKING, Any

from .contracts import DeadLetter, Event, Profile, ProfileDelta
from .definition import ProfileDefinition
from .errors import StreamProfilesError
from .features import Count, EWMean, Feature, First, Last, RecentItems, Sessions, Sum, TimeSince, TopK
from .models import BehaviourEmbedding, Happens, LogisticRegression, Target
from .partition import Partition
from .updater import Change, ProfileUpdater, Skipped

if TYPE_CHECKING:
    from .client import AsyncProfileClient, ProfileClient, apply_delta

__all__ = [
    "AsyncProfileClient",
    "BehaviourEmbedding",
    "Change",
    "Count",
    "DeadLetter",
    "EWMean",
    "Event",
    "Feature",
    "First",
    "Happens",
    "Last",
    "LogisticRegression",
    "Partition",
    "Profile",
    "ProfileClient",
    "ProfileDefinition",
    "ProfileDelta",
    "ProfileUpdater",
    "RecentItems",
    "Sessions",
    "Skipped",
    "StreamProfilesError",
    "Sum",
    "Target",
    "TimeSince",
    "TopK",
    "apply_delta",
]


def __getattr__(name: str) -> Any:
    """The clients, when they are asked for: a definition needs no Redis and no Kafka to be imported."""
    if name in ("AsyncProfileClient", "ProfileClient", "apply_delta"):
        from . import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
