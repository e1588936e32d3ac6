"""RiverModel: any classifier, regressor or pipeline of River's as a model; and how a River object is run and stored.

River's own estimators are at work in most of the models here. What is added is the same for all: predictions that are
always finite, bounded numbers of classes, the same results in every process, and a state that can be stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import chain
from math import isfinite
from typing import Any

from river import base, compose

from ..errors import DefinitionError, StateError
from .base import BINARY, MAX_CLASSES, MULTICLASS, REGRESSION, Inputs, Model, Prediction, RunningModel
from .pickles import RIVER, dump, load, packages_of
from .scaling import LabelScale


class KeptRiver:
    """A River object at work, with the names of its inputs.

    River goes through sets here and there, and those of strings have another order in every process. So an object is
    shown numbers in place of names: an input's place in the order in which inputs turned up. One that was never learned
    from is left out.

    Parameters:
        fresh: Makes the object.
        state: What `state` gave.
        by_name: Show it names after all, as a user's pipeline may speak of them.
        packages: What it may be made of besides River.
    """

    def __init__(
        self,
        fresh: Callable[[], Any],
        state: list[Any] | None,
        *,
        by_name: bool = False,
        packages: frozenset[str] = frozenset(),
    ) -> None:
        self._by_name = by_name
        self._places: dict[str, Any] = {}
        if state is None:
            self.object = fresh()
            return
        version, stored, names = state
        self._places = {name: name if by_name else place for place, name in enumerate(names)}
        self.object = load(stored, version, packages=packages)
        if version != RIVER:
            self._try(load(stored, version, packages=packages), version)

    @property
    def names(self) -> list[str]:
        return list(self._places)

    def seen(self, inputs: Inputs) -> dict[Any, float]:
        """The inputs as the object sees them, for a prediction."""
        places = self._places
        return {places[name]: value for name, value in inputs.items() if name in places}

    def met(self, inputs: Inputs) -> dict[Any, float]:
        """The inputs as the object sees them, for a lesson: those that turn up get their place."""
        places = self._places
        for name in inputs:
            if name not in places:
                places[name] = name if self._by_name else len(places)
        return {places[name]: value for name, value in inputs.items()}

    def state(self) -> list[Any]:
        return [*dump(self.object), self.names]

    def _try(self, stored: Any, version: str) -> None:
        """Objects of other versions can be read and yet lack what this one expects: better to know it now."""
        inputs = dict.fromkeys(self._places.values(), 0.0)
        try:
            predict = next(
                getattr(stored, name)
                for name in ("predict_proba_one", "predict_one", "score_one", "transform_one")
                if hasattr(stored, name)
            )
            predict(inputs)
        except NotImplementedError:
            pass
        except Exception as error:  # Whatever a missing attribute leads to.
            raise StateError(
                f"a stored state of River {version} does not work with River {RIVER}: {error!r}"
            ) from error


class RunningRiver(RunningModel):
    """A River classifier or regressor at work.

    Parameters:
        task: "binary", "multiclass" or "regression".
        fresh: Makes the estimator.
        state: What `state` gave.
        by_name, packages: As those of `KeptRiver`.
    """

    def __init__(
        self,
        task: str,
        fresh: Callable[[], Any],
        state: list[Any] | None,
        *,
        by_name: bool = False,
        packages: frozenset[str] = frozenset(),
    ) -> None:
        kept, self.examples, labels, counts, scale = (None, 0, [], [], None) if state is None else state
        self._task = task
        self._river = KeptRiver(fresh, kept, by_name=by_name, packages=packages)
        #: Of each label met, how often it was. What is usual is said where the estimator says nothing.
        self._counts: dict[Any, int] = dict(zip(labels, counts, strict=True))
        #: As River goes through sets of labels too, it is shown their places; and the truth as it is.
        self._places: dict[Any, Any] = {label: place for place, label in enumerate(labels)}
        self._by_name = by_name
        self._scale = LabelScale(scale)

    @property
    def estimator(self) -> Any:
        return self._river.object

    def predict(self, inputs: Inputs) -> Prediction:
        if self._task == REGRESSION:
            return self._number(inputs)
        if self._task == MULTICLASS:
            return self._distribution(inputs)
        if not self.examples:
            return 0.5
        probability = self._probabilities(inputs).get(True)
        if probability is None or not isfinite(probability):
            return self._counts.get(True, 0) / self.examples
        return min(max(float(probability), 0.0), 1.0)

    def learn(self, inputs: Inputs, label: Any) -> None:
        self.examples += 1
        if self._task == REGRESSION:
            label = float(label)
            self._scale.learn(label)
        else:
            if label not in self._counts and len(self._counts) >= MAX_CLASSES:
                return
            self._counts[label] = self._counts.get(label, 0) + 1
            label = self._shown(label)
        # Some of River's statistics divide by a variance before there is any.
        with suppress(ArithmeticError):
            self.estimator.learn_one(self._river.met(inputs), label)

    def state(self) -> list[Any]:
        labels, counts = list(self._counts), list(self._counts.values())
        return [self._river.state(), self.examples, labels, counts, self._scale.state()]

    def _shown(self, label: Any) -> Any:
        if self._task == BINARY or self._by_name:
            return label
        return self._places.setdefault(label, len(self._places))

    def _number(self, inputs: Inputs) -> float:
        if self.examples:
            try:
                number = self.estimator.predict_one(self._river.seen(inputs))
            except ArithmeticError:
                number = None
            if number is not None and isfinite(number):
                return float(number)
        return self._scale.mean

    def _distribution(self, inputs: Inputs) -> dict[str, float]:
        told = self._probabilities(inputs) if self.examples else {}
        known = {label: float(told.get(self._shown(label), 0.0)) for label in self._counts}
        total = sum(known.values())
        if not (total > 0.0 and isfinite(total)):
            known = {label: float(count) for label, count in self._counts.items()}
            total = sum(known.values())
        return {label: probability / total for label, probability in known.items()}

    def _probabilities(self, inputs: Inputs) -> dict[Any, float]:
        seen = self._river.seen(inputs)
        try:
            told: dict[Any, float] = self.estimator.predict_proba_one(seen)
        except NotImplementedError:
            return {self.estimator.predict_one(seen): 1.0}
        except ArithmeticError:
            return {}
        return told


class RunningUnlabelled:
    """A River object that learns without labels: a detector of anomalies, or a clustering.

    Parameters:
        fresh: Makes the object.
        state: What `state` gave.
    """

    compact = False

    def __init__(self, fresh: Callable[[], Any], state: list[Any] | None) -> None:
        kept = None
        self.examples = 0
        if state is not None:
            kept, self.examples = state
        self._river = KeptRiver(fresh, kept)

    def learn(self, inputs: Inputs) -> None:
        self.examples += 1
        self._river.object.learn_one(self._river.met(inputs))

    def state(self) -> list[Any]:
        return [self._river.state(), self.examples]


class RiverModel(Model):
    """Any classifier, regressor or pipeline of River's.

    It is asked for `predict_proba_one`, or `predict_one` where it has no probabilities, and sees the inputs under their
    names. A classifier that knows two classes only does for binary targets. Its state is pickled, functions in it by
    their names; whether its size is bounded is up to the pipeline.

    Parameters:
        pipeline: As River makes it; it is cloned, so what it has learned is not taken along.

    Raises:
        DefinitionError: it is neither a classifier nor a regressor, or has a random element without a seed, or cannot
            be stored.

    Examples:
        >>> from river import neighbors, preprocessing
        >>> nearest = neighbors.KNNClassifier(n_neighbors=3, engine=neighbors.LazySearch(window_size=50))
        >>> model = RiverModel(preprocessing.StandardScaler() | nearest).start("binary")
        >>> for n in range(20):
        ...     model.learn({"x": float(n % 2)}, label=bool(n % 2))
        >>> model.predict({"x": 1.0}), model.predict({"x": 0.0})
        (1.0, 0.0)
    """

    def __init__(self, pipeline: Any) -> None:
        if isinstance(pipeline, _Estimator):
            pipeline = pipeline.estimator
        last = list(pipeline.steps.values())[-1] if isinstance(pipeline, compose.Pipeline) else pipeline
        if isinstance(last, base.Classifier):
            self.tasks = frozenset((BINARY, MULTICLASS) if last._multiclass else (BINARY,))
        elif isinstance(last, base.Regressor):
            self.tasks = frozenset((REGRESSION,))
        else:
            raise DefinitionError(
                f"RiverModel: pipeline takes a classifier or a regressor of River's, or a pipeline that ends in one, "
                f"not {pipeline!r}"
            )
        unseeded = _unseeded(pipeline)
        self._require(
            unseeded is None, f"{unseeded} draws random numbers: give it a seed=, so that every worker learns the same"
        )
        try:
            self._packages = packages_of(pipeline)
        except Exception as error:  # Pickling raises whatever an object's own code does.
            raise DefinitionError(
                f"RiverModel: the pipeline cannot be stored ({error}); put functions into a module, and no lambdas"
            ) from error
        self.pipeline = _Estimator(pipeline)

    def _start(self, task: str, state: Any) -> RunningModel:
        fresh = self.pipeline.estimator.clone
        return RunningRiver(task, fresh, state, by_name=True, packages=self._packages)

    def __repr__(self) -> str:
        return f"RiverModel({self.pipeline.estimator})"


class _Estimator:
    """A River estimator as a parameter. Its configuration is plain data, as River's own text leaves parameters out."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    @property
    def config(self) -> Any:
        return _described(self.estimator)


def _described(value: Any) -> Any:
    """A parameter as JSON that is the same in every process."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, compose.Pipeline):
        return [_described(step) for step in value.steps.values()]
    if isinstance(value, base.Base):
        parameters = value._get_params()
        return {"kind": _name(type(value)), **{name: _described(_parameter(value, name)) for name in parameters}}
    if isinstance(value, Mapping):
        return {str(name): _described(each) for name, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((_described(each) for each in value), key=repr)
    if isinstance(value, (list, tuple)):
        return [_described(each) for each in value]
    if callable(value) and hasattr(value, "__qualname__"):
        return _name(value)
    return repr(value)


def _parameter(estimator: base.Base, name: str) -> Any:
    return estimator._get_params()[name] if name == "_POSITIONAL_ARGS" else getattr(estimator, name, None)


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _unseeded(value: Any) -> str | None:
    """The name of something within that takes a seed and was given none; None when there is nothing."""
    if isinstance(value, compose.Pipeline):
        parts = list(value.steps.values())
    elif isinstance(value, base.Base):
        parameters = {name: _parameter(value, name) for name in value._get_params()}
        if "seed" in parameters and parameters["seed"] is None:
            return type(value).__name__
        parts = list(parameters.values())
    elif isinstance(value, (list, tuple)):
        parts = list(value)
    elif isinstance(value, Mapping):
        parts = list(chain(value.keys(), value.values()))
    else:
        return None
    return next((found for part in parts if (found := _unseeded(part)) is not None), None)
