"""What learns: targets with their classifiers and metrics, and embeddings."""

from .classifiers import LogisticRegression
from .embeddings import BehaviourEmbedding
from .metrics import BinaryMetrics, MetricValues
from .targets import Happens, Target

__all__ = ["BehaviourEmbedding", "BinaryMetrics", "Happens", "LogisticRegression", "MetricValues", "Target"]
