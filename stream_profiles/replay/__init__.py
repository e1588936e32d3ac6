"""Past clickstreams through the live engine: files become events of a topic, as fast as the workers take them.

A replay reads, maps, sends, and remembers how far it is. The workers do not know it from live traffic.
"""

from .lag import ConsumerLag
from .report import ReplayOptions, ReplayReport
from .run import replay, run_replay

__all__ = ["ConsumerLag", "ReplayOptions", "ReplayReport", "replay", "run_replay"]
