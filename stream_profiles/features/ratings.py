"""ReviewStats: the ratings a user gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import add
from typing import Any

from ..contracts import Event
from ..durations import Duration
from ..errors import DefinitionError
from . import decay, windows
from .base import number
from .statistics import Partial, Std
from .summaries import Summary

#: Beyond these, a scale has no stars but numbers: that is for Mean and Quantiles.
_MOST_STARS = 21


class ReviewStats(Summary, Std):
    """The ratings a user gives: how many, their mean and deviation, the share of each star, and the last one.

    Since ever, by half-life and in each sliding window. A rating outside the scale is left out; one between two stars
    counts in full for the mean and for the nearest star. The deviation is that of `Std`.

    Parameters:
        name: Field name.
        of: Event field with the rating.
        scale: The lowest and the highest rating, whole numbers.
        half_life: One or several durations, in which an event's weight halves.
        window: One or several durations, published as `last_7d` and the like.
        resolution: How long the tiles of a window are; 1/24 of the window or less when not given.
        lifetime: Keep the statistics since ever.
        on: Event type(s); None for all.
        where: Condition on the events.

    Published: for the `lifetime`, each half-life and each window `count`, `mean`, `std` and `share_1` and so on, None
    (`null`) for a window without ratings; and `last`. A half-life's count fades as time goes by, so there is `at`; for
    a window also `then`.

    Examples:
        >>> from stream_profiles import Event, ReviewStats
        >>> reviews = ReviewStats("reviews", scale=(1, 3))
        >>> state = None
        >>> for n, rating in enumerate([3.0, 1.0, 3.0, 3.0]):
        ...     event = Event(event_id=str(n), user_id="u", type="review", time=n, rating=rating)
        ...     state = reviews.update(state, event)
        >>> reviews.snapshot(state)["lifetime"]
        {'count': 4, 'mean': 2.5, 'std': 0.866..., 'share_1': 0.25, 'share_2': 0.0, 'share_3': 0.75}
    """

    def __init__(
        self,
        name: str,
        *,
        of: str = "rating",
        scale: Sequence[int] = (1, 5),
        half_life: decay.HalfLives = None,
        window: windows.Durations = None,
        resolution: Duration | None = None,
        lifetime: bool = True,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(
            name,
            of=of,
            on=on,
            where=where,
            half_life=half_life,
            window=window,
            resolution=resolution,
            lifetime=lifetime,
        )
        self.scale = list(scale) if isinstance(scale, (list, tuple)) else []
        if len(self.scale) != 2 or not all(type(end) is int for end in self.scale) or self.scale[0] >= self.scale[1]:
            raise DefinitionError(f"{self!r}: scale= takes the lowest and the highest rating, as in scale=(1, 5)")
        self._lowest, self._highest = self.scale
        self._stars = self._highest - self._lowest + 1
        if self._stars > _MOST_STARS:
            raise DefinitionError(f"{self!r}: a scale of {self._stars} stars is too long; the most is {_MOST_STARS}")
        self.width = 3 + self._stars
        self.names = ("count", "mean", "std", *(f"share_{self._lowest + star}" for star in range(self._stars)))
        self._read, self._get = self._get, self._rating

    def _rating(self, event: Event) -> float | None:
        rating = number(self._read(event))
        return rating if rating is not None and self._lowest <= rating <= self._highest else None

    def lift(self, value: float) -> list[Any]:
        stars = [0] * self._stars
        stars[int(value - self._lowest + 0.5)] = 1
        return [1, value, 0.0, *stars]

    def combine(self, a: Partial, b: Partial) -> list[Any]:
        return [*super().combine(a, b), *map(add, a[3:], b[3:])]

    def fade(self, partial: Partial, kept: float) -> list[Any]:
        return [*super().fade(partial, kept), *[star * kept for star in partial[3:]]]

    def result(self, partial: Partial | None) -> Any:
        if partial is None or not partial[0]:
            return None
        weight, mean, *_ = partial
        shares = [star / weight for star in partial[3:]]
        return dict(zip(self.names, (weight, mean, Std.result(self, partial), *shares), strict=True))
