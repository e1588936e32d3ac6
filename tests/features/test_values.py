"""EWMean, First and Last."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from stream_profiles import Event, EWMean, Feature, First, Last
from stream_profiles.contracts import MAX_ID_LENGTH
from stream_profiles.errors import DefinitionError
from tests.events import DAY, HOUR, event, streams


def run(feature: Feature, *events: Event) -> Any:
    state = None
    for each in events:
        new = feature.update(state, each)
        state = state if new is None else new
    return state


def test_a_mean_follows_the_recent_past() -> None:
    price = EWMean("price", of="price", half_life=("1h", "1d"))
    state = run(price, event(at=0, price=10.0), event(at=HOUR, price=40.0))
    kept = 0.5 ** (1 / 24)
    assert price.snapshot(state) == {"1h": 30.0, "1d": pytest.approx((10 * kept + 40) / (kept + 1))}


def test_a_mean_does_not_change_by_itself() -> None:
    price = EWMean("price", of="price", half_life="1h")
    state = run(price, event(price=10.0))
    assert price.value(state, event(at=90 * DAY).time) == {"1h": 10.0}
    assert price.inputs(state, event(at=90 * DAY).time) == (10.0,)


def test_a_late_price_weighs_less() -> None:
    price = EWMean("price", of="price", half_life="1h")
    assert price.snapshot(run(price, event(at=HOUR, price=40.0), event(at=0, price=10.0))) == {"1h": 30.0}


def test_after_a_very_long_time_only_the_new_counts() -> None:
    price = EWMean("price", of="price", half_life="1ms")
    assert price.snapshot(run(price, event(price=10.0), event(at=DAY, price=40.0))) == {"1ms": 40.0}
    assert price.snapshot(run(price, event(at=DAY, price=40.0), event(price=10.0))) == {"1ms": 40.0}


def test_a_mean_needs_a_half_life() -> None:
    with pytest.raises(DefinitionError, match=r'EWMean\("price"\) needs a half_life'):
        EWMean("price", of="price", half_life=None)


@given(events=streams())
def test_a_mean_is_the_weighted_mean_of_all_events(events: list[Event]) -> None:
    price = EWMean("price", of="price", half_life=("1h", "30d"))
    prices = [(e.time, e.price) for e in events if e.price is not None]
    state = run(price, *events)
    assert (state is None) == (not prices)
    if state is not None:
        last = max(time for time, _ in prices)
        scale = max(abs(value) for _, value in prices)
        for label, half_life in (("1h", HOUR), ("30d", 30 * DAY)):
            weights = [2.0 ** (-(last - time) / half_life) for time, _ in prices]
            mean = sum(w * value for w, (_, value) in zip(weights, prices, strict=True)) / sum(weights)
            assert price.snapshot(state)[label] == pytest.approx(mean, rel=1e-9, abs=1e-9 * scale)


def test_first_and_last_go_by_the_time_of_the_event() -> None:
    events = [event(at=5, channel="ads"), event(at=9, channel="email"), event(at=1, channel="social"), event(at=0)]
    first, last = First("first", of="channel"), Last("last", of="channel")
    assert first.snapshot(run(first, *events)) == "social"
    assert last.snapshot(run(last, *events)) == "email"


def test_at_the_same_time_the_order_of_arrival_decides() -> None:
    events = [event(channel="ads"), event(channel="email")]
    first, last = First("first", of="channel"), Last("last", of="channel")
    assert first.snapshot(run(first, *events)) == "ads"
    assert last.snapshot(run(last, *events)) == "email"
    ads, email = run(first, events[0]), run(first, events[1])
    assert first.merge(ads, email) == ads
    assert last.merge(ads, email) == email


@pytest.mark.parametrize("kind", [First, Last])
@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("x", "x"),
        ("x" * 1_000, "x" * MAX_ID_LENGTH),
        (3, 3),
        (2.5, 2.5),
        (False, False),
        (2**63, str(2**63)),
        (-(2**63), -(2**63)),
    ],
)
def test_kinds_of_values(kind: type[First] | type[Last], value: Any, kept: Any) -> None:
    size = kind("size", of="properties.size")
    snapshot = size.snapshot(run(size, event(properties={"size": value})))
    assert snapshot == kept
    assert type(snapshot) is type(kept)


@pytest.mark.parametrize("value", [None, [1], {"a": 1}])
def test_what_is_no_single_value_is_left_out(value: Any) -> None:
    assert First("size", of="properties.size").update(None, event(properties={"size": value})) is None
