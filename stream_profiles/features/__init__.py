"""The features a profile can have, one family a file."""

from .base import Feature
from .categories import RecentItems, TopK
from .counts import Count, Sum
from .sessions import Sessions
from .times import TimeSince
from .values import EWMean, First, Last

__all__ = ["Count", "EWMean", "Feature", "First", "Last", "RecentItems", "Sessions", "Sum", "TimeSince", "TopK"]
