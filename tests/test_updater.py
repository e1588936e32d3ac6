"""What one event does to one profile."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from stream_profiles import (
    Anomaly,
    BehaviourEmbedding,
    Change,
    Clusters,
    Count,
    Cross,
    Event,
    EWMean,
    Feature,
    First,
    HalfSpaceTrees,
    Happens,
    KMeans,
    Last,
    Lifecycle,
    NextType,
    ProfileDefinition,
    ProfileUpdater,
    Ratio,
    RecentItems,
    Segment,
    Sessions,
    Skipped,
    Sum,
    Target,
    TimeSince,
    TopK,
)
from stream_profiles.state import ProfileState, decode_profile, encode
from stream_profiles.updater import Shared
from tests.events import DAY, HOUR, T0, event, streams

EVERYTHING = ProfileDefinition(
    "shop",
    features=[
        Count("views", on="view", half_life=("1h", "1d")),
        Sum("spend", of="amount", on="purchase"),
        EWMean("price", of="price", half_life="1d"),
        First("first_channel", of="channel"),
        Last("channel", of="channel"),
        TimeSince("last_purchase", on="purchase"),
        TopK("categories", of="category", half_life="7d"),
        RecentItems("recent"),
        Sessions("sessions"),
        Lifecycle("stage", new="1d", at_risk="2d", lost="30d"),
        Ratio("spend_per_view", of="spend.total", to="views.1d"),
        Cross("place", of=("channel", "stage.stage")),
    ],
    targets=[
        Target("buys_soon", label=Happens("purchase", within="1d"), on=("view", "cart"), explain=2),
        Target("does_next", label=NextType(within="1h")),
        Anomaly("strange", model=HalfSpaceTrees(trees=2, height=3, window=10)),
    ],
    segments=[
        Segment("buyer", where="spend.total > 10 or buys_soon.score > 0.6"),
        Segment("here", where="sessions.active and not missing(place)", every="1h"),
        Clusters("group", model=KMeans(clusters=2), on="view"),
    ],
    embeddings=[BehaviourEmbedding("taste")],
)
OF_EVERYTHING: dict[str, Any] = {
    "targets": [*EVERYTHING.targets, *EVERYTHING.monitors],
    "segments": EVERYTHING.segments,
    "embeddings": EVERYTHING.embeddings,
}


class One:
    """One user's profile, and what became of each event."""

    def __init__(self, *features: Feature, **options: Any) -> None:
        self.updater = ProfileUpdater(ProfileDefinition("shop", features=features, **options))
        self.state = self.updater.new_state()
        self.shared = Shared(self.updater)

    def see(self, each: Event) -> Change | Skipped:
        return self.updater.apply(self.state, each, self.shared)

    def change(self, each: Event) -> Change:
        result = self.see(each)
        assert isinstance(result, Change)
        return result

    @property
    def published(self) -> dict[str, Any]:
        return self.updater.published(self.state)


def test_a_change_says_what_changed_and_why() -> None:
    one = One(Count("views", on="view"), Last("country", of="country"))
    assert one.change(event("view", 5, event_id="e1", country="PT")) == Change(
        "ada", 1, "e1", T0 + 5, {"views": {"total": 1}, "country": "PT"}, [], True, {}
    )
    assert one.change(event("view", 9, event_id="e2")) == Change(
        "ada", 2, "e2", T0 + 9, {"views": {"total": 2}}, [], False, {}
    )


def test_an_event_that_changes_nothing_is_a_version_all_the_same() -> None:
    one = One(Count("views", on="view"))
    assert one.change(event("search", 0)).changed == {}
    change = one.change(event("search", 1))
    assert (change.version, change.changed, change.snapshot) == (2, {}, False)


def test_the_first_change_is_the_whole_profile() -> None:
    one = One(Count("views", on="view"), Count("carts", on="cart"))
    change = one.change(event("view"))
    assert change.snapshot
    assert change.changed == one.published == {"views": {"total": 1}}
    assert not one.change(event("cart", 1)).snapshot


@settings(max_examples=50)
@given(streams())
def test_all_changes_in_order_are_the_profile(events: list[Event]) -> None:
    one = One(*EVERYTHING.features, **OF_EVERYTHING)
    read: dict[str, Any] = {}
    versions = []
    for each in events:
        change = one.see(each)
        if isinstance(change, Change):
            read = {**({} if change.snapshot else read), **change.changed}
            versions.append(change.version)
            assert change.failed == {}
    assert read == one.published
    assert versions == list(range(1, len(versions) + 1))


def test_a_duplicate_is_known_by_its_id() -> None:
    one = One(Count("views"))
    one.change(event("view", 0, event_id="e1"))
    assert one.see(event("view", 9, event_id="e1")) is Skipped.DUPLICATE
    assert one.published == {"views": {"total": 1}}
    assert one.state.version == 1


def test_so_many_ids_are_remembered() -> None:
    one = One(Count("views"), dedup=3)
    for name in "abcd":
        one.change(event("view", event_id=name))
    assert [one.see(event("view", event_id=name)) for name in "dcb"] == [Skipped.DUPLICATE] * 3
    assert isinstance(one.see(event("view", event_id="a")), Change), "the fourth from the end is forgotten"
    assert len(one.state.seen) == 3 * 8


def test_part_of_two_ids_digests_is_no_duplicate() -> None:
    """Digests are kept one after the other: a match counts only where one begins."""
    one = One(Count("views"))
    one.change(event(event_id="a"))
    digest = one.state.seen
    one.state.seen = b"\0\0\0\0" + digest + b"\0\0\0\0"
    assert isinstance(one.see(event(event_id="a")), Change)


def test_duplicates_may_be_allowed() -> None:
    one = One(Count("views"), dedup=0)
    one.change(event(event_id="a"))
    assert isinstance(one.see(event(event_id="a")), Change)
    assert one.state.seen == b""


def test_a_late_event_is_applied_up_to_the_lateness() -> None:
    one = One(Count("views", half_life="1h"), lateness="1h")
    one.change(event(at=DAY))
    change = one.change(event(at=DAY - HOUR))
    assert change.changed["views"] == {"total": 2, "1h": 1.5, "at": T0 + DAY}
    assert change.event_time == T0 + DAY - HOUR
    assert one.see(event(at=DAY - HOUR - 1)) is Skipped.LATE
    assert one.state.last_time == T0 + DAY
    assert one.state.version == 2


def test_an_event_that_was_too_late_was_not_seen() -> None:
    one = One(Count("views"), lateness="1h")
    one.change(event(at=DAY))
    late = event(at=0, event_id="late")
    assert one.see(late) is Skipped.LATE
    assert one.see(late) is Skipped.LATE
    assert len(one.state.seen) == 8


def test_only_what_waits_for_a_type_sees_it() -> None:
    one = One(Count("all"), Count("views", on="view"), Count("both", on=("view", "cart")))
    assert set(one.change(event("cart")).changed) == {"all", "both"}
    assert set(one.change(event("view")).changed) == {"all", "views", "both"}
    assert set(one.change(event("other")).changed) == {"all"}


def test_types_that_are_allowed() -> None:
    assert One(Count("views")).updater.allows("anything")
    some = One(Count("views", on="view"), event_types=["view"]).updater
    assert some.allows("view")
    assert not some.allows("purchase")


def test_more_types_than_plans_are_kept() -> None:
    one = One(Count("all"), Count("views", on="type-1500"))
    for number in range(1_600):
        one.change(event(f"type-{number}"))
    assert one.published == {"all": {"total": 1_600}, "views": {"total": 1}}


def test_a_field_that_the_definition_lost_is_removed_and_the_whole_profile_sent() -> None:
    old, new = One(Count("views"), Count("carts")), One(Count("carts"), Last("country", of="country"))
    old.change(event())
    new.state = decode_profile(encode(old.state))
    change = new.change(event(at=1))
    assert change.removed == ["views"]
    assert change.snapshot
    assert change.changed == {"carts": {"total": 2}} == new.published
    later = new.change(event(at=2))
    assert (later.removed, later.snapshot, later.version) == ([], False, 3)


def test_a_field_that_is_defined_otherwise_starts_anew_and_is_not_called_removed() -> None:
    old, new = One(Count("views", half_life="1h"), Count("carts")), One(Count("views", half_life="1d"), Count("carts"))
    old.change(event())
    new.state = decode_profile(encode(old.state))
    change = new.change(event(at=1))
    assert change.changed == {"views": {"total": 1, "1d": 1, "at": T0 + 1}, "carts": {"total": 2}}
    assert change.snapshot
    assert change.removed == [], "a reader that applies it must not lose the new value"


def test_a_field_that_is_defined_otherwise_and_has_no_value_yet_is_removed() -> None:
    old, new = One(Count("views"), Count("all")), One(Count("views", on="view"), Count("all"))
    old.change(event("cart"))
    new.state = decode_profile(encode(old.state))
    change = new.change(event("cart", 1))
    assert change.removed == ["views"]
    assert change.changed == {"all": {"total": 2}}


def test_a_new_field_starts_empty() -> None:
    old, new = One(Count("views")), One(Count("views"), Count("carts", on="cart"))
    old.change(event())
    new.state = decode_profile(encode(old.state))
    change = new.change(event(at=1))
    assert change.changed == {"views": {"total": 2}}
    assert (change.removed, change.snapshot) == ([], True), "another definition's profile is sent whole, once"
    change = new.change(event("cart", 2))
    assert change.changed["carts"] == {"total": 1}
    assert not change.snapshot


def test_what_is_only_made_of_others_is_a_change_of_the_definition_too() -> None:
    """It has no state that would tell."""
    ratio = Ratio("rate", of="carts.total", to="views.total")
    both = [Count("views"), Count("carts", on="cart")]
    old, new = One(*both), One(*both, ratio)
    old.change(event("cart"))
    new.state = decode_profile(encode(old.state))
    change = new.change(event("search", 1))
    assert change.changed == {"views": {"total": 2}, "carts": {"total": 1}, "rate": {"ratio": 0.5}}
    assert change.snapshot
    old.state = decode_profile(encode(new.state))
    change = old.change(event("search", 2))
    assert (change.snapshot, change.changed) == (True, {"views": {"total": 3}, "carts": {"total": 1}})
    assert not old.change(event("search", 3)).snapshot


def test_the_order_of_fields_is_no_other_definition_for_a_reader() -> None:
    """It is one for the digest, which costs one whole profile and nothing else."""
    old, new = One(Count("views"), Count("carts")), One(Count("carts"), Count("views"))
    old.change(event())
    new.state = decode_profile(encode(old.state))
    assert new.change(event(at=1)).changed == {"views": {"total": 2}, "carts": {"total": 2}}


class Fails(Feature):
    """Somebody's own feature, with an error in it."""

    def __init__(self, name: str, *, at: str) -> None:
        super().__init__(name)
        self.at = at

    def update(self, state: Any, event: Event) -> Any:
        if self.at == "update":
            raise ValueError("no luck")
        return [1]

    def snapshot(self, state: Any) -> Any:
        if self.at == "snapshot":
            raise KeyError("gone")
        return state[0]

    @property
    def max_bytes(self) -> int:
        return 2

    def input_names(self) -> tuple[str, ...]:
        return ("x",)

    def inputs(self, state: Any, now: int) -> tuple[float, ...]:
        if self.at == "inputs":
            raise ZeroDivisionError("division by zero")
        return (1.0,)


@pytest.mark.parametrize(("at", "error"), [("update", "ValueError: no luck"), ("snapshot", "KeyError: 'gone'")])
def test_a_feature_that_fails_leaves_the_rest_alone(at: str, error: str) -> None:
    one = One(Count("views"), Fails("broken", at=at), Count("more"))
    for number in (1, 2):
        change = one.change(event(at=number))
        assert change.failed == {"broken": error}
        assert change.changed == {"views": {"total": number}, "more": {"total": number}}
        assert change.version == number
    assert one.published == {"views": {"total": 2}, "more": {"total": 2}}
    assert not any(key.startswith("broken") for key in one.state.slots)


def test_a_feature_that_comes_to_fail_does_not_hide_the_profile() -> None:
    one = One(Count("views"), Fails("broken", at="nowhere"))
    one.change(event())
    failing = One(Count("views"), Fails("broken", at="nowhere"))
    failing.state = one.state
    broken = failing.updater.definition.features[1]
    assert isinstance(broken, Fails)
    broken.at = "snapshot"
    assert failing.published == {"views": {"total": 1}}


def test_a_target_whose_inputs_fail_leaves_the_rest_alone() -> None:
    target = Target("buys_soon", label=Happens("purchase", within="1d"))
    one = One(Count("views"), Fails("broken", at="inputs"), targets=[target])
    change = one.change(event())
    assert change.failed == {"buys_soon": "ZeroDivisionError: division by zero"}
    assert change.changed == {"views": {"total": 1}, "broken": 1}
    assert one.change(event(at=1)).version == 2


class Waits(Count):
    """Somebody's own feature that time changes, with an error in it."""

    def __init__(self, name: str, *, at: str = "") -> None:
        super().__init__(name)
        self.at = at

    def deadline(self, state: Any) -> int | None:
        if self.at == "deadline":
            raise ValueError("no luck")
        due: int = state[0] + HOUR
        return due if state[1] < 100 else None

    def expire(self, state: Any, now: int) -> Any:
        if self.at == "expire":
            raise ValueError("no luck")
        state[1] += 100
        return state

    def advance(self, value: Any, now: int) -> Any:
        return value


def test_what_time_alone_changes() -> None:
    one = One(
        Waits("waits"),
        Count("views"),
        Ratio("rate", of="waits.total", to="views.total"),
        Ratio("of_rate", of="rate.ratio", to="views.total"),
    )
    one.change(event())
    assert one.updater.waits
    assert one.updater.deadline(one.state) == T0 + HOUR
    assert one.updater.expire(one.state, "ada", "mover", T0 + HOUR, one.shared) is None, "its time is not over"
    change = one.updater.expire(one.state, "ada", "mover", T0 + HOUR + 1, one.shared)
    changed = {"waits": {"total": 101}, "rate": {"ratio": 101.0}, "of_rate": {"ratio": 101.0}}
    assert change == Change("ada", 2, "mover", T0 + HOUR + 1, changed, [], False, {})
    assert one.updater.deadline(one.state) == 0
    assert one.published == {**changed, "views": {"total": 1}}
    assert one.updater.expire(one.state, "ada", "mover", T0 + DAY, one.shared) is None


def test_what_fails_when_its_time_is_up_leaves_the_rest_alone() -> None:
    one = One(Waits("broken", at="expire"), Waits("waits"))
    one.change(event())
    change = one.updater.expire(one.state, "ada", "mover", T0 + DAY, one.shared)
    assert change is not None
    assert (change.changed, change.failed) == ({"waits": {"total": 101}}, {"broken": "ValueError: no luck"})
    assert one.updater.deadline(one.state, after=T0 + DAY) == 0, "it is not asked again and again"


def test_a_field_that_cannot_say_when_its_time_is_up_has_none() -> None:
    one = One(Waits("broken", at="deadline"), Waits("waits"))
    assert one.change(event()).failed == {}
    assert one.updater.deadline(one.state) == T0 + HOUR
    change = one.updater.expire(one.state, "ada", "mover", T0 + DAY, one.shared)
    assert change is not None
    assert (change.changed, change.failed) == ({"waits": {"total": 101}}, {"broken": "ValueError: no luck"})


def test_monitors_that_fail_leave_the_rest_alone() -> None:
    fails = {
        "targets": [Anomaly("strange")],
        "segments": [Clusters("group"), Segment("fan", where="strange.score > 2")],
    }
    one = One(Count("views"), Fails("broken", at="inputs"), **fails)
    change = one.change(event())
    error = "ZeroDivisionError: division by zero"
    assert change.failed == {"strange": error, "group": error}
    assert change.changed == {"views": {"total": 1}, "broken": 1}


def test_what_is_made_of_a_field_that_fails_fails_with_it() -> None:
    one = One(Count("views"), Fails("broken", at="nowhere"), Ratio("rate", of="broken", to="views.total"))
    assert one.change(event()).changed["rate"] == {"ratio": 1.0}
    broken = one.updater.definition.features[1]
    assert isinstance(broken, Fails)
    broken.at = "snapshot"
    change = one.change(event(at=1))
    assert change.failed == dict.fromkeys(("broken", "rate"), "KeyError: 'gone'")
    assert change.changed == {"views": {"total": 2}}
    assert one.published == {"views": {"total": 2}}


def test_the_first_that_fails_does_not_fail_for_others() -> None:
    """Changes share nothing that one of them could write to."""
    broken, sound = One(Fails("broken", at="update"), Count("views")), One(Count("views"))
    assert broken.change(event()).failed
    assert sound.change(event()).failed == {}


def test_the_size_of_a_profile_has_a_bound() -> None:
    updater = ProfileUpdater(EVERYTHING)
    state, shared = updater.new_state(), Shared(updater)
    for number in range(300):
        text = f"{number:06}" + "\U0001f600" * 250
        each = event("view", number * HOUR, price=1e99, item_id=text, category=text, channel=text, event_id=text)
        assert isinstance(updater.apply(state, each, shared), Change)
    assert len(encode(state, T0)) <= updater.max_profile_bytes


@settings(max_examples=50)
@given(streams())
def test_a_stored_profile_goes_on_as_if_it_had_never_been_stored(events: list[Event]) -> None:
    updater = ProfileUpdater(EVERYTHING)
    kept, stored = updater.new_state(), updater.new_state()
    shared, other = Shared(updater), Shared(updater)
    for each in events:
        stored = decode_profile(encode(stored))
        assert updater.apply(stored, each, other) == updater.apply(kept, each, shared)
        assert encode(stored) == encode(kept)


def test_a_profile_nobody_has_is_empty() -> None:
    assert ProfileUpdater(EVERYTHING).published(ProfileState()) == {}


def test_what_is_published_can_be_sent() -> None:
    one = One(*EVERYTHING.features, **OF_EVERYTHING)
    for number in range(5):
        one.change(event("view", number, item_id="a", category="c", price=1.0, channel="ads"))
    one.change(event("purchase", 6, price=20.0))
    assert one.published.keys() == set(EVERYTHING.field_names)
    assert isinstance(one.published.pop("taste"), bytes)
    msgspec.json.encode(one.published)
