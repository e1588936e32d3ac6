"""Text embeddings when workers come and go, when Redis comes and goes, and when more comes than the encoder can do.

What is true of every deployment with texts is in test_text_embeddings.py, which also has the oracle.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from urllib.parse import urlsplit

import msgspec
import numpy as np
import pytest

from stream_profiles import Event
from stream_profiles.client import EncoderMetrics, ProfileClient, TextMetrics
from stream_profiles.contracts import MAX_TEXT_LENGTH, DeadLetter
from stream_profiles.engine.topics import admin, create_topics, plan_topics
from stream_profiles.models.text_embeddings import text_id
from stream_profiles.settings import load_settings
from stream_profiles.text.cache import stored_vector
from stream_profiles.text.hashing import HashingEncoder
from tests.events import DAY, MINUTE, T0

from .live import Live
from .test_text_embeddings import (
    LABELS,
    answers,
    assert_means,
    events,
    expected,
    report,
    use,
    wait_until_folded,
    waiting,
)
from .unsteady import Unsteady

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PARTITIONS = 4
#: Events applied between two looks at whether others must wait.
TURN = 100


def metrics(live: Live) -> TextMetrics:
    [of_interests] = report(live).embeddings.values()
    return of_interests


def encoders(live: Live) -> dict[str, EncoderMetrics]:
    return {each.worker: each for each in report(live).encoders}


def folded(live: Live) -> int:
    """How many texts count in the profiles in Redis."""
    summaries = [fields["interests"] for fields in live.in_redis().values() if "interests" in fields]
    return sum(msgspec.json.decode(summary)["texts"] for summary in summaries)


def views(live: Live) -> int:
    """How many events the features in Redis have."""
    return sum(msgspec.json.decode(fields["events"])["total"] for fields in live.in_redis().values())


def assert_deltas_are_the_profiles(live: Live) -> None:
    """Each delta's version is the one before plus one, and together they are what Redis has."""
    live.definition.embeddings = [*live.definition.text_embeddings[0].vectors]  # type: ignore[list-item]
    assert live.from_deltas() == live.in_redis()


def test_texts_find_their_profiles_while_workers_come_and_go(live: Live) -> None:
    """Partitions move between profile workers, and between text workers, while texts wait."""
    use(live, seconds=0.008)
    seen = events(2_400, titles=2_000, seed=11)
    live.start("--only", "intake")
    profiles = [live.start("--only", "profiles") for _ in range(2)]
    texts = [live.start("--only", "text") for _ in range(2)]
    live.feed(seen[:1_200])
    live.wait_until(lambda: answers(live) > 60, "some texts answered")
    live.kill(profiles[0])
    live.kill(texts[0])
    assert waiting(live) > 100, "killed while texts wait"
    profiles.append(live.start("--only", "profiles"))
    answered = answers(live)
    live.wait_until(lambda: answers(live) > answered + 60, "more texts answered")
    # This one leaves its partitions to the others as a deployment does, and its texts too.
    assert live.stop(profiles[1]) == 0
    texts.append(live.start("--only", "text"))
    live.feed(seen[1_200:])
    answered = answers(live)
    live.wait_until(lambda: answers(live) > answered + 60, "texts answered to the one that is left")
    assert live.stop(texts[1]) == 0
    wait_until_folded(live)
    assert_means(live, seen)
    assert views(live) == len(seen)
    assert_deltas_are_the_profiles(live)
    assert live.dead_letters() == []


def test_two_text_workers_share_requests_and_vectors(live: Live) -> None:
    use(live)
    titles = 400
    seen = events(800, titles=titles, seed=12)
    distinct = len({event.text for event in seen})
    live.start("--only", "intake")
    profiles = live.start("--only", "profiles")
    first, _ = (live.start("--only", "text") for _ in range(2))
    # Both are there before anything comes, so that no partition moves while texts are encoded.
    live.wait_until(lambda: len(encoders(live)) == 2, "both report")
    live.wait_until(lambda: _members(live) == 2, "both are in the group, with partitions")
    live.feed(seen)
    wait_until_folded(live)
    assert_means(live, seen)
    live.wait_until(lambda: sum(each.encoded for each in encoders(live).values()) >= distinct, "reported")
    encoded = {worker: each.encoded for worker, each in encoders(live).items()}
    assert min(encoded.values()) > distinct / 10, "each does some"
    assert sum(encoded.values()) == distinct + len(LABELS), "and none does what the other did"

    # All texts come again, to the one that is left and has encoded about half of them.
    [gone] = [worker for worker in encoded if worker.endswith(f":{first.pid}")]
    [left] = encoded.keys() - {gone}
    live.kill(first)
    live.kill(profiles)
    live.start("--only", "profiles")
    again = [
        msgspec.structs.replace(event, event_id=f"again {event.event_id}", time=event.time + DAY) for event in seen
    ]
    live.feed(again)
    wait_until_folded(live)
    assert_means(live, seen + again)
    live.wait_until(lambda: encoders(live)[left].redis_hits >= encoded[gone] - len(LABELS), "reported")
    assert encoders(live)[left].encoded == encoded[left], "what the other encoded came from Redis"


def _members(live: Live) -> int:
    with admin(live.kafka) as client:
        group = client.describe_groups([live.names.text_group])[live.names.text_group]
    return (
        sum(1 for member in group["members"] if member["member_assignment"]) if group["group_state"] == "Stable" else 0
    )


def test_what_counts_most_survives_a_flood(live: Live) -> None:
    """Purchases among ten times as many views as the encoder can do all get their vectors."""
    use(live, seconds=0.01, more="max_waiting=200,")
    seen = [
        Event(
            event_id=f"e{number}",
            # A user does one thing only, so that profiles tell which texts were dropped.
            user_id=f"{kind}-{number % 40}",
            type=kind,
            time=T0 + number * MINUTE,
            text=f"a text {number}",
        )
        for number in range(4_000)
        for kind in ["purchase" if number % 40 in (7, 13) else "view"]
    ]
    users = Counter(event.type for event in seen)
    for only in ("text", "intake", "profiles"):
        live.start("--only", only)
    live.feed(seen)
    most = 0

    def applied() -> bool:
        nonlocal most
        if live.redis.exists(live.names.redis_text_metrics):
            most = max(most, waiting(live))
        return views(live) == len(seen)

    live.wait_until(applied, "features of all events are in Redis")
    assert 200 < most <= PARTITIONS * 200
    assert folded(live) < len(seen) / 2, "while texts wait"
    wait_until_folded(live)
    said = metrics(live)
    assert said.dropped > 1_000
    assert (said.lost, said.failed) == (0, 0)
    assert folded(live) + said.dropped == len(seen)
    profiles = live.in_redis()
    bought = {user for user in profiles if user.startswith("purchase-")}
    texts = [msgspec.json.decode(profiles[user]["interests"])["texts"] for user in bought]
    assert sum(texts) == users["purchase"], "no purchase was dropped"
    # Each of their vectors is of all their texts.
    for user, (mean, _) in expected([event for event in seen if event.type == "purchase"], DAY).items():
        assert float(np.frombuffer(profiles[user]["interests_1d"], "<f4") @ mean) > 0.9999


def test_by_the_definition_events_wait_for_texts_and_none_is_dropped(live: Live) -> None:
    use(live, seconds=0.005, more='max_waiting=100, when_full="wait",')
    seen = events(1_600, titles=100_000, seed=13)
    live.start("--only", "intake")
    profiles = live.start("--only", "profiles")
    live.feed(seen)
    # Without an encoder each partition takes as much as may wait, and what it was about to apply.
    live.wait_until(
        lambda: live.redis.exists(live.names.redis_text_metrics) and waiting(live) >= PARTITIONS * 100, "full"
    )
    assert waiting(live) <= PARTITIONS * (100 + TURN)
    held = views(live)
    assert held == waiting(live)
    # A worker that takes over holds as many, and no more.
    live.kill(profiles)
    live.start("--only", "profiles")
    live.wait_until(lambda: live.log.read_text().count("ready: ") == 2, "restored")
    time.sleep(1.0)
    assert views(live) == held
    live.start("--only", "text")
    wait_until_folded(live)
    said = metrics(live)
    assert (said.dropped, said.lost, said.waiting) == (0, 0, 0)
    assert_means(live, seen)


def test_texts_wait_for_a_text_worker_and_who_is_given_up_is_said_sparingly(live: Live) -> None:
    use(live, more='answer_within="1h",')
    live.start("--only", "intake")
    profiles = live.start("--only", "profiles")
    seen = events(120, titles=60, seed=14)
    live.feed(seen)
    live.wait_until_applied()
    live.wait_until(lambda: waiting(live) == len(seen), "waiting")
    assert views(live) == len(seen) and folded(live) == 0
    earlier = metrics(live).oldest_seconds
    live.wait_until(lambda: metrics(live).oldest_seconds > earlier + 1.0, "rising")
    assert waiting(live) == len(seen), "nobody is given up before their time"
    text = live.start("--only", "text")
    wait_until_folded(live)
    assert_means(live, seen)
    assert metrics(live).oldest_seconds == 0.0

    # Then texts that come all the time find nobody, in all partitions.
    assert live.stop(text) == 0
    assert live.stop(profiles) == 0
    use(live, more='answer_within="1s",')
    live.start("--only", "profiles")
    began = time.monotonic()
    for number in range(8):
        live.feed(events(60, titles=1_000, seed=15 + number, first=1_000 * (number + 1)))
        time.sleep(0.4)
    live.wait_until(lambda: metrics(live).lost == 8 * 60 and waiting(live) == 0, "given up")
    said = " ".join(live.log.read_text().split()).count("got no vector of their text in time")
    assert 2 <= said <= time.monotonic() - began + 1
    assert folded(live) == len(seen)


def test_texts_are_encoded_while_redis_is_slow_or_away(live: Live) -> None:
    """For the text worker: its cache forgets, and no text gets the vector of another."""
    use(live)
    server = urlsplit(live.redis_url)
    assert server.hostname is not None and server.port is not None
    seen = events(500, titles=400, seed=16)
    said_away, said_back = "Redis does not answer for texts' vectors", "Redis answers for texts' vectors again"

    def log() -> str:
        return " ".join(live.log.read_text().split())

    with Unsteady(server.hostname, server.port) as redis:
        live.start("--only", "intake")
        live.start("--only", "profiles")
        text = live.start("--only", "text", redis=live.redis_url.replace(f":{server.port}", f":{redis.port}", 1))
        live.feed(seen[:100])
        live.wait_until(lambda: folded(live) == 100, "folded in")

        # Answers of Redis come when nobody waits for them any more.
        redis.delay_s = 1.3
        live.feed(seen[100:200])
        live.wait_until(lambda: folded(live) == 200, "folded in while Redis is slow")
        assert redis.delayed > 0 and log().count(said_away) == 1
        redis.admit()
        last = 200
        while said_back not in log():
            live.feed(seen[last : last + 10])
            last += 10
            live.wait_until(lambda last=last: folded(live) == last, "folded in")
            assert last < 350, log()[-2000:]
            time.sleep(0.4)

        redis.refuse()
        live.feed(seen[350:])
        live.feed(seen[last:350])
        live.wait_until(lambda: folded(live) == 500, "folded in while Redis is away")
        assert redis.refused > 0 and log().count(said_away) == 2
        wait_until_folded(live)
        assert text.poll() is None
    assert_means(live, seen)
    # Nor is there another's in Redis, where the next text worker finds it.
    texts = sorted({event.text or "" for event in seen})
    vectors = HashingEncoder(64).encode(texts)
    stored = 0
    for given, vector in zip(texts, vectors, strict=True):
        value = live.redis.get(live.names.redis_text(text_id("slow", given)))
        if value is not None:
            stored += 1
            assert stored_vector(value) == vector.astype("<f4").tobytes(), given
    assert 100 <= stored < len(texts)


def test_another_encoder_with_texts_on_their_way_to_the_one_before(live: Live) -> None:
    """With another length of vectors, too; and no profile is a mixture of the two."""
    use(live, encoder='"hashing-384"')
    live.start("--only", "intake")
    profiles, text = live.start("--only", "profiles"), live.start("--only", "text")
    first = events(200, titles=100, seed=17)
    live.feed(first)
    wait_until_folded(live)
    old = {user: mean for user, (mean, _) in expected(first, 30 * DAY, dimension=384).items()}
    assert live.stop(text) == 0
    on_their_way = events(40, titles=100, seed=18, first=200)
    live.feed(on_their_way)
    live.wait_until_applied()
    live.wait_until(lambda: waiting(live) > 0, "some wait")
    assert live.stop(profiles) == 0
    before = live.in_redis()

    use(live, encoder='"hashing-256"')
    live.start("--only", "text")
    live.start("--only", "profiles")
    comes, stays = sorted(before)[:2]
    vector = HashingEncoder(256).encode(["red lamp"])[0]
    with ProfileClient(live.redis_url, live.names.definition) as client:
        live.feed([Event(event_id="new", user_id=comes, type="view", time=T0 + DAY, text="red lamp")])
        wait_until_folded(live)
        after = live.in_redis()
        # Whose text came has the new vectors, and of nothing else.
        summary = msgspec.json.decode(after[comes]["interests"])
        assert (summary["encoder"], summary["texts"]) == ("hashing-256@1", 1)
        assert float(np.frombuffer(after[comes]["interests_30d"], "<f4") @ vector) > 0.9999
        # The others have the old ones, whatever was on its way to the encoder of before, and they are read as ever.
        for user, fields in before.items():
            if user != comes:
                assert after[user]["interests"] == fields["interests"]
                assert after[user]["interests_30d"] == fields["interests_30d"]
        profile = client.get(stays)
        assert profile is not None and profile.values["interests"]["encoder"] == "hashing-384@1"
        assert profile.values["interests_30d"].shape == (384,)
        assert float(profile.values["interests_30d"] @ old[stays]) > 0.99
        # Who has no vector of the encoder that is declared is near nobody.
        assert client.similar(comes, 100, field="interests_30d") == []
        assert client.similar(stays, 100, field="interests_30d") == []
        assert [user for user, _ in client.nearest(vector, 100, field="interests_30d")] == [comes]
        # What waited for the encoder of before waits no more, after a restart either.
        assert waiting(live) == 0
        another = next(user for user in sorted(before) if user not in (comes, stays))
        live.feed([Event(event_id="newer", user_id=another, type="view", time=T0 + DAY, text="blue lamp")])
        wait_until_folded(live)
        assert [user for user, _ in client.similar(comes, 100, field="interests_30d")] == [another]
    assert live.dead_letters() == []


def test_texts_of_every_kind_on_a_keyed_topic(live: Live) -> None:
    """Where no intake is in between to put things in order."""
    use(live)
    topic = f"{live.names.definition}-app"
    config = live.folder / "deployment.toml"
    config.write_text(f'[[inputs]]\ntopic = "{topic}"\nkeyed = true\n')
    with admin(live.kafka) as client:
        create_topics(client, plan_topics(live.names, load_settings(config), texts=True), 1)
    profiles, _ = (live.start("--only", only, "--config", str(config)) for only in ("profiles", "text"))
    texts = {
        "long": "word " * 200_000,
        "emoji": "\U0001f600 \U0001f355",
        "flags": "\U0001f1f5\U0001f1f9" * 20_000,
        "hebrew": "נעלי ריצה אדומות",
        "mixed": "红色跑鞋 red shoes",
        "decomposed": "cafe\u0301 cre\u0300me",
        "plain": "red shoes",
    }
    without = {"empty": "", "blank": " \n\t\u2003 ", "none": "?!", "nul": "\x00"}
    everybody = texts | without
    encode = msgspec.json.encode
    records = [
        (user.encode(), encode(Event(event_id=user, user_id=user, type="view", time=T0, text=text)))
        for user, text in everybody.items()
    ]
    strange = '{{"event_id": "{0}", "user_id": "{0}", "type": "view", "time": {1}, "text": {2}}}'
    refused = {
        "bytes": strange.format("bytes", T0, '"?"').encode().replace(b"?", b"\xff\xfe"),
        "number": strange.format("number", T0, 7).encode(),
        "surrogate": strange.format("surrogate", T0, '"\\ud800 red"').encode(),
    }
    live.feed_raw([*records, *((user.encode(), value) for user, value in refused.items())], topic)
    # After them all, one that everything before must have let through.
    live.wait_until(lambda: live.in_redis().keys() == everybody.keys(), "applied")
    live.wait_until(lambda: folded(live) == len(texts), "folded in")
    found = live.in_redis()
    assert {user for user, fields in found.items() if "interests_1d" in fields} == texts.keys()
    for user, text in texts.items():
        [mean] = HashingEncoder(64).encode([text[:MAX_TEXT_LENGTH]])
        assert float(np.frombuffer(found[user]["interests_1d"], "<f4") @ mean) > 0.99, user
    letters = [msgspec.json.decode(value, type=DeadLetter) for _, value in live.records(live.names.dead_letters)]
    assert sorted(letter.reason.partition(":")[0] for letter in letters) == ["not an event"] * len(refused)
    live.wait_until(lambda: metrics(live).truncated == 2, "both that are too long are counted as cut")
    assert live.stop(profiles) == 0
    assert re.search(r"\b2 texts cut\b", " ".join(live.log.read_text().split()))
