"""Search: several settings of one model, of which a target keeps the best. Which that is, the learner finds out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from .._suggestions import did_you_mean
from ..errors import DefinitionError
from .base import Configured, Model

#: All of them learn from every example, until the worse half is dropped.
_MAX_CONTENDERS = 64


class Search(Configured):
    """Every combination of the listed settings, learning side by side; the worse half is dropped at every rung.

    Successive halving: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization", AISTATS 2016.

    Parameters:
        model: The class of the models.
        grid: Parameters of its constructor, and the values to try of each. One that is not listed keeps its default.
        rung: Examples from one halving to the next.

    Raises:
        DefinitionError: the model has no such parameter, or does not take such a value.

    Examples:
        >>> from stream_profiles.models.linear import LogisticRegression
        >>> Search(LogisticRegression, {"learning_rate": [0.01, 0.1], "l2": [0.0]}).contenders()
        [LogisticRegression(), LogisticRegression(learning_rate=0.1)]
    """

    def __init__(self, model: type[Model], grid: Mapping[str, Sequence[Any]], rung: int = 500) -> None:
        if not (isinstance(model, type) and issubclass(model, Model)):
            raise DefinitionError(f"Search: model takes a class such as LogisticRegression, not {model!r}")
        known = list(inspect.signature(model).parameters)
        for name, values in grid.items():
            if name not in known:
                raise DefinitionError(
                    f"Search: {model.__name__} has no parameter {name!r}; {did_you_mean(name, known)}"
                )
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                raise DefinitionError(f"Search: grid takes a list of values to try for {name!r}, not {values!r}")
        self._require(rung >= 1, "rung must be at least 1")
        self.model = model
        self.grid = {name: list(values) for name, values in grid.items()}
        self.rung = rung
        combinations = list(product(*self.grid.values()))
        self._require(
            len(combinations) <= _MAX_CONTENDERS,
            f"the grid has {len(combinations)} combinations; make them {_MAX_CONTENDERS} at most",
        )
        self._contenders = [model(**dict(zip(self.grid, values, strict=True))) for values in combinations]

    @property
    def config(self) -> dict[str, Any]:
        return {"model": self.model.__name__, "grid": self.grid, "rung": self.rung}

    def contenders(self) -> list[Model]:
        """The models, in the order of the grid: the last parameter changes fastest."""
        return list(self._contenders)
