"""What says several things of a number: they are those of a slow definition, and fade and drop out as they should."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_profiles import Event, ProfileDefinition, ProfileUpdater
from stream_profiles.checks import check_feature, run, same
from stream_profiles.features import ReviewStats, Sentiment
from stream_profiles.features.base import number
from stream_profiles.features.summaries import Summary
from tests.events import DAY, HOUR, T0, event, streams


class Level(Summary):
    """The simplest one: how many numbers there were, and their mean."""

    width = 2
    names = ("count", "mean")

    def lift(self, value: float) -> list[Any]:
        return [1, value]

    def combine(self, a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
        return [a[0] + b[0], a[1] + b[1]]

    def fade(self, partial: Sequence[Any], kept: float) -> list[Any]:
        return [each * kept for each in partial]

    def result(self, partial: Sequence[Any] | None) -> Any:
        return {"count": partial[0], "mean": partial[1] / partial[0]} if partial and partial[0] else None


LEVELS = [
    Level("level", of="price"),
    Level("fading", of="price", half_life=("1h", "30d")),
    Level("recent", of="price", window=("1h", "30d"), lifetime=False),
    Level("all", of="price", half_life="1d", window="7d", where="price >= 0", on=("view", "cart")),
]
every_level = pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)


def slowly(level: Level, events: list[Event], now: int) -> dict[str, Any] | None:
    """The value by definition: of all events, at a moment not before the last."""
    wanted = [e for e in events if level.on is None or e.type in level.on]
    seen = [(e.time, x) for e in wanted if (x := number(e.price)) is not None and (level.where is None or x >= 0)]
    if not seen:
        return None

    def of(weighed: list[tuple[float, float]]) -> dict[str, float] | None:
        weight = sum(w for w, _ in weighed)
        return {"count": weight, "mean": sum(w * x for w, x in weighed) / weight} if weight else None

    value: dict[str, Any] = {"lifetime": of([(1, x) for _, x in seen])} if level.lifetime else {}
    last = max(time for time, _ in seen)
    for label, half_life in level._half_lives.items():
        # Of what is faded to nothing the mean is still known.
        as_of_last = of([(0.5 ** ((last - time) / half_life), x) for time, x in seen])
        assert as_of_last is not None
        value[label] = {"count": as_of_last["count"] * 0.5 ** ((now - last) / half_life), "mean": as_of_last["mean"]}
    for label, window in level._windows.items():
        first = (now - window.size_ms) // window.tile_ms
        value[label] = of([(1, x) for time, x in seen if time // window.tile_ms >= first])
    value["last"] = [x for time, x in seen if time == last][-1]
    return value


@every_level
@settings(max_examples=60)
@given(events=streams(), after=st.sampled_from([0, 1, HOUR, 3 * DAY, 40 * DAY]))
def test_it_is_what_a_slow_definition_says(level: Level, events: list[Event], after: int) -> None:
    state = run(level, events)
    now = max([T0, *(e.time for e in events)]) + after
    expected = slowly(level, events, now)
    if state is None:
        assert expected is None
        return
    value = level.value(state, now)
    value = {name: each for name, each in value.items() if name not in ("at", "then")}
    assert expected is not None
    scale = max([1.0, *(abs(e.price or 0.0) for e in events)])
    assert same(value, expected, scale)
    numbers = dict(zip(level.input_names(), level.inputs(state, now), strict=True))
    for label, each in expected.items():
        if label != "last":
            for name in level.names:
                wanted = 0.0 if each is None else each[name]
                assert same(numbers[f"{level.name}_{label}_{name}"], float(wanted), scale)
    assert numbers[f"{level.name}_last"] == float(value["last"])


@every_level
def test_it_passes_what_every_feature_must(level: Level) -> None:
    check_feature(level, events=400)


def test_what_fades_is_what_is_counted() -> None:
    level = LEVELS[1]
    state = run(level, [event("view", 0, price=10.0), event("view", HOUR, price=40.0)])
    assert level.value(state, T0 + HOUR)["1h"] == {"count": 1.5, "mean": 30.0}
    assert level.value(state, T0 + 2 * HOUR)["1h"] == {"count": 0.75, "mean": 30.0}
    assert level.value(state, T0 + 2 * HOUR)["lifetime"] == {"count": 2, "mean": 25.0}
    assert level.value(state, T0 + 90_000 * DAY)["1h"] == {"count": 0.0, "mean": 30.0}


def test_the_last_is_the_latest() -> None:
    level = LEVELS[0]
    assert level.snapshot(run(level, [event(at=5, price=1.0), event(at=3, price=2.0)]))["last"] == 1.0
    assert level.snapshot(run(level, [event(at=5, price=1.0), event(at=5, price=2.0)]))["last"] == 2.0
    one, other = run(level, [event(at=5, price=1.0)]), run(level, [event(at=3, price=2.0)])
    assert level.snapshot(level.merge(one, other))["last"] == level.snapshot(level.merge(other, one))["last"] == 1.0


def test_nothing_yet() -> None:
    for level in LEVELS:
        assert level.inputs(None, T0) == (0.0,) * len(level.input_names())
        assert run(level, [event("view")]) is None


def test_those_of_the_library() -> None:
    """What they say besides is theirs; that parts of it can be read by a path is for all."""
    reviews, mood = ReviewStats("reviews", half_life="30d"), Sentiment("mood", window="7d")
    updater = ProfileUpdater(ProfileDefinition("shop", features=[reviews, mood]))
    state = updater.new_state()
    updater.apply(state, event("review", 0, rating=4.0, text="A great coat, I love it!"))
    published = updater.published(state)
    assert published["reviews"]["30d"]["count"] == 1
    assert published["reviews"]["last"] == 4.0
    assert published["mood"]["last_7d"]["positive"] == 1
    for feature in (reviews, mood):
        assert feature.names[0] == "count"
        assert f"{feature.name}_lifetime_mean" in feature.input_names()
