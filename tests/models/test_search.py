"""A search is all combinations of what is listed; a slip in the grid is said when it is declared."""

from __future__ import annotations

from typing import Any

import pytest

from stream_profiles.errors import DefinitionError
from stream_profiles.features.base import config_as_json
from stream_profiles.models.linear import LogisticRegression
from stream_profiles.models.search import Search
from stream_profiles.models.trees import AdaptiveRandomForest


def test_contenders_are_all_combinations_in_order() -> None:
    search = Search(LogisticRegression, {"learning_rate": [0.01, 0.1], "optimizer": ["sgd", "adam"]}, rung=200)
    assert [model.config for model in search.contenders()] == [
        {"learning_rate": 0.01, "l2": 0.0},
        {"learning_rate": 0.01, "l2": 0.0, "optimizer": "adam"},
        {"learning_rate": 0.1, "l2": 0.0},
        {"learning_rate": 0.1, "l2": 0.0, "optimizer": "adam"},
    ]
    assert search.rung == 200
    assert Search(LogisticRegression, {}).contenders()[0].config == LogisticRegression().config


def test_its_configuration_tells_all() -> None:
    search = Search(AdaptiveRandomForest, {"trees": (3, 5)})
    assert config_as_json(search.config) == {"model": "AdaptiveRandomForest", "grid": {"trees": [3, 5]}, "rung": 500}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((LogisticRegression(), {}), r"model takes a class such as LogisticRegression, not LogisticRegression\(\)"),
        (("LogisticRegression", {}), "model takes a class such as LogisticRegression"),
        ((dict, {}), "model takes a class such as LogisticRegression"),
        (
            (LogisticRegression, {"learningrate": [0.1]}),
            r"LogisticRegression has no parameter 'learningrate'; did you mean 'learning_rate'\?",
        ),
        ((LogisticRegression, {"l2": 0.1}), "grid takes a list of values to try for 'l2', not 0.1"),
        ((LogisticRegression, {"l2": []}), r"grid takes a list of values to try for 'l2', not \[\]"),
        ((LogisticRegression, {"optimizer": "adam"}), "grid takes a list of values to try for 'optimizer', not 'adam'"),
        ((LogisticRegression, {"learning_rate": [0.1, 0.0]}), "learning_rate must be above 0"),
        ((LogisticRegression, {"l2": [0.1] * 65}), "the grid has 65 combinations; make them 64 at most"),
        ((LogisticRegression, {"l2": [0.1]}, 0), "rung must be at least 1"),
    ],
)
def test_what_cannot_be_searched_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Search(*arguments)
