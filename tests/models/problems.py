"""Synthetic problems for the models' tests: easy ones, to see that something is learned, and nasty inputs."""

from __future__ import annotations

import math
import random
from typing import Any

import msgspec
from river import forest, linear_model, multiclass, preprocessing

from stream_profiles.models.anomaly import HalfSpaceTrees
from stream_profiles.models.base import Model
from stream_profiles.models.bayes import NaiveBayes
from stream_profiles.models.blend import Blend
from stream_profiles.models.clusters import DBSTREAM, KMeans
from stream_profiles.models.factorization import FactorizationMachine
from stream_profiles.models.linear import LinearRegression, LogisticRegression
from stream_profiles.models.passive_aggressive import PassiveAggressive
from stream_profiles.models.river_model import RiverModel
from stream_profiles.models.trees import AdaptiveRandomForest, HoeffdingAdaptiveTree, MondrianForest

Example = tuple[dict[str, float], Any]


#: One of every model, and of those with several ways of learning one for each. Small, as each is run many times.
CASES: list[Model] = [
    LogisticRegression(0.05),
    LogisticRegression(0.05, optimizer="momentum"),
    LogisticRegression(0.05, optimizer="adagrad", l2=0.001),
    LogisticRegression(0.05, optimizer="rmsprop"),
    LogisticRegression(0.05, optimizer="adam"),
    LogisticRegression(0.05, optimizer="adamax"),
    LogisticRegression(0.05, optimizer="amsgrad"),
    LogisticRegression(0.05, optimizer="nadam"),
    LogisticRegression(0.1, optimizer="ftrl", l1=0.01, l2=0.01),
    LogisticRegression(0.05, l1=0.0001),
    LogisticRegression(0.05, class_weights={True: 1.5, "a": 1.5}),
    LogisticRegression(0.05, class_weights="balanced", intercept_decay=0.0),
    LogisticRegression(0.05, average=100),
    LogisticRegression(0.05, optimizer="adam", l1=0.0001, average=100),
    LinearRegression(0.05),
    LinearRegression(0.05, average=100),
    LinearRegression(0.05, optimizer="adam", l1=0.0001),
    LinearRegression(0.05, optimizer="ftrl"),
    PassiveAggressive(),
    FactorizationMachine(factors=3),
    NaiveBayes(),
    HoeffdingAdaptiveTree(grace_period=50, delta=0.01),
    AdaptiveRandomForest(trees=3),
    MondrianForest(trees=3, max_nodes=200),
    Blend([LogisticRegression(0.05), LogisticRegression(0.05, optimizer="adam")]),
    Blend([LogisticRegression(0.05), AdaptiveRandomForest(trees=2)]),
    RiverModel(preprocessing.StandardScaler() | forest.OXTRegressor(n_models=2, max_depth=4, seed=3)),
    RiverModel(preprocessing.StandardScaler() | multiclass.OneVsRestClassifier(linear_model.LogisticRegression())),
]
#: Models that learn without labels.
UNLABELLED = [HalfSpaceTrees(trees=5, height=5, window=50), KMeans(clusters=3), DBSTREAM(radius=0.4)]

pairs = [(model, task) for model in CASES for task in sorted(model.tasks)]

pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder().decode


def stored(running: Any) -> Any:
    """A state as it comes back from where it was stored."""
    return unpack(pack(running.state()))


def examples(task: str, count: int, seed: int = 1) -> list[Example]:
    """Three inputs with something to say, of different scales, and one with nothing; labels with noise."""
    random_ = random.Random(seed)
    made: list[Example] = []
    for _ in range(count):
        a, b, c = random_.gauss(0, 1), random_.gauss(0, 1), random_.random()
        inputs = {"a": a, "b": 1e3 + 100.0 * b, "c": c, "nothing": random_.gauss(5, 2)}
        score = 2.5 * a - 1.5 * b + c
        label: Any
        if task == "binary":
            label = random_.random() < 1 / (1 + math.exp(-score))
        elif task == "multiclass":
            noisy = score + random_.gauss(0, 0.5)
            label = "low" if noisy < -1.5 else "high" if noisy > 1.5 else "middle"
        else:
            label = 1_000.0 + 50.0 * score + random_.gauss(0, 10)
        made.append((inputs, label))
    return made


def nasty(task: str, count: int, seed: int = 2) -> list[Example]:
    """Zeros, huge numbers, inputs that are missing or turn up later, labels that are nearly all the same."""
    random_ = random.Random(seed)
    made: list[Example] = []
    for number in range(count):
        values = [0.0, 0.0, 1.0, 1e6, -1e6, 1e12, 1e-12, random_.gauss(0, 1)]
        inputs = {name: random_.choice(values) for name in ("a", "b", "c") if random_.random() < 0.8}
        inputs["same"] = 3.0
        if number > count // 2:
            inputs["late"] = random_.choice(values)
        rare = number % 29 == 28
        label: Any = {"binary": rare, "multiclass": "rare" if rare else "usual", "regression": 1e6 if rare else 0.0}[
            task
        ]
        made.append(({} if number % 31 == 30 else inputs, label))
    return made
