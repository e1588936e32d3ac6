"""The whole way, on a real Kafka and a real Redis: events in, exactly the oracle's profiles out, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import time

import msgspec
import pytest

from stream_profiles import Event
from stream_profiles.dev.shop import shop_events
from stream_profiles.engine.topics import admin, create_topics, plan_topics
from stream_profiles.settings import load_settings

from .live import Live, assert_same, real_events

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def test_profiles_and_deltas_are_the_oracles(live: Live) -> None:
    events = real_events(25_000)
    worker = live.start()
    live.feed(events)
    live.wait_until_applied()
    live.assert_exact(events)
    assert live.dead_letters() == []
    assert live.stop(worker) == 0


def test_restart_in_mid_stream(live: Live) -> None:
    events = real_events(20_000)
    live.feed(events)
    first = live.start()
    live.wait_until(lambda: live.applied() > 2_000, "in mid-stream")
    assert live.stop(first) == 0
    live.start()
    live.wait_until_applied()
    live.assert_exact(events)


def test_sigkill_in_mid_stream(live: Live) -> None:
    events = list(shop_events(seed=3, users=300, events=24_000))
    live.feed(events)
    for kills in range(1, 4):
        worker = live.start()
        live.wait_until(lambda kills=kills: live.applied() > kills * 4_000, "in mid-stream")
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    live.start()
    live.wait_until_applied()
    live.assert_exact(events)


def test_rebalance_between_two_workers(live: Live) -> None:
    events = real_events(30_000)
    live.feed(events[:15_000])
    first = live.start()
    live.wait_until(lambda: live.applied() > 2_000, "in mid-stream")
    live.start()
    live.feed(events[15_000:25_000])
    live.wait_until(lambda: live.applied() > 12_000, "on with two workers")
    assert live.stop(first) == 0
    live.feed(events[25_000:])
    live.wait_until_applied()
    live.assert_exact(events)


def test_one_of_two_workers_is_killed(live: Live) -> None:
    events = list(shop_events(seed=4, users=300, events=20_000))
    live.feed(events[:10_000])
    first = live.start()
    live.start()
    live.wait_until(lambda: live.applied() > 2_000, "in mid-stream")
    first.send_signal(signal.SIGKILL)
    live.feed(events[10_000:])
    live.wait_until_applied()
    live.assert_exact(events)


def test_intake_and_profiles_in_workers_of_their_own(live: Live) -> None:
    events = list(shop_events(seed=5, users=200, events=6_000))
    live.feed(events)
    live.start("--only", "profiles")
    intake = live.start("--only", "intake")
    live.wait_until(lambda: live.applied() > 500, "in mid-stream")
    intake.send_signal(signal.SIGKILL)
    live.start("--only", "intake")
    live.wait_until_applied()
    live.assert_exact(events)


def test_bad_input_is_set_aside_and_stops_nothing(live: Live) -> None:
    events = list(shop_events(seed=6, users=50, events=500))
    good = {"event_id": "x", "user_id": "ada", "type": "view", "time": 1_700_000_000_000}
    far = int(time.time() * 1000) + 86_400_000
    bad = {
        "not a JSON object": b"{not json",
        "not a JSON object: ": b"[1, 2]",
        "user_id is missing": json.dumps({**good, "user_id": None}).encode(),
        "price is not a number": json.dumps({**good, "price": "dear"}).encode(),
        "time is not": json.dumps({**good, "time": "yesterday"}).encode(),
        "time too far in the future": json.dumps({**good, "time": far}).encode(),
        "unknown event type": json.dumps({**good, "type": "teleport"}).encode(),
        "record too large": json.dumps({**good, "text": "x" * 2_000_000}).encode(),
        "not a JSON object:": b"\xff\xfe",
        "user_id is longer": json.dumps({**good, "user_id": "u" * 300}).encode(),
    }
    live.environment["STREAM_PROFILES_LOG_EVERY"] = "1s"
    worker = live.start()
    live.feed(events[:250])
    live.feed_raw([(b"k", value) for value in bad.values()])
    live.feed(events[250:])
    live.wait_until_applied()
    live.assert_exact(events)

    letters = live.dead_letters()
    reasons = [letter.reason for letter in letters]
    assert len(letters) == len(bad)
    for reason in bad:
        assert any(each.startswith(reason) for each in reasons), (reason, reasons)
    values = list(bad.values())
    for letter in letters:
        assert letter.topic in (live.names.clicks, live.names.events)
        if letter.topic == live.names.clicks:
            assert letter.value is not None
            assert any(value.startswith(letter.value) and letter.size == len(value) for value in values)
    assert live.stop(worker) == 0
    assert f"{len(bad)} dead letters" in live.log.read_text()


def test_redis_that_forgot_is_written_again(live: Live) -> None:
    events = list(shop_events(seed=7, users=20, events=2_000))
    live.start()
    live.feed(events[:1_000])
    live.wait_until_applied()
    for key in live.redis.scan_iter(f"{live.names.redis_profile('')}*"):
        live.redis.delete(key)
    live.feed(events[1_000:])
    live.wait_until_applied()
    oracle = live.follow(events[:1_000])
    before = len(oracle.changes)
    expected, found = oracle.apply(events[1_000:]).profiles(), live.in_redis()
    assert found == {user: expected[user] for user in found}
    assert {change.user_id for change in oracle.changes[before:]} == found.keys()


def test_redis_that_lost_everything_is_filled_again(live: Live) -> None:
    events = list(shop_events(seed=9, users=60, events=2_000))
    first = live.start()
    live.feed(events)
    live.wait_until_applied()
    assert live.stop(first) == 0
    for key in live.redis.scan_iter(f"{live.names.redis_profile('')}*"):
        live.redis.delete(key)
    live.start("--refresh-redis")
    expected = live.oracle(events)
    live.wait_until(lambda: live.in_redis().keys() == expected.keys(), "filled again")
    live.assert_exact(events)


def test_deleted_topics_start_anew(live: Live) -> None:
    """What Redis still has of the profiles that were in them gives way, however high its versions are."""
    first = live.start()
    live.feed(shop_events(seed=11, users=20, events=1_500))
    live.wait_until_applied()
    assert live.stop(first) == 0
    live.recreate_topics()
    again = list(shop_events(seed=11, users=20, events=600))
    live.start()
    live.feed(again)
    live.wait_until_applied()
    expected, found = live.oracle(again), live.in_redis()
    assert_same({user: found[user] for user in expected}, expected)


def test_redis_that_does_not_answer_holds_back_and_loses_nothing(live: Live) -> None:
    events = list(shop_events(seed=10, users=60, events=3_000))
    live.start()
    live.feed(events[:500])
    live.wait_until_applied()
    redis_process = live.redis.info()["process_id"]
    os.kill(redis_process, signal.SIGSTOP)
    try:
        live.feed(events[500:])
        # Longer than a write may take before it is tried again.
        live.wait_until(lambda: "tried again" in live.log.read_text(), "said")
    finally:
        os.kill(redis_process, signal.SIGCONT)
    live.wait_until_applied()
    live.assert_exact(events)


def test_a_definition_that_changed(live: Live) -> None:
    events = list(shop_events(seed=8, users=20, events=2_000))
    source = (live.folder / "definition_0.py").read_text()
    first = live.start()
    live.feed(events[:1_000])
    live.wait_until_applied()
    before = live.in_redis()
    assert live.stop(first) == 0
    live.use_definition(source.replace('Count("searches"', 'Count("lookups"'))
    live.start()
    live.feed(events[1_000:])
    live.wait_until_applied()
    after, deltas = live.in_redis(), live.from_deltas()
    kept = live.oracle(events)
    changed = {event.user_id for event in events[1_000:]}
    for user in changed & before.keys():
        assert "searches" not in after[user]
        for name in ("views", "spend", "sessions", "recent_items", "categories"):
            assert after[user].get(name) == kept[user].get(name)
        assert after[user] == deltas[user]


def test_a_wrong_partition_count_is_a_clear_error(live: Live) -> None:
    live.environment["STREAM_PROFILES_PARTITIONS"] = "8"
    worker = live.start()
    assert worker.wait(30) == 2
    said = live.log.read_text()
    assert "has 4 partitions, not 8" in " ".join(said.split()) and "Traceback" not in said


def test_several_inputs_with_mappings_and_a_keyed_one(live: Live) -> None:
    """Users are told apart by topic, since what comes first of two topics is anybody's guess."""
    name = live.names.definition
    live.use_definition(
        "from stream_profiles import Count, Last, ProfileDefinition, Sum\n"
        f'shop = ProfileDefinition("{name}", features=[Count("views", on="view", half_life="1d"), '
        'Sum("spend", of="amount", on="purchase"), Last("country", of="country")])\n'
    )
    config = live.folder / "deployment.toml"
    config.write_text(
        f"""
        [[inputs]]
        topic = "{name}-web"
        [inputs.mapping.fields]
        user_id = "visitor.id"
        type = "event_name"
        time = "ts"
        price = "product.price"
        [inputs.mapping.values.type]
        page_view = "view"
        order = "purchase"
        [[inputs.mapping.rules]]
        when = 'contains(agent, "bot")'
        drop = "bot"

        [[inputs]]
        topic = "{name}-app"
        keyed = true
        """
    )
    with admin(live.kafka) as client:
        create_topics(client, plan_topics(live.names, load_settings(config), texts=True), 1)
    start = 1_700_000_000_000
    web = [
        {
            "visitor": {"id": f"web-{n % 7}"},
            "event_name": "order" if n % 5 == 0 else "page_view",
            "ts": start + n,
            "product": {"price": n},
            "agent": "a bot" if n % 10 == 9 else "a browser",
        }
        for n in range(300)
    ]
    app = [
        Event(event_id=f"app-{n}", user_id=f"app-{n % 5}", type="view", time=start + n, country="PT")
        for n in range(200)
    ]
    live.start("--config", str(config))
    live.feed_raw([(b"any", json.dumps(record).encode()) for record in web], f"{name}-web")
    encode = msgspec.json.encode
    live.feed_raw([(event.user_id.encode(), encode(event)) for event in app], f"{name}-app")
    mapped = [
        Event(
            event_id=f"web-{n}",
            user_id=record["visitor"]["id"],
            type="purchase" if n % 5 == 0 else "view",
            time=start + n,
            price=float(n),
        )
        for n, record in enumerate(web)
        if n % 10 != 9
    ]
    expected = live.oracle([*mapped, *app])
    live.wait_until(lambda: live.applied() == len(mapped) + len(app), "applied")
    live.wait_until(lambda: live.in_redis() == expected, "in Redis")
    assert live.dead_letters() == []
