"""Count and Sum: totals since ever, and totals that fade, against sums over all events."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given

from stream_profiles import Count, Event, Sum
from stream_profiles.errors import DefinitionError
from stream_profiles.features.counts import _Total
from tests.events import DAY, HOUR, T0, event, streams


def run(feature: _Total, *events: Event) -> Any:
    state = None
    for each in events:
        new = feature.update(state, each)
        state = state if new is None else new
    return state


def faded(amounts: list[tuple[int, float]], half_life: int, now: int) -> float:
    return math.fsum(amount * math.exp2(-(now - time) / half_life) for time, amount in amounts)


def test_a_count_halves_in_a_half_life() -> None:
    views = Count("views", half_life=("1h", "1d"))
    state = run(views, event(at=0), event(at=HOUR))
    assert views.snapshot(state) == {"total": 2, "1h": 1.5, "1d": pytest.approx(1 + 0.5 ** (1 / 24)), "at": T0 + HOUR}
    assert views.value(state, T0 + 2 * HOUR)["1h"] == 0.75
    assert views.value(state, T0 + 2 * HOUR)["total"] == 2


def test_a_late_event_weighs_what_it_would_weigh_by_now() -> None:
    views = Count("views", half_life="1h")
    assert views.snapshot(run(views, event(at=HOUR), event(at=0))) == {"total": 2, "1h": 1.5, "at": T0 + HOUR}


def test_a_lifetime_count_is_a_whole_number_and_has_no_time() -> None:
    assert repr(Count("views").snapshot(run(Count("views"), event(), event()))) == "{'total': 2}"


def test_without_lifetime_there_is_no_total() -> None:
    views = Count("views", half_life="1h", lifetime=False)
    assert views.snapshot(run(views, event())) == {"1h": 1, "at": T0}
    assert views.input_names() == ("views_1h",)
    assert views.inputs(run(views, event()), T0 + HOUR) == (0.5,)


def test_what_is_forgotten_is_nothing() -> None:
    views = Count("views", half_life="1ms")
    state = run(views, event(at=0))
    assert views.value(state, T0 + DAY)["1ms"] == 0.0
    assert views.inputs(state, T0 + DAY) == (1, 0.0)
    assert views.snapshot(run(views, event(at=0), event(at=DAY))) == {"total": 2, "1ms": 1.0, "at": T0 + DAY}
    assert views.snapshot(run(views, event(at=DAY), event(at=0))) == {"total": 2, "1ms": 1.0, "at": T0 + DAY}


def test_a_sum_of_amounts() -> None:
    spend = Sum("spend", of="amount", half_life="1d")
    state = run(
        spend,
        event("purchase", 0, price=10.0, quantity=2.0),
        event("purchase", 0, price=5.0),
        event("refund", DAY, price=10.0, quantity=-1.0),
        event("purchase", DAY),
    )
    assert spend.snapshot(state) == {"total": 15.0, "1d": 2.5, "at": T0 + DAY}


@pytest.mark.parametrize("price", [None, float("nan"), float("inf"), -1e101])
def test_what_is_no_amount_is_left_out(price: float | None) -> None:
    assert Sum("spend", of="price").update(None, event(price=price)) is None


def test_a_property_may_be_summed() -> None:
    points = Sum("points", of="properties.points")
    state = run(points, *(event(properties={"points": value}) for value in (1, 2.5, "3", True, None, [4])))
    assert points.snapshot(state) == {"total": 3.5}


@given(events=streams())
def test_counts_are_the_sum_over_all_events(events: list[Event]) -> None:
    views = Count("views", half_life=("1h", "30d"))
    state = run(views, *events)
    if state is None:
        return
    now = max(e.time for e in events) + HOUR
    ones = [(e.time, 1.0) for e in events]
    value = views.value(state, now)
    assert value["total"] == len(events)
    assert value["1h"] == pytest.approx(faded(ones, HOUR, now), rel=1e-9)
    assert value["30d"] == pytest.approx(faded(ones, 30 * DAY, now), rel=1e-9)
    assert views.inputs(state, now) == (value["total"], value["1h"], value["30d"])


@given(events=streams())
def test_sums_are_the_sum_over_all_events(events: list[Event]) -> None:
    spend = Sum("spend", of="price", half_life="1d")
    prices = [(e.time, e.price) for e in events if e.price is not None]
    state = run(spend, *events)
    assert (state is None) == (not prices)
    if state is not None:
        now = max(time for time, _ in prices)
        scale = max(abs(price) for _, price in prices) * len(prices)
        value = spend.value(state, now)
        assert value["total"] == pytest.approx(sum(price for _, price in prices), abs=1e-12 * scale)
        assert value["1d"] == pytest.approx(faded(prices, DAY, now), abs=1e-12 * scale)
        assert value["at"] == now


def test_a_feature_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r'Count\("views"\) keeps nothing: give it a half_life'):
        Count("views", lifetime=False)


def test_a_half_life_is_given_once() -> None:
    with pytest.raises(DefinitionError, match="a half-life is given twice"):
        Count("views", half_life=("1h", "1h"))


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("prize", "did you mean 'price'"),
        ("amout", "did you mean 'amount'"),
        ("stars", "for a field of your own write 'properties.stars'"),
        ("properties.", "no field 'properties.'"),
        ("properties", "no field 'properties'"),
    ],
)
def test_an_unknown_field_is_refused(field: str, hint: str) -> None:
    with pytest.raises(DefinitionError, match=hint):
        Sum("spend", of=field)
