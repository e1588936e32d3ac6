"""A user's own River pipeline is a model like any other; what it cannot do is said when it is declared."""

from __future__ import annotations

import json
from typing import Any

import pytest
from river import (
    anomaly,
    compose,
    ensemble,
    forest,
    linear_model,
    naive_bayes,
    neighbors,
    optim,
    preprocessing,
    tree,
)

from stream_profiles.errors import DefinitionError, StateError
from stream_profiles.features.base import config_as_json
from stream_profiles.models import river_model
from stream_profiles.models.base import Model
from stream_profiles.models.pickles import RIVER
from stream_profiles.models.river_model import RiverModel
from stream_profiles.models.trees import AdaptiveRandomForest, HoeffdingAdaptiveTree
from tests.models.problems import examples, stored


def halved(inputs: dict[str, float]) -> dict[str, float]:
    return {name: value / 2 for name, value in inputs.items()}


def regression(rate: float = 0.1) -> Any:
    return preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(rate))


class ThreeWays(linear_model.LogisticRegression):
    """A classifier without probabilities."""

    def predict_proba_one(self, x: Any) -> Any:
        raise NotImplementedError

    def predict_one(self, x: Any, **_: Any) -> bool:
        return bool(x.get("x", 0.0) > 0)


class Broken(linear_model.LinearRegression):
    """Divides by nothing, now and then."""

    def learn_one(self, x: Any, y: Any, w: float = 1.0) -> None:
        1 / x["x"]
        super().learn_one(x, y, w)

    def predict_one(self, x: Any) -> Any:
        return float("nan") if x["x"] > 8 else super().predict_one(x) / x["x"]


def test_it_predicts_what_river_predicts() -> None:
    ours, theirs = RiverModel(regression()).start("binary"), regression()
    for number, (inputs, label) in enumerate(examples("binary", 200)):
        if number:
            assert ours.predict(inputs) == theirs.predict_proba_one(inputs)[True]
        ours.learn(inputs, label)
        theirs.learn_one(inputs, label)


def test_what_the_given_pipeline_has_learned_is_not_taken_along() -> None:
    given = regression()
    for inputs, label in examples("binary", 50):
        given.learn_one(inputs, label)
    running = RiverModel(given).start("binary")
    assert running.predict(examples("binary", 1)[0][0]) == 0.5
    running.learn({"x": 1.0}, True)
    assert "x" not in given["StandardScaler"].counts


def test_tasks_are_those_of_the_pipeline() -> None:
    assert RiverModel(regression()).tasks == {"binary"}
    assert RiverModel(naive_bayes.GaussianNB()).tasks == {"binary", "multiclass"}
    assert RiverModel(preprocessing.StandardScaler() | linear_model.LinearRegression()).tasks == {"regression"}
    with pytest.raises(DefinitionError, match="is a model for binary targets"):
        RiverModel(regression()).start("multiclass")


@pytest.mark.parametrize("given", [3, preprocessing.StandardScaler(), anomaly.HalfSpaceTrees(seed=1), regression])
def test_what_is_no_classifier_and_no_regressor_is_refused(given: Any) -> None:
    with pytest.raises(DefinitionError, match="pipeline takes a classifier or a regressor of River's"):
        RiverModel(given)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (preprocessing.StandardScaler() | forest.ARFClassifier(), "ARFClassifier"),
        (ensemble.BaggingClassifier(linear_model.LogisticRegression()), "BaggingClassifier"),
        (
            ensemble.VotingClassifier([naive_bayes.GaussianNB(), tree.HoeffdingAdaptiveTreeClassifier()]),
            "HoeffdingAdaptiveTreeClassifier",
        ),
        (neighbors.KNNClassifier(), "SWINN"),
    ],
)
def test_randomness_without_a_seed_is_refused(given: Any, name: str) -> None:
    with pytest.raises(DefinitionError, match=f"{name} draws random numbers: give it a seed="):
        RiverModel(given)


def test_what_cannot_be_stored_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"the pipeline cannot be stored .*put functions into a module"):
        RiverModel(compose.FuncTransformer(lambda x: x) | linear_model.LogisticRegression())


def test_a_function_of_a_module_is_stored_by_its_name() -> None:
    model = RiverModel(compose.FuncTransformer(halved) | regression())
    running = model.start("binary")
    for inputs, label in examples("binary", 100):
        running.learn(inputs, label)
    inputs = examples("binary", 1, seed=4)[0][0]
    assert model.start("binary", stored(running)).predict(inputs) == running.predict(inputs)
    assert f"{halved.__module__}.halved" in json.dumps(config_as_json(model.config))


def test_another_pipeline_is_another_model() -> None:
    """River's own text of a pipeline leaves the parameters out."""
    told = {
        json.dumps(config_as_json(RiverModel(given).config), sort_keys=True)
        for given in (
            regression(),
            regression(0.2),
            preprocessing.MinMaxScaler() | linear_model.LogisticRegression(optim.SGD(0.1)),
            linear_model.LogisticRegression(optim.SGD(0.1)),
            compose.Select("a", "b") | regression(),
            compose.Select("a") | regression(),
        )
    }
    assert len(told) == 6
    assert json.dumps(config_as_json(RiverModel(regression()).config), sort_keys=True) in told


def test_inputs_have_their_names() -> None:
    running = RiverModel(compose.Select("a") | regression()).start("binary")
    for inputs, label in examples("binary", 500):
        running.learn(inputs, label)
    assert running.predict({"a": 2.0, "b": 1.0}) == running.predict({"a": 2.0, "b": 2_000.0})
    assert running.predict({"a": 2.0}) > 0.8  # type: ignore[operator]


def test_a_classifier_without_probabilities_says_yes_or_no() -> None:
    running = RiverModel(ThreeWays()).start("binary")
    running.learn({"x": 1.0}, True)
    running.learn({"x": -1.0}, False)
    assert running.predict({"x": 2.0}) == 1.0
    # Where the label is not even named there is what is usual.
    assert running.predict({"x": -2.0}) == 0.5


def test_a_river_model_that_fails_at_arithmetic_says_what_is_usual() -> None:
    running = RiverModel(Broken()).start("regression")
    for x in (1.0, 0.0, 2.0):
        running.learn({"x": x}, 6.0 * x)
    assert running.examples == 3
    assert running.predict({"x": 9.0}) == running.predict({"x": 0.0}) == pytest.approx(6.0)


def test_a_state_of_another_version_is_tried_before_it_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Model = HoeffdingAdaptiveTree()
    running = model.start("binary")
    for inputs, label in examples("binary", 100):
        running.learn(inputs, label)
    kept, *more = stored(running)
    other = [["0.1.0", *kept[1:]], *more]
    inputs = examples("binary", 1, seed=4)[0][0]
    assert model.start("binary", other).predict(inputs) == running.predict(inputs), "it works all the same"

    def broken(self: Any, x: Any) -> Any:
        raise AttributeError("what an earlier release did not have")

    monkeypatch.setattr(tree.HoeffdingAdaptiveTreeClassifier, "predict_proba_one", broken)
    with pytest.raises(StateError, match=rf"of River 0\.1\.0 does not work with River {RIVER}.*did not have"):
        model.start("binary", other)


def test_inputs_and_classes_are_numbers_to_river() -> None:
    """So that going through a set of them is the same in every process."""
    running = AdaptiveRandomForest(trees=1).start("multiclass")
    assert isinstance(running, river_model.RunningRiver)
    for inputs, label in examples("multiclass", 50):
        running.learn(inputs, label)
    (grown,) = running.estimator
    assert grown.classes <= {0, 1, 2}
