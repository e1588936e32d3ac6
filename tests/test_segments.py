"""Segments: who is in one, by events and by time alone, and that entering and leaving is told once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from stream_profiles import (
    Change,
    Count,
    Event,
    Feature,
    Last,
    Lifecycle,
    Partition,
    ProfileDefinition,
    ProfileUpdater,
    Ratio,
    Segment,
    Sum,
    TimeSince,
)
from stream_profiles.errors import DefinitionError
from tests.events import DAY, HOUR, MINUTE, T0, event, streams

VIEWS = Count("views", on="view", half_life="1h")
SPEND = Sum("spend", of="amount", on=("purchase", "refund"))


def partition_of(*segments: Segment, features: list[Feature] | None = None, **options: Any) -> Partition:
    definition = ProfileDefinition("shop", features=features or [VIEWS, SPEND], segments=segments, **options)
    return Partition(ProfileUpdater(definition))


def see(partition: Partition, *events: Event) -> Change:
    change: Any = None
    for each in events:
        change = partition.apply(each)
        assert isinstance(change, Change)
        assert change.failed == {}
    assert isinstance(change, Change)
    return change


def test_entering_and_leaving_are_changes() -> None:
    partition = partition_of(Segment("buyer", where="spend.total > 10"))
    assert see(partition, event("purchase", 0, price=10.0)).changed == {"spend": {"total": 10.0}}
    assert see(partition, event("purchase", 1, price=1.0)).changed["buyer"] == {"in": True, "since": T0 + 1}
    assert see(partition, event("purchase", 2, price=5.0)).changed == {"spend": {"total": 16.0}}, "it is told once"
    assert see(partition, event("refund", 3, price=-16.0)).changed["buyer"] == {"in": False, "since": T0 + 3}
    assert see(partition, event("purchase", 4, price=11.0)).changed["buyer"] == {"in": True, "since": T0 + 4}
    published = partition.published("ada")
    assert published is not None
    assert published["buyer"] == {"in": True, "since": T0 + 4}


def test_who_was_never_in_has_no_field() -> None:
    partition = partition_of(Segment("buyer", where="spend.total > 10"))
    see(partition, event("view", 0), event("purchase", 1, price=1.0))
    published = partition.published("ada")
    assert published is not None
    assert "buyer" not in published


def test_who_has_done_nothing_yet_is_asked_about_too() -> None:
    partition = partition_of(
        Segment("stranger", where="missing(country)"), features=[Last("country", of="country", on="view")]
    )
    assert see(partition, event("search", 0)).changed == {"stranger": {"in": True, "since": T0}}
    assert see(partition, event("search", 1)).changed == {}
    assert see(partition, event("view", 2, country="PT")).changed["stranger"] == {"in": False, "since": T0 + 2}


def test_values_are_those_of_the_moment() -> None:
    """Whatever the event: a value that fades is another one now."""
    partition = partition_of(Segment("busy", where='field("views.1h") >= 1.5'))
    see(partition, event("view", 0), event("view", 1))
    assert partition.published("ada")["busy"] == {"in": True, "since": T0 + 1}  # type: ignore[index]
    assert see(partition, event("search", 10 * MINUTE)).changed == {}
    assert see(partition, event("search", HOUR)).changed == {"busy": {"in": False, "since": T0 + HOUR}}


def test_a_value_that_does_not_move_is_asked_about_when_it_changes() -> None:
    partition = partition_of(
        Segment("local", where='country == "PT"'), features=[Last("country", of="country", on="view"), SPEND]
    )
    see(partition, event("view", 0, country="PT"))
    state = partition.state("ada")
    assert state is not None
    slot = state.slots[partition.updater.segments[0].key]
    see(partition, event("purchase", HOUR, country="ES"))
    assert slot == [True, T0, T0], "it says nothing of the country"
    see(partition, event("view", 2 * HOUR, country="PT"))
    assert slot == [True, T0, T0 + 2 * HOUR]


def test_by_the_clock_alone() -> None:
    """Asked two hours after the last time, and again; the change is told by an event of somebody else."""
    partition = partition_of(Segment("busy", where='field("views.1h") >= 0.2', every="2h"))
    see(partition, event("view", 0))
    see(partition, event("search", 2 * HOUR, "bob"))
    assert partition.take_timed() == [], "at its time it is not past it"
    see(partition, event("search", 9 * HOUR, "bob", event_id="mover"))
    assert partition.take_timed() == [
        Change(
            "ada",
            2,
            "mover",
            T0 + 4 * HOUR + 2,
            {"busy": {"in": False, "since": T0 + 4 * HOUR + 2}},
            [],
            False,
            {},
        )
    ]
    assert partition.take_timed() == []
    published, state = partition.published("ada"), partition.state("ada")
    assert published is not None and state is not None
    assert published["busy"] == {"in": False, "since": T0 + 4 * HOUR + 2}
    assert (state.version, state.last_time) == (2, T0), "time is no event of the user's"


def test_without_every_only_an_event_of_the_user_asks() -> None:
    partition = partition_of(Segment("busy", where='field("views.1h") >= 0.2'))
    assert not partition.updater.waits
    see(partition, event("view", 0), event("search", DAY, "bob"))
    assert partition.take_timed() == []
    assert partition.published("ada")["busy"]["in"]  # type: ignore[index]
    assert see(partition, event("search", DAY + 1)).changed == {"busy": {"in": False, "since": T0 + DAY + 1}}


def test_a_late_event_does_not_take_back_what_the_clock_said() -> None:
    partition = partition_of(Segment("busy", where='field("views.1h") >= 0.2', every="1h"))
    see(partition, event("view", 0), event("search", 20 * HOUR, "bob"))
    [left] = partition.take_timed()
    assert left.changed["busy"] == {"in": False, "since": T0 + 3 * HOUR + 3}
    assert "busy" not in see(partition, event("view", 10 * MINUTE)).changed, "of then it was in, of now it is not"
    see(partition, event("search", 40 * HOUR, "bob"))
    assert partition.take_timed() == []
    change = see(partition, event("view", 41 * HOUR))
    assert change.changed["busy"] == {"in": True, "since": T0 + 41 * HOUR}


def test_a_stage_that_time_changes_takes_its_segments_along() -> None:
    features: list[Feature] = [Lifecycle("life", new="1d", at_risk="2d", lost="4d"), Count("views")]
    lost = Segment("lost", where='life.stage == "lost"')
    ratio = Ratio("returns_per_view", of="life.returns", to="views.total")
    partition = partition_of(lost, features=[*features, ratio])
    see(partition, event("view", 0))
    see(partition, event("search", 10 * DAY, "bob"))
    changes = [change for change in partition.take_timed() if change.user_id == "ada"]
    assert [change.changed["life"]["stage"] for change in changes] == ["active", "at risk", "lost"]
    assert [change.event_time - T0 for change in changes] == [DAY + 1, 2 * DAY + 1, 4 * DAY + 1]
    assert [change.changed.get("lost") for change in changes] == [None, None, {"in": True, "since": T0 + 4 * DAY + 1}]
    assert [change.version for change in changes] == [2, 3, 4]
    assert all(change.changed["returns_per_view"]["at"] == change.changed["life"]["at"] for change in changes)
    published = partition.published("ada")
    assert published is not None
    assert {name: published[name] for name in ("life", "lost", "returns_per_view")} == changes[-1].changed


def test_of_what_is_made_of_others() -> None:
    ratio = Ratio("rate", of="buys.total", to="views.total")
    features: list[Feature] = [Count("views", on="view"), Count("buys", on="purchase"), ratio]
    partition = partition_of(Segment("good", where="rate.ratio >= 0.5"), features=features)
    assert "good" not in see(partition, event("view", 0)).changed
    assert see(partition, event("purchase", 1)).changed["good"] == {"in": True, "since": T0 + 1}
    see(partition, event("view", 2))
    assert see(partition, event("view", 3)).changed["good"] == {"in": False, "since": T0 + 3}


def test_a_new_segment_is_asked_about_at_the_next_event() -> None:
    features: list[Feature] = [Last("country", of="country", on="view")]
    old = partition_of(features=features)
    see(old, event("view", 0, country="PT"))
    new = partition_of(Segment("local", where='country == "PT"'), features=features)
    for key, value in old.take():
        new.restore(key, value)
    new.restored()
    change = see(new, event("search", 1))
    assert change.snapshot
    assert change.changed == {"country": "PT", "local": {"in": True, "since": T0 + 1}}


RULES = [
    'field("views.1h") >= 1',
    "idle.seconds < 600 and not missing(channel)",
    'channel in ["a", "b"] or carts.total > 2',
]


@settings(max_examples=60)
@given(streams(users=2))
def test_it_is_what_the_rule_says_of_the_profile(events: list[Event]) -> None:
    features: list[Feature] = [VIEWS, Count("carts", on="cart"), TimeSince("idle"), Last("channel", of="channel")]
    segments = [Segment(f"segment_{number}", where=rule) for number, rule in enumerate(RULES)]
    advance = {feature.name: feature.advance for feature in features}
    partition = partition_of(*segments, features=features, lateness="3650d")
    before: dict[tuple[str, str], bool] = {}
    for each in events:
        change = see(partition, each)
        published, state = partition.published(each.user_id), partition.state(each.user_id)
        assert published is not None and state is not None
        now = {name: advance[name](value, state.last_time) for name, value in published.items() if name in advance}
        for segment in segments:
            inside = segment.rule(now)
            said: Any = published.get(segment.name, {"in": False})
            assert said["in"] == inside
            was = before.get((each.user_id, segment.name), False)
            assert (segment.name in change.changed) == (inside != was)
            if inside != was:
                assert change.changed[segment.name] == {"in": inside, "since": state.last_time}
            before[each.user_id, segment.name] = inside
            assert len(msgspec.msgpack.encode(state.slots[segment.key])) <= segment.max_bytes


def test_a_segment_is_its_configuration() -> None:
    segment = Segment("busy", where='field("views.1h") >= 1', every="1h")
    assert segment.config == {"name": "busy", "where": 'field("views.1h") >= 1', "every": "1h"}
    assert Segment(**segment.config).key == segment.key
    assert Segment("busy", where="views.total >= 1").key != segment.key
    assert segment.sources == ("views",)
    described = ProfileDefinition("shop", features=[VIEWS], segments=[segment]).describe()
    assert described["fields"]["busy"] == {"kind": "Segment", "config": segment.config}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Segment("a b", where="x > 1"), "'a b' is not a name"),
        (lambda: Segment("x", where="views.total >"), r"""Segment\("x"\): where: .*: it ends too early"""),
        (lambda: Segment("x", where="views.1h > 1"), r"""Segment\("x"\): where: """),
        (lambda: Segment("x", where=""), r"""Segment\("x"\): where: '' is not a condition"""),
        (lambda: Segment("x", where="a > 1", every="often"), "'often' is not a duration"),
        (
            lambda: partition_of(Segment("x", where="view.total > 1")),
            r"""Segment\("x"\) speaks of 'view', which is no field of this definition; did you mean 'views'\?""",
        ),
        (
            lambda: partition_of(Segment("x", where="views.total > 1"), Segment("y", where='field("x.in")')),
            r"""Segment\("y"\) is made of 'x', a segment; segments come last""",
        ),
        (
            lambda: partition_of(Segment("x", where='field("x.in")')),
            r"""Segment\("x"\) is made of 'x', a segment; segments come last""",
        ),
        (lambda: partition_of(VIEWS), r"""Count\("views"\) cannot stand in segments=\[...\]"""),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_segment_is_refused(build: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        build()
