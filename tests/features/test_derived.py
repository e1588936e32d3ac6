"""Features made of others: they are what their sources say, as of one moment, and keep nothing."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_profiles import (
    Change,
    Count,
    Cross,
    Event,
    EWMean,
    Last,
    Lifecycle,
    Mean,
    Persona,
    ProfileDefinition,
    ProfileUpdater,
    Ratio,
    Sum,
    TimeSince,
)
from stream_profiles.checks import check_feature
from stream_profiles.definition import described_features
from stream_profiles.errors import DefinitionError
from stream_profiles.features import Feature
from stream_profiles.features.derived import Derivation, Derived, path_reader
from tests.events import DAY, HOUR, T0, event, streams
from tests.features.cases import DERIVED, SOURCES

FIELDS: dict[str, Feature] = {feature.name: feature for feature in (*SOURCES, *DERIVED)}
UPDATER = ProfileUpdater(ProfileDefinition("shop", features=[*SOURCES, *DERIVED]))
every_derived = pytest.mark.parametrize("feature", DERIVED, ids=lambda feature: feature.name)


def profile_after(events: list[Event], updater: ProfileUpdater = UPDATER) -> tuple[dict[str, Any], dict[str, Any]]:
    """What all changes together say, and the profile as a whole."""
    state, read = updater.new_state(), dict[str, Any]()
    for each in events:
        change = updater.apply(state, each)
        if isinstance(change, Change):
            assert change.failed == {}
            read |= change.changed
    return read, updater.published(state)


@every_derived
def test_it_passes_what_every_feature_must(feature: Derived) -> None:
    check_feature(feature)
    assert list(feature.config) == list(inspect.signature(type(feature)).parameters)
    assert type(feature)(**feature.config).sources == feature.sources
    assert feature.max_bytes == 0
    assert feature.update(None, event()) is None


@every_derived
def test_a_reader_in_another_service_can_rebuild_it(feature: Derived) -> None:
    description = ProfileDefinition("shop", features=[*SOURCES, *DERIVED]).describe()
    sent = msgspec.json.decode(msgspec.json.encode(description))
    assert described_features(sent)[feature.name].key == feature.key


def test_keys_are_those_of_stored_definitions() -> None:
    """A profile whose fields have other keys is published anew, all of it."""
    assert Ratio("buys_per_view", of="purchases.total", to="views.total").key == "buys_per_view:b844e62e"
    assert Cross("place", of=("country", "device")).key == "place:ccc48fe3"


@settings(max_examples=50)
@given(events=streams(max_size=20))
def test_changes_in_order_are_what_is_made_of_the_profile(events: list[Event]) -> None:
    read, published = profile_after(events)
    assert read == published
    assert msgspec.json.decode(msgspec.json.encode(published)) == published
    for feature in DERIVED:
        value = Derivation(feature, FIELDS).value(published)
        assert published.get(feature.name) == value
        if not isinstance(feature, Persona):
            assert (value is None) == any(name not in published for name in feature.sources)


@settings(max_examples=50)
@given(events=streams(max_size=20), after=st.integers(0, 90 * DAY), later=st.integers(0, 90 * DAY))
def test_brought_to_a_later_time_it_is_made_of_what_is_brought_there(
    events: list[Event], after: int, later: int
) -> None:
    _, published = profile_after(events)
    now = max([T0, *(e.time for e in events)]) + after
    for feature in DERIVED:
        derivation = Derivation(feature, FIELDS)
        brought = {name: FIELDS[name].advance(value, now) for name, value in published.items()}
        direct = derivation.value(published, now + later)
        assert same(derivation.value(brought, now + later), direct)
        names = feature.input_names()
        numbers = feature.numbers(derivation.values(published, now))
        assert len(numbers) == len(names)
        assert all(isinstance(x, float) and math.isfinite(x) for x in numbers)
        assert all(name.startswith(f"{feature.name}_") for name in names)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-6)
    return bool(a == b)


def value_of(derived: Derived, *made_of: Feature) -> Callable[..., Any]:
    """A function of events, and of a moment: the value then, or as of the last event."""
    fields = {feature.name: feature for feature in made_of}
    updater = ProfileUpdater(ProfileDefinition("shop", features=[*made_of, derived]))

    def value(*events: Event, now: int | None = None) -> Any:
        _, published = profile_after(list(events), updater)
        return Derivation(derived, fields).value(published, None if now is None else T0 + now)

    return value


def test_a_ratio_of_totals() -> None:
    ratio = Ratio("buys_per_view", of="purchases.total", to="views.total")
    value = value_of(ratio, Count("views", on="view"), Count("purchases", on="purchase"))
    assert value() is None
    assert value(event("purchase", 1)) is None, "there is nothing to divide by yet"
    assert value(event("purchase", 1), event("view", 2), event("view", 3)) == {"ratio": 0.5}
    assert value(event("purchase", 1), event("view", 2), now=DAY) == {"ratio": 1.0}, "time changes nothing"


def test_a_ratio_with_nothing_below_the_line_says_so() -> None:
    """A change can say that there is no ratio any more."""
    ratio = Ratio("share", of="views.total", to="spend.total")
    value = value_of(ratio, Count("views", on="view"), Sum("spend", of="amount", on=("purchase", "refund")))
    spent = [event("view", 1), event("purchase", 2, price=4.0)]
    assert value(*spent) == {"ratio": 0.25}
    assert value(*spent, event("refund", 3, price=-4.0)) == {"ratio": None}
    assert ratio.numbers({"views": {"total": 1}, "spend": {"total": 0.0}}) == (0.0,)
    assert ratio.numbers({}) == (0.0,)


def test_a_trend_of_two_half_lives() -> None:
    """Both sides as of the same moment, however long ago each changed last."""
    trend = Ratio("trend", of="views.1d", to="buys.2d")
    value = value_of(trend, Count("views", on="view", half_life="1d"), Count("buys", on="purchase", half_life="2d"))
    events = [event("view", 0), event("purchase", 2 * DAY)]
    assert value(*events) == {"ratio": 0.25, "at": T0 + 2 * DAY}
    assert value(*reversed(events)) == {"ratio": 0.25, "at": T0 + 2 * DAY}
    assert value(*events, now=4 * DAY) == {"ratio": 0.125, "at": T0 + 4 * DAY}


def test_a_mean_does_not_fade_by_its_half_life() -> None:
    """What is called by a half-life fades where the feature says that it does."""
    trend = Ratio("trend", of="price.1d", to="price.30d")
    prices = [event("view", 0, price=10.0), event("view", DAY, price=30.0)]
    value = value_of(trend, EWMean("price", of="price", half_life=("1d", "30d")))
    assert value(*prices)["ratio"] == pytest.approx((35 / 1.5) / (39.7716 / 1.97716), rel=1e-4)
    assert value(*prices, now=90 * DAY) == value(*prices)
    with_count = Ratio("spread", of="mean.1d", to="views.1d")
    value = value_of(with_count, Mean("mean", of="price", half_life="1d"), Count("views", half_life="1d"))
    assert value(event("view", 0, price=10.0), now=DAY) == {"ratio": 20.0, "at": T0 + DAY}


def test_a_trend_of_two_windows() -> None:
    """The older view drops out of the week, and then both out of the month."""
    trend = Ratio("trend", of="views.last_7d", to="views.last_30d")
    value = value_of(trend, Count("views", window=("7d", "30d"), resolution="1d"))
    events = [event("view", 0), event("view", 4 * DAY)]
    assert value(*events) == {"ratio": 1.0, "at": T0 + 4 * DAY}
    assert value(*events, now=9 * DAY) == {"ratio": 0.5, "at": T0 + 9 * DAY}
    assert value(*events, now=33 * DAY) == {"ratio": 0.0, "at": T0 + 33 * DAY}
    assert value(*events, now=50 * DAY) == {"ratio": None, "at": T0 + 50 * DAY}


def test_what_fades_away_faster_than_the_rest_leaves_no_infinity() -> None:
    ratio = Ratio("ratio", of="spend.total", to="spend.1h")
    value = value_of(ratio, Sum("spend", of="price", half_life="1h"))
    spent = event("view", 0, price=1e50)
    assert value(spent) == {"ratio": 1.0, "at": T0}
    assert value(spent, now=1_060 * HOUR) == {"ratio": None, "at": T0 + 1_060 * HOUR}
    assert value(spent, now=9_000 * HOUR) == {"ratio": None, "at": T0 + 9_000 * HOUR}


def test_a_ratio_of_what_is_no_number_is_none() -> None:
    value = value_of(Ratio("x", of="views.total", to="country"), Count("views"), Last("country", of="country"))
    assert value(event(country="PT")) == {"ratio": None}
    value = value_of(Ratio("x", of="views.totals", to="views.total"), Count("views"))
    assert value(event()) == {"ratio": None}


def test_a_ratio_of_ratios() -> None:
    views, buys = Count("views", on="view"), Count("buys", on="purchase")
    rate, twice = Ratio("rate", of="buys.total", to="views.total"), Ratio("twice", of="rate.ratio", to="views.total")
    updater = ProfileUpdater(ProfileDefinition("shop", features=[views, buys, rate, twice]))
    read, published = profile_after([event("view", 0), event("view", 1), event("purchase", 2)], updater)
    assert read == published
    assert published["rate"] == {"ratio": 0.5}
    assert published["twice"] == {"ratio": 0.25}
    derivation = Derivation(twice, {f.name: f for f in (views, buys, rate)})
    assert set(derivation.stored) == {"views", "buys"}


def test_a_cross_of_texts() -> None:
    place = Cross("place", of=("country", "device", "life.stage"))
    value = value_of(place, Last("country", of="country"), Last("device", of="device"), Lifecycle("life", new="1d"))
    assert value(event(country="PT")) is None
    complete = [event(country="PT"), event(at=1, device="phone")]
    assert value(*complete) == "PT|phone|new"
    assert value(*complete, now=2 * DAY) == "PT|phone|active"
    assert value(*complete, event(at=2, country="ES"))[:2] == "ES"


def test_a_cross_of_what_may_be_empty() -> None:
    cross = Cross("cross", of=("country", "views.top"))
    assert cross.derive({"country": "", "views": {"top": None}}) == "|"
    assert cross.derive({"country": "PT", "views": {"top": "a"}}) == "PT|a"
    assert cross.derive({"country": 7, "views": {"top": True}}) == "7|True"
    assert cross.derive({"country": "PT", "views": {"top": ["a"]}}) is None
    assert cross.derive({"country": "PT"}) is None


def test_a_cross_is_as_short_as_any_text() -> None:
    assert Cross("cross", of=("a", "b")).derive({"a": "x" * 256, "b": "y" * 256}) == "x" * 256


def test_only_what_changed_is_computed_anew() -> None:
    ratio = Ratio("rate", of="buys.total", to="views.total")
    features = [Count("views", on="view"), Count("buys", on="purchase"), ratio, Last("country", of="country")]
    updater = ProfileUpdater(ProfileDefinition("shop", features=features))
    state = updater.new_state()
    for each in (event("view", 0), event("purchase", 1)):
        updater.apply(state, each)
    change = updater.apply(state, event("cart", 2, country="PT"))
    assert isinstance(change, Change)
    assert change.changed == {"country": "PT"}
    assert list(state.slots) == [features[0].key, features[1].key, features[3].key]


def test_what_a_moving_source_says_is_as_of_when_it_changed() -> None:
    """Not as of the event of another field: readers could not tell."""
    ratio = Ratio("rate", of="idle.seconds", to="views.total")
    value = value_of(ratio, TimeSince("idle", on="purchase"), Count("views", on="view"), Count("all"))
    events = [event("purchase", 0), event("view", HOUR), event("cart", 2 * HOUR)]
    assert value(*events) == {"ratio": 0.0, "at": T0}
    assert value(*events, now=HOUR) == {"ratio": 3600.0, "at": T0 + HOUR}


@pytest.mark.parametrize("path", ["", ".", "a.", ".b", "a..b", None, 7])
def test_what_is_no_path(path: Any) -> None:
    with pytest.raises(DefinitionError, match=r"is no part of a profile; write it like 'views' or 'views.7d'"):
        path_reader("owner", path)


def test_paths() -> None:
    values = {"views": {"total": 1, "by": {"a": 2}}, "country": "PT"}
    assert [path_reader("", path)[1](values) for path in ("views.total", "views.by.a", "country")] == [1, 2, "PT"]
    assert [path_reader("", path)[1](values) for path in ("views.1d", "nothing", "country.x")] == [None] * 3


VIEWS = Count("views")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([VIEWS, Ratio("r", of="view.total", to="views.total")], "speaks of 'view', which is no field.*mean 'views'"),
        ([Ratio("r", of="views.total", to="views.1d"), VIEWS], r"""Ratio\("r"\) is made of 'views': list it after"""),
        ([VIEWS, Ratio("r", of="views.total", to="r.ratio")], r"""Ratio\("r"\) is made of 'r': list it after"""),
        ([VIEWS, Cross("c", of=("country", "views"))], r"""Cross\("c"\) speaks of 'country', which is no field"""),
    ],
)
def test_what_cannot_be_made(features: list[Feature], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        ProfileDefinition("shop", features=features)


def test_a_cross_of_one() -> None:
    with pytest.raises(DefinitionError, match=r"""Cross\("c"\): of= takes two or more fields"""):
        Cross("c", of="country")
