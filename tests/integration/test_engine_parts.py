"""What a definition may be made of, live: models of every kind, changes that time makes, a definition that changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream_profiles import Event, Partition
from stream_profiles.client import ProfileClient
from stream_profiles.contracts import ProfileDelta
from stream_profiles.dev.shop import shop_events
from stream_profiles.errors import SettingsError
from stream_profiles.partitioner import Partitioner

from .live import Live, Oracle, assert_same

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PARTS = Path(__file__).with_name("parts.py")
DAY = 86_400_000
T0 = 1_700_000_000_000


def test_every_part_survives_kills_a_restart_and_a_rebalance(live: Live) -> None:
    live.use_definition(live.example(PARTS))
    live.environment |= {"STREAM_PROFILES_LOG_EVERY": "1s", "STREAM_PROFILES_MAX_UNWRITTEN_EVENTS": "300"}
    events = list(shop_events(seed=3, users=80, items=200, events=6_000))
    live.feed(events[:4_000])
    for end in (live.kill, live.kill, live.stop):
        before = live.applied()
        worker = live.start()
        live.wait_until(lambda before=before: live.applied() > before + 200, "in mid-stream")
        assert end(worker) in (None, 0)
    assert live.applied() < 4_000, "all of this happened in mid-stream"
    first, _ = live.start(), live.start()
    live.feed(events[4_000:])
    live.wait_until(lambda: live.applied() > 5_000, "on with two workers")
    assert live.stop(first) == 0
    live.wait_until_applied()

    oracle = live.follow(events)
    assert_something_of_everything(oracle, events)
    live.assert_follows(oracle)
    assert live.dead_letters() == []
    for restored, kept in zip(live.partitions(), oracle.partitions, strict=True):
        assert_same_models(restored, kept)
    reports = {
        str(n).encode(): msgspec.json.encode(partition.metrics()) for n, partition in enumerate(oracle.partitions)
    }
    live.wait_until(lambda: live.redis.hgetall(live.names.redis_metrics) == reports, "reported")

    # What fails is switched off for that event, counted, and said with the event's id.
    said, failed = live.log.read_text(), {change.event_id for change in oracle.changes if change.failed}
    warned = r"field moody failed on event (\S+) and stays as it was: ZeroDivisionError: not this item"
    assert set(re.findall(warned, " ".join(said.split()))) == failed
    assert "failed field updates" in said


def assert_something_of_everything(oracle: Oracle, events: list[Event]) -> None:
    """Whether the test has tried what it is there for."""
    users = {event.event_id: event.user_id for event in events}
    of_others = [change for change in oracle.timed if users[change.event_id] != change.user_id]
    assert {name for change in of_others for name in change.changed} == {"life", "persona", "lost", "busy"}
    changed = {name for change in oracle.changes for name in change.changed}
    assert changed == set(oracle.definition.field_names)
    reports = [partition.metrics() for partition in oracle.partitions]
    assert sum(report["buys_soon"]["promotions"] for report in reports)
    assert sum(report["buys_soon"]["drifts"] for report in reports)
    # More lessons than are kept before the state is stored again.
    assert max(report["goes_on"]["examples"] for report in reports) > 1_500
    assert min(report[target]["examples"] for report in reports for target in report) > 20


def assert_same_models(restored: Partition, kept: Partition) -> None:
    """Whether the models of two partitions say the same of anything."""
    for key, learner in kept.shared.learners.items():
        other = restored.shared.learners[key]
        names = learner._rules.names
        for probe in range(20):
            inputs = {name: float((probe * (place + 3)) % 7) for place, name in enumerate(names)}
            assert other.predict(inputs) == learner.predict(inputs), key
        assert other.report() == learner.report()
    for key, watcher in kept.shared.watchers.items():
        other_watcher = restored.shared.watchers[key]
        assert other_watcher.running.examples == watcher.running.examples > 40
        for probe in range(20):
            inputs = {name: float((probe * (place + 3)) % 7) for place, name in enumerate(watcher._names)}
            assert other_watcher.running.predict(inputs) == watcher.running.predict(inputs), key


WAITING = """
from stream_profiles import Count, Lifecycle, ProfileDefinition, Segment
shop = ProfileDefinition(
    "shop",
    features=[Count("views"), Lifecycle("life", new="1d", at_risk="2d", lost="4d")],
    segments=[Segment("lost", where='life.stage == "lost"')],
)
"""


def test_what_time_changed_gets_to_redis_whatever_happens_to_the_worker(live: Live) -> None:
    """Killed between changelog and Redis, twice; the user never comes back, so that no event brings the profile."""
    live.use_definition(WAITING.replace('"shop"', f'"{live.names.definition}"', 1))
    ada, eve, number = _users_of_one_partition(live.settings.partitions)
    events = [
        Event(event_id="a", user_id=ada, type="view", time=T0),
        Event(event_id="b", user_id=eve, type="view", time=T0 + 1),
        Event(event_id="c", user_id=eve, type="view", time=T0 + 10 * DAY),
    ]
    key = live.names.redis_profile(ada)

    def in_redis() -> Any:
        return msgspec.json.decode(live.redis.hget(key, "life"))["stage"]

    worker = live.start()
    live.feed(events[:2])
    live.wait_until_applied()
    assert in_redis() == "new"
    with refusing(live):
        live.feed(events[2:])
        live.wait_until(lambda: _stage(live.partitions()[number], ada) == "lost", "in the changelog")
        live.kill(worker)
        assert in_redis() == "new", "the case this is about"

    # The next worker brings it to Redis, and has the same happen to it.
    written = len(live.records(live.names.changelog))
    worker = live.start()
    live.wait_until(lambda: live.log.read_text().count("connected to Kafka") == 2, "connected")
    with refusing(live):
        live.wait_until(lambda: len(live.records(live.names.changelog)) > written, "in the changelog again")
        live.kill(worker)
        assert in_redis() == "new"

    worker = live.start()
    live.wait_until(lambda: in_redis() == "lost", "in Redis")
    live.wait_until_applied()
    live.assert_exact(events)
    deltas = [msgspec.json.decode(value, type=ProfileDelta) for value in live.deltas()[ada]]
    assert [(delta.version, delta.event_id, delta.changed["life"]["stage"]) for delta in deltas] == [
        (1, "a", "new"),
        (2, "c", "active"),
        (3, "c", "at risk"),
        (4, "c", "lost"),
    ]
    assert live.stop(worker) == 0


@contextmanager
def refusing(live: Live) -> Iterator[None]:
    """A Redis that can be read and takes nothing."""
    live.redis.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        live.redis.replicaof("NO", "ONE")


def _users_of_one_partition(partitions: int) -> tuple[str, str, int]:
    partitioner = Partitioner(partitions)
    number = partitioner(b"ada")
    return "ada", next(f"eve{n}" for n in count() if partitioner(f"eve{n}".encode()) == number), number


def _stage(partition: Partition, user: str) -> Any:
    published: Any = partition.published(user)
    return published["life"]["stage"]


#: What becomes of parts.py: what is there, and what is there then.
CHANGES = {
    # gone
    '        Last("device", of="device"),\n': "",
    '        Segment("busy", where=\'field("views.last_1h") > 3\', every="30m"),\n': "",
    ", on a {device}.": ".",
    'Hash("device", 4), "views"': '"views"',
    # another
    'half_life="7d", window="3d"': 'half_life="7d", window="5d"',
    'of="purchases.total", to="views.total"': 'of="views.1d", to="views.total"',
    "purchases.total < 2": "purchases.total < 3",
    "Churn(after=": 'Churn(on="view", after=',
    # new
    '        Moody("moody"),\n': '        Moody("moody"),\n        Count("searches", on="search"),\n',
    '        Clusters("group"': '        Segment("gone", where="life.stage != \'new\'", every="6h"),\n'
    '        Clusters("group"',
    '        Anomaly("unusual"': '        Target("returns", label=Happens("refund", within="3d"), inputs=["views"]),\n'
    '        Anomaly("unusual"',
}
GONE = {"device", "busy"}
NEW = {"searches", "gone", "returns"}
#: They, or what they are made of, are others now.
OTHERS = {"spend", "buys_per_view", "persona", "buys_soon", "promising", "churns", "category"}


def test_a_definition_that_changed_keeps_all_the_rest(live: Live) -> None:
    source = live.example(PARTS)
    events = list(shop_events(seed=5, users=40, items=100, events=3_000))
    # Some are not seen after the change, other than by the clock.
    late = {event.user_id for event in events[1_500:]}
    away = sorted(late & {event.user_id for event in events[:1_500]})[:10]
    events = events[:1_500] + [event for event in events[1_500:] if event.user_id not in away]

    live.use_definition(source)
    first = live.start()
    live.feed(events[:1_500])
    live.wait_until_applied()
    unchanged, oracle = live.follow(events), live.follow(events[:1_500])
    live.assert_follows(oracle)
    with ProfileClient(live.redis_url, live.names.definition) as client:
        before = client.get_many(away)
        assert live.stop(first) == 0
        oracle.stop()

        for old, new in CHANGES.items():
            assert source.count(old) == 1, old
            source = source.replace(old, new)
        live.use_definition(source)
        oracle.use(live.definition)
        changes = len(oracle.changes)
        oracle.apply(events[1_500:])
        live.start()
        live.feed(events[1_500:])
        live.wait_until_applied()

        assert live.deltas() == oracle.deltas
        expected, found = oracle.profiles(), live.in_redis()
        touched = {change.user_id for change in oracle.changes[changes:] if change.snapshot}
        assert touched > late - set(away) and touched & set(away), "time alone brings the change to some"
        assert_same({user: found[user] for user in touched}, {user: expected[user] for user in touched})
        from_deltas = live.from_deltas()
        assert_same({user: from_deltas[user] for user in touched}, {user: expected[user] for user in touched})
        for user in touched:
            assert not GONE & found[user].keys()

        # Whatever the change was not about goes on as if there had been none.
        kept = set(unchanged.definition.field_names) - GONE - OTHERS
        never = unchanged.profiles()
        assert_same(*({user: _only(kept, of[user]) for user in never} for of in (found, never)))
        for name in ("goes_on", "spends"):
            for partition, other in zip(live.partitions(), unchanged.partitions, strict=True):
                assert partition.metrics()[name] == other.metrics()[name]

        # A reader that was there before reads on.
        profiles = client.get_many(found)
        for user, profile in profiles.items():
            assert profile is not None
            assert set(profile.values) == set(found[user]) - {"_version", "_event_time"} - GONE, user
        assert all(profiles[user].version >= before[user].version for user in away)  # type: ignore[union-attr]
        assert any("searches" in profile.values for profile in profiles.values() if profile is not None)
        with pytest.raises(SettingsError, match="have no field 'device'"):
            client.get(away[0], fields=["device"])
    snapshots = [delta for delta in map(_delta, _values(live)) if delta.snapshot and delta.version > 1]
    assert {delta.user_id for delta in snapshots} == touched & {event.user_id for event in events[:1_500]}
    for delta in snapshots:
        assert not GONE & delta.changed.keys() and set(delta.removed) <= GONE | OTHERS


def _only(names: set[str], profile: dict[str, bytes]) -> dict[str, bytes]:
    return {name: value for name, value in profile.items() if name in names}


def _values(live: Live) -> list[bytes]:
    return [value for values in live.deltas().values() for value in values]


def _delta(value: bytes) -> ProfileDelta:
    return msgspec.json.decode(value, type=ProfileDelta)
