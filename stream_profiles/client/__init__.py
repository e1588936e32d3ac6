"""Reading profiles from another service: from Redis as they stand, from Kafka as they change.

Profiles are written by the workers (`sinks`); this package only reads. The logic is in `_reader` and `_deltas`, which
do no I/O, so that `_sync` and `_async` differ in nothing but how they wait.
"""

from ._async import AsyncDeltaStream, AsyncProfileClient
from ._deltas import apply_delta
from ._metrics import Contender, TargetMetrics
from ._sync import DeltaStream, ProfileClient
from ._text_metrics import EncoderMetrics, TextMetrics, TextReport

__all__ = [
    "AsyncDeltaStream",
    "AsyncProfileClient",
    "Contender",
    "DeltaStream",
    "EncoderMetrics",
    "ProfileClient",
    "TargetMetrics",
    "TextMetrics",
    "TextReport",
    "apply_delta",
]
