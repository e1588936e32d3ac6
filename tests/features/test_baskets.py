"""Baskets: the lines of an order as one, against all baskets summed up at the end."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles import Baskets, Event
from stream_profiles.errors import DefinitionError
from tests.events import DAY, HOUR, MINUTE, T0, event


def line(order: str | None, at: int, price: float | None = 1.0, quantity: float | None = None) -> Event:
    return event("purchase", at, session_id=order, price=price, quantity=quantity)


def run(feature: Baskets, *lines: Event) -> Any:
    state = None
    for each in lines:
        state = feature.update(state, each) or state
    return state


def test_the_current_basket_counts_from_its_first_line_on() -> None:
    orders = Baskets("orders", quantity="quantity")
    state = run(orders, line("A", 0, 10.0, 2))
    one = {"std": 0.0, "mean": 1, "last": 1, "min": 1, "max": 1}
    assert orders.snapshot(state) == {
        "total": 1,
        "lines": one,
        "value": {**one, "mean": 20.0, "last": 20.0, "min": 20.0, "max": 20.0},
        "units": {**one, "mean": 2.0, "last": 2.0, "min": 2.0, "max": 2.0},
    }


def test_a_line_takes_the_place_of_what_its_basket_was_without_it() -> None:
    orders = Baskets("orders")
    value = orders.snapshot(run(orders, line("A", 0, 10.0), line("B", DAY, 1.0), line("B", DAY, 5.0)))
    assert value["total"] == 2
    assert value["value"] == {"last": 6.0, "mean": 8.0, "std": 2.0, "min": 6.0, "max": 10.0}
    assert value["lines"] == {"last": 2, "mean": 1.5, "std": 0.5, "min": 1, "max": 2}


def test_baskets_lately_and_fading() -> None:
    orders = Baskets("orders", half_life="1d", window="7d", resolution="1d")
    state = run(orders, line("A", 0), line("A", 1), line("B", DAY), line("B", DAY), line("B", DAY))
    value = orders.snapshot(state)
    assert (value["total"], value["1d"], value["last_7d"], value["at"]) == (2, 1.5, 2, T0 + DAY)
    later = orders.advance(value, T0 + 8 * DAY)
    assert (later["total"], later["1d"], later["last_7d"]) == (2, 1.5 / 128, 1)
    assert later["value"] == value["value"]
    assert orders.input_names()[:3] == ("orders_total", "orders_1d", "orders_last_7d")
    assert orders.inputs(state, T0 + 8 * DAY)[:3] == (2, 1.5 / 128, 1.0)


def test_what_a_model_sees() -> None:
    orders = Baskets("orders", of="price")
    names = [f"orders_{what}_{each}" for what in ("lines", "value") for each in ("last", "mean", "std", "min", "max")]
    assert orders.input_names() == ("orders_total", *names)
    assert orders.inputs(None, T0) == (0.0,) * 11
    assert orders.inputs(run(orders, line("A", 0, 3.0), line("B", 1, 5.0)), T0) == (
        *(2, 1, 1, 0, 1, 1),
        *(5.0, 4.0, 1.0, 3.0, 5.0),
    )


def test_a_line_without_an_order_is_left_out() -> None:
    orders = Baskets("orders")
    assert orders.update(None, line(None, 0)) is None
    assert orders.update(None, line("", 0)) is None
    assert orders.on == ("purchase",), "nor does a view belong to one"


def test_a_line_without_a_number_is_a_line() -> None:
    orders = Baskets("orders")
    value = orders.snapshot(run(orders, line("A", 0, 10.0), line("A", 0, None), line("A", 0, math.inf)))
    assert (value["lines"]["last"], value["value"]["last"]) == (3, 10.0)


def test_without_a_value_baskets_are_counted() -> None:
    value = Baskets("orders", of=None)
    assert value.snapshot(run(value, line("A", 0))).keys() == {"total", "lines"}


def test_what_happens_at_one_moment() -> None:
    orders = Baskets("orders", by="time", on=None)
    value = orders.snapshot(run(orders, line("A", 0), line("B", 0), line("B", 1), line(None, 0)))
    assert (value["total"], value["lines"]["max"], value["lines"]["last"]) == (2, 3, 1)


def test_a_field_of_ones_own() -> None:
    orders = Baskets("orders", by="properties.order")
    lines = [event("purchase", n, properties={"order": number}) for n, number in enumerate((7, 7, 8))]
    assert orders.snapshot(run(orders, *lines))["total"] == 2
    with pytest.raises(DefinitionError, match=r'Baskets\("orders"\): an event has no field .order.'):
        Baskets("orders", by="order")


def test_late_lines_find_their_basket_among_the_latest_four() -> None:
    orders = Baskets("orders")
    state = run(orders, *(line(order, n * HOUR) for n, order in enumerate("ABCDE")))
    late = orders.update(state, line("B", 2 * HOUR, 9.0))
    assert orders.snapshot(late)["value"]["max"] == 10.0
    assert orders.snapshot(late)["value"]["last"] == 1.0, "the last basket is the one that began last"
    before = orders.snapshot(state)
    assert orders.update(state, line("A", MINUTE)) is None, "who can tell whether it is counted already"
    assert orders.update(state, line("late", 0)) is None
    assert orders.snapshot(state) == before
    assert orders.snapshot(orders.update(state, line("late", HOUR + 1)))["total"] == 6
    assert orders.snapshot(orders.update(state, line("A", 9 * HOUR)))["total"] == 7, "it begins again"


def test_a_late_line_may_be_the_first_of_its_basket() -> None:
    orders = Baskets("orders", half_life="1d", window="7d", resolution="1d")
    state = run(orders, line("A", 0), line("B", 10 * DAY, 2.0), line("C", 10 * DAY + 1), line("B", 0, 3.0))
    value = orders.snapshot(state)
    assert (value["total"], value["last_7d"], value["value"]["last"], value["value"]["max"]) == (3, 1, 1.0, 5.0)
    assert value["1d"] == pytest.approx(1.0 + 2 * 2.0**-10)
    state = orders.update(state, line("C", -1, 3.0))
    assert orders.snapshot(state)["value"]["last"] == 5.0, "now B began last"


def expected(lines: list[Event], now: int) -> dict[str, Any]:
    """From all lines of each basket."""
    baskets: dict[str, list[Event]] = defaultdict(list)
    for each in lines:
        baskets[str(each.session_id)].append(each)
    ordered = sorted(baskets.values(), key=lambda basket: min(each.time for each in basket))
    sizes = [len(basket) for basket in ordered]
    values = [sum(each.price or 0.0 for each in basket) for basket in ordered]
    return {
        "total": len(ordered),
        "1d": sum(0.5 ** ((now - min(each.time for each in basket)) / DAY) for basket in ordered),
        "at": now,
        **{
            name: {
                "last": numbers[-1],
                "mean": (mean := math.fsum(numbers) / len(numbers)),
                "std": math.sqrt(math.fsum((x - mean) ** 2 for x in numbers) / len(numbers)),
                "min": min(numbers),
                "max": max(numbers),
            }
            for name, numbers in (("lines", sizes), ("value", values))
        },
    }


def agree(value: dict[str, Any], exact: dict[str, Any]) -> None:
    assert value.keys() == exact.keys()
    for name, part in exact.items():
        assert value[name] == pytest.approx(part, rel=1e-9, abs=1e-6)


orders_of_lines = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from([1, MINUTE, HOUR, 3 * DAY]), st.floats(-100, 100)),
    min_size=1,
    max_size=30,
)


@given(drawn=orders_of_lines, swaps=st.sets(st.integers(0, 100)))
def test_baskets_are_those_of_all_their_lines(drawn: list[tuple[int, int, float]], swaps: set[int]) -> None:
    """Also when a line and the one before it arrive the wrong way round."""
    lines, at = [], 0
    for number, (size, pause, price) in enumerate(drawn):
        at += pause
        lines += [line(f"order-{number}", at + n, price + n) for n in range(size)]
        at += size
    arrivals = list(lines)
    for n in sorted(swaps):
        if n + 1 < len(arrivals) and n - 1 not in swaps:
            arrivals[n], arrivals[n + 1] = arrivals[n + 1], arrivals[n]
    orders = Baskets("orders", of="price", half_life="1d")
    now = max(each.time for each in lines)
    agree(orders.value(run(orders, *arrivals), now), expected(lines, now))


@given(
    drawn=st.lists(st.tuples(st.sampled_from("ABCD"), st.floats(-100, 100)), min_size=1, max_size=12),
    shuffle=st.randoms(use_true_random=False),
)
def test_the_lines_of_four_baskets_may_arrive_in_any_order(drawn: list[tuple[str, float]], shuffle: Any) -> None:
    lines = [line(order, n * HOUR, price) for n, (order, price) in enumerate(drawn)]
    arrivals = list(lines)
    shuffle.shuffle(arrivals)
    orders = Baskets("orders", of="price", half_life="1d")
    now = lines[-1].time
    agree(orders.value(run(orders, *arrivals), now), expected(lines, now))
