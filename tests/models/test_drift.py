"""Drift: losses that rise are found, soon and once; losses that fall are no drift."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from stream_profiles.errors import DefinitionError, StateError
from stream_profiles.features.base import config_as_json
from stream_profiles.models.drift import ADWIN, Drift, PageHinkley
from tests.models.problems import pack, stored

DETECTORS = [ADWIN(), ADWIN(delta=0.01, clock=8, reaction="swap"), PageHinkley(delta=0.2, reaction="none")]
every_detector = pytest.mark.parametrize("detector", DETECTORS, ids=repr)


def losses(count: int, mean: float, seed: int = 1) -> list[float]:
    random_ = random.Random(seed)
    return [random_.expovariate(1 / mean) for _ in range(count)]


@every_detector
def test_a_rise_is_found_soon_and_once(detector: Drift) -> None:
    running = detector.start()
    assert [n for n, loss in enumerate(losses(2_000, 0.3)) if running.update(loss)] == []
    found = [n for n, loss in enumerate(losses(2_000, 1.2, seed=2)) if running.update(loss)]
    assert len(found) == running.detections == 1
    assert found[0] < 200


@every_detector
def test_a_model_that_learns_is_no_drift(detector: Drift) -> None:
    running = detector.start()
    falling = [loss * (0.2 + math.exp(-n / 500)) for n, loss in enumerate(losses(4_000, 1.0))]
    assert not any([running.update(loss) for loss in falling])
    assert running.detections == 0


def test_rivers_own_detector_takes_the_fall_for_a_drift() -> None:
    from river import drift

    theirs = drift.ADWIN()
    found = 0
    for n, loss in enumerate(losses(4_000, 1.0)):
        theirs.update(loss * (0.2 + math.exp(-n / 500)))
        found += theirs.drift_detected
    assert found


@every_detector
def test_a_stored_state_goes_on_bit_for_bit(detector: Drift) -> None:
    kept, other = detector.start(), detector.start()
    found = []
    for n, loss in enumerate([*losses(500, 0.3), *losses(500, 2.0, 2), *losses(500, 0.3, 3), *losses(500, 3.0, 4)]):
        if n % 7 == 3:
            other = detector.start(stored(other))
        risen = kept.update(loss)
        assert other.update(loss) == risen
        found.append(risen)
    assert sum(found) == kept.detections == other.detections >= 2
    assert pack(kept.state()) == pack(other.state())


@every_detector
def test_its_size_is_bounded(detector: Drift) -> None:
    running = detector.start()
    for loss in losses(20_000, 0.5):
        running.update(loss)
    assert len(pack(running.state())) < 4_000


@every_detector
@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_passed_over(detector: Drift, loss: float) -> None:
    running = detector.start()
    running.update(0.5)
    before = pack(running.state())
    assert running.update(loss) is False
    assert pack(running.state()) == before


@every_detector
def test_its_configuration_rebuilds_it(detector: Drift) -> None:
    rebuilt = type(detector)(**detector.config)
    assert rebuilt.config == detector.config == config_as_json(detector.config)
    assert rebuilt.reaction == detector.reaction


@every_detector
@pytest.mark.parametrize("rubbish", ["x", 5, [], {}, [1, 2], [0, "0.1", b"x"], [0, 1, 2, 3, 4, 5, 6]], ids=repr)
def test_a_state_that_cannot_be_read_says_so(detector: Drift, rubbish: Any) -> None:
    with pytest.raises(StateError, match="cannot be read"):
        detector.start(rubbish)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ADWIN(reaction="panic"), "ADWIN: reaction must be one of reset, swap, none, not 'panic'"),
        (lambda: ADWIN(delta=0.0), "delta must be between 0 and 1"),
        (lambda: ADWIN(clock=0), "clock and grace_period must be at least 1"),
        (lambda: PageHinkley(threshold=0.0), "threshold must be above 0"),
        (lambda: PageHinkley(alpha=1.5), "alpha must be above 0 and at most 1"),
        (lambda: PageHinkley(min_examples=0), "min_examples must be at least 1"),
    ],
)
def test_what_cannot_detect_is_refused(make: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        make()
