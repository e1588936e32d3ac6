"""Windows as of a moment, computed in another way: by polars, from the raw events, with nothing kept in between.

Where a folder with `online_retail.csv.gz` is named by the environment, its events are used too.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import polars as pl
import pytest

from stream_profiles.backfill import BackfillOptions, backfill
from stream_profiles.dev.shop import DEFAULT_START_MS, shop_events
from stream_profiles.durations import to_ms
from stream_profiles.mapping import EventMapping
from stream_profiles.replay.files import open_rows
from tests.backfill.oracle import IMPORTS, write_definition, write_events
from tests.events import HOUR

ROOT = Path(__file__).parents[2]
DATA = os.environ.get("TEST_DATA")
RETAIL = Path(DATA, "online_retail.csv.gz") if DATA else None

#: Windows, and the tiles they are cut into: given, or the longest of the round ones that cuts them into 24 or more.
WINDOWS = {"1h": "2m", "1d": "1h", "7d": "6h", "30d": "1d"}
CASES = [(window, tile, None) for window, tile in WINDOWS.items()] + [("90d", "7d", "7d"), ("36h", "90m", "90m")]
#: What is computed, of which numbers. Numbers of items are whole, so that no sum depends on the order of its parts.
AGGREGATES = {
    "Sum": pl.col("quantity").sum(),
    "Mean": pl.col("quantity").sum() / pl.len(),
    "Min": pl.col("price").min(),
    "Max": pl.col("price").max(),
    "Std": pl.col("quantity").std(ddof=0),
    "Count": pl.len(),
}
OF = {"Sum": "quantity", "Mean": "quantity", "Min": "price", "Max": "price", "Std": "quantity"}


def name(kind: str, window: str) -> str:
    return f"{kind.lower()}_{window}"


def definition(types: str) -> str:
    features = []
    for kind in AGGREGATES:
        for window, _, resolution in CASES:
            of = f', of="{OF[kind]}"' if kind in OF else ""
            features.append(
                f'{kind}("{name(kind, window)}"{of}, on={types}, window="{window}", '
                f"resolution={resolution!r}, lifetime={window == '1h'})"
            )
    return f'{IMPORTS}shop = ProfileDefinition("shop", features=[{", ".join(features)}])\n'


def recomputed(events: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """Every aggregate of every window, straight from the events up to each moment."""
    before = asked.with_row_index("row").join(events, on="user_id", how="left", suffix="_of_event")
    before = before.filter(pl.col("time_of_event") <= pl.col("time"))
    result = asked.with_row_index("row").select("row")
    for window, tile, _ in CASES:
        size_ms, tile_ms = to_ms(window), to_ms(tile)
        covered = before.filter(pl.col("time_of_event") // tile_ms >= (pl.col("time") - size_ms) // tile_ms)
        values = covered.group_by("row").agg(**{name(kind, window): how for kind, how in AGGREGATES.items()})
        result = result.join(values, on="row", how="left")
    lifetime = before.group_by("row").agg(**{f"{kind}_ever": how for kind, how in AGGREGATES.items()})
    return result.join(lifetime, on="row", how="left").sort("row")


def compare(tmp_path: Path, file: Path, mapping: EventMapping | None, events: pl.DataFrame, types: str) -> int:
    """Ask for the windows of 100 users at ten moments each, and compare; returns how many values were."""
    random = Random(0)
    users = random.sample(sorted(events["user_id"].unique().to_list()), 100)
    first, last = int(events["time"].min()), int(events["time"].max())  # type: ignore[arg-type]
    pairs = []
    for user in users:
        times = events.filter(pl.col("user_id") == user)["time"].to_list()
        near = [random.choice(times) + random.choice((-1, 0, 1, HOUR, 7 * 24 * HOUR)) for _ in range(6)]
        pairs += [(user, time) for time in (*near, *(random.randint(first, last) for _ in range(4)))]
    asked = pl.DataFrame(pairs, schema={"user_id": pl.String, "time": pl.Int64}, orient="row")
    asked.write_parquet(tmp_path / "at.parquet")
    out = tmp_path / "out.parquet"
    options = BackfillOptions(out=out, at=tmp_path / "at.parquet", processes=1)
    backfill([file], write_definition(tmp_path, definition(types)), mapping, options)
    found, expected = pl.read_parquet(out), recomputed(events, asked)
    known = expected["Count_ever"].is_not_null()
    assert 100 < known.sum() <= len(asked)
    compared = 0
    for kind in AGGREGATES:
        columns = {f"{name(kind, window)}_last_{window}": name(kind, window) for window, _, _ in CASES}
        columns[f"{name(kind, '1h')}_{'total' if kind in ('Sum', 'Count') else 'lifetime'}"] = f"{kind}_ever"
        for column, recomputed_column in columns.items():
            assert found.filter(~known)[column].null_count() == (~known).sum(), "nobody's window is not 0 but unknown"
            # A model is given 0 for a window without events, also for its mean.
            wanted = expected.filter(known)[recomputed_column].fill_null(0).cast(pl.Float64).to_list()
            got = found.filter(known)[column].to_list()
            if kind == "Std":
                # A sum of squares is rounded in the order of its parts.
                assert got == pytest.approx(wanted, rel=1e-9, abs=1e-6), column
            else:
                assert got == wanted, column
            compared += len(got)
            assert len(set(got)) > 3, f"{column} is always the same"
    return compared


def test_of_the_synthetic_shop(tmp_path: Path) -> None:
    columns = ("user_id", "type", "time", "price", "quantity")
    events = [each for each in shop_events(seed=5, users=150, events=20_000) if each.type not in ("view", "search")]
    for each in events:
        each.quantity = each.quantity or 1.0
        # A month becomes a year, so that every window gets to drop something.
        each.time = DEFAULT_START_MS + 12 * (each.time - DEFAULT_START_MS)
    rows = [[getattr(each, column) for column in columns] for each in events]
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    file = write_events(tmp_path / "events.jsonl", events)
    assert compare(tmp_path, file, None, frame, '("cart", "purchase", "refund")') > 20_000


@pytest.mark.skipif(RETAIL is None or not RETAIL.is_file(), reason="online_retail.csv.gz is not at hand")
@pytest.mark.timeout(900)
def test_of_the_retail_data(tmp_path: Path) -> None:
    assert RETAIL is not None
    raw = pl.read_csv(RETAIL, infer_schema=False)
    events = raw.filter(pl.col("CustomerID") != "").select(
        pl.col("CustomerID").str.strip_suffix(".0").alias("user_id"),
        pl.col("InvoiceDate").str.to_datetime("%Y-%m-%d %H:%M:%S").dt.epoch("ms").alias("time"),
        pl.col("UnitPrice").cast(pl.Float64).alias("price"),
        pl.col("Quantity").cast(pl.Float64).alias("quantity"),
    )
    mapping = EventMapping.load(ROOT / "examples" / "online_retail.toml")
    with open_rows(RETAIL) as rows:
        assert rows.columns is not None and tuple(raw.columns) == rows.columns
    assert compare(tmp_path, RETAIL, mapping, events, '("purchase", "refund")') > 20_000
