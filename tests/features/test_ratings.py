"""ReviewStats against the statistics of all ratings."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles import Event, ReviewStats
from stream_profiles.errors import DefinitionError
from tests.events import DAY, HOUR, T0, event


def run(feature: ReviewStats, *events: Event) -> Any:
    state = None
    for each in events:
        new = feature.update(state, each)
        state = state if new is None else new
    return state


def ratings(*stars: float) -> list[Event]:
    return [event("review", at, rating=rating) for at, rating in enumerate(stars)]


def test_all_that_is_said_of_ratings() -> None:
    reviews = ReviewStats("reviews")
    assert reviews.snapshot(run(reviews, *ratings(5.0, 1.0, 4.0, 4.0, 1.0))) == {
        "lifetime": {
            "count": 5,
            "mean": 3.0,
            "std": pytest.approx(2.8**0.5),
            "share_1": 0.4,
            "share_2": 0.0,
            "share_3": 0.0,
            "share_4": 0.4,
            "share_5": 0.2,
        },
        "last": 1.0,
    }


def test_a_rating_outside_the_scale_is_left_out() -> None:
    reviews = ReviewStats("reviews")
    assert all(reviews.update(None, each) is None for each in [*ratings(0.9, 5.1, -3.0, float("nan")), event()])


def test_a_rating_between_two_stars_counts_for_the_nearest() -> None:
    reviews = ReviewStats("reviews", scale=(-1, 1))
    value = reviews.snapshot(run(reviews, *ratings(-0.6, -0.5, 0.4, 0.5, 1.0)))["lifetime"]
    assert (value["share_-1"], value["share_0"], value["share_1"]) == (0.2, 0.4, 0.4)
    assert value["mean"] == pytest.approx(0.16)


def test_the_last_rating_is_that_of_the_latest_event() -> None:
    reviews = ReviewStats("reviews")
    events = [event(at=5, rating=2.0), event(at=9, rating=4.0), event(at=7, rating=1.0)]
    assert reviews.snapshot(run(reviews, *events))["last"] == 4.0
    assert reviews.snapshot(run(reviews, *events, event(at=9, rating=3.0)))["last"] == 3.0


def test_by_half_life_a_rating_weighs_less_and_less() -> None:
    reviews = ReviewStats("reviews", scale=(0, 1), half_life="1d", lifetime=False)
    state = run(reviews, event(rating=0.0), event(at=DAY, rating=1.0))
    value = reviews.snapshot(state)
    two_thirds = pytest.approx(2 / 3)
    assert value["1d"]["count"] == 1.5
    assert (value["1d"]["mean"], value["1d"]["share_1"], value["1d"]["share_0"]) == (two_thirds, two_thirds, 1 / 3)
    later = reviews.value(state, T0 + 2 * DAY)
    assert later == {**value, "1d": {**value["1d"], "count": 0.75}, "at": T0 + 2 * DAY}
    assert reviews.inputs(state, T0 + 2 * DAY) == (*later["1d"].values(), 1.0)


def test_a_window_without_ratings_says_nothing() -> None:
    reviews = ReviewStats("reviews", window="1d", resolution="1h")
    state = run(reviews, *ratings(5.0))
    value = reviews.value(state, T0 + 2 * DAY)
    assert value["last_1d"] is None
    assert value["lifetime"]["count"] == 1
    assert reviews.inputs(state, T0 + 2 * DAY)[8:16] == (0.0,) * 8
    assert len(reviews.input_names()) == len(reviews.inputs(None, T0)) == 17


@given(
    drawn=st.lists(
        st.tuples(st.sampled_from([1.0, 2.0, 3.5, 4.0, 5.0]), st.integers(0, 20 * 24).map(lambda hours: hours * HOUR)),
        min_size=1,
    ),
    after=st.sampled_from([0, HOUR, 5 * DAY]),
)
def test_a_windows_statistics_are_those_of_the_ratings_in_it(drawn: list[tuple[float, int]], after: int) -> None:
    reviews = ReviewStats("reviews", window="7d", resolution="12h", lifetime=False)
    state = run(reviews, *(event(at=at, rating=rating) for rating, at in drawn))
    now = T0 + max(at for _, at in drawn) + after
    inside = [rating for rating, at in drawn if (T0 + at) // (12 * HOUR) >= (now - 7 * DAY) // (12 * HOUR)]
    value = reviews.value(state, now)["last_7d"]
    assert value["count"] == len(inside)
    assert value["mean"] == pytest.approx(statistics.fmean(inside))
    assert value["std"] == pytest.approx(statistics.pstdev(inside), abs=1e-9)
    for star in range(1, 6):
        assert value[f"share_{star}"] == pytest.approx(sum(int(r + 0.5) == star for r in inside) / len(inside))


@pytest.mark.parametrize("scale", [(1,), (5, 1), (1, 1), (1.0, 5.0), (True, 5), "15", 5])
def test_what_is_no_scale_is_refused(scale: Any) -> None:
    with pytest.raises(DefinitionError, match="scale= takes the lowest and the highest rating"):
        ReviewStats("reviews", scale=scale)


def test_a_scale_of_many_numbers_is_refused() -> None:
    with pytest.raises(DefinitionError, match="a scale of 101 stars is too long; the most is 21"):
        ReviewStats("reviews", scale=(0, 100))
