"""A partition restored from its records goes on as if nothing had happened, bit for bit."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stream_profiles.partition as partition_module
from stream_profiles import (
    ADWIN,
    DBSTREAM,
    AdaptiveRandomForest,
    Anomaly,
    BehaviourEmbedding,
    Change,
    Churn,
    Clusters,
    Count,
    Cross,
    Event,
    EWMean,
    First,
    HalfSpaceTrees,
    Happens,
    Hash,
    HoeffdingAdaptiveTree,
    KMeans,
    Last,
    Lifecycle,
    LogisticRegression,
    Next,
    NextType,
    OneHot,
    Partition,
    ProfileDefinition,
    ProfileUpdater,
    Ratio,
    RecentItems,
    Search,
    Segment,
    Sessions,
    Skipped,
    Standardise,
    Sum,
    Target,
    TimeSince,
    TopK,
    ValueWithin,
)
from stream_profiles.dev.shop import shop_events
from stream_profiles.errors import StateError
from stream_profiles.models import journal
from stream_profiles.partition import Record
from stream_profiles.state import ProfileState, decode_partition, decode_profile, encode, encode_body, header
from tests.events import DAY, HOUR, MINUTE, SECOND, T0, event, streams

#: Few items and few pending examples, so that their limits are met; all that learns is written whole.
DEFINITION = ProfileDefinition(
    "shop",
    features=[
        Count("views", on="view", half_life=("1h", "1d")),
        Count("purchases", on="purchase", half_life="7d"),
        Sum("spend", of="amount", on=("purchase", "refund")),
        EWMean("price", of="price", half_life="1d"),
        First("first_channel", of="channel"),
        Last("channel", of="channel"),
        TimeSince("last_purchase", on="purchase"),
        TopK("categories", of="category", k=2, half_life="7d"),
        RecentItems("recent", n=3),
        Sessions("sessions"),
        Lifecycle("stage", new="1d", at_risk="2d", lost="5d"),
        Ratio("buys_per_view", of="purchases.7d", to="views.1d"),
        Cross("place", of=("channel", "stage.stage")),
    ],
    targets=[
        Target("buys", label=Happens("purchase", within="1d"), on=("view", "cart"), every="10m", max_pending=3),
        Target("comes_back", label=Happens("view", within="1h"), every="1h", model=LogisticRegression(0.1, l2=0.01)),
    ],
    segments=[
        Segment("buyer", where='buys_per_view.ratio > 1 or stage.stage == "lost"'),
        Segment("busy", where='field("views.1h") >= 0.5 and not missing(place)', every="6h"),
    ],
    embeddings=[
        BehaviourEmbedding("taste", dimensions=16, max_items=4),
        BehaviourEmbedding("style", of="category", half_life="1d"),
    ],
    lateness="2d",
    dedup=4,
)
UPDATER = ProfileUpdater(DEFINITION)
#: Of these only labels wait for time.
BUYING = ProfileUpdater(
    ProfileDefinition(
        "shop", features=[Count("views", on="view"), Count("all", half_life="1h")], targets=DEFINITION.targets
    )
)
#: All tasks, and models of which only lessons are written most of the time.
HEAVY = ProfileUpdater(
    ProfileDefinition(
        "shop",
        features=[
            Count("views", on="view", window=("1h", "1d"), resolution="30m"),
            Count("purchases", on="purchase", half_life="7d"),
            Sum("spend", of="amount", on=("purchase", "refund")),
            Last("channel", of="channel"),
            Ratio("buys_per_view", of="purchases.7d", to="views.last_1d"),
            Lifecycle("stage", new="1d", at_risk="2d", lost="5d"),
        ],
        targets=[
            Target(
                "buys",
                label=Happens("purchase", within="1d"),
                model=HoeffdingAdaptiveTree(grace_period=5),
                challengers=[LogisticRegression(0.1), LogisticRegression(0.5)],
                promote_after=10,
                drift=ADWIN(delta=0.3, clock=1, grace_period=2, reaction="swap"),
                inputs=["views", Standardise("spend"), OneHot("channel", ["a", "b"]), "buys_per_view"],
                every="1ms",
                history=True,
            ),
            Target("sees", label=Next("category", within="1d"), model=AdaptiveRandomForest(trees=2), every="1ms"),
            Target(
                "does",
                label=NextType(within="1d"),
                model=Search(LogisticRegression, {"learning_rate": [0.01, 0.1, 1.0]}, rung=10),
                inputs=["views", Hash("channel", 4)],
                every="1ms",
                explain=2,
            ),
            Target("spends", label=ValueWithin("amount", within="1d", scale="sqrt"), every="1m", max_pending=5),
            Target("leaves", label=Churn(after="2d"), on=("view", "purchase"), every="1h"),
            Anomaly("strange", model=HalfSpaceTrees(trees=2, height=3, window=5), every="1ms"),
        ],
        segments=[
            Clusters("group", model=KMeans(clusters=3), every="1ms"),
            Clusters("crowd", model=DBSTREAM(), every="1m", on="view", inputs=["views", "spend"]),
            Segment("odd", where="strange.score > 0.5 and group.cluster > 0", every="1d"),
        ],
        lateness="2d",
    )
)
TOPIC = "shop-events"


def restored(records: list[Record], updater: ProfileUpdater = UPDATER) -> Partition:
    partition = Partition(updater)
    for key, value in records:
        partition.restore(key, value)
    partition.restored()
    return partition


def compacted(records: list[Record]) -> list[Record]:
    """What Kafka's log cleaner leaves: the last record of each key, at its place; a deletion stays for a while."""
    last = {key: position for position, (key, _) in enumerate(records)}
    return [records[position] for position in sorted(last.values())]


def content(partition: Partition) -> dict[str, Any]:
    """Everything that a partition is made of, to the last bit."""
    shared = partition.shared
    return {
        "users": {user: encode(partition.state(user) or ProfileState()) for user in sorted(partition.users())},
        "published": {user: partition.published(user) for user in sorted(partition.users())},
        # What is pickled says the same in other bytes.
        "learners": {key: learner.state() for key, learner in shared.learners.items() if learner.compact},
        "reports": partition.metrics(),
        "watchers": {key: watcher.running.examples for key, watcher in shared.watchers.items()},
        "items": {
            key: [(item, sequence, time, vector.tobytes()) for item, (sequence, time, vector) in items._items.items()]
            for key, items in shared.items.items()
        },
        "deadlines": dict(sorted(partition._deadlines.items())),
        "offsets": partition.offsets,
        "watermark": partition.watermark,
        "size": len(partition),
    }


def keep_all(records: list[Record]) -> list[Record]:
    return records


def check(
    events: list[Event],
    takes: set[int],
    restores: set[int],
    clean: Callable[[list[Record]], list[Record]],
    updater: ProfileUpdater = UPDATER,
) -> None:
    """One partition lives all the time and is written at `takes`; of another, what was written is restored at
    `restores` (a subset), and then events come again from the first one that was not written."""
    kept, stored = Partition(updater), Partition(updater)
    kept_log: list[Record] = []
    stored_log: list[Record] = []
    written = 0
    changes: list[Any] = []
    for offset, each in enumerate(events):
        changes.append((kept.apply(each, TOPIC, offset), kept.take_timed()))
        assert (stored.apply(each, TOPIC, offset), stored.take_timed()) == changes[-1]
        if offset in takes:
            kept_log += kept.take()
            stored_log += stored.take()
            written = offset + 1
        if offset in restores:
            stored = restored(clean(stored_log), updater)
            assert stored.timed == kept.timed
            # What was applied and not written is applied again, what was written is not.
            for again in range(max(0, written - 3), offset + 1):
                result = stored.apply(events[again], TOPIC, again), stored.take_timed()
                assert result == ((Skipped.REPLAYED, []) if again < written else changes[again])
    assert content(stored) == content(kept)
    kept_log += kept.take()
    stored_log += stored.take()
    assert alike(stored_log) == alike(kept_log)
    assert content(restored(clean(stored_log), updater)) == content(restored(clean(kept_log), updater))
    assert content(restored(clean(kept_log), updater)) == content(kept)
    # All that anybody was told, in order, is what is published.
    told: dict[str, dict[str, Any]] = {}
    for change, timed in changes:
        for each_change in [*timed, *([change] if isinstance(change, Change) else [])]:
            assert each_change.failed == {}
            values = {} if each_change.snapshot else told.get(each_change.user_id, {})
            told[each_change.user_id] = values | each_change.changed
    assert told == {user: kept.published(user) for user in kept.users()}


def alike(records: list[Record]) -> dict[bytes, bytes | None]:
    """What is left of them. Of a pickled model the bytes may be others."""
    return {key: None if value is not None and b"river" in value else value for key, value in records}


cuts = st.sets(st.integers(0, 60))


@settings(max_examples=150)
@given(streams(users=3, max_size=60), cuts, cuts, st.sampled_from([keep_all, compacted]))
def test_a_restored_partition_goes_on_bit_for_bit(
    events: list[Event], takes: set[int], restores: set[int], clean: Callable[[list[Record]], list[Record]]
) -> None:
    check(events, takes, restores, clean)


@settings(max_examples=60)
@given(streams(users=3, max_size=60), cuts, cuts, st.sampled_from([keep_all, compacted]))
def test_so_does_one_with_models_of_which_lessons_are_written(
    events: list[Event], takes: set[int], restores: set[int], clean: Callable[[list[Record]], list[Record]]
) -> None:
    with patch.object(journal, "_LESSONS_A_STATE", 8):
        check(events, takes, restores, clean, HEAVY)


def disorderly(seed: int, count: int) -> tuple[list[Event], set[int], set[int]]:
    """A shop whose events come late and twice, and when to write and to restore."""
    random_ = random.Random(seed)
    events = list(shop_events(seed, users=15, items=30, events=count))
    for _ in range(count // 8):
        a = random_.randrange(len(events) - 40)
        b = a + random_.randrange(40)
        events[a], events[b] = events[b], events[a]
    events = [each for each in events for _ in range(1 + (random_.random() < 0.02))]
    takes = {n for n in range(len(events)) if random_.random() < 0.02}
    return events, takes, {n for n in range(len(events)) if random_.random() < 0.005}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("clean", [keep_all, compacted])
def test_a_shop_is_restored_bit_for_bit(seed: int, clean: Callable[[list[Record]], list[Record]]) -> None:
    """Long enough for expiries, learning, forgotten items and late events to meet."""
    check(*disorderly(seed, 2_500), clean)


@pytest.mark.parametrize("clean", [keep_all, compacted])
def test_so_is_one_with_heavy_models(clean: Callable[[list[Record]], list[Record]]) -> None:
    with patch.object(journal, "_LESSONS_A_STATE", 100):
        check(*disorderly(7, 1_500), clean, HEAVY)


def test_few_decoded_profiles_are_as_good_as_all(monkeypatch: pytest.MonkeyPatch) -> None:
    events = list(shop_events(5, users=30, items=20, events=1_500))
    every, few = Partition(UPDATER), Partition(UPDATER)
    for number, each in enumerate(events):
        monkeypatch.setattr(partition_module, "_MAX_DECODED", 20_000)
        change = every.apply(each, TOPIC, number)
        if number % 20 == 19:
            every.take()
        monkeypatch.setattr(partition_module, "_MAX_DECODED", 3)
        assert few.apply(each, TOPIC, number) == change
        if number % 20 == 19:
            few.take()
            assert len(few._decoded) <= 3
    assert content(few) == content(every)


def test_writing_changes_nothing() -> None:
    events = list(shop_events(6, users=10, items=20, events=800))
    written, never = Partition(UPDATER), Partition(UPDATER)
    for number, each in enumerate(events):
        assert written.apply(each, TOPIC, number) == never.apply(each, TOPIC, number)
        if number % 7 == 0:
            written.take()
    assert content(written) == content(never)


def test_only_what_changed_is_written() -> None:
    partition = Partition(UPDATER)
    partition.apply(event("view", 0, "ada", item_id="a"), TOPIC, 0)
    partition.apply(event("view", 0, "bob", item_id="b"), TOPIC, 1)
    kinds = [key[:1] for key, _ in partition.take()]
    assert sorted(kinds) == [b"i", b"i", b"p", b"u", b"u"]
    partition.apply(event("search", 1, "bob"), TOPIC, 2)
    assert [key for key, _ in partition.take()] == [b"ubob", b"p"]
    assert [key for key, _ in partition.take()] == [b"p"]


def test_an_event_that_was_skipped_is_an_offset_all_the_same() -> None:
    partition = Partition(UPDATER)
    partition.apply(event(event_id="e"), TOPIC, 3)
    assert partition.apply(event(event_id="e"), TOPIC, 4) is Skipped.DUPLICATE
    assert partition.apply(event(at=-10 * DAY), TOPIC, 5) is Skipped.LATE
    assert partition.offsets == {TOPIC: 5}
    again = restored(partition.take())
    assert again.apply(event(at=1), TOPIC, 5) is Skipped.REPLAYED
    assert isinstance(again.apply(event(at=1), TOPIC, 6), Change)


def test_offsets_are_counted_by_topic() -> None:
    partition = Partition(UPDATER)
    assert isinstance(partition.apply(event(at=0), "a", 7), Change)
    assert isinstance(partition.apply(event(at=1), "b", 2), Change)
    assert partition.apply(event(at=2), "a", 7) is Skipped.REPLAYED
    assert partition.apply(event(at=2), "b", 1) is Skipped.REPLAYED
    assert isinstance(partition.apply(event(at=2)), Change), "no offset, no replay"
    assert partition.offsets == {"a": 7, "b": 2}


def test_a_second_copy_that_intake_made_is_a_duplicate() -> None:
    """Intake may send what it took in once more under another offset; where it took it from tells."""
    partition = Partition(UPDATER)
    assert isinstance(partition.apply(event(at=0, event_id="a"), TOPIC, 0, ("clicks-0", 5)), Change)
    assert isinstance(partition.apply(event(at=1, event_id="b"), TOPIC, 1, ("clicks-1", 3)), Change)
    assert partition.apply(event(at=2, event_id="c"), TOPIC, 2, ("clicks-0", 5)) is Skipped.DUPLICATE
    again = restored(partition.take())
    assert again.offsets == {TOPIC: 2}
    assert again.apply(event(at=3, event_id="d"), TOPIC, 3, ("clicks-1", 2)) is Skipped.DUPLICATE
    assert isinstance(again.apply(event(at=4, event_id="e"), TOPIC, 4, ("clicks-1", 4)), Change)


def test_a_replayed_event_does_not_move_the_clock() -> None:
    partition = Partition(UPDATER)
    partition.apply(event(at=0), TOPIC, 5)
    partition.apply(event(at=DAY), TOPIC, 4)
    assert partition.watermark == T0


def test_who_was_never_seen_has_no_profile() -> None:
    partition = Partition(UPDATER)
    assert partition.state("ada") is None
    assert partition.published("ada") is None
    assert list(partition.users()) == []
    assert len(partition) == 0
    assert partition.stored_bytes("ada") == 0


def test_users_are_those_written_and_those_not_yet() -> None:
    partition = Partition(UPDATER)
    partition.apply(event(user="ada"))
    partition.take()
    partition.apply(event(user="bob"))
    assert sorted(partition.users()) == ["ada", "bob"]
    assert len(partition) == 2
    assert partition.stored_bytes("ada") > 0
    assert partition.stored_bytes("bob") == 0


def log_of(*events: Event, updater: ProfileUpdater = UPDATER) -> list[Record]:
    """Records, written after every event."""
    partition = Partition(updater)
    records: list[Record] = []
    for offset, each in enumerate(events):
        partition.apply(each, TOPIC, offset)
        records += partition.take()
    return records


def test_records_of_a_worker_that_had_lost_the_partition_are_ignored() -> None:
    """Whatever it writes late has a lower version, be it of a user, an item, a model or the partition itself."""
    visits = [event("view", 10 * n * MINUTE, item_id="ab"[n % 2]) for n in range(12)]
    events = [*visits, event("purchase", 2 * HOUR, item_id="a"), event("view", 2 * HOUR + 1, item_id="b")]
    records = log_of(*events)
    stale = log_of(*events[:10])
    assert {key[:1] for key, _ in stale} == {b"u", b"i", b"l", b"p"}
    assert content(restored([*records, *stale])) == content(restored(records))
    assert restored([*records, *stale]).offsets == {TOPIC: len(events) - 1}


def test_the_same_version_may_be_written_again() -> None:
    records = log_of(event(item_id="a"), event(at=1, item_id="b"))
    assert content(restored([*records, *records])) == content(restored(records))


def test_a_deleted_user_is_gone() -> None:
    records = log_of(event(user="ada", item_id="a"), event(user="bob", item_id="b"))
    partition = restored([*records, (b"uada", None)])
    assert list(partition.users()) == ["bob"]
    assert partition.state("ada") is None
    assert "ada" not in partition._deadlines


def test_a_user_id_may_be_anything() -> None:
    users = ["ü", "日本", "a\0b", " ", "u", "x" * 200]
    partition = restored(log_of(*(event(user=user, item_id=f"{user}\0i") for user in users)))
    assert sorted(partition.users()) == sorted(users)
    items = partition.shared.items[DEFINITION.embeddings[0].key]._items
    assert set(items) == {f"{user}\0i" for user in users[-4:]}


def test_time_alone_labels_what_waits() -> None:
    """Of all users, at the first event that is later, whoever it is of."""
    partition = Partition(BUYING)
    partition.apply(event("view", 0, "ada"))
    partition.apply(event("view", HOUR, "bob"))
    key = BUYING.targets[0].key
    assert partition.shared.learners[key].examples == 0
    partition.apply(event("search", DAY, "eve"))
    assert partition.shared.learners[key].examples == 0, "ada may still buy in this very moment"
    partition.apply(event("search", DAY + 1, "eve"))
    assert partition.shared.learners[key].examples == 1
    partition.apply(event("search", 3 * DAY, "eve"))
    assert partition.shared.learners[key].examples == 2
    for user in ("ada", "bob"):
        state = partition.state(user)
        assert state is not None
        assert state.slots[key][3] == []
        assert state.version == 1, "time changes no published value"
    assert partition.take_timed() == []


def test_a_restored_partition_keeps_its_appointments() -> None:
    records = log_of(event("view", 0, "ada"), event("view", HOUR, "bob"), updater=BUYING)
    deadlines = {key[1:]: header(value)[1] for key, value in records if key[:1] == b"u" and value is not None}
    assert deadlines == {b"ada": T0 + HOUR, b"bob": T0 + 2 * HOUR}, "of the target that waits for an hour"
    partition = restored(records, BUYING)
    partition.apply(event("search", 5 * HOUR, "eve"), TOPIC, 9)
    views, buys = (partition.shared.learners[BUYING.targets[n].key].examples for n in (1, 0))
    assert (views, buys) == (2, 0)
    assert sorted(key for key, _ in partition.take() if key[:1] == b"u") == [b"uada", b"ubob", b"ueve"]
    partition.apply(event("search", 2 * DAY, "eve"), TOPIC, 10)
    assert partition.shared.learners[BUYING.targets[0].key].examples == 2
    assert not partition._deadlines.keys() & {"ada", "bob"}


STAGES = ProfileUpdater(
    ProfileDefinition("shop", features=[Lifecycle("stage", new="1d", at_risk="2d", lost="5d"), Count("views")])
)


def test_a_stage_changes_when_nothing_arrives() -> None:
    """Whoever moves the clock tells of it; the changes come in the order in which they were due."""
    partition = Partition(STAGES)
    for number, user in enumerate(("bob", "ada")):
        partition.apply(event("view", number * HOUR, user), TOPIC, number)
    partition.apply(event("view", 3 * DAY, "eve", event_id="mover"), TOPIC, 2)
    changes = partition.take_timed()
    assert [(c.user_id, c.event_time - T0, c.changed["stage"]["stage"], c.version) for c in changes] == [
        ("bob", DAY + 1, "active", 2),
        ("ada", DAY + HOUR + 1, "active", 2),
        ("bob", 2 * DAY + 1, "at risk", 3),
        ("ada", 2 * DAY + HOUR + 1, "at risk", 3),
    ]
    assert {(c.event_id, c.snapshot, *c.removed) for c in changes} == {("mover", False)}
    assert all(c.changed.keys() == {"stage"} for c in changes)
    for user in ("ada", "bob"):
        profile = partition.published(user)
        assert profile is not None
        assert profile["stage"] == [c for c in changes if c.user_id == user][-1].changed["stage"]
    records = dict(partition.take())
    assert records.keys() == {b"uada", b"ubob", b"ueve", b"p"}
    assert partition.timed == ["bob", "ada"]
    partition.apply(event("view", 3 * DAY + 1, "eve"), TOPIC, 3)
    assert partition.take_timed() == []
    partition.take()
    assert partition.timed == [], "only those of the last write"


def test_the_one_who_moves_the_clock_may_be_one_whom_it_changes() -> None:
    partition = Partition(STAGES)
    partition.apply(event("view", 0, "ada"))
    change = partition.apply(event("view", 9 * DAY, "ada", event_id="back"))
    stages = [c.changed["stage"]["stage"] for c in partition.take_timed()]
    assert stages == ["active", "at risk", "lost"]
    assert isinstance(change, Change)
    assert (change.version, change.changed["stage"]["stage"], change.changed["stage"]["returns"]) == (5, "active", 1)


def test_an_event_that_is_skipped_may_move_the_clock() -> None:
    partition = Partition(STAGES)
    partition.apply(event("view", 0, "ada"))
    partition.apply(event("view", 0, "bob", event_id="same"))
    assert partition.apply(event("view", 2 * DAY, "bob", event_id="same")) is Skipped.DUPLICATE
    assert sorted(c.user_id for c in partition.take_timed()) == ["ada", "bob"]


def test_after_a_recovery_it_is_known_whom_time_changed_last() -> None:
    """Redis may lack it: whoever wrote it may have died before. What was written before that is there."""
    partition = Partition(STAGES)
    records = []
    for offset, (at, user) in enumerate([(0, "ada"), (HOUR, "bob"), (DAY + 1, "eve"), (DAY + HOUR + 1, "eve")]):
        partition.apply(event("view", at, user), TOPIC, offset)
        records += partition.take()
    assert partition.timed == ["bob"]
    assert restored(records, STAGES).timed == ["bob"]
    assert restored(compacted(records), STAGES).timed == ["bob"]
    assert restored([*records, *records], STAGES).timed == ["bob"]


def test_two_workers_that_wrote_side_by_side_may_each_have_died() -> None:
    records: list[Record] = []
    for user in ("ada", "bob"):
        about = decode_partition(dict(log_of(event("view", 0, user), updater=STAGES))[b"p"] or b"")
        about.timed = [user]
        records.append((b"p", encode(about)))
    assert restored(records, STAGES).timed == ["ada", "bob"]


def test_deadlines_that_every_event_moves_take_no_more_room_than_users() -> None:
    partition = Partition(STAGES)
    for number in range(20_000):
        partition.apply(event("view", number * MINUTE, f"user {number % 10}"))
    assert len(partition._deadlines) == 10
    assert len(partition._timers) < 2_000
    partition.apply(event("view", 100 * DAY, "eve"))
    lost = [c.user_id for c in partition.take_timed() if c.changed["stage"]["stage"] == "lost"]
    assert sorted(lost) == [f"user {number}" for number in range(10)]


def test_nor_do_those_of_a_long_changelog() -> None:
    partition, records = Partition(STAGES), list[Record]()
    for number in range(3_000):
        partition.apply(event("view", number * MINUTE, f"user {number % 10}"), TOPIC, number)
        records += [record for record in partition.take() if record[0] != b"p"]
    assert len(restored(records, STAGES)._timers) < 2_000


class Fails(Count):
    """Somebody's own feature, with an error in what time is to do with it."""

    def deadline(self, state: Any) -> int | None:
        due: int = state[0] + HOUR
        return due

    def expire(self, state: Any, now: int) -> Any:
        raise ValueError("no luck")


def test_what_fails_when_its_time_is_up_stops_nobody() -> None:
    partition = Partition(
        ProfileUpdater(ProfileDefinition("shop", features=[Fails("broken"), *STAGES.definition.features]))
    )
    for user in ("ada", "bob"):
        partition.apply(event("view", 0, user))
    partition.apply(event("view", 30 * DAY, "eve"))
    changes = partition.take_timed()
    assert {c.user_id for c in changes if c.failed} == {"ada", "bob"}
    assert [c.changed["stage"]["stage"] for c in changes if c.user_id == "bob" and c.changed] == [
        "active",
        "at risk",
        "lost",
    ]


def test_a_learner_that_cannot_be_read_begins_anew_and_the_rest_goes_on() -> None:
    events = list(shop_events(2, users=10, items=20, events=600))
    partition = Partition(HEAVY)
    records: list[Record] = []
    with patch.object(journal, "_LESSONS_A_STATE", 50):
        for offset, each in enumerate(events):
            partition.apply(each, TOPIC, offset)
            if offset % 50 == 49:
                records += partition.take()
        learning: list[Any] = [*HEAVY.targets, *HEAVY.monitors]
        keys = {each.name: each.key for each in learning}
        broken = {b"l" + keys[name].encode() for name in ("sees", "does", "strange")}
        damaged = [
            (key, encode_body(header(value)[0], "of another release") if key in broken and value else value)
            for key, value in records
        ]
        again = restored(damaged, HEAVY)
        assert [problem.partition(":")[0] for problem in again.unreadable] == ["sees", "does", "strange"]
        sizes = {name: report["examples"] for name, report in again.metrics().items()}
        assert sizes["sees"] == sizes["does"] == again.shared.watchers[keys["strange"]].running.examples == 0
        assert sizes["buys"] == partition.metrics()["buys"]["examples"] > 0
        assert again.published("u000001") == partition.published("u000001")
        # What it learns from now on is stored, and what could not be read is not in the way.
        later = list(shop_events(3, users=10, items=20, events=600))
        for offset, each in enumerate(later, start=len(events)):
            again.apply(each, TOPIC, offset)
            if offset % 50 == 49:
                damaged += again.take()
        damaged += again.take()
        once_more = restored(damaged, HEAVY)
    assert once_more.unreadable == []
    assert once_more.metrics() == again.metrics()


def test_appointments_are_kept_in_the_order_of_their_time() -> None:
    """Models learn in it, so it must not depend on who is in memory."""
    users = [f"user-{number}" for number in range(20)]
    order = list(users)
    random.Random(3).shuffle(order)
    learned = []
    for arrivals in (users, order):
        partition = Partition(UPDATER)
        for user in arrivals:
            at = users.index(user)
            partition.apply(event("view", at * SECOND, user, price=float(at)), TOPIC, None)
        partition.apply(event("search", 5 * DAY, "eve"))
        learned.append([learner.state() for learner in partition.shared.learners.values()])
    assert learned[0] == learned[1]


def test_another_definition_takes_over_what_it_still_has() -> None:
    records = log_of(
        *(event("view", n * HOUR, item_id="ab"[n % 2], category="c", price=1.0) for n in range(30)),
    )
    new = ProfileUpdater(
        ProfileDefinition(
            "shop",
            features=[*DEFINITION.features[:3], Count("everything")],
            targets=[Target("buys", label=Happens("purchase", within="2d"))],
            embeddings=[DEFINITION.embeddings[1], BehaviourEmbedding("new")],
        )
    )
    partition = restored(records, new)
    before = restored(records).published("ada")
    assert before is not None
    change = partition.apply(event("cart", 40 * HOUR, category="c"), TOPIC, 99)
    assert isinstance(change, Change)
    assert change.version == 31
    assert change.snapshot
    assert change.changed["views"] == before["views"]
    assert change.changed["everything"] == {"total": 1}
    assert {"recent", "taste", "views"} - set(change.removed) == {"views"}
    assert len(partition.shared.items[DEFINITION.embeddings[1].key]) == 1
    assert len(partition.shared.items[new.embeddings[1].key]) == 0
    assert partition.shared.learners[new.targets[0].key].examples == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"uada", b"\x03" + bytes(16)),
        (b"uada", b"\x01"),
        (b"p", b"\x07" + bytes(16)),
        (b"lbuys:1", encode_body(1, [])[:-1]),
        (b"itaste:1\0a", b"\xff" * 40),
    ],
)
def test_a_record_that_cannot_be_read_is_said(key: bytes, value: bytes) -> None:
    with pytest.raises(StateError):
        Partition(UPDATER).restore(key, value)


def test_records_of_kinds_of_later_releases_are_passed_over() -> None:
    records = log_of(event(item_id="a"))
    assert content(restored([*records, (b"zsomething", b"new")])) == content(restored(records))


def test_what_is_written_is_what_is_there() -> None:
    partition = Partition(UPDATER)
    for offset, each in enumerate(shop_events(8, users=5, items=10, events=200)):
        partition.apply(each, TOPIC, offset)
    records = dict(partition.take())
    for user in partition.users():
        value = records[b"u" + user.encode()]
        assert value is not None
        assert decode_profile(value) == partition.state(user)
        assert partition.stored_bytes(user) == len(value)
    about = records[b"p"]
    assert about is not None
    assert decode_partition(about).watermark == partition.watermark


def test_what_is_due_for_very_many_users_is_done_event_by_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a long silence: not all of it in one write, and the same after a restart in the middle of it."""
    monkeypatch.setattr("stream_profiles.partition._TIMERS_AN_EVENT", 30)
    updater = ProfileUpdater(
        ProfileDefinition("shop", features=[Lifecycle("stage", new="1d", at_risk="2d", lost="4d")])
    )

    def run(restart_after: int | None) -> tuple[list[int], list[Any]]:
        partition, records = Partition(updater), list[Record]()
        for number in range(100):
            partition.apply(event("view", number, f"user-{number:03}"), TOPIC, number)
        counts, changes = [], []
        for number in range(15):
            partition.apply(event("view", 30 * DAY + number, "somebody"), TOPIC, 100 + number)
            timed = partition.take_timed()
            counts.append(len(timed))
            changes += [(change.user_id, change.changed["stage"]["stage"], change.event_time) for change in timed]
            records += partition.take()
            if number == restart_after:
                partition = restored(records, updater)
        assert {partition.published(f"user-{n:03}")["stage"]["stage"] for n in range(100)} == {"lost"}  # type: ignore[index]
        return counts, changes

    counts, changes = run(None)
    assert counts == [30] * 10 + [0] * 5
    assert [time for _, _, time in changes] == sorted(time for _, _, time in changes)
    assert run(4) == (counts, changes)
