"""River objects are stored and found again as they were; nothing else is read."""

from __future__ import annotations

import os
import pickle
import random
import sys
from typing import Any

import pytest
from river import naive_bayes, preprocessing, proba, stats, tree
from river.proba import gaussian

from stream_profiles.errors import StateError
from stream_profiles.models.pickles import RIVER, dump, load, packages_of


class Evil:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self.reduced


def test_what_is_stored_is_found_again() -> None:
    scaler = preprocessing.StandardScaler()
    scaler.learn_one({"x": 1.0})
    scaler.learn_one({"x": 4.0})
    version, stored = dump(scaler)
    assert version == RIVER
    assert load(stored, version).transform_one({"x": 3.0}) == scaler.transform_one({"x": 3.0})


def test_distributions_are_stored_without_random_numbers() -> None:
    normal = proba.Gaussian()
    for x in (1.0, 2.5, 7.0):
        normal.update(x)
    _, stored = dump(normal)
    assert len(stored) < 250 < 2_500 < len(pickle.dumps(normal))
    again = load(stored, RIVER)
    for each in (normal, again):
        each.update(3.0)
    assert (again(4.0), again.log_pdf(4.0), again.mu, again.sigma) == (
        normal(4.0),
        normal.log_pdf(4.0),
        normal.mu,
        normal.sigma,
    )


def test_a_seeded_distribution_goes_on_drawing() -> None:
    normal = proba.Gaussian(seed=1)
    normal.update(1.0)
    normal.update(2.0)
    again = load(dump(normal)[1], RIVER)
    assert again.sample() == normal.sample()


def test_a_variance_goes_on() -> None:
    variance = stats.Var(ddof=0)
    for x in (1.0, 2.5, 7.0):
        variance.update(x, 2.0)
    again = load(dump(variance)[1], RIVER)
    for each in (variance, again):
        each.update(3.0)
    assert (again.get(), again.n, again.ddof) == (variance.get(), variance.n, 0)


@pytest.mark.parametrize(
    "evil",
    [
        Evil(os.system, "true"),
        Evil(eval, "1"),
        Evil(getattr, dict, "fromkeys"),
        Evil(getattr, random.Random(), "__class__"),
        Evil(getattr, [], "append"),
        Evil(exec, "1"),
        Evil(pickle.loads, b"N."),
        Evil(sys.exit),
    ],
    ids=lambda evil: f"{evil.reduced[0].__name__}{evil.reduced[1]}"[:40],
)
def test_what_is_no_part_of_a_model_is_not_read(evil: Evil) -> None:
    with pytest.raises(StateError, match=f"a stored state of River {RIVER} cannot be read.*has no place in"):
        load(pickle.dumps(evil), RIVER)


def test_what_rivers_modules_have_merely_imported_is_not_read() -> None:
    assert gaussian.math is not None
    stored = b"\x80\x04\x8c\x14river.proba.gaussian\x8c\x04math\x93."
    with pytest.raises(StateError, match=r"river\.proba\.gaussian\.math has no place"):
        load(stored, RIVER)
    stored = b"\x80\x04\x8c\x14river.proba.gaussian\x8c\x08math.exp\x93."
    with pytest.raises(StateError, match=r"river\.proba\.gaussian\.math\.exp has no place"):
        load(stored, RIVER)


@pytest.mark.parametrize("stored", [b"", b"rubbish", dump(preprocessing.StandardScaler())[1][:-5]], ids=repr)
def test_what_is_broken_says_what_to_do(stored: bytes) -> None:
    with pytest.raises(StateError, match=r"River 0\.1\.0 cannot be read with River .*install River 0\.1\.0 to go on"):
        load(stored, "0.1.0")


def test_a_tree_as_deep_as_it_gets_can_be_stored() -> None:
    """Its nodes hold one another: pickling one of 400 levels takes more calls than Python allows by itself."""
    deepest: Any = tree.nodes.htc_nodes.LeafMajorityClass({True: 1.0}, 400, None)
    for depth in range(400, 0, -1):
        deepest = tree.nodes.branch.NumericBinaryBranch(
            {True: 1.0}, 0, 0.5, depth, deepest, tree.nodes.htc_nodes.LeafMajorityClass({True: 1.0}, depth, None)
        )
    limit = sys.getrecursionlimit()
    with pytest.raises(RecursionError):
        pickle.dumps(deepest)
    again, levels = load(dump(deepest)[1], RIVER), 0
    while hasattr(again, "children"):
        again, levels = again.children[0], levels + 1
    assert levels == 400
    assert sys.getrecursionlimit() == limit


def test_packages_that_an_object_is_made_of() -> None:
    assert packages_of(naive_bayes.GaussianNB()) == set()
    assert packages_of([preprocessing.StandardScaler(), Evil(str, "x"), Helper()]) == {"tests"}


class Helper:
    pass
