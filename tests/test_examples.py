"""The example definitions make profiles of the data they are written for."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from stream_profiles import Change, Event, Partition, ProfileUpdater
from stream_profiles.definition import load_definition
from stream_profiles.dev.shop import shop_events
from stream_profiles.mapping import EventMapping

FOLDER = Path(__file__).resolve().parents[1]


def sample(name: str, mapping: str) -> list[Event]:
    mapped = EventMapping.load(FOLDER / "examples" / mapping)
    delimiter = ";" if "eshop" in name else ","
    with (FOLDER / "tests" / "data" / name).open(encoding="utf-8", newline="") as file:
        rows = enumerate(csv.DictReader(file, delimiter=delimiter))
        events = [mapped.to_event(row, f"row-{number}") for number, row in rows]
    return [each for each in events if isinstance(each, Event)]


def run(example: str, events: list[Event]) -> Partition:
    updater = ProfileUpdater(load_definition(str(FOLDER / "examples" / example)))
    partition = Partition(updater)
    for each in events:
        assert updater.allows(each.type)
        change = partition.apply(each)
        assert isinstance(change, Change)
        assert change.failed == {}
    return partition


def test_the_shop_on_the_synthetic_shop() -> None:
    partition = run("shop.py", list(shop_events(users=40, items=60, events=6_000)))
    fields = set(partition.updater.definition.field_names)
    full = [user for user in partition.users() if (partition.published(user) or {}).keys() == fields]
    assert len(full) > 20, "every field comes to have a value"
    values = next(iter(partition.shared.learners.values())).metrics.values()
    assert values.examples > 300
    assert values.positives > 50


def test_the_model_of_the_shop_learns_something() -> None:
    """Well above guessing, and honest about it, from the first example on."""
    partition = run("shop.py", list(shop_events(3, users=300, items=200, events=60_000)))
    values = next(iter(partition.shared.learners.values())).metrics.values()
    assert values.roc_auc is not None
    assert values.roc_auc > 0.7
    assert values.calibration_error is not None
    assert values.calibration_error < 0.05


def test_the_shop_on_the_invoices_of_online_retail() -> None:
    partition = run("shop.py", sample("online_retail_sample.csv", "online_retail.toml"))
    profile = partition.published(next(iter(sorted(partition.users()))))
    assert profile is not None
    assert {"purchases", "spend", "price", "country", "recent_items", "sessions", "buys_soon"} <= profile.keys()


def test_the_clicks_on_clothing() -> None:
    partition = run("eshop_clothing_2008.py", sample("eshop_clothing_2008_sample.csv", "eshop_clothing_2008.toml"))
    profile = partition.published("1")
    assert profile is not None
    assert set(partition.updater.definition.field_names) - profile.keys() <= {"taste"}
    assert profile["first_category"] in {"trousers", "skirts", "blouses", "sale"}


@pytest.mark.parametrize("example", ["shop.py", "eshop_clothing_2008.py"])
def test_profiles_stay_small(example: str) -> None:
    """They travel with every write of the changelog."""
    partition = run(example, [e for e in shop_events(users=20, items=60, events=5_000) if e.type == "view"])
    partition.take()
    assert max(partition.stored_bytes(user) for user in partition.users()) < 8_000
