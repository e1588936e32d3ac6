"""Every feature keeps its promises over a million random events: above all, that its state stays within its bound.

    python benchmarks/bounds.py [--events 500000] [--processes 2]

Runs `checks.check_feature` on every case of the tests' (`tests/features/cases.py`) with so many events, each followed
by a strange one: texts too long, numbers that are none. Prints the features with the time each took; ends with an error
at the first that breaks a promise. Takes about half an hour on one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stream_profiles.checks import check_feature
from tests.features.cases import CASES


def check(number: int, events: int) -> float:
    """Seconds it took."""
    began = time.perf_counter()
    check_feature(CASES[number], events=events, properties=("size", "zone"))
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="Check every feature over many random events.")
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.processes) as pool:
        running = [pool.submit(check, number, arguments.events) for number in range(len(CASES))]
        for feature, seconds in zip(CASES, running, strict=True):
            print(f"{feature!r}: {seconds.result():.1f} s", flush=True)
    print(f"{len(CASES)} features keep their promises over {2 * arguments.events:,} events each")


if __name__ == "__main__":
    main()
