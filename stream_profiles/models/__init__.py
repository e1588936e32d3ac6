"""What learns: targets and monitors with their models and metrics, and embeddings."""

from .anomaly import AnomalyModel, HalfSpaceTrees
from .base import Model
from .bayes import NaiveBayes
from .blend import Blend
from .clusters import DBSTREAM, ClusterModel, KMeans
from .drift import ADWIN, PageHinkley
from .embeddings import BehaviourEmbedding
from .factorization import FactorizationMachine
from .inputs import Clip, Hash, Log, OneHot, Raw, Sqrt, Standardise, Transform
from .labels import Churn, Given, Happens, HappensBefore, Label, Next, NextType, ValueWithin
from .linear import LinearRegression, LogisticRegression
from .metrics import BinaryMetrics, EvaluationValues, MetricValues
from .monitors import Anomaly, Clusters, Monitor
from .passive_aggressive import PassiveAggressive
from .river_model import RiverModel
from .search import Search
from .targets import Target
from .text_embeddings import TextEmbedding
from .trees import AdaptiveRandomForest, HoeffdingAdaptiveTree, MondrianForest

__all__ = [
    "ADWIN",
    "DBSTREAM",
    "AdaptiveRandomForest",
    "Anomaly",
    "AnomalyModel",
    "BehaviourEmbedding",
    "BinaryMetrics",
    "Blend",
    "Churn",
    "Clip",
    "ClusterModel",
    "Clusters",
    "EvaluationValues",
    "FactorizationMachine",
    "Given",
    "HalfSpaceTrees",
    "Happens",
    "HappensBefore",
    "Hash",
    "HoeffdingAdaptiveTree",
    "KMeans",
    "Label",
    "LinearRegression",
    "Log",
    "LogisticRegression",
    "MetricValues",
    "Model",
    "MondrianForest",
    "Monitor",
    "NaiveBayes",
    "Next",
    "NextType",
    "OneHot",
    "PageHinkley",
    "PassiveAggressive",
    "Raw",
    "RiverModel",
    "Search",
    "Sqrt",
    "Standardise",
    "Target",
    "TextEmbedding",
    "Transform",
    "ValueWithin",
]
