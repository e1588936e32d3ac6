"""Drift: detectors that watch a model's losses, and what is to be done when one of them goes up for good.

The detectors are River's. What is added is that only a rise counts: a model that learns makes fewer mistakes from
example to example, and to start it anew for that would keep it from ever learning. The reaction itself is the
learner's.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from river import drift as river_drift

from .base import Startable
from .pickles import dump, load

REACTIONS = ("reset", "swap", "none")


class Drift(Startable["RunningDrift"]):
    """A detector as it is declared. A subclass implements `_start`.

    Parameters:
        reaction: What the learner does: "reset" starts the model anew, "swap" gives its place to the best challenger,
            "none" only counts.
    """

    reaction: str

    def __init__(self, reaction: str = "reset") -> None:
        self._require(reaction in REACTIONS, f"reaction must be one of {', '.join(REACTIONS)}, not {reaction!r}")
        self.reaction = reaction


class RunningDrift:
    """One partition's detector of one target."""

    #: How often it has found a drift.
    detections: int = 0

    def update(self, loss: float) -> bool:
        """Take in the loss of the next example; returns whether losses have risen. One not finite is passed over."""
        if not isfinite(loss):
            return False
        risen = self._rises(loss)
        self.detections += risen
        return risen

    def _rises(self, loss: float) -> bool:
        raise NotImplementedError

    def state(self) -> Any:
        raise NotImplementedError


class ADWIN(Drift):
    """Adaptive windowing: the latest losses, as many as have the same mean.

    A window of varying length is cut wherever the means of its two parts differ by more than chance; memory grows with
    the logarithm of its length. Bifet and Gavaldà, "Learning from Time-Changing Data with Adaptive Windowing", SDM
    2007.

    Parameters:
        delta: Confidence; the smaller, the fewer false alarms.
        clock: Examples from one look to the next.
        grace_period: Examples before the first look.
        reaction: "reset", "swap" or "none".

    Examples:
        >>> detector = ADWIN().start()
        >>> drifts = [n for n in range(2_000) if detector.update(0.1 if n < 1_000 else 0.9)]
        >>> 1_000 < drifts[0] < 1_100, detector.detections
        (True, 1)
    """

    def __init__(self, delta: float = 0.002, clock: int = 32, grace_period: int = 10, reaction: str = "reset") -> None:
        super().__init__(reaction)
        self._require(0 < delta < 1, "delta must be between 0 and 1")
        self._require(clock >= 1 and grace_period >= 1, "clock and grace_period must be at least 1")
        self.delta, self.clock, self.grace_period = delta, clock, grace_period

    def _start(self, state: Any) -> RunningDrift:
        return _RunningADWIN(self, state)


class _RunningADWIN(RunningDrift):
    def __init__(self, declared: ADWIN, state: Any) -> None:
        if state is None:
            self._window = river_drift.ADWIN(
                delta=declared.delta, clock=declared.clock, grace_period=declared.grace_period
            )
        else:
            self.detections, version, stored = state
            self._window = load(stored, version)

    def _rises(self, loss: float) -> bool:
        window = self._window
        before = window.estimation
        window.update(loss)
        return bool(window.drift_detected and window.estimation > before)

    def state(self) -> list[Any]:
        return [self.detections, *dump(self._window)]


class PageHinkley(Drift):
    """The Page-Hinkley test: losses above their mean add up, and when the sum is too large they have risen.

    Page, "Continuous Inspection Schemes", Biometrika 41, 1954. Remembers five numbers, and sees slow changes that ADWIN
    takes for noise; the threshold is in the unit of the loss.

    Parameters:
        threshold: The sum that is too large.
        delta: Rise of the mean that is tolerated. The noisier the losses, the larger it has to be: River's 0.005 is for
            losses near 0.
        alpha: How fast the sum forgets; 1 for never.
        min_examples: Examples before the first alarm.
        reaction: "reset", "swap" or "none".

    Examples:
        >>> detector = PageHinkley(threshold=20.0, reaction="none").start()
        >>> drifts = [n for n in range(2_000) if detector.update(0.1 if n < 1_000 else 0.9)]
        >>> drifts[0] < 1_050
        True
    """

    def __init__(
        self,
        threshold: float = 50.0,
        delta: float = 0.05,
        alpha: float = 0.9999,
        min_examples: int = 30,
        reaction: str = "reset",
    ) -> None:
        super().__init__(reaction)
        self._require(threshold > 0 and delta >= 0, "threshold must be above 0 and delta at least 0")
        self._require(0 < alpha <= 1, "alpha must be above 0 and at most 1")
        self._require(min_examples >= 1, "min_examples must be at least 1")
        self.threshold, self.delta, self.alpha, self.min_examples = threshold, delta, alpha, min_examples

    def _start(self, state: Any) -> RunningDrift:
        return _RunningPageHinkley(self, state)


class _RunningPageHinkley(RunningDrift):
    def __init__(self, declared: PageHinkley, state: Any) -> None:
        self._test = test = river_drift.PageHinkley(
            min_instances=declared.min_examples,
            delta=declared.delta,
            threshold=declared.threshold,
            alpha=declared.alpha,
            mode="up",
        )
        if state is not None:
            self.detections, test._drift_detected, examples, mean, test._sum_increase, test._min_increase = state
            test._x_mean.n, test._x_mean._mean = examples, mean

    def _rises(self, loss: float) -> bool:
        self._test.update(loss)
        return bool(self._test.drift_detected)

    def state(self) -> list[Any]:
        test = self._test
        mean = test._x_mean
        return [self.detections, test._drift_detected, mean.n, mean._mean, test._sum_increase, test._min_increase]
