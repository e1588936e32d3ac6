"""Detectors of anomalies and clusterings: what holds for all of them, and what each is for."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from stream_profiles.errors import DefinitionError, StateError
from stream_profiles.features.base import config_as_json
from stream_profiles.models.anomaly import AnomalyModel, HalfSpaceTrees
from stream_profiles.models.clusters import DBSTREAM, ClusterModel, KMeans
from tests.models.problems import UNLABELLED, examples, nasty, pack, stored

Unlabelled = AnomalyModel | ClusterModel
every_model = pytest.mark.parametrize("model", UNLABELLED, ids=repr)
every_clustering = pytest.mark.parametrize("model", [KMeans(clusters=6, seed=4), DBSTREAM(radius=0.4)], ids=repr)


def blobs(count: int, seed: int = 1) -> list[tuple[dict[str, float], int]]:
    """Three groups far from each other, in inputs of very different scales."""
    random_ = random.Random(seed)
    made = []
    for _ in range(count):
        group = random_.randrange(3)
        x, y = ((0.0, 0.0), (10.0, 0.0), (5.0, 8.0))[group]
        made.append(({"x": random_.gauss(x, 0.4), "y": 1_000.0 * random_.gauss(y, 0.4)}, group))
    return made


@every_model
def test_its_configuration_rebuilds_it(model: Unlabelled) -> None:
    rebuilt = type(model)(**model.config)
    assert rebuilt.config == model.config == config_as_json(model.config)
    assert repr(rebuilt) == repr(model)


@every_model
def test_a_stored_state_goes_on_bit_for_bit(model: Unlabelled) -> None:
    kept, other = model.start(), model.start()
    shown = [inputs for inputs, _ in [*examples("binary", 200), *nasty("binary", 100), *examples("binary", 100, 3)]]
    for number, inputs in enumerate(shown):
        if number % 40 == 20:
            other = model.start(stored(other))
        if number % 3 == 0:
            assert other.predict(inputs) == kept.predict(inputs)
        kept.learn(inputs)
        other.learn(inputs)
    assert kept.examples == other.examples == 400
    assert [other.predict(inputs) for inputs in shown] == [kept.predict(inputs) for inputs in shown]


@every_model
def test_what_was_asked_in_between_makes_no_difference(model: Unlabelled) -> None:
    silent, asked = model.start(), model.start()
    for inputs, _ in blobs(300):
        asked.predict({**inputs, "never seen": 3.0})
        silent.learn(inputs)
        asked.learn(inputs)
    shown = [inputs for inputs, _ in blobs(50, 2)]
    assert [asked.predict(inputs) for inputs in shown] == [silent.predict(inputs) for inputs in shown]


@every_model
def test_predictions_are_sound_whatever_comes(model: Unlabelled) -> None:
    running = model.start()
    assert running.predict({"a": 1.0}) == running.predict({}) == 0
    for inputs, _ in nasty("binary", 400):
        for shown in (inputs, {**inputs, "never seen": 1e9}, {}):
            prediction = running.predict(shown)
            if isinstance(model, AnomalyModel):
                assert type(prediction) is float and 0.0 <= prediction <= 1.0
            else:
                assert type(prediction) is int and prediction >= 0
        before = dict(inputs)
        running.learn(inputs)
        assert inputs == before


@every_model
@pytest.mark.parametrize("rubbish", ["x", 5, [], {}, [1, 2], [["0.1", b"x", []], 1]], ids=repr)
def test_a_state_that_cannot_be_read_says_so(model: Unlabelled, rubbish: Any) -> None:
    with pytest.raises(StateError, match="cannot be read"):
        model.start(rubbish)


@every_model
def test_its_size_is_bounded(model: Unlabelled) -> None:
    """Every example somewhere else, and further away than all before."""
    running = model.start()
    sizes = []
    for number in range(2_000):
        running.learn({"x": 1.01**number, "y": -(1.02**number), "z": float(number % 13)})
        if number % 500 == 499:
            sizes.append(len(pack(running.state())))
    assert sizes[-1] < 1.3 * sizes[0] + 2_000


def test_a_stranger_scores_more_than_everybody() -> None:
    running = HalfSpaceTrees(window=100).start()
    random_ = random.Random(1)

    def usual() -> dict[str, float]:
        return {"x": random_.gauss(0, 1), "y": 1e3 * random_.gauss(0, 1)}

    for number in range(1_000):
        # Now and then one that is far off, so that the usual ones are not all there is.
        running.learn({"x": 9.0, "y": 9e3} if number % 200 == 1 else usual())
    stranger = running.predict({"x": 8.0, "y": 8e3})
    scores = sorted(running.predict(usual()) for _ in range(200))
    assert stranger > scores[-2]
    assert stranger > scores[100] + 0.1


@every_clustering
def test_groups_are_found(model: ClusterModel) -> None:
    running = model.start()
    for inputs, _ in blobs(2_000):
        running.learn(inputs)
    numbers: dict[int, dict[int, int]] = {}
    for inputs, group in blobs(300, 2):
        counted = numbers.setdefault(group, {})
        number = running.predict(inputs)
        counted[number] = counted.get(number, 0) + 1
    usual = {group: max(counted, key=counted.__getitem__) for group, counted in numbers.items()}
    assert len(set(usual.values())) == 3, numbers
    assert all(counted[usual[group]] > 0.6 * sum(counted.values()) for group, counted in numbers.items()), numbers


def test_dbstream_forgets_the_weakest() -> None:
    running = DBSTREAM(radius=0.01, fading=1e-6, cleanup_interval=10_000, max_micro_clusters=20).start()
    random_ = random.Random(1)
    for _ in range(300):
        running.learn({"x": random_.gauss(0, 1), "y": random_.gauss(0, 1)})
    (clusters,) = [step for step in running._river.object.steps.values() if hasattr(step, "micro_clusters")]
    assert len(clusters.micro_clusters) == 20
    left = set(clusters.micro_clusters)
    assert set(clusters.s) <= left
    assert all(set(shared) <= left for shared in clusters.s.values())
    assert math.isfinite(running.predict({"x": 0.0, "y": 0.0}))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HalfSpaceTrees(trees=0), "HalfSpaceTrees: trees and window must be at least 1"),
        (lambda: HalfSpaceTrees(height=16), "height must be from 1 to 15"),
        (lambda: KMeans(clusters=1), "KMeans: clusters must be from 2 to 1,000"),
        (lambda: KMeans(rate=0.0), "rate must be above 0 and at most 1"),
        (lambda: KMeans(sigma=0.0), "sigma must be above 0"),
        (lambda: DBSTREAM(radius=0.0), "DBSTREAM: radius must be above 0"),
        (lambda: DBSTREAM(fading=0.0), "fading must be above 0"),
        (lambda: DBSTREAM(cleanup_interval=0), "cleanup_interval must be at least 1"),
        (lambda: DBSTREAM(minimum_weight=0.0), "minimum_weight must be above 0"),
        (lambda: DBSTREAM(intersection=0.0), "intersection must be above 0"),
        (lambda: DBSTREAM(max_micro_clusters=1), "max_micro_clusters must be from 2 to 10,000"),
    ],
)
def test_what_cannot_learn_is_refused(make: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        make()
