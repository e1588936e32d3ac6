"""Text embeddings when workers come and go, when Redis comes and goes, and when the encoder is another.

What is true of every deployment with texts is in test_text_embeddings.py, which also has the oracle.
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import msgspec
import numpy as np
import pytest

from stream_profiles import Event
from stream_profiles.client import EncoderMetrics, ProfileClient
from stream_profiles.engine.topics import admin
from stream_profiles.models.text_embeddings import text_id
from stream_profiles.text.cache import stored_vector
from stream_profiles.text.hashing import HashingEncoder
from tests.events import DAY, T0

from .live import Live
from .test_text_embeddings import (
    LABELS,
    answers,
    assert_means,
    events,
    expected,
    folded,
    metrics,
    report,
    use,
    views,
    wait_until_folded,
    waiting,
)
from .unsteady import Unsteady

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PARTITIONS = 4
#: Events applied between two looks at whether others must wait.
TURN = 100


def encoders(live: Live) -> dict[str, EncoderMetrics]:
    live.wait_until(lambda: live.redis.exists(live.names.redis_text_metrics), "reported")
    return {each.worker: each for each in report(live).encoders}


def test_texts_find_their_profiles_while_workers_come_and_go(live: Live) -> None:
    """Partitions move between profile workers, and between text workers, while texts wait."""
    use(live, seconds=0.008)
    seen = events(1_600, titles=1_400, seed=11)
    live.start("--only", "intake")
    profiles = [live.start("--only", "profiles") for _ in range(2)]
    texts = [live.start("--only", "text") for _ in range(2)]
    live.feed(seen[:800])
    live.wait_until(lambda: answers(live) > 60, "some texts answered")
    live.kill(profiles[0])
    live.kill(texts[0])
    assert waiting(live) > 100, "killed while texts wait"
    profiles.append(live.start("--only", "profiles"))
    texts.append(live.start("--only", "text"))
    answered = answers(live)
    live.wait_until(lambda: answers(live) > answered + 60, "more texts answered")
    # This one leaves its partitions to the others as a deployment does, and its texts too.
    assert live.stop(profiles[1]) == 0
    live.feed(seen[800:])
    answered = answers(live)
    live.wait_until(lambda: answers(live) > answered + 60, "texts answered to the one that is left")
    assert live.stop(texts[1]) == 0
    wait_until_folded(live)
    assert_means(live, seen)
    assert views(live) == len(seen)
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


def test_by_the_definition_events_wait_for_texts_and_none_is_dropped(live: Live) -> None:
    use(live, seconds=0.002, more='max_waiting=100, when_full="wait",')
    seen = events(1_200, titles=100_000, seed=13)
    live.start("--only", "intake")
    profiles = live.start("--only", "profiles")
    # In many runs, of which Faust takes a few for each partition: vectors must find their way past them.
    for start in range(0, len(seen), 40):
        live.feed(seen[start : start + 40])
    # Without an encoder a partition takes as much as may wait, and what it was about to apply.
    live.wait_until(lambda: metrics(live).waiting >= 100, "full")
    most = PARTITIONS * (100 + TURN)
    time.sleep(1.0)
    live.wait_until(lambda: views(live) == waiting(live) <= most, "held")
    # A worker that takes over holds no more, though it may be of another partition that it reads first.
    live.kill(profiles)
    live.start("--only", "profiles")
    live.wait_until(lambda: live.log.read_text().count("ready: ") == 2, "restored")
    time.sleep(1.0)
    live.wait_until(lambda: views(live) == waiting(live) <= most, "held")
    live.start("--only", "text")
    wait_until_folded(live)
    said = metrics(live)
    assert (said.dropped, said.lost, said.waiting) == (0, 0, 0)
    assert_means(live, seen)


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
        live.wait_until(lambda: redis.refused > 0 and log().count(said_away) == 2, "said again")
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
            assert np.frombuffer(stored_vector(value), "<f4") == pytest.approx(vector, abs=1e-6), given
    assert len({event.text for event in seen[:100]}) <= stored < len(texts)


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
