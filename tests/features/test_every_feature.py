"""What holds for every feature. A new family is tested from the day it has a line in CASES."""

from __future__ import annotations

import inspect
import math
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_profiles import Event, ProfileDefinition, features
from stream_profiles.definition import described_features
from stream_profiles.features import Feature, First, Last
from tests.events import DAY, HOUR, T0, event, streams
from tests.features.cases import CASES, DERIVED, KEYS

#: There are many features: a few examples of each make many.
few = settings(max_examples=20)
every_feature = pytest.mark.parametrize("feature", CASES, ids=lambda feature: feature.name)

pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder().decode


def wanted(feature: Feature, events: list[Event]) -> list[Event]:
    return [e for e in events if feature.on is None or e.type in feature.on]


def run(feature: Feature, events: list[Event], state: Any = None) -> Any:
    update = feature.conditional_update()
    for each in wanted(feature, events):
        new = update(state, each)
        state = state if new is None else new
    return state


def same(a: Any, b: Any, scale: float = 1.0) -> bool:
    """Equal but for the rounding of sums of numbers up to `scale`."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name], scale) for name in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y, scale) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) or isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9 * scale)
    return bool(a == b)


def numbers_in(value: Any) -> list[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [x for each in value for x in numbers_in(each)]
    return [value] if isinstance(value, (int, float)) else []


def largest(events: list[Event]) -> float:
    numbers = [e.price or 0.0 for e in events] + [(e.price or 0.0) * (e.quantity or 1.0) for e in events]
    numbers += [s for e in events if isinstance(s := e.properties.get("size"), (int, float))]
    return max([1.0, *map(abs, numbers)]) * max(1, len(events))


def test_every_family_is_here() -> None:
    exported = {getattr(features, name) for name in features.__all__} - {Feature}
    assert {type(feature) for feature in (*CASES, *DERIVED)} == exported
    assert len({feature.name for feature in CASES}) == len(CASES)


@every_feature
def test_every_parameter_is_kept_under_its_name(feature: Feature) -> None:
    parameters = list(inspect.signature(type(feature)).parameters)
    assert list(feature.config) == parameters
    rebuilt = type(feature)(**feature.config)
    assert rebuilt.config == feature.config
    assert rebuilt.key == feature.key
    assert feature.key.startswith(f"{feature.name}:")


def test_stored_state_is_found_again() -> None:
    """Keys are in every changelog there is: a release that makes others loses everybody's state."""
    keys = {feature.name: feature.key.partition(":")[2] for feature in CASES}
    assert keys == KEYS


@every_feature
def test_a_reader_in_another_service_can_rebuild_it(feature: Feature) -> None:
    description = ProfileDefinition("shop", features=[feature]).describe()
    sent = msgspec.json.decode(msgspec.json.encode(description))
    assert described_features(sent)[feature.name].key == feature.key


@every_feature
@few
@given(events=streams())
def test_a_published_value_is_json_and_none_never(feature: Feature, events: list[Event]) -> None:
    state = run(feature, events)
    if state is None:
        return
    value = feature.snapshot(state)
    assert value is not None
    assert msgspec.json.decode(msgspec.json.encode(value)) == value


@every_feature
@few
@given(events=streams())
def test_a_stored_state_goes_on_as_if_it_had_never_been_stored(feature: Feature, events: list[Event]) -> None:
    kept, stored, update = None, None, feature.conditional_update()
    for each in wanted(feature, events):
        stored = None if stored is None else unpack(pack(stored))
        new, new_stored = update(kept, each), update(stored, each)
        assert (new is None) == (new_stored is None)
        kept, stored = (kept, stored) if new is None else (new, new_stored)
        if kept is not None:
            assert pack(stored) == pack(kept)
            assert feature.snapshot(stored) == feature.snapshot(kept)


@every_feature
@few
@given(events=streams(), later=st.lists(st.integers(0, 90 * DAY), min_size=2, max_size=2).map(sorted))
def test_a_value_is_brought_to_now_without_its_state(feature: Feature, events: list[Event], later: list[int]) -> None:
    state = run(feature, events)
    if state is None:
        return
    value = feature.snapshot(state)
    before = pack(value)
    soon, late = (max(e.time for e in events) + after for after in later)
    assert feature.value(state, soon) == feature.advance(value, soon)
    assert same(feature.advance(feature.advance(value, soon), late), feature.advance(value, late))
    assert pack(value) == before, "a reader's value is not changed in place"
    if isinstance(value, dict) and "at" in value:
        assert feature.advance(value, value["at"]) == value
        assert feature.advance(value, value["at"] - HOUR) == value, "time does not go back"
    else:
        assert feature.advance(value, late) == value


@every_feature
@few
@given(events=streams(), after=st.integers(0, 90 * DAY))
def test_a_models_inputs_are_numbers_and_named(feature: Feature, events: list[Event], after: int) -> None:
    names = feature.input_names()
    now = max([T0, *(e.time for e in events)]) + after
    assert len(set(names)) == len(names)
    assert all(name.startswith(f"{feature.name}_") for name in names)
    for state in (None, run(feature, events)):
        before = pack(state)
        inputs = feature.inputs(state, now)
        assert len(inputs) == len(names)
        assert all(isinstance(x, (int, float)) and math.isfinite(x) for x in inputs)
        assert pack(state) == before


@every_feature
def test_the_size_of_the_state_has_a_bound(feature: Feature) -> None:
    """Long strings of four-byte characters, huge numbers, late events: as many as there are places, and more."""
    random_ = random.Random(1)
    state, time = None, 0
    for number in range(400):
        time = max(0, time + random_.choice([0, 1, HOUR, DAY, 40 * DAY, -HOUR]))
        text = f"{number:08}" + "\U0001f600" * 1_000
        wide: dict[str, Any] = {
            "item_id": text,
            "category": text,
            "channel": text,
            "price": random_.choice([1e99, -1e99, 0.1]),
        }
        size = random_.choice([text, 2**63, 2**63 - 1, -(2**63), 2**100, 1e308, True])
        each = event(random_.choice(["view", "purchase"]), time, quantity=0.1, properties={"size": size}, **wide)
        state = run(feature, [each], state)
    if state is None:
        assert feature.max_bytes == 0, "what keeps nothing needs no room"
    else:
        assert len(pack(state)) <= feature.max_bytes


@every_feature
@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, None, float("nan"), float("inf"), 1e300, -1e300, 2**2000])
def test_what_cannot_be_counted_does_no_harm(feature: Feature, value: Any) -> None:
    number = value if isinstance(value, float) else None
    state = run(feature, [event("view", 0, price=1.0, category="a", item_id="i", properties={"size": 1})])
    strange = [event(type, 1, price=number, properties={"size": value}) for type in ("view", "cart", "purchase")] * 3
    state = run(feature, strange, state)
    inputs = feature.inputs(state, T0 + HOUR)
    assert all(math.isfinite(x) for x in inputs)
    if state is not None and not isinstance(feature, (First, Last)):
        assert all(math.isfinite(x) for x in numbers_in(feature.snapshot(state)))


@pytest.mark.parametrize("feature", [f for f in CASES if f.order_free], ids=lambda feature: feature.name)
@few
@given(events=streams(distinct_times=True), shuffle=st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(feature: Feature, events: list[Event], shuffle: random.Random) -> None:
    shuffled = list(events)
    shuffle.shuffle(shuffled)
    a, b = run(feature, events), run(feature, shuffled)
    assert (a is None) == (b is None)
    if a is not None:
        now = max(e.time for e in events)
        assert same(feature.value(a, now), feature.value(b, now), largest(events))


@pytest.mark.parametrize("feature", [f for f in CASES if f.mergeable], ids=lambda feature: feature.name)
@few
@given(events=streams(distinct_times=True), shares=st.randoms(use_true_random=False))
def test_two_halves_merge_to_the_whole(feature: Feature, events: list[Event], shares: random.Random) -> None:
    halves: tuple[list[Event], list[Event]] = ([], [])
    for each in events:
        halves[shares.random() < 0.5].append(each)
    a, b, whole = run(feature, halves[0]), run(feature, halves[1]), run(feature, events)
    if a is None or b is None:
        return
    now = max(e.time for e in events)
    before = pack([a, b])
    for merged in (feature.merge(a, b), feature.merge(b, a)):
        assert same(feature.value(merged, now), feature.value(whole, now), largest(events))
    assert pack([a, b]) == before, "what is merged is not changed"


@pytest.mark.parametrize("feature", [f for f in CASES if not f.mergeable], ids=lambda feature: feature.name)
def test_what_cannot_be_merged_says_so(feature: Feature) -> None:
    state = run(feature, [event(category="a", item_id="b")])
    with pytest.raises(TypeError, match=f"{type(feature).__name__} has no merge"):
        feature.merge(state, state)
