"""How many texts a second an encoder takes, and how long a text takes from request to answer.

    python benchmarks/text.py --titles online_retail.csv.gz
    python benchmarks/text.py --titles online_retail.csv.gz --dtype bfloat16 --only throughput
    python benchmarks/text.py --titles online_retail.csv.gz --markdown text.md

Throughput: all texts are handed to the batcher at once; against `SentenceTransformer.encode(batch_size=256)` on the
same device, in the same process, in turns: medians, and the lowest and highest of the runs.
Sweep: the same over the batcher's two settings. Latency: texts come one by one at a steady rate, whether or not those
before them are answered (an open loop), at half of the throughput. Titles are product titles, as they are; paragraphs
are titles in a row, cut at 128 tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from stream_profiles.text.batcher import Batcher
from stream_profiles.text.encoder import StagedEncoder
from stream_profiles.text.loading import load_encoder

TOKENS = 128
Table = tuple[str, list[str], list[list[str]]]


def titles_of(data: Path, count: int) -> list[str]:
    """Distinct product titles, in some order that is always the same."""
    with gzip.open(data, "rt", encoding="utf-8", errors="replace") as file:
        given = dict.fromkeys(row["Description"].strip() for row in csv.DictReader(file))
    # A hashing encoder has nothing to say about a "?".
    found = [title for title in given if any(letter.isalnum() for letter in title)]
    return random.Random(0).choices(found, k=count) if count > len(found) else random.Random(0).sample(found, count)


def paragraphs_of(titles: list[str], count: int, encoder: StagedEncoder) -> list[str]:
    """Texts of about 128 tokens."""
    rng, paragraphs = random.Random(1), []
    for _ in range(count):
        words = " ".join(rng.sample(titles, 40)).split()
        low, high = 1, len(words)
        while low < high:  # As many words as have no more tokens than that.
            middle = (low + high + 1) // 2
            fits = encoder.tokenize([" ".join(words[:middle])])[0].length <= TOKENS
            low, high = (middle, high) if fits else (low, middle - 1)
        paragraphs.append(" ".join(words[:low]))
    return paragraphs


async def batched(encoder: StagedEncoder, texts: list[str], tokens: int, wait_ms: float) -> tuple[float, Any]:
    """Seconds from handing all texts over to the last answer."""
    batcher = Batcher(encoder, max_batch_tokens=tokens, max_wait_ms=wait_ms)
    await batcher.start()
    began = time.perf_counter()
    answers = await batcher.encode(texts)
    seconds = time.perf_counter() - began
    await batcher.stop()
    errors = [answer.error for answer in answers if answer.error is not None]
    assert not errors, errors[0]
    return seconds, batcher.stats


async def latencies(encoder: StagedEncoder, texts: list[str], rate: float, seconds: float, tokens: int) -> list[float]:
    """Seconds from request to answer, of texts that come at a rate; those of the first second are not counted."""
    batcher = Batcher(encoder, max_batch_tokens=tokens)
    await batcher.start()
    found: list[float] = []

    async def ask(text: str, due: float) -> None:
        # From when it was due: a text that is sent late because the machine is busy has waited, too.
        await batcher.encode([text])
        if due - began > 1.0:
            found.append(time.perf_counter() - due)

    began, asked = time.perf_counter(), []
    for number in range(int(rate * (seconds + 1))):
        due = began + number / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        asked.append(asyncio.create_task(ask(texts[number % len(texts)], due)))
        if number % 32 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*asked)
    await batcher.stop()
    return sorted(found)


def in_turns(contenders: dict[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Seconds of each contender, run by run, so that all meet the same neighbours; the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for run in range(runs + 1):
        for name, contender in contenders.items():
            taken = contender()
            if run:
                seconds[name].append(taken)
    return seconds


def throughput(models: dict[str, StagedEncoder], peer: Any, sets: dict[str, list[str]], options: Any) -> Table:
    rows = []
    for kind, texts in sets.items():

        def original(texts: list[str] = texts) -> float:
            began = time.perf_counter()
            peer.encode(texts, batch_size=256, show_progress_bar=False)
            return time.perf_counter() - began

        def ours(encoder: StagedEncoder, texts: list[str] = texts) -> Callable[[], float]:
            return lambda: asyncio.run(batched(encoder, texts, options.tokens, options.wait_ms))[0]

        contenders = {"SentenceTransformer.encode": original} | {name: ours(each) for name, each in models.items()}
        measured = in_turns(contenders, options.runs)
        base = statistics.median(measured["SentenceTransformer.encode"])
        for name, seconds in measured.items():
            median = statistics.median(seconds)
            spread = f"{len(texts) / max(seconds):,.0f}-{len(texts) / min(seconds):,.0f}"
            with Busy(options.device.startswith("cuda")) as busy:
                contenders[name]()
            rows.append([kind, name, f"{len(texts) / median:,.0f}", spread, f"{base / median:.2f}", busy.shown])
    return "Throughput", ["texts", "by", "texts/s, median", "lowest-highest", "ratio", "GPU busy"], rows


def sweep(encoder: StagedEncoder, sets: dict[str, list[str]], options: Any) -> Table:
    rows = []
    for kind, texts in sets.items():
        for tokens in (1_024, 4_096, 16_384, 65_536):
            for wait_ms in (1.0, 5.0, 20.0):
                runs = [asyncio.run(batched(encoder, texts, tokens, wait_ms)) for _ in range(options.runs)]
                seconds, stats = statistics.median(run[0] for run in runs), runs[-1][1]
                padding = 1 - stats.tokens / stats.padded_tokens
                cells = [f"{len(texts) / seconds:,.0f}", str(stats.batches), f"{padding:.0%}"]
                rows.append([kind, f"{tokens:,}", f"{wait_ms:g}", *cells])
    return "Batches", ["texts", "max_batch_tokens", "max_wait_ms", "texts/s", "batches", "padding"], rows


def latency(encoder: StagedEncoder, sets: dict[str, list[str]], options: Any, on_gpu: bool) -> Table:
    rows = []
    for kind, texts in sets.items():
        rate = len(texts) / asyncio.run(batched(encoder, texts, options.tokens, options.wait_ms))[0] / 2
        with Busy(on_gpu) as busy:
            found = asyncio.run(latencies(encoder, texts, rate, options.seconds, options.tokens))
        cuts = [f"{found[int(share * (len(found) - 1))] * 1000:.1f}" for share in (0.5, 0.9, 0.99)]
        rows.append([kind, f"{rate:,.0f}", *cuts, busy.shown])
    where = "GPU" if on_gpu else "CPU, no GPU"
    return f"Latency at half load ({where}), ms", ["texts", "texts/s", "p50", "p90", "p99", "GPU busy"], rows


class Busy:
    """The share of the time in which the GPU worked, as its driver says, asked ten times a second."""

    def __init__(self, on_gpu: bool) -> None:
        self._command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"]
        self._on_gpu, self.shown = on_gpu, "-"

    def __enter__(self) -> Busy:
        if self._on_gpu:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._on_gpu:
            self._process.terminate()
            shares = [int(line) for line in self._process.communicate()[0].split() if line.isdecimal()]
            self.shown = f"{statistics.mean(shares):.0f} %" if shares else "?"


def shown(tables: Iterable[Table], machine: str) -> str:
    parts = [machine]
    for title, header, rows in tables:
        lines = [header, ["---"] * len(header), *rows]
        parts.append("\n".join([f"### {title}", "", *(f"| {' | '.join(line)} |" for line in lines)]))
    return "\n\n".join(parts) + "\n"


def machine_of(device: str, encoder: Any) -> str:
    described = subprocess.run(["lscpu"], capture_output=True, text=True, check=False).stdout.splitlines()
    cpu = next((line.partition(":")[2].strip() for line in described if line.startswith("Model name")), "CPU")
    where = torch.cuda.get_device_name() if device.startswith("cuda") else f"{cpu}, {torch.get_num_threads()} threads"
    return f"{encoder.name} on {where}; torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--titles", type=Path, required=True, help="online_retail.csv.gz")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", action="append", help="precision of ours, may be repeated; float32 and bfloat16")
    parser.add_argument("--texts", type=int, default=2_000, help="titles; a tenth as many paragraphs")
    parser.add_argument("--tokens", type=int, default=16_384, help="max_batch_tokens")
    parser.add_argument("--wait-ms", type=float, default=5.0, help="max_wait_ms")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of the latency's load")
    parser.add_argument("--only", choices=("throughput", "sweep", "latency"), action="append")
    parser.add_argument("--markdown", type=Path, help="write the tables there")
    options = parser.parse_args()
    wanted = options.only or ["throughput", "sweep", "latency"]
    precisions = options.dtype or ["float32", "bfloat16"]
    encoders = {dtype: load_encoder(options.model, device=options.device, dtype=dtype) for dtype in precisions}
    first: Any = encoders[precisions[0]]
    titles = titles_of(options.titles, options.texts)
    sets = {"titles": titles, "paragraphs": paragraphs_of(titles, max(1, options.texts // 10), first)}
    tables = []
    if "throughput" in wanted:
        peer = SentenceTransformer(str(first.folder), device=options.device, local_files_only=True)
        models = {f"batcher, {dtype}": encoder for dtype, encoder in encoders.items()}
        tables.append(throughput(models | {"batcher, hashing": load_encoder("hashing")}, peer, sets, options))
        print(shown(tables[-1:], machine_of(options.device, first)), flush=True)
    if "sweep" in wanted:
        tables.append(sweep(first, sets, options))
        print(shown(tables[-1:], ""), flush=True)
    if "latency" in wanted:
        tables.append(latency(first, sets, options, options.device.startswith("cuda")))
        print(shown(tables[-1:], ""), flush=True)
    if options.markdown:
        options.markdown.write_text(shown(tables, machine_of(options.device, first)))


if __name__ == "__main__":
    main()
