"""What an earlier release stored: this one goes on from it as the earlier one would have."""

from __future__ import annotations

import gzip
import struct
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream_profiles import (
    BehaviourEmbedding,
    Change,
    Count,
    Event,
    EWMean,
    First,
    Happens,
    Last,
    LogisticRegression,
    Partition,
    ProfileDefinition,
    ProfileUpdater,
    RecentItems,
    Sessions,
    Skipped,
    Sum,
    Target,
    TimeSince,
    TopK,
)
from stream_profiles.dev.shop import shop_events
from stream_profiles.models.metrics import BinaryMetrics
from stream_profiles.partition import Record
from stream_profiles.state import FORMAT, decode_body, header

DATA = msgspec.json.decode(gzip.decompress((Path(__file__).parent / "data/state_format_1.json.gz").read_bytes()))
#: Of each field a value as that release published it.
KNOWN: dict[str, Any] = {name: value for profile in DATA["published"].values() for name, value in profile.items()}
RECORDS: list[Record] = [(b64decode(key), b64decode(value)) for key, value in DATA["records"]]
EVENTS = list(shop_events(3, users=12, items=40, events=1_500))
APPLIED = 1_400
DAY = 86_400_000

#: `examples/shop.py` of the release that stored it.
SHOP = ProfileDefinition(
    "shop",
    event_types=("view", "search", "cart", "purchase", "refund"),
    features=[
        Count("views", on="view", half_life=("1h", "1d", "30d")),
        Count("searches", on="search", half_life="1d"),
        Count("carts", on="cart", half_life=("1h", "1d")),
        Count("purchases", on="purchase", half_life=("1d", "30d")),
        TimeSince("last_purchase", on="purchase"),
        Sessions("sessions", gap="30m"),
        Sum("spend", of="amount", on=("purchase", "refund"), half_life="30d"),
        EWMean("price", of="price", on=("view", "cart", "purchase"), half_life="7d"),
        First("first_channel", of="channel"),
        Last("country", of="country"),
        Last("device", of="device"),
        TopK("categories", of="category", on=("view", "cart", "purchase"), k=5, half_life="7d"),
        TopK("searched", of="query", on="search", k=5, half_life="30d"),
        RecentItems("recent_items", on=("view", "cart", "purchase"), n=10),
    ],
    targets=[
        Target(
            "buys_soon",
            label=Happens("purchase", within="1d"),
            on=("view", "cart", "purchase"),
            inputs=("views", "carts", "purchases", "last_purchase", "spend"),
            every="10m",
        ),
    ],
    embeddings=[
        BehaviourEmbedding("taste", of="item_id", on=("view", "cart", "purchase"), half_life="30d"),
    ],
)
UPDATER = ProfileUpdater(SHOP)
KEY = UPDATER.targets[0].key


def restored(records: list[Record], updater: ProfileUpdater = UPDATER) -> Partition:
    partition = Partition(updater)
    for key, value in records:
        partition.restore(key, value)
    partition.restored()
    assert partition.unreadable == []
    return partition


def as_json(profile: dict[str, Any] | None) -> Any:
    assert profile is not None
    values = {name: b64encode(value).decode() if type(value) is bytes else value for name, value in profile.items()}
    return msgspec.json.decode(msgspec.json.encode(values))


def of_then(value: Any, then: Any) -> Any:
    """What a value says of what an earlier release said; releases add to what a feature publishes."""
    return {name: value.get(name) for name in then} if isinstance(value, dict) else value


def learner_of(records: list[Record]) -> list[Any]:
    """The stored model and metrics of the target."""
    [value] = [value for key, value in records if key == b"l" + KEY.encode()]
    assert value is not None
    stored: list[Any] = decode_body(value)[1]
    return stored


def go_on(partition: Partition, events: list[Event], start: int = APPLIED) -> list[Change]:
    changes = []
    for offset, each in enumerate(events, start=start):
        change = partition.apply(each, "t", offset)
        assert isinstance(change, Change)
        assert change.failed == {}
        changes.append(change)
    return changes


def test_the_records_are_of_the_first_format() -> None:
    assert {value[0] for _, value in RECORDS if value} == {1}
    assert {key[:1] for key, _ in RECORDS} == {b"u", b"i", b"l", b"p"}


def test_profiles_are_published_as_they_were() -> None:
    partition = restored(RECORDS)
    assert sorted(partition.users()) == sorted(DATA["published"])
    for user, profile in DATA["published"].items():
        published = as_json(partition.published(user))
        assert published.keys() == profile.keys()
        for name, value in profile.items():
            assert of_then(published[name], value) == value


def test_where_it_stopped_is_known() -> None:
    partition = restored(RECORDS)
    assert partition.offsets == {"t": APPLIED - 1}
    assert partition.watermark == max(each.time for each in EVENTS[:APPLIED])
    assert partition.apply(EVENTS[APPLIED - 1], "t", APPLIED - 1) is Skipped.REPLAYED
    assert partition.timed == []


def test_the_model_goes_on() -> None:
    """The same weights, so the same scores; the metrics go on, and the baselines beside them begin."""
    learner = restored(RECORDS).shared.learners[KEY]
    model, metrics = learner_of(RECORDS)
    examples, _, _, _, weights, intercept, *_ = model
    assert learner.examples == examples == 158
    assert learner.champion.running.state() == model
    assert weights and intercept
    assert learner.evaluation.model.state() == BinaryMetrics(metrics).state()
    assert metrics == DATA["metrics"]["buys_soon"]
    inputs = dict.fromkeys(weights, 1.5)
    again = LogisticRegression().start("binary", learner_of(RECORDS)[0])
    assert learner.predict(inputs) == [0, again.predict(inputs)]


def test_what_waited_for_its_label_gets_it() -> None:
    """Each example with the score it was given then, the inputs it was given from, and what happened."""
    partition = restored(RECORDS)
    waiting: dict[str, list[Any]] = {}
    for user in DATA["published"]:
        state = partition.state(user)
        assert state is not None
        for example in state.slots[KEY][3] if KEY in state.slots else ():
            assert len(example) == 4 and type(example[1]) is float
            waiting.setdefault(user, []).append(example)
    assert len(waiting) == 2
    buyer = min(waiting)
    settled: list[Any] = []
    partition.shared.learners[KEY].observer = lambda score, label, last, time: settled.append(
        [score, label, last, time]
    )
    learned: Any = Recorder(partition.shared.learners[KEY].champion.running)
    partition.shared.learners[KEY].champion.running = learned
    now = partition.watermark
    bought = Event(event_id="a purchase", user_id=buyer, type="purchase", time=now + 1, price=5.0)
    later = Event(event_id="much later", user_id="somebody", type="search", time=now + 30 * DAY)
    go_on(partition, [bought, later])
    for user, examples in waiting.items():
        for deadline, score, _, packed in examples:
            at = settled.index([score, user == buyer, None, deadline - DAY])
            numbers = struct.unpack(f"<{len(packed) // 8}d", packed)
            assert tuple(learned.inputs[at].values())[: len(numbers)] == numbers
            assert sum(learned.inputs[at][f"type={type}"] for type in ("view", "cart", "purchase")) == 1.0


def test_the_remaining_events_apply() -> None:
    """To the same features as without a stop; what is learned differs, as labels are learned when their time is up."""
    whole = Partition(UPDATER)
    go_on(whole, EVENTS[:APPLIED], 0)
    partition = restored(RECORDS)
    changes, expected = go_on(partition, EVENTS[APPLIED:]), go_on(whole, EVENTS[APPLIED:])
    seen = set[str]()
    for change, other in zip(changes, expected, strict=True):
        assert (change.user_id, change.version, change.removed) == (other.user_id, other.version, [])
        first = change.user_id not in seen and change.version > 1
        assert change.snapshot == (first or change.version == 1), "told whole once, then by what changes"
        seen.add(change.user_id)
        for name in other.changed.keys() - {"buys_soon"}:
            assert of_then(change.changed[name], KNOWN[name]) == of_then(other.changed[name], KNOWN[name])


class Recorder:
    """A model at work, and what it was taught from."""

    def __init__(self, running: Any) -> None:
        self._running = running
        self.inputs: list[dict[str, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._running, name)

    def learn(self, inputs: dict[str, float], label: Any) -> None:
        self.inputs.append(inputs)
        self._running.learn(inputs, label)


@pytest.mark.parametrize("stop", [1, 30, 60])
def test_what_is_written_from_now_on_is_of_this_format(stop: int) -> None:
    """A worker may stop again at any time: old records and new ones are restored together."""
    kept, partition = restored(RECORDS), restored(RECORDS)
    later = EVENTS[APPLIED:]
    go_on(kept, later)
    go_on(partition, later[:stop])
    written = partition.take()
    assert {value[0] for _, value in written if value} == {FORMAT}
    again = restored([*RECORDS, *written])
    go_on(again, later[stop:], APPLIED + stop)
    assert again.metrics() == kept.metrics()
    for user in kept.users():
        assert again.published(user) == kept.published(user)
        assert again.state(user) == kept.state(user)
    kept_records, again_records = dict(kept.take()), dict(again.take())
    for key, value in again_records.items():
        if value is not None and key[:1] == b"u":
            assert value == kept_records[key]


def test_a_definition_that_says_more_goes_on_too() -> None:
    """What a release added to a feature or a target is new; what was there before stays."""
    more = ProfileDefinition(
        "shop",
        features=[*SHOP.features, Count("visits_a_week", on="view", window="7d")],
        targets=SHOP.targets,
        embeddings=SHOP.embeddings,
    )
    partition = restored(RECORDS, ProfileUpdater(more))
    assert partition.metrics()["buys_soon"]["examples"] == 158
    user = EVENTS[APPLIED].user_id
    change = go_on(partition, EVENTS[APPLIED : APPLIED + 1])[0]
    assert change.snapshot and change.removed == []
    assert change.changed["views"]["total"] >= DATA["published"][user]["views"]["total"]


def test_deadlines_are_in_the_records() -> None:
    waiting = {key[1:].decode() for key, value in RECORDS if key[:1] == b"u" and value and header(value)[1]}
    assert restored(RECORDS)._deadlines.keys() == waiting
