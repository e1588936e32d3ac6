"""The features a profile can have, one family a file."""

from .base import Feature
from .baskets import Baskets
from .calendar import DayOfWeek, HourOfDay, Moment
from .categories import CategoryShares, LeastFrequent, MostFrequent, TopK
from .counts import Count, Sum
from .days import ActiveDays
from .derived import Cross, Ratio
from .distinct import DistinctCount
from .funnel import Funnel
from .lifecycle import Lifecycle
from .lists import LastN, RecentItems, UniqueList
from .personas import Persona
from .quantiles import Quantiles
from .ratings import ReviewStats
from .rfm import RFM
from .sequences import Sequence, Transitions
from .sessions import Sessions
from .statistics import Max, Mean, Min, Std
from .texts import Language, Sentiment
from .times import InterEventTime, TimeSince
from .values import EWMean, First, Last

__all__ = [
    "RFM",
    "ActiveDays",
    "Baskets",
    "CategoryShares",
    "Count",
    "Cross",
    "DayOfWeek",
    "DistinctCount",
    "EWMean",
    "Feature",
    "First",
    "Funnel",
    "HourOfDay",
    "InterEventTime",
    "Language",
    "Last",
    "LastN",
    "LeastFrequent",
    "Lifecycle",
    "Max",
    "Mean",
    "Min",
    "Moment",
    "MostFrequent",
    "Persona",
    "Quantiles",
    "Ratio",
    "RecentItems",
    "ReviewStats",
    "Sentiment",
    "Sequence",
    "Sessions",
    "Std",
    "Sum",
    "TimeSince",
    "TopK",
    "Transitions",
    "UniqueList",
]
