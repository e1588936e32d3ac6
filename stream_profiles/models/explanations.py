"""Reasons in words for a linear model's score, from what each input added to it and how far it is from its mean."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from heapq import nsmallest
from typing import Any

from ..durations import UNITS_MS

#: `[input, contribution, words]`
Reason = list[Any]

_DURATION = re.compile(rf"(.+)_(\d+({'|'.join(UNITS_MS)}))")


def reasons(contributions: Mapping[str, float], deviations: Mapping[str, float], top: int = 3) -> list[Reason]:
    """The inputs that had most to say, in words.

    Parameters:
        contributions: What each input adds to the score: `RunningModel.contributions`.
        deviations: How far each is from its mean, in any unit: `RunningModel.deviations`.
        top: How many reasons at most.

    Returns:
        `[input, contribution, words]` each, the largest contribution first. An input that added nothing is no reason.

    Examples:
        >>> added = {"views_1d": 0.9, "last_purchase_seconds": -1.2, "last_purchase_ever": 0.1, "spend_total": 0.0}
        >>> usual = {"views_1d": 2.0, "last_purchase_seconds": 1.0, "last_purchase_ever": 0.5, "spend_total": 0.0}
        >>> for reason in reasons(added, usual, top=2):
        ...     print(reason)
        ['last_purchase_seconds', -1.2, 'longer since last_purchase than usual (lowers it)']
        ['views_1d', 0.9, 'more views (1d) than usual']
    """
    ranked = nsmallest(
        top, [(-abs(added), name) for name, added in contributions.items() if added and deviations.get(name, 0.0)]
    )
    return [
        [name, contributions[name], words(name, deviations[name] > 0, contributions[name] > 0, contributions)]
        for _, name in ranked
    ]


def words(name: str, above: bool, raises: bool = True, others: Collection[str] = ()) -> str:
    """What an input says when it is above its mean, or below.

    Parameters:
        name: Of the input.
        above: Whether it is above its mean.
        raises: Whether that raises the score.
        others: Names of all inputs, as some names mean one thing beside one and another beside another.

    Examples:
        >>> words("spend_30d", above=False), words("type=cart", above=True, raises=False)
        ('lower spend (30d) than usual', 'type is cart (lowers it)')
    """
    said = _words(name, above, others)
    return said if raises else f"{said} (lowers it)"


def _words(name: str, above: bool, others: Collection[str]) -> str:
    feature, equals, value = name.partition("=")
    if equals:
        return f"{feature} is {'' if above else 'not '}{value}"
    feature, hashed, bucket = name.partition("#")
    if hashed:
        return f"{feature} is {'' if above else 'not '}in group {bucket}"
    within = _DURATION.fullmatch(name)
    if within is not None:
        return f"{_amount(within[1], above)} ({within[2]}) than usual"
    feature, _, kind = name.rpartition("_")
    if kind == "seconds" and f"{feature}_ever" in others:
        return f"{'longer' if above else 'less long'} since {feature} than usual"
    if kind == "ever":
        return f"{feature} has happened" if above else f"no {feature} yet"
    if kind == "seconds":
        return f"{'longer' if above else 'shorter'} {feature} than usual"
    if kind == "active":
        return f"{feature} {'' if above else 'not '}active"
    if kind == "events":
        return f"{'more' if above else 'fewer'} events in {feature} than usual"
    if kind in ("total", "count"):
        return f"{_amount(feature, above)} than usual"
    return f"{_amount(name, above)} than usual"


def _amount(what: str, above: bool) -> str:
    several = what.endswith("s")
    if above:
        return f"more {what}" if several else f"higher {what}"
    return f"fewer {what}" if several else f"lower {what}"
