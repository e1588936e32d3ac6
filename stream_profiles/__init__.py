"""stream_profiles: one live profile per user, updated one event at a time."""

from .contracts import DeadLetter, Event, Profile, ProfileDelta
from .definition import ProfileDefinition
from .errors import StreamProfilesError
from .features import Count, EWMean, Feature, First, Last, RecentItems, Sessions, Sum, TimeSince, TopK
from .models import BehaviourEmbedding, Happens, LogisticRegression, Target
from .partition import Partition
from .updater import Change, ProfileUpdater, Skipped

__all__ = [
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
]
