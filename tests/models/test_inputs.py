"""What a model sees of a profile: which numbers, after which transforms, and how they are kept with an example."""

from __future__ import annotations

import math
import struct
from math import log1p
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_profiles import (
    Count,
    Cross,
    Event,
    Happens,
    Last,
    Lifecycle,
    MostFrequent,
    ProfileDefinition,
    ProfileUpdater,
    Ratio,
    Sum,
    Target,
    TimeSince,
)
from stream_profiles.checks import run
from stream_profiles.errors import DefinitionError
from stream_profiles.features import Feature
from stream_profiles.models.inputs import Clip, CompiledInputs, Hash, Log, OneHot, Raw, Spec, Standardise, Transform
from tests.events import DAY, HOUR, T0, event, streams
from tests.features.cases import CASES, DERIVED, SOURCES

FEATURES: list[Feature] = [
    Count("views", on="view", half_life="1d"),
    Last("country", of="country"),
    Sum("spend", of="amount", on=("purchase", "refund")),
    TimeSince("last_purchase", on="purchase"),
    Lifecycle("life", new="1d", at_risk="2d", lost="4d"),
    MostFrequent("favourite", of="category"),
    Ratio("price_level", of="spend.total", to="views.total"),
    Ratio("trend", of="views.1d", to="views.total"),
    Cross("place", of=("country", "life.stage")),
]


def slots_after(*events: Event, features: list[Feature] | None = None) -> dict[str, Any]:
    updater = ProfileUpdater(ProfileDefinition("shop", features=features or FEATURES))
    state = updater.new_state()
    for each in events:
        updater.apply(state, each)
    return state.slots


def compiled(specs: list[Spec] | None, types: tuple[str, ...] = ()) -> CompiledInputs:
    return CompiledInputs("owner", specs, FEATURES, types)


def inputs_of(
    specs: list[Spec] | None, *events: Event, now: int = 0, type: str = "", types: tuple[str, ...] = ()
) -> dict[str, float]:
    inputs = compiled(specs, types)
    kept = inputs.read(slots_after(*events), T0 + now)
    again = inputs.unpack(inputs.pack(kept))
    assert len(inputs.pack(kept)) == inputs.packed_bytes
    assert inputs.expand(again, type) == inputs.expand(kept, type)
    return inputs.expand(kept, type)


LIVELY = (
    event("view", 0, country="PT", category="shoes"),
    event("view", 1, country="PT", category="shoes"),
    event("purchase", 2, price=10.0, category="hats"),
    event("refund", 3, price=-30.0),
)


def test_a_plain_name_is_all_numbers_of_the_feature_on_a_logarithmic_scale() -> None:
    found = inputs_of(["views", "spend"], *LIVELY, now=DAY)
    assert list(found) == ["views_total", "views_1d", "spend_total"]
    assert found["views_total"] == log1p(2)
    assert found["views_1d"] == pytest.approx(log1p(1.0), abs=1e-6), "as of the prediction"
    assert found["spend_total"] == -log1p(20)


def test_no_names_are_the_numbers_of_all_features() -> None:
    found = inputs_of(None, *LIVELY)
    expected = [name for feature in FEATURES for name in feature.input_names()]
    assert list(found) == expected
    assert found["price_level_ratio"] == -log1p(10)


def test_inputs_lie_in_the_definitions_order() -> None:
    """That is how those of stored examples lie."""
    assert compiled(["spend", "last_purchase", "views"]).names == compiled(["views", "spend", "last_purchase"]).names
    assert compiled(["spend", Raw("views_1d"), Log("views_total")]).names == ("views_1d", "views_total", "spend_total")


def test_who_did_nothing_has_numbers_too() -> None:
    found = inputs_of(["views", "price_level", OneHot("country", ["PT"]), Hash("place", 4)])
    assert set(found.values()) == {0.0}
    assert len(found) == 2 + 1 + 2 + 4


def test_transforms() -> None:
    found = inputs_of(
        [Raw("views_total"), Log("views_1d"), Clip("spend", -5, 5), Standardise("last_purchase"), Raw("life_active")],
        *LIVELY,
        now=HOUR,
    )
    assert found["views_total"] == 2.0
    assert found["views_1d"] == pytest.approx(log1p(2.0 * 0.5 ** (1 / 24)), abs=1e-6)
    assert found["spend_total"] == -5.0
    assert found["last_purchase_seconds"] == pytest.approx(3599.998)
    assert found["life_active"] == 0.0
    inputs = compiled([Standardise("last_purchase"), "views"])
    assert inputs.standardised == ["last_purchase_seconds", "last_purchase_ever"]


@given(st.floats(-1e100, 1e100))
def test_a_number_stays_one(x: float) -> None:
    assert math.isfinite(Log("x").number(x))
    assert math.copysign(1.0, Log("x").number(x)) == math.copysign(1.0, x)
    assert Raw("x").number(x) == x
    assert -3.0 <= Clip("x", -3, 7).number(x) <= 7.0


def test_one_hot() -> None:
    spec = OneHot("country", ["PT", "ES"])
    assert inputs_of([spec], *LIVELY) == {"country=PT": 1.0, "country=ES": 0.0, "country=other": 0.0}
    assert inputs_of([spec], event(country="FR")) == {"country=PT": 0.0, "country=ES": 0.0, "country=other": 1.0}
    assert set(inputs_of([spec], event()).values()) == {0.0}, "nothing is known of the country"
    assert set(inputs_of([spec], event()).values()) != set(inputs_of([spec], event(country="")).values())


def test_a_text_may_be_one_that_time_changes() -> None:
    spec = OneHot("life", ["new", "active", "at risk", "lost"])
    assert inputs_of([spec], event(), now=0)["life=new"] == 1.0
    assert inputs_of([spec], event(), now=3 * DAY)["life=at risk"] == 1.0
    assert sum(inputs_of([spec], event(), now=3 * DAY).values()) == 1.0


def test_a_text_may_be_made_of_others() -> None:
    spec = OneHot("place", ["PT|new", "PT|lost"])
    assert inputs_of([spec], event(country="PT"), now=0)["place=PT|new"] == 1.0
    assert inputs_of([spec], event(country="PT"), now=5 * DAY)["place=PT|lost"] == 1.0
    assert set(inputs_of([spec], event()).values()) == {0.0}


def test_a_text_of_a_list_is_the_one_that_leads() -> None:
    assert inputs_of([OneHot("favourite", ["shoes"])], *LIVELY)["favourite=shoes"] == 1.0


def test_hashed_texts_have_the_same_place_in_every_process() -> None:
    hashed = Hash("country", 8)
    assert [hashed.position(text) for text in ("PT", "ES", "日本", "")] == [2.0, 5.0, 0.0, 4.0]
    found = inputs_of([hashed], event(country="PT"))
    assert [name for name, x in found.items() if x] == ["country#2"]
    assert len(found) == 8


def test_a_text_is_kept_as_its_place() -> None:
    inputs = compiled([OneHot("country", ["PT", "ES"]), Hash("favourite", 1_000), "spend"])
    kept = inputs.read(slots_after(event(country="ES")), T0)
    assert kept == [1.0, 0.0, -1.0]
    assert inputs.pack(kept) == struct.pack("<3d", 1.0, 0.0, -1.0)
    expanded = inputs.expand(kept, "view")
    assert len(expanded) == 3 + 1 + 1_000
    assert sum(expanded.values()) == 1.0
    assert list(expanded) == list(inputs.names)


def test_which_event_it_was_is_an_input() -> None:
    types = ("view", "cart")
    assert inputs_of(["spend"], type="cart", types=types) == {"spend_total": 0.0, "type=view": 0.0, "type=cart": 1.0}
    with_text = inputs_of([OneHot("country", ["PT"]), "spend"], *LIVELY, type="view", types=types)
    assert list(with_text)[-2:] == ["type=view", "type=cart"]
    assert with_text["type=view"] == 1.0


def test_a_ratio_is_of_the_values_of_the_moment() -> None:
    found = inputs_of([Raw("trend")], event("view", 0), now=DAY)
    assert found == {"trend_ratio": 0.5}


@settings(max_examples=40)
@given(events=streams(max_size=15), after=st.integers(0, 30 * DAY))
def test_what_is_read_does_not_depend_on_how_it_is_asked_for(events: list[Event], after: int) -> None:
    """The shortcut for inputs that are all on a logarithmic scale gives what the rest gives; all is finite."""
    features: list[Feature] = [*SOURCES, *DERIVED]
    names = [feature.name for feature in features if feature.input_names()]
    slots = slots_after(*events, features=features)
    now = max([T0, *(e.time for e in events)]) + after
    plain = CompiledInputs("owner", list(names), features)
    mixed = CompiledInputs("owner", [*names[:-1], Raw(names[-1])], features)
    kept = plain.read(slots, now)
    assert all(math.isfinite(x) for x in kept)
    assert len(kept) == len(plain.names)
    assert list(kept[:-1]) == list(mixed.read(slots, now)[:-1])
    raw = CompiledInputs("owner", [Raw(name) for name in names], features).read(slots, now)
    assert kept == [Log("x").number(x) for x in raw]


@pytest.mark.parametrize("feature", CASES, ids=lambda feature: feature.name)
@settings(max_examples=5)
@given(events=streams())
def test_what_has_a_text_says_so(feature: Feature, events: list[Event]) -> None:
    """A feature with numbers that is no text is refused where a text is expected; so it must never be one."""
    state = run(feature, events)
    if state is not None and feature.input_names() and type(feature).category is Feature.category:
        assert feature.category(state, max(e.time for e in events)) is None


def key_of(*features: Feature, inputs: list[Spec] | None = None) -> str:
    target = Target("buys", label=Happens("purchase", within="1d"), inputs=inputs)
    return ProfileUpdater(ProfileDefinition("shop", features=features, targets=[target])).targets[0].key


def test_what_was_learned_belongs_to_what_the_inputs_are_made_of() -> None:
    views, spend = Count("views", half_life=("1d", "7d")), Sum("spend", of="price")
    a, b = Ratio("x", of="views.1d", to="views.total"), Ratio("x", of="views.7d", to="views.total")
    keys = {
        key_of(views, spend, a),
        key_of(views, spend, b),
        key_of(views, spend, a, inputs=["x"]),
        key_of(views, spend, b, inputs=["x"]),
        key_of(views, spend, a, inputs=[Raw("x")]),
        key_of(Count("views", half_life=("1d", "7d"), on="view"), spend, a, inputs=["x"]),
    }
    assert len(keys) == 6
    assert key_of(views, spend, a, inputs=["x"]) == key_of(views, a, inputs=["x"]), "it sees nothing of what is spent"


def test_a_transform_is_its_configuration() -> None:
    transforms: list[Transform] = [
        Log("views"),
        Raw("views"),
        Clip("views", 0, 10),
        Standardise("views"),
        OneHot("country", ("PT", "ES")),
        Hash("country", buckets=16),
    ]
    for transform in transforms:
        again = type(transform)(**transform.config)
        assert again.config == transform.config
    assert repr(transforms[0]) == 'Log("views")'


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["view"], "inputs names 'view', which is no feature of this definition; did you mean 'views'"),
        (["views_2d"], "inputs names 'views_2d', which is no feature"),
        (["country"], r"""Last\("country"\) has no numbers to give to a model.*OneHot\('country', values=\[...\]\)"""),
        (
            [OneHot("views", ["a"])],
            r"""OneHot\("views"\) takes a feature that is a text, and Count\("views"\) is numb""",
        ),
        ([Hash("trend")], r"""Hash\("trend"\) takes a feature that is a text, and Ratio\("trend"\) is numbers"""),
        ([OneHot("views_total", ["a"])], r"takes a feature that is a text, not one of its numbers"),
        (["views", "views"], "the input 'views_total' is given twice"),
        (["views", Raw("views_1d")], "the input 'views_1d' is given twice"),
        ([OneHot("country", ["a"]), OneHot("country", ["b", "a"])], "the input 'country=a' is given twice"),
        ([7], r"inputs takes names and transforms such as Log\(name\), not 7"),
        ([], "has no inputs: the definition has no feature with numbers"),
    ],
)
def test_wrong_inputs_are_refused(specs: list[Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        compiled(specs)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Clip("views", 5, 5), r"""Clip\("views"\): low must be below high"""),
        (lambda: Clip("views", float("nan"), 5), "low must be below high"),
        (lambda: OneHot("country", []), "values= takes a list of different texts"),
        (lambda: OneHot("country", ["a", "a"]), "values= takes a list of different texts"),
        (lambda: Hash("country", 1), "buckets must be from 2 to 4,096"),
        (lambda: Hash("country", 5_000), "buckets must be from 2 to 4,096"),
    ],
)
def test_a_wrong_transform_is_refused(build: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        build()
