"""The same code offline: files become profiles, or features as of given moments, without Kafka or Redis.

Rows become events as in a replay, events are spread over partitions as in a deployment, and each partition is computed
by the same `Partition` that a worker runs, so that training data and live profiles agree bit for bit. What can be
parallel is: partitions are computed in processes of their own. Nothing but the profiles of the partitions that are
being computed, and the moments that are asked for in them, is ever in memory as a whole.
"""

from .report import BackfillOptions, BackfillReport
from .run import backfill

__all__ = ["BackfillOptions", "BackfillReport", "backfill"]
