"""Quantiles against the sorted numbers themselves."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from ddsketch import DDSketch
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles import Event, Quantiles
from stream_profiles.errors import DefinitionError
from tests.events import DAY, HOUR, event, streams

_numbers = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-310, -5e-324, 1e-300, 9e99, -9e99]),
    st.floats(-1e6, 1e6, allow_nan=False),
)


def run(feature: Quantiles, *events: Event, state: Any = None) -> Any:
    for each in events:
        new = feature.update(state, each)
        state = state if new is None else new
    return state


def of(*numbers: float) -> list[Event]:
    return [event(at=at, price=number) for at, number in enumerate(numbers)]


def ranked(numbers: list[float], q: float) -> float:
    return sorted(numbers)[int(q * (len(numbers) - 1))]


def near(number: float, error: float) -> Any:
    """Within the relative error; what is too small for a bin of its own counts as 0."""
    return pytest.approx(number, rel=error * (1 + 1e-9), abs=3e-308)


def test_each_quantile_has_a_name() -> None:
    quantiles = Quantiles("prices", of="price", q=(0, 0.5, 0.999, 1))
    value = quantiles.snapshot(run(quantiles, *of(*range(1, 1001))))
    assert value == {
        "lifetime": {"p0": near(1, 0.01), "p50": near(500, 0.01), "p99.9": near(999, 0.01), "p100": near(1000, 0.01)}
    }


@given(numbers=st.lists(_numbers, min_size=1, max_size=60), error=st.sampled_from([0.001, 0.01, 0.1, 0.5]))
def test_a_quantile_is_within_its_error(numbers: list[float], error: float) -> None:
    quantiles = Quantiles("prices", of="price", q=(0, 0.25, 0.5, 0.9, 1), relative_error=error)
    value = quantiles.snapshot(run(quantiles, *of(*numbers)))["lifetime"]
    for q, quantile in zip(quantiles.q, value.values(), strict=True):
        assert quantile == near(ranked(numbers, q), error)


def test_it_says_what_the_library_says() -> None:
    """Another mapping, the same method."""
    random_, theirs = random.Random(1), DDSketch(0.02)
    quantiles = Quantiles("prices", of="price", q=(0.01, 0.5, 0.99), relative_error=0.02)
    numbers = [random_.gauss(10, 30) for _ in range(2_000)]
    for number in numbers:
        theirs.add(number)
    ours = quantiles.snapshot(run(quantiles, *of(*numbers)))["lifetime"]
    for q, quantile in zip(quantiles.q, ours.values(), strict=True):
        assert quantile == pytest.approx(theirs.get_quantile_value(q), rel=0.04)


@given(events=streams(), after=st.sampled_from([0, HOUR, 5 * DAY, 8 * DAY]))
def test_a_windows_quantiles_are_those_of_the_events_in_it(events: list[Event], after: int) -> None:
    quantiles = Quantiles("prices", of="price", q=(0.25, 0.9), window="7d", resolution="12h", lifetime=False)
    state = run(quantiles, *events)
    if state is None:
        return
    priced = [e for e in events if e.price is not None]
    now = max(e.time for e in priced) + after
    numbers = [e.price for e in priced if e.time // (12 * HOUR) >= (now - 7 * DAY) // (12 * HOUR)]
    value = quantiles.value(state, now)["last_7d"]
    if numbers:
        assert list(value.values()) == [near(ranked(numbers, q), 0.01) for q in (0.25, 0.9)]
        assert quantiles.inputs(state, now) == tuple(value.values())
    else:
        assert value is None
        assert quantiles.inputs(state, now) == (0.0, 0.0)


def test_without_room_the_lowest_are_counted_together() -> None:
    quantiles = Quantiles("prices", of="price", q=(0, 0.5, 0.75, 1), bins=2)
    value = quantiles.snapshot(run(quantiles, *of(100.0, -5.0, 1.0, 10.0)))["lifetime"]
    assert value == {"p0": near(10, 0.01), "p50": near(10, 0.01), "p75": near(10, 0.01), "p100": near(100, 0.01)}


@given(numbers=st.lists(_numbers, min_size=2, max_size=60), shuffle=st.randoms(use_true_random=False))
def test_a_full_sketch_knows_no_order(numbers: list[float], shuffle: random.Random) -> None:
    quantiles = Quantiles("prices", of="price", bins=3)
    state = run(quantiles, *of(*numbers))
    shuffled = shuffle.sample(numbers, len(numbers))
    assert run(quantiles, *of(*shuffled))[1] == state[1]
    half = len(numbers) // 2
    merged = quantiles.merge(run(quantiles, *of(*shuffled[:half])), run(quantiles, *of(*shuffled[half:])))
    assert merged[1] == state[1]
    assert sum(state[1].values()) == len(numbers)


def test_what_is_merged_does_not_change_with_the_merged() -> None:
    quantiles = Quantiles("prices", of="price", window="1d")
    a, b = run(quantiles, *of(1.0)), run(quantiles, event(at=5 * HOUR, price=2.0))
    before = msgspec.msgpack.encode([a, b])
    run(quantiles, event(price=1.0), event(at=5 * HOUR, price=2.0), state=quantiles.merge(a, b))
    assert msgspec.msgpack.encode([a, b]) == before


def test_a_number_falls_into_the_bin_it_was_stored_in() -> None:
    """Borders that move would spoil every stored sketch."""
    quantiles = Quantiles("prices", of="price")
    numbers = (-9.99, 0.0, 1e-300, 0.01, 1.0, 9.99, 1_000_000.0)
    assert [quantiles.item(each) for each in of(*numbers)] == [-35885, 0, 889, 35536, 35768, 35885, 36466]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"q": ()}, "takes numbers from 0 to 1"),
        ({"q": 50}, "takes numbers from 0 to 1"),
        ({"q": ("0.5",)}, "takes numbers from 0 to 1"),
        ({"q": (0.5, 0.5)}, "a quantile is given twice"),
        ({"relative_error": 0}, "relative_error must be from 0.001 to 0.5"),
        ({"bins": 1}, "bins must be at least 2"),
        ({"lifetime": False}, "keeps nothing: give it a window"),
    ],
)
def test_what_makes_no_quantiles_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Quantiles("prices", of="price", **parameters)
