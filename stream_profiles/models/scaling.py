"""Inputs and labels brought to a scale on which models learn well, by the examples so far. All of it is River's.

River's transformers take whatever comes; what is added here are the cuts that keep one strange example from ruining a
model, and, for models that are stored as numbers, the way in and out of a state.
"""

from __future__ import annotations

from math import copysign, inf, isfinite, sqrt
from typing import Any

from river import base, preprocessing, stats

#: Standardised inputs are cut to this many standard deviations, as is good practice before a linear model: an input
#: that is nearly always the same is 100 of them away when it first moves, and one such step ruins all the weights.
MAX_DEVIATIONS = 5.0
#: A regression's error counts as this many standard deviations of the label at most, as they were before the example.
MAX_ERROR = 5.0
_UNSEEN = (0.0, inf)


class Standardised(base.Transformer):
    """River's standard scaler, cut to 5 standard deviations; 0 for an input never seen before, or that never moved.

    Parameters:
        state: What `state` gave.
    """

    def __init__(self, state: list[Any] | None = None) -> None:
        self._scaler = preprocessing.StandardScaler()
        #: Mean and standard deviation of each input, since the scaler last learned.
        self._spread: dict[Any, tuple[float, float]] | None = None
        if state is not None:
            counts, means, variances = state
            self._scaler.counts.update(counts)
            self._scaler.means.update(means)
            self._scaler.vars.update(variances)

    def learn_one(self, x: dict[Any, float]) -> None:
        self._scaler.learn_one(x)
        self._spread = None

    def transform_one(self, x: dict[Any, float]) -> dict[Any, float]:
        """What River's scaler gives, cut. The roots are kept, as there are many predictions to a lesson."""
        spread = self._spread
        if spread is None:
            scaler = self._scaler
            spread = self._spread = {
                name: (mean, scaler.vars[name] ** 0.5 or inf) for name, mean in scaler.means.items()
            }
        scaled = {}
        for name, value in x.items():
            mean, deviation = spread.get(name, _UNSEEN)
            deviations = (value - mean) / deviation
            if not -MAX_DEVIATIONS <= deviations <= MAX_DEVIATIONS:
                deviations = copysign(MAX_DEVIATIONS, deviations)
            scaled[name] = deviations
        return scaled

    def __contains__(self, name: Any) -> bool:
        return name in self._scaler.means

    def state(self) -> list[Any]:
        return [dict(self._scaler.counts), dict(self._scaler.means), dict(self._scaler.vars)]


class Complete(base.Transformer):
    """Standardised inputs, of which none is missing: one that is stands at its mean.

    Parameters:
        per_input: Divide by the root of their number, so that a distance does not grow with it.
    """

    def __init__(self, per_input: bool = False) -> None:
        self.per_input = per_input
        self._scale = Standardised()
        self._names: dict[Any, None] = {}

    def learn_one(self, x: dict[Any, float]) -> None:
        self._names.update(dict.fromkeys(x))
        self._scale.learn_one(x)

    def transform_one(self, x: dict[Any, float]) -> dict[Any, float]:
        scaled = self._scale.transform_one(x)
        unit = sqrt(len(self._names) or 1) if self.per_input else 1.0
        return {name: scaled.get(name, 0.0) / unit for name in self._names}


class UnitRange(base.Transformer):
    """River's min-max scaler, cut to the range from 0 to 1, for models that divide a unit cube.

    The inputs are those of the first example, as such models are built for a fixed number of dimensions. One that is
    missing stands in the middle; one that turns up later is left out.
    """

    def __init__(self) -> None:
        self._scaler = preprocessing.MinMaxScaler()
        self._names: tuple[Any, ...] = ()

    def learn_one(self, x: dict[Any, float]) -> None:
        self._names = self._names or tuple(x)
        self._scaler.learn_one({name: x[name] for name in self._names if name in x})

    def transform_one(self, x: dict[Any, float]) -> dict[Any, float]:
        known = self._scaler.transform_one({name: x[name] for name in self._names if name in x})
        return {name: min(max(known.get(name, 0.5), 0.0), 1.0) for name in self._names}


class LabelScale:
    """Mean and standard deviation of a regression's labels so far.

    A model that learns the standardised label needs no other learning rate when the label is counted in cents. When the
    deviation changes, what the model has learned has to be brought to the new one: one wild label may double it.

    Parameters:
        state: What `state` gave.
    """

    def __init__(self, state: list[float] | None = None) -> None:
        self._variance = stats.Var(ddof=0)
        if state is not None:
            self._variance.mean.n, self._variance.mean._mean, self._variance._S = state

    @property
    def mean(self) -> float:
        return float(self._variance.mean.get())

    @property
    def deviation(self) -> float:
        return float(self._variance.get() ** 0.5)

    def learn(self, label: float) -> float:
        """Take in a label; returns what a standardised one has to be multiplied by to stand for the same as before."""
        before = self.deviation
        self._variance.update(label)
        return before / self.deviation if before else 1.0

    def standardised(self, label: float) -> float:
        deviation = self.deviation
        return (label - self.mean) / deviation if deviation else 0.0

    def restored(self, standardised: float) -> float:
        """A standardised label in the label's unit; the mean, when it is not a number one can use."""
        label = self.mean + standardised * self.deviation
        return label if isfinite(label) else self.mean

    def state(self) -> list[float]:
        return [self._variance.mean.n, self._variance.mean._mean, self._variance._S]
