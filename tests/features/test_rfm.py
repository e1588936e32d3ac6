"""RFM: thresholds by example, numbers against all purchases."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles import RFM, Event
from stream_profiles.errors import DefinitionError
from tests.events import DAY, HOUR, T0, event, streams

MONETARY = (50, 200, 500, 1_000)


def run(rfm: RFM, *events: Event) -> Any:
    state = None
    for each in events:
        new = rfm.update(state, each)
        state = state if new is None else new
    return state


def bought(at: int, amount: float) -> Event:
    return event("purchase", at, price=amount)


@pytest.mark.parametrize(
    ("days", "score"), [(0, "5"), (7, "5"), (7.001, "4"), (30, "4"), (90, "3"), (365, "2"), (365.001, "1")]
)
def test_recency_is_scored_as_of_now(days: float, score: str) -> None:
    rfm = RFM("rfm", monetary=MONETARY)
    state = run(rfm, bought(0, 10.0))
    now = T0 + round(days * DAY)
    assert rfm.value(state, now)["score"][0] == score
    assert rfm.inputs(state, now)[3] == float(score)
    assert rfm.value(state, now)["recency_seconds"] == pytest.approx(days * 86_400)


@pytest.mark.parametrize(("purchases", "score"), [(1, "2"), (2, "3"), (4, "3"), (5, "4"), (9, "4"), (10, "5")])
def test_frequency_is_scored_by_the_thresholds_it_reaches(purchases: int, score: str) -> None:
    rfm = RFM("rfm", monetary=MONETARY)
    value = rfm.snapshot(run(rfm, *(bought(n, 1.0) for n in range(purchases))))
    assert (value["frequency"], value["score"][1]) == (purchases, score)


@pytest.mark.parametrize(("amount", "score"), [(49.99, "1"), (50.0, "2"), (500.0, "4"), (999.0, "4"), (1e6, "5")])
def test_monetary_is_scored_by_the_thresholds_it_reaches(amount: float, score: str) -> None:
    rfm = RFM("rfm", monetary=MONETARY)
    value = rfm.snapshot(run(rfm, bought(0, amount)))
    assert (value["monetary"], value["score"][2]) == (amount, score)


def test_what_is_out_of_the_window_counts_no_more() -> None:
    rfm = RFM("rfm", monetary=MONETARY, window="30d", resolution="1d")
    state = run(rfm, bought(0, 400.0), bought(20 * DAY, 100.0))
    value = rfm.snapshot(state)
    assert (value["frequency"], value["monetary"], value["score"]) == (2, 500.0, "534")
    later = rfm.advance(value, T0 + 31 * DAY)
    assert (later["frequency"], later["monetary"], later["score"]) == (1, 100.0, "422")
    assert rfm.inputs(state, T0 + 31 * DAY) == (11 * 86_400.0, 1.0, 100.0, 4.0, 2.0, 2.0)
    never = rfm.advance(value, T0 + 400 * DAY)
    assert (never["frequency"], never["monetary"], never["score"]) == (0, 0.0, "111")
    assert rfm.category(state, T0 + 31 * DAY) == "422"


def test_a_refund_lowers_the_value_and_is_no_purchase() -> None:
    rfm = RFM("rfm", monetary=MONETARY, on=("purchase", "refund"))
    refund = event("refund", DAY, price=30.0, quantity=-1.0)
    value = rfm.snapshot(run(rfm, bought(0, 100.0), refund))
    assert (value["frequency"], value["monetary"], value["recency_seconds"]) == (1, 70.0, 86_400.0)
    only = run(rfm, refund)
    value = rfm.snapshot(only)
    assert (value["frequency"], value["monetary"], value["recency_seconds"], value["score"]) == (0, -30.0, None, "111")
    assert rfm.advance(value, T0 + 9 * DAY)["recency_seconds"] is None
    assert rfm.inputs(only, T0 + 9 * DAY) == (0.0, 0.0, -30.0, 1.0, 1.0, 1.0)
    assert rfm.merge(only, only)[1] is None
    assert rfm.merge(only, run(rfm, bought(5, 1.0)))[1] == T0 + 5


def test_it_takes_purchases_with_an_amount() -> None:
    rfm = RFM("rfm", monetary=MONETARY)
    assert rfm.on == ("purchase",)
    assert rfm.update(None, event("purchase")) is None
    assert rfm.inputs(None, T0) == (0.0,) * 6


@pytest.mark.parametrize(
    "wrong",
    [
        {"monetary": (1, 2, 3)},
        {"monetary": (1, 2, 3, 3)},
        {"monetary": (4, 3, 2, 1)},
        {"monetary": (1, 2, 3, "4")},
        {"frequency": (1, 2, 3, 4, 5)},
        {"recency": ("30d", "7d", "90d", "365d")},
    ],
)
def test_thresholds_are_four_and_ascend(wrong: dict[str, Any]) -> None:
    (what,) = wrong
    with pytest.raises(DefinitionError, match=f"{what}= takes 4 thresholds, the smallest first"):
        RFM("rfm", **{"monetary": MONETARY, **wrong})


@given(events=streams(), after=st.integers(0, 100 * DAY))
def test_numbers_are_those_of_all_purchases(events: list[Event], after: int) -> None:
    rfm = RFM("rfm", of="price", on=None, monetary=MONETARY, window="90d", resolution="12h")
    prices = [(e.time, e.price) for e in events if e.price is not None]
    state = run(rfm, *events)
    assert (state is None) == (not prices)
    if state is None:
        return
    now = max(time for time, _ in prices) + after
    value = rfm.value(state, now)
    inside = [(time, price) for time, price in prices if time // (12 * HOUR) >= (now - 90 * DAY) // (12 * HOUR)]
    last = max((time for time, price in prices if price >= 0), default=None)
    scale = sum(abs(price) for _, price in prices)
    assert value["frequency"] == sum(price >= 0 for _, price in inside)
    assert value["monetary"] == pytest.approx(sum(price for _, price in inside), abs=1e-9 * max(scale, 1.0))
    if last is None:
        assert value["recency_seconds"] is None
    else:
        assert value["recency_seconds"] == pytest.approx((now - last) / 1000)
    recency, frequency, monetary, *scores = rfm.inputs(state, now)
    assert recency == pytest.approx(value["recency_seconds"] or 0.0)
    assert (frequency, monetary) == (value["frequency"], pytest.approx(value["monetary"], abs=1e-9 * max(scale, 1.0)))
    assert len(scores) == 3 and value["score"][:2] == "".join(str(int(score)) for score in scores[:2])
