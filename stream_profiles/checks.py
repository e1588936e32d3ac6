"""Checks that every feature must pass, for features that users write in files of their own.

    from stream_profiles.checks import check_feature

    def test_my_feature():
        check_feature(MyFeature("mine"))

What is checked is what `Feature` asks of a family: that it keeps its configuration, that a stored state goes on as if
it had never been stored, that values are JSON and can be brought to a later time, that inputs are numbers, that the
state stays within its bound, that strange input does no harm, and, where the feature claims it, that the order of
arrival does not matter and that two halves merge to the whole. Events are drawn at random from a seed: many, late,
doubled, strange.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from random import Random
from typing import Any

import msgspec

from .contracts import Event
from .errors import CheckFailed
from .features import Feature
from .features.derived import Derived

_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
#: Around which the events lie: 2024-03-01.
_T0 = 1_709_251_200_000
_TYPES = ("view", "cart", "purchase", "search", "refund")
_TEXTS = ("a", "b", "c", "shoes", "a very good thing", "ein Text", "", "ä", "日本語", "x" * 256, "nul\0 'quote\"")
_STEPS = (0, 1, 1_000, _MINUTE, 20 * _MINUTE, 31 * _MINUTE, _HOUR, _DAY, 9 * _DAY, 40 * _DAY)
_BACK = (-1, -_MINUTE, -_HOUR, -_DAY)
#: Of a size that sums of them keep their digits in any order.
_NUMBERS = (0.0, 1.0, -1.0, 0.1, 2.5, 5.0, 19.99, 100.0, -40.0)
_SCALE = 1e5
_STRANGE: tuple[Any, ...] = (
    *(float("nan"), float("inf"), 1e308, -1e308, 2**63, 2**2000, "", "12", "\0", "\U0001f600" * 1_000),
    *(True, None, [1, [2]], {"a": {"b": 1}}, b"\xff"),
)

#: Events between two looks at the size of a state.
_EVENTS_A_LOOK = 200

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


def check_feature(feature: Feature, *, events: int = 2_000, seed: int = 0, properties: Sequence[str] = ()) -> None:
    """Check a feature against what `Feature` asks of it.

    Parameters:
        feature: One instance; check several where a parameter changes how it works.
        events: How many random events the bound on its size is tried with.
        seed: Another seed draws other events.
        properties: Names of the properties it reads, which the events then have.

    Raises:
        CheckFailed: says what does not hold, and shows a case.

    Examples:
        >>> from stream_profiles import Count
        >>> check_feature(Count("views", on="view", half_life="1d", window="7d"), events=200)
    """
    draw = partial(_drawn, properties=tuple(properties), types=feature.on or _TYPES)
    _check_configuration(feature)
    if isinstance(feature, Derived):
        _check_derived(feature)
        return
    _check_inputs(feature, None, _T0)
    for number in range(20):
        random = Random(seed * 1_000 + number)
        stream = list(draw(random, 40))
        _check_stored_states(feature, stream)
        _check_values(feature, stream, random)
        distinct = _distinct(stream)
        if feature.order_free:
            _check_order(feature, distinct, random)
        if feature.mergeable:
            _check_merge(feature, distinct, random)
    _check_strange(feature, list(draw(Random(seed), 20)), Random(seed), properties)
    _check_bound(feature, draw(Random(seed), events), Random(seed), properties)


def random_events(count: int, *, seed: int = 0, properties: Sequence[str] = ()) -> list[Event]:
    """Events of one user as the checks draw them, in order of arrival: late ones and doubles among them."""
    return list(_drawn(Random(seed), count, properties=tuple(properties), types=_TYPES))


def run(feature: Feature, events: Iterable[Event], state: Any = None) -> Any:
    """The state of a feature after some events, as the updater would call it; None while it has none."""
    update = feature.conditional_update()
    for event in events:
        if feature.on is None or event.type in feature.on:
            new = update(state, event)
            state = state if new is None else new
    return state


def same(a: Any, b: Any, scale: float = 1.0) -> bool:
    """Whether two values are equal but for the rounding of sums of numbers up to `scale`."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name], scale) for name in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(same(x, y, scale) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) or isinstance(b, float):
        numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
        return numbers and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9 * scale)
    return bool(a == b)


def _drawn(random: Random, count: int, *, properties: tuple[str, ...], types: Sequence[str]) -> Iterator[Event]:
    time = _T0
    for number in range(count):
        time = max(0, time + random.choice(_BACK if random.random() < 0.2 else _STEPS))
        fields: dict[str, Any] = {}
        for name in ("item_id", "category", "channel", "device", "country", "session_id", "text", "query"):
            if random.random() < 0.7:
                fields[name] = random.choice(_TEXTS)
        for name in ("price", "quantity", "rating"):
            if random.random() < 0.7:
                fields[name] = random.choice(_NUMBERS)
        fields["properties"] = {
            name: random.choice((*_TEXTS, *_NUMBERS, True, 7)) for name in properties if random.random() < 0.7
        }
        type = random.choice(types) if random.random() < 0.8 else random.choice(_TYPES)
        yield Event(event_id=f"{count}-{number}", user_id="ada", type=type, time=time, **fields)


def _distinct(events: list[Event]) -> list[Event]:
    """The same events at times of which no two are equal."""
    taken, moved = set[int](), list[Event]()
    for event in events:
        time = event.time
        while time in taken:
            time += 1
        taken.add(time)
        moved.append(msgspec.structs.replace(event, time=time))
    return moved


def _require(feature: Feature, holds: bool, problem: str) -> None:
    if not holds:
        raise CheckFailed(f"{feature!r}: {problem}")


def _check_configuration(feature: Feature) -> None:
    parameters = inspect.signature(type(feature)).parameters
    missing = [name for name in parameters if not hasattr(feature, name)]
    _require(feature, not missing, f"the constructor's parameters {missing} are not kept as attributes")
    rebuilt = type(feature)(**feature.config)
    _require(feature, rebuilt.key == feature.key, "built again from its config, it has another key")


def _check_derived(feature: Derived) -> None:
    _require(feature, bool(feature.sources), "it has no sources, so it is never computed")
    value = feature.derive({})
    _require(feature, value is None or _is_json(value), f"its value is no JSON: {value!r}")
    numbers = feature.numbers({})
    _require(feature, len(numbers) == len(feature.input_names()), "numbers are not as many as input_names")


def _check_stored_states(feature: Feature, events: list[Event]) -> None:
    update = feature.conditional_update()
    kept = stored = None
    for event in events:
        if feature.on is not None and event.type not in feature.on:
            continue
        before = _pack(event)
        stored = None if stored is None else _unpack(_pack(stored))
        new, new_stored = update(kept, event), update(stored, event)
        _require(feature, _pack(event) == before, "update changes the event")
        _require(
            feature, (new is None) == (new_stored is None), "a stored state is not updated by what updates a kept one"
        )
        kept, stored = (kept, stored) if new is None else (new, new_stored)
        if kept is not None and _pack(stored) != _pack(kept):
            raise CheckFailed(f"{feature!r}: a state goes on otherwise once it was stored: {kept!r}, {stored!r}")
    again = run(feature, events)
    _require(feature, _pack(again) == _pack(kept), "the same events make another state the second time")


def _check_values(feature: Feature, events: list[Event], random: Random) -> None:
    state = run(feature, events)
    if state is None:
        return
    before = _pack(state)
    value = feature.snapshot(state)
    _require(feature, value is not None, "it has a state, and publishes None")
    _require(feature, _is_json(value), f"its value is no JSON: {value!r}")
    last = max(event.time for event in events)
    soon = last + random.choice((0, 1, _HOUR, 3 * _DAY, 50 * _DAY))
    late = soon + random.choice((0, 1, _HOUR, 3 * _DAY, 50 * _DAY))
    published = _pack(value)
    direct, stepwise = feature.advance(value, late), feature.advance(feature.advance(value, soon), late)
    _require(feature, same(direct, stepwise), f"brought to a time in two steps it is {stepwise!r}, in one {direct!r}")
    _require(feature, _pack(value) == published, "advance changes the published value in place")
    if isinstance(value, dict) and "at" in value:
        earlier = feature.advance(value, value["at"] - _HOUR)
        _require(feature, earlier == value, "advance goes back in time")
    _check_inputs(feature, state, soon)
    _require(feature, _pack(state) == before, "looking at a state changes it")


def _check_inputs(feature: Feature, state: Any, now: int) -> None:
    names, inputs = feature.input_names(), feature.inputs(state, now)
    _require(feature, len(inputs) == len(names) == len(set(names)), "inputs are not as many as input_names")
    _require(
        feature,
        all(name.startswith(f"{feature.name}_") for name in names),
        "input_names do not begin with the feature's name",
    )
    finite = all(isinstance(x, (int, float)) and math.isfinite(x) for x in inputs)
    _require(feature, finite, f"its inputs are not all finite numbers: {inputs!r}")


def _check_order(feature: Feature, events: list[Event], random: Random) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)
    a, b = run(feature, events), run(feature, shuffled)
    _require(feature, (a is None) == (b is None), "it says order_free, and another order leaves no state")
    if a is not None:
        now = max(event.time for event in events)
        one, other = feature.value(a, now), feature.value(b, now)
        _require(
            feature, same(one, other, _SCALE), f"it says order_free, and in another order is {other!r}, not {one!r}"
        )


def _check_merge(feature: Feature, events: list[Event], random: Random) -> None:
    halves: tuple[list[Event], list[Event]] = ([], [])
    for event in events:
        halves[random.random() < 0.5].append(event)
    a, b, whole = run(feature, halves[0]), run(feature, halves[1]), run(feature, events)
    if a is None or b is None:
        return
    before, now = _pack([a, b]), max(event.time for event in events)
    merged, all_at_once = feature.value(feature.merge(a, b), now), feature.value(whole, now)
    _require(
        feature, same(merged, all_at_once, _SCALE), f"two halves merge to {merged!r}, the whole is {all_at_once!r}"
    )
    _require(feature, _pack([a, b]) == before, "merge changes what it merges")


def _strange_events(events: Iterable[Event], random: Random, properties: Sequence[str]) -> Iterator[Event]:
    for event in events:
        text = random.choice(("\U0001f600" * 1_000, f"{event.event_id}" + "\U0001f600" * 300, "\0'\""))
        number = random.choice((float("nan"), float("inf"), 1e308, -1e308, 1e-320))
        yield msgspec.structs.replace(
            event,
            item_id=text,
            category=text,
            channel=text,
            session_id=text,
            text=text,
            query=text,
            price=number,
            quantity=number,
            rating=number,
            properties={name: random.choice(_STRANGE) for name in properties},
        )


def _check_strange(feature: Feature, events: list[Event], random: Random, properties: Sequence[str]) -> None:
    state = run(feature, events)
    try:
        state = run(feature, _strange_events(events, random, properties), state)
        if state is not None:
            feature.snapshot(state)
            _pack(state)
    except Exception as error:
        raise CheckFailed(f"{feature!r}: strange input makes it fail: {error!r}") from error
    _check_inputs(feature, state, _T0)


def _check_bound(feature: Feature, events: Iterable[Event], random: Random, properties: Sequence[str]) -> None:
    state, number = None, 0
    for event in events:
        state = run(feature, (event, *_strange_events([event], random, properties)), state)
        number += 2
        if number % _EVENTS_A_LOOK == 0:
            _check_size(feature, state, number)
    _check_size(feature, state, number)


def _check_size(feature: Feature, state: Any, events: int) -> None:
    size = 0 if state is None else len(_pack(state))
    bound = feature.max_bytes
    _require(feature, size <= bound, f"its state takes {size:,} bytes after {events:,} events; max_bytes is {bound:,}")


def _is_json(value: Any) -> bool:
    """Whether JSON can hold a value and gives it back; bytes, a vector, are base64 there."""
    if isinstance(value, bytes):
        return True
    try:
        return bool(msgspec.json.decode(msgspec.json.encode(value)) == value)
    except (msgspec.MsgspecError, TypeError, ValueError):
        return False
