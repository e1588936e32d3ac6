"""Exponential decay by half-life, shared by every feature that forgets.

Decay is lazy (only what an event touches is computed) and forward: a late event is added with the weight it would have
by now, so the sum does not depend on the order of arrival (Cormode et al., "Forward Decay", ICDE 2009).
"""

from __future__ import annotations

from collections.abc import Iterable

from ..durations import Duration, label, to_ms
from ..errors import DefinitionError

HalfLives = Duration | Iterable[Duration] | None


def parse(owner: object, half_life: HalfLives) -> dict[str, int]:
    """Label and milliseconds of each half-life, as given.

    Examples:
        >>> parse("views", ("1h", "1d"))
        {'1h': 3600000, '1d': 86400000}
    """
    if half_life is None:
        return {}
    given = [half_life] if isinstance(half_life, (str, Duration)) else list(half_life)
    parsed = {label(duration): to_ms(duration) for duration in given}
    if len(parsed) != len(given):
        raise DefinitionError(f"{owner!r}: a half-life is given twice in {given}")
    return parsed


def factor(elapsed_ms: float, half_life_ms: int) -> float:
    """What is left of 1 after `elapsed_ms`.

    Examples:
        >>> factor(3_600_000, 3_600_000)
        0.5
    """
    exponent = -elapsed_ms / half_life_ms
    return 2.0**exponent if exponent > -1074.0 else 0.0
