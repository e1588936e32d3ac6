"""How many events a second one worker process takes, and how long an event takes to be seen in Redis.

    python benchmarks/throughput.py                     # both, on embedded Kafka and Redis
    python benchmarks/throughput.py --events 200000 --runs 3
    python benchmarks/throughput.py --only latency --rate 1000

Throughput: the events of the synthetic shop (or of --data) wait in the topic; a worker with the example definition
starts, and the clock runs from the first event applied to the last one written. "profiles" reads events that are keyed
already; "all" takes the same events in, maps and re-keys them as well, in the same process.
Latency: events come at a steady rate; now and then one is of a user of its own, whose profile is looked for in Redis
every millisecond from the moment the event is handed to the producer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import msgspec
import redis.asyncio

from stream_profiles import Event, TextEmbedding
from stream_profiles.definition import load_definition
from stream_profiles.dev.servers import EmbeddedServers, embedded_servers
from stream_profiles.dev.shop import shop_events
from stream_profiles.engine.producer import BatchProducer
from stream_profiles.engine.topics import admin, create_topics, plan_topics
from stream_profiles.engine.worker import Role, Worker
from stream_profiles.mapping import Dropped, EventMapping
from stream_profiles.names import Names
from stream_profiles.partitioner import Partitioner
from stream_profiles.replay.files import BadRow, open_rows
from stream_profiles.settings import load_settings

ROOT = Path(__file__).parents[1]
REFERENCE = f"{ROOT / 'examples' / 'shop.py'}:shop"
_encode = msgspec.json.Encoder().encode


def events_of(data: Path | None, count: int) -> list[Event]:
    """The synthetic shop's events, or those of the retail data."""
    if data is None:
        return list(shop_events(seed=0, users=5_000, events=count))
    mapping = EventMapping.load(ROOT / "examples" / "online_retail.toml")
    events: list[Event] = []
    with open_rows(data, mapping.config.source) as rows:
        for chunk in rows.chunks():
            for number, row in chunk:
                if isinstance(row, BadRow):
                    continue
                event = mapping.to_event(row, f"retail-{number}")
                if not isinstance(event, Dropped):
                    events.append(event)
            if len(events) >= count:
                break
    return events[:count]


async def fill(kafka: str, topic: str, events: list[Event]) -> None:
    """Send all events, keyed by user."""
    producer, partitioner = BatchProducer(kafka, 4_000_000), Partitioner(4)
    await producer.start()
    parts: list[list[tuple[bytes, bytes]]] = [[] for _ in range(4)]
    for event in events:
        parts[partitioner(event.user_id.encode())].append((event.user_id.encode(), _encode(event)))
    sent = []
    # In turns, as events come in: a partition after the other would be another thing to read.
    for start in range(0, max(map(len, parts)), 1000):
        for partition, records in enumerate(parts):
            sent += await producer.send(topic, partition, records[start : start + 1000])
    await asyncio.gather(*sent)
    await producer.stop()


def create(servers: EmbeddedServers, name: str) -> Names:
    names = Names(name)
    with admin(servers.kafka or "") as client:
        settings = load_settings(broker=servers.kafka, redis=servers.redis)
        create_topics(client, plan_topics(names, settings, texts=True), 1)
    return names


def child(role: Role, *arguments: str, texts: bool) -> subprocess.Popen[str]:
    """This file again, as the worker."""
    command = [sys.executable, __file__, "--worker", role.value, *arguments, *(["--texts"] if texts else [])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def work(role: Role, kafka: str, redis_url: str, name: str, events: int, texts: bool) -> None:
    """Be the worker until so many events are applied and written; say what it took. 0 for until the end of time."""
    definition = load_definition(REFERENCE)
    definition.name = name
    if not texts:
        definition.embeddings = [each for each in definition.embeddings if not isinstance(each, TextEmbedding)]
        definition.text_embeddings = []
    worker = Worker(definition, load_settings(broker=kafka, redis=redis_url, log_every="1h"), role)
    running = asyncio.create_task(worker.run())
    applied, began, cpu = worker.stats.outcomes, 0.0, 0.0
    while not events or applied["applied"] < events or any(commit.waiting_events for commit in worker._commits):
        await asyncio.sleep(0.002)
        if running.done():
            running.result()
        if not began and (applied["applied"] or worker.stats.received):
            began, cpu = time.perf_counter(), time.process_time()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(
        json.dumps(
            {
                "rate": events / seconds,
                "cpu": cpu / seconds,
                "phases": dict(worker.stats.seconds),
                "writes": dict(worker.stats.writes),
                "seconds": seconds,
            }
        )
    )
    worker.stop()
    await running


def throughput(servers: EmbeddedServers, events: list[Event], runs: int, texts: bool) -> None:
    rates: dict[Role, list[float]] = {Role.PROFILES: [], Role.ALL: []}
    for run in range(runs):
        for role in rates:  # Interleaved, so that both meet the same neighbours.
            names = create(servers, f"bench-{role.value}-{run}-{os.getpid()}")
            topic = names.events if role is Role.PROFILES else names.clicks
            asyncio.run(fill(servers.kafka or "", topic, events))
            arguments = (servers.kafka or "", servers.redis or "", names.definition, str(len(events)))
            out, _ = child(role, *arguments, texts=texts).communicate(timeout=600)
            measured = json.loads(out)
            rates[role].append(measured["rate"])
            shares = ", ".join(f"{name} {100 * s / measured['seconds']:.0f}%" for name, s in measured["phases"].items())
            print(
                f"{role.value:9} run {run + 1}: {measured['rate']:8,.0f} events/s, {measured['cpu']:.2f} cores; "
                f"share of the time: {shares}; writes: {measured['writes']}",
                flush=True,
            )
    for role, measured_rates in rates.items():
        print(f"{role.value:9} median: {statistics.median(measured_rates):,.0f} events/s of {runs} runs")


async def latency(servers: EmbeddedServers, role: Role, rate: int, seconds: float, texts: bool) -> list[float]:
    """Seconds from handing an event to the producer to finding its profile in Redis, of one event in fifty."""
    names = create(servers, f"bench-latency-{role.value}-{os.getpid()}")
    topic = names.events if role is Role.PROFILES else names.clicks
    process = child(role, servers.kafka or "", servers.redis or "", names.definition, "0", texts=texts)
    client = redis.asyncio.from_url(servers.redis or "")
    producer, partitioner = BatchProducer(servers.kafka or "", 1_000_000), Partitioner(4)
    await producer.start()
    stream = shop_events(seed=1, users=5_000)
    found: list[float] = []
    probes: set[asyncio.Task[None]] = set()

    async def send(events: list[Event]) -> None:
        sent = []
        for event in events:
            record = [(event.user_id.encode(), _encode(event))]
            sent += await producer.send(topic, partitioner(event.user_id.encode()), record)
        await asyncio.gather(*sent)

    async def probe(event: Event, counted: bool) -> None:
        began = time.perf_counter()
        await send([event])
        while not await client.exists(names.redis_profile(event.user_id)):
            await asyncio.sleep(0.001)
        if counted:
            found.append(time.perf_counter() - began)

    first = next(stream)
    await probe(msgspec.structs.replace(first, user_id="probe-first"), False)
    began, tick = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        batch = list(islice(stream, rate // 50))
        batch[0] = msgspec.structs.replace(batch[0], user_id=f"probe-{tick}")
        probes.add(asyncio.create_task(probe(batch[0], tick > 50)))
        await send(batch[1:])
        tick += 1
        await asyncio.sleep(max(0.0, began + tick / 50 - time.perf_counter()))
    await asyncio.gather(*probes)
    process.kill()
    process.wait()
    await producer.stop()
    await client.aclose()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rate", type=int, default=1_000, help="events a second while the latency is measured")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--data", type=Path, help="online_retail.csv.gz, in place of the synthetic shop")
    parser.add_argument(
        "--texts", action="store_true", help="with the example's text embedding, which is left out else"
    )
    parser.add_argument("--only", choices=("throughput", "latency"))
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        role, kafka, redis_url, name, events = options.worker
        asyncio.run(work(Role(role), kafka, redis_url, name, int(events), options.texts))
        return
    with embedded_servers() as servers:
        if options.only != "latency":
            throughput(servers, events_of(options.data, options.events), options.runs, options.texts)
        if options.only != "throughput":
            for role in (Role.PROFILES, Role.ALL):
                found = sorted(asyncio.run(latency(servers, role, options.rate, options.seconds, options.texts)))
                cuts = {share: found[int(share / 100 * (len(found) - 1))] * 1000 for share in (50, 90, 99)}
                shown = ", ".join(f"p{share} {ms:.1f} ms" for share, ms in cuts.items())
                print(f"{role.value:9} at {options.rate:,} events/s: {shown} over {len(found)} events")


if __name__ == "__main__":
    main()
