"""Text embeddings on a real Kafka and Redis: no text lost, none counted twice, and no flood that holds features up."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest

from stream_profiles import Event
from stream_profiles.client import ProfileClient, TextMetrics, TextReport
from stream_profiles.contracts import MAX_TEXT_LENGTH, DeadLetter, TextVector
from stream_profiles.replay.lag import ConsumerLag
from stream_profiles.text.hashing import HashingEncoder
from tests.events import DAY, MINUTE, T0

from .live import Live

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

WEIGHTS = {"purchase": 5.0}
LABELS = ("garden", "kitchen")
WORDS = ("red", "blue", "green", "garden", "kitchen", "table", "lamp", "shoe", "pot", "vintage", "small", "paper")

#: An encoder of a user's own, as slow as a test wants it to be.
SOURCE = """
import time

from stream_profiles import Count, ProfileDefinition, TextEmbedding
from stream_profiles.text.hashing import HashingEncoder


class Slow:
    name, dimension = "slow", {dimension}

    def encode(self, batch):
        if any("cursed" in text for text in batch):
            raise ValueError("it is cursed")
        time.sleep({seconds} * len(batch))
        return HashingEncoder({dimension}).encode(batch)


shop = ProfileDefinition(
    "{name}",
    features=[Count("events")],
    embeddings=[
        TextEmbedding(
            "interests",
            half_life=("1d", "30d"),
            weights={weights},
            labels={labels},
            min_angle=0,
            encoder={encoder},
            {more}
        )
    ],
    dedup=1024,
)
"""


def use(live: Live, *, encoder: str = "Slow()", seconds: float = 0.0, dimension: int = 64, more: str = "") -> None:
    live.use_definition(
        SOURCE.format(
            name=live.names.definition,
            seconds=seconds,
            dimension=dimension,
            weights=WEIGHTS,
            labels=LABELS,
            encoder=encoder,
            more=more,
        )
    )


def events(count: int, *, users: int = 20, titles: int = 200, seed: int = 0, first: int = 0) -> list[Event]:
    random = Random(seed)
    texts = [" ".join(random.sample(WORDS, 4)) + f" {number}" for number in range(titles)]
    return [
        Event(
            event_id=f"e{number}",
            user_id=f"u{random.randrange(users)}",
            type=random.choice(["view", "view", "purchase"]),
            time=T0 + number * MINUTE,
            text=random.choice(texts),
        )
        for number in range(first, first + count)
    ]


def expected(seen: Iterable[Event], half_life: int, dimension: int = 64) -> dict[str, Any]:
    """By the definition of the mean, all at once."""
    encoder, by_user = HashingEncoder(dimension), defaultdict[str, list[Event]](list)
    for event in seen:
        by_user[event.user_id].append(event)
    means = {}
    for user, theirs in by_user.items():
        now = max(event.time for event in theirs)
        vectors = encoder.encode([event.text or "" for event in theirs]).astype(np.float64)
        weights = [WEIGHTS.get(e.type, 1.0) * 2.0 ** (-(now - e.time) / half_life) for e in theirs]
        total = np.array(weights) @ vectors
        means[user] = (total / np.linalg.norm(total), len(theirs))
    return means


def report(live: Live) -> TextReport:
    with ProfileClient(live.redis_url, live.names.definition) as client:
        return client.text_metrics()


def waiting(live: Live) -> int:
    return sum(each.waiting for each in report(live).embeddings.values())


def wait_until_folded(live: Live, timeout_s: float = 90.0) -> None:
    """Wait until nothing is on its way any more, and the workers have said so."""
    names = live.names
    reads = [
        (names.intake_group, names.clicks),
        (names.profiles_group, names.events),
        (names.text_group, names.text_requests),
        (names.profiles_group, names.text_vectors),
    ]
    with ExitStack() as stack:
        lags = [stack.enter_context(ConsumerLag(live.kafka, group, topic)) for group, topic in reads]
        settled = 0

        def done() -> bool:
            nonlocal settled
            idle = all(lag() == 0 for lag in lags) and live.redis.exists(names.redis_text_metrics)
            settled = settled + 1 if idle and waiting(live) == 0 else 0
            # What waits is reported once a second.
            time.sleep(0.25)
            return settled >= 5

        live.wait_until(done, "all texts folded in", timeout_s)


def assert_means(live: Live, seen: list[Event]) -> None:
    """Redis has each user's mean of each half-life, with each text once."""
    profiles = live.in_redis()
    for half_life, ms in (("1d", DAY), ("30d", 30 * DAY)):
        means = expected(seen, ms)
        assert profiles.keys() == means.keys()
        for user, (mean, texts) in means.items():
            vector = np.frombuffer(profiles[user][f"interests_{half_life}"], "<f4")
            assert float(vector @ mean) > 0.9999, user
            said = msgspec.json.decode(profiles[user]["interests"])
            assert said["texts"] == texts, user
            cosines = HashingEncoder(64).encode(LABELS) @ vector
            assert said["cosines"][half_life] == pytest.approx(dict(zip(LABELS, cosines, strict=True)), abs=2e-3)


@pytest.fixture
def parts(live: Live) -> Iterator[Live]:
    use(live)
    yield live


def test_three_kinds_of_workers_make_the_means_of_all_texts(parts: Live) -> None:
    live, seen = parts, events(1_500)
    for only in ("text", "profiles", "intake"):
        live.start("--only", only)
    live.feed(seen)
    wait_until_folded(live)
    assert_means(live, seen)
    # Each delta's version is the one before plus one, and together they are the profile.
    live.definition.embeddings = [*live.definition.text_embeddings[0].vectors]  # type: ignore[list-item]
    assert live.from_deltas() == live.in_redis()
    [metrics] = report(live).embeddings.values()
    assert 200 <= metrics.asked <= 4 * 200, "a partition asks once for a text that many wait for"
    assert (metrics.dropped, metrics.lost, metrics.failed, metrics.waiting) == (0, 0, 0, 0)
    [encoder] = report(live).encoders
    # Each of 200 titles and two labels is encoded once, whichever of four partitions asks.
    assert encoder.encoded == 202
    shown = subprocess.run(
        [sys.executable, "-m", "stream_profiles", "texts", "--name", live.names.definition, "--redis", live.redis_url],
        capture_output=True,
        text=True,
        check=True,
        cwd=live.folder,
    ).stdout
    assert "interests" in shown and "slow@1" in shown


def test_texts_survive_workers_that_are_killed_in_the_middle(live: Live) -> None:
    # Each batch takes a while, so that a kill meets one.
    use(live, seconds=0.005)
    seen = events(2_000, titles=1_500, seed=1)
    live.start("--only", "intake")
    profiles, text = live.start("--only", "profiles"), live.start("--only", "text")
    live.feed(seen[:1_000])
    for number in range(3):
        answered = answers(live)
        live.wait_until(lambda answered=answered: answers(live) > answered + 50, "more texts answered")
        live.kill(text)
        if number == 1:
            live.kill(profiles)
            profiles = live.start("--only", "profiles")
        text = live.start("--only", "text")
    live.feed(seen[1_000:])
    wait_until_folded(live)
    assert_means(live, seen)


def answers(live: Live) -> int:
    return sum(live._ends(live.names.text_vectors).values())


def test_without_a_text_worker_texts_wait_until_one_comes_or_their_time_is_up(live: Live) -> None:
    use(live, more='answer_within="4s",')
    live.start("--only", "intake")
    profiles = live.start("--only", "profiles")
    early = events(50, titles=50, seed=3)
    live.feed(early)
    live.wait_until_applied()
    live.wait_until(lambda: waiting(live) == 50 and oldest(live) > 1.0, "waiting")
    live.wait_until(lambda: waiting(live) == 0, "given up")
    [metrics] = report(live).embeddings.values()
    assert metrics.lost == 50
    assert "got no vector of their text in time" in live.log.read_text()
    # Others come in time; those that were given up are answered too, and nobody waits for them.
    late = events(50, titles=50, seed=3, first=50)
    live.start("--only", "text")
    live.feed(late)
    wait_until_folded(live)
    texts = sum(msgspec.json.decode(f["interests"])["texts"] for f in live.in_redis().values() if "interests" in f)
    assert texts == 50
    assert profiles.poll() is None


def oldest(live: Live) -> float:
    return max(each.oldest_seconds for each in report(live).embeddings.values())


def test_texts_of_every_kind_and_records_that_are_none(live: Live) -> None:
    use(live)
    live.start()
    texts = {
        "empty": "",
        "long": "word " * 200_000,
        "emoji": "\U0001f600 \U0001f355",
        "hebrew": "נעלי ריצה אדומות",
        "mixed": "红色跑鞋 red shoes",
        "blank": " \n\t ",
        "none": "?!",
        "cursed": "a cursed text",
        "plain": "red shoes",
    }
    live.feed(Event(event_id=user, user_id=user, type="view", time=T0, text=text) for user, text in texts.items())
    live.feed_raw([(b"x", b'{"event_id": "bad", "user_id": "bad", "type": "view", "time": 0, "text": "\xff\xfe"}')])
    live.feed_raw([(b"y", b"no request"), (b"z", b'{"text_id": 7}')], live.names.text_requests)
    live.feed_raw([(b"y", b"no vector")], live.names.text_vectors)
    wait_until_folded(live)
    profiles = live.in_redis()
    assert profiles.keys() == texts.keys()
    with_vectors = {user for user, fields in profiles.items() if "interests_1d" in fields}
    assert with_vectors == {"long", "emoji", "hebrew", "mixed", "plain"}
    [metrics] = report(live).embeddings.values()
    # Of the two that failed, one has no word and one is cursed; what was long was cut twice.
    assert (metrics.failed, metrics.truncated) == (2, 1)
    vectors = [
        msgspec.json.decode(value, type=TextVector)
        for _, value in live.records(live.names.text_vectors)
        if value != b"no vector"
    ]
    assert any(each.error == "it is cursed" for each in vectors)
    letters = [msgspec.json.decode(value, type=DeadLetter) for _, value in live.records(live.names.dead_letters)]
    reasons = sorted(letter.reason.partition(":")[0] for letter in letters)
    assert reasons == ["not a JSON object", "not a text request", "not a text request", "not a vector of a text"]
    sent = [msgspec.json.decode(value) for key, value in live.records(live.names.events) if key == b"long"]
    assert [len(event["text"]) for event in sent] == [MAX_TEXT_LENGTH]


def metrics(live: Live) -> TextMetrics:
    live.wait_until(lambda: live.redis.exists(live.names.redis_text_metrics) and report(live).embeddings, "reported")
    [of_interests] = report(live).embeddings.values()
    return of_interests


def folded(live: Live) -> int:
    """How many texts count in the profiles in Redis."""
    summaries = [fields["interests"] for fields in live.in_redis().values() if "interests" in fields]
    return sum(msgspec.json.decode(summary)["texts"] for summary in summaries)


def views(live: Live) -> int:
    """How many events the features in Redis have."""
    return sum(msgspec.json.decode(fields["events"])["total"] for fields in live.in_redis().values())


def test_what_counts_most_survives_a_flood(live: Live) -> None:
    """Purchases among ten times as many views as the encoder can do all get their vectors."""
    use(live, seconds=0.005, more="max_waiting=200,")
    seen = [
        Event(
            event_id=f"e{number}",
            # A user does one thing only, so that profiles tell which texts were dropped.
            user_id=f"{kind}-{number // 40 % 40}",
            type=kind,
            time=T0 + number * MINUTE,
            text=f"a text {number}",
        )
        for number in range(4_000)
        for kind in ["purchase" if number % 40 == 7 else "view"]
    ]
    users = Counter(event.type for event in seen)
    for only in ("text", "intake", "profiles"):
        live.start("--only", only)
    live.feed(seen)
    live.wait_until(lambda: views(live) == len(seen), "features of all events are in Redis")
    assert folded(live) < len(seen) / 2, "while texts wait"
    live.wait_until(lambda: metrics(live).dropped > 1_000, "more came than may wait")
    assert 200 < waiting(live) <= live.settings.partitions * 200
    wait_until_folded(live)
    said = metrics(live)
    assert said.dropped > 1_000
    assert (said.lost, said.failed) == (0, 0)
    assert folded(live) + said.dropped == len(seen)
    assert said.asked == folded(live), "nothing that was dropped is encoded"
    profiles = live.in_redis()
    bought = {user for user in profiles if user.startswith("purchase-")}
    texts = [msgspec.json.decode(profiles[user]["interests"])["texts"] for user in bought]
    assert sum(texts) == users["purchase"], "no purchase was dropped"
    # Each of their vectors is of all their texts.
    for user, (mean, _) in expected([event for event in seen if event.type == "purchase"], DAY).items():
        assert float(np.frombuffer(profiles[user]["interests_1d"], "<f4") @ mean) > 0.9999
