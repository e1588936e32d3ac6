"""The example definitions make profiles of the data they are written for."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from stream_profiles import Change, Event, Partition, ProfileUpdater
from stream_profiles.definition import load_definition
from stream_profiles.dev.shop import shop_events
from stream_profiles.mapping import EventMapping
from stream_profiles.replay.files import open_rows
from stream_profiles.text.offline import OfflineTexts

FOLDER = Path(__file__).resolve().parents[1]


def sample(name: str, mapping: str) -> list[Event]:
    mapped = EventMapping.load(FOLDER / "examples" / mapping)
    with open_rows(FOLDER / "tests" / "data" / name, mapped.config.source) as rows:
        events = [mapped.to_event(row, f"row-{number}") for chunk in rows.chunks() for number, row in chunk]
    return [each for each in events if isinstance(each, Event)]


def run(example: str, events: list[Event]) -> Partition:
    updater = ProfileUpdater(load_definition(str(FOLDER / "examples" / example)))
    partition = Partition(updater)
    OfflineTexts(updater.text_embeddings).prepare(partition, events)
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
    values = next(iter(partition.shared.learners.values())).evaluation.model.values()
    assert values.examples > 300
    assert values.positives > 50


def test_the_model_of_the_shop_learns_something() -> None:
    """Well above guessing, and honest about it, from the first example on."""
    partition = run("shop.py", list(shop_events(3, users=300, items=200, events=60_000)))
    values = next(iter(partition.shared.learners.values())).evaluation.model.values()
    assert values.roc_auc is not None
    assert values.roc_auc > 0.7
    assert values.calibration_error is not None
    assert values.calibration_error < 0.05


def test_the_shop_on_the_invoices_of_online_retail() -> None:
    partition = run("shop.py", sample("online_retail_sample.csv", "online_retail.toml"))
    profile = partition.published(next(iter(sorted(partition.users()))))
    assert profile is not None
    assert {"purchases", "spend", "price", "country", "recent_items", "sessions", "buys_soon"} <= profile.keys()


def test_the_customers_of_online_retail() -> None:
    partition = run("online_retail.py", sample("online_retail_sample.csv", "online_retail.toml"))
    profiles = [partition.published(user) or {} for user in partition.users()]
    assert set().union(*profiles) == set(partition.updater.definition.field_names)
    profile = partition.published("17850")
    assert profile is not None
    assert (profile["orders"]["total"], profile["orders"]["lines"]["max"]) == (1, 5)
    assert profile["orders"]["value"]["mean"] == pytest.approx(profile["spend"]["total"])
    assert profile["buys_again"]["score"] == 0.5, "nothing is known before 30 days are over"


def test_the_clicks_on_clothing() -> None:
    partition = run("eshop_clothing_2008.py", sample("eshop_clothing_2008_sample.csv", "eshop_clothing_2008.toml"))
    profile = partition.published("1")
    assert profile is not None
    categories = {"trousers", "skirts", "blouses", "sale"}
    unseen = categories - {category for category, _ in profile["categories"]["top"]}
    missing = {f"{what}_{category}" for what in ("viewed", "since") for category in unseen}
    assert set(partition.updater.definition.field_names) - profile.keys() <= {"taste", *missing}
    assert profile["first_category"] in categories
    assert {category for category, _ in profile["next_category"]["top"]} <= categories
    [learner] = partition.shared.learners.values()
    assert learner.examples > 0


def test_sessions_that_tell_how_they_ended() -> None:
    name = "online_shoppers_intention"
    events = sample(f"{name}_sample.csv", f"{name}.toml")
    partition = run(f"{name}.py", events)
    assert sorted(partition.users(), key=int) == [event.user_id for event in events] == [str(n + 1) for n in range(11)]
    profile = partition.published("3")
    assert profile is not None
    assert profile.keys() == set(partition.updater.definition.field_names)
    assert profile["page_value"] == {"lifetime": 22.9160357}
    assert (profile["saw_pages_that_sell"], profile["month"]) == ({"total": 1}, "Feb")
    for learner in partition.shared.learners.values():
        evaluation = learner.evaluation.values()
        assert (evaluation.model.examples, evaluation.model.positives) == (11, 5)

    # The prediction is made without the outcome, which stands in the same event.
    other = copy.deepcopy(events)
    other[-1].properties["Revenue"] = "FALSE"
    again = run(f"{name}.py", other)
    assert again.published("11") == partition.published("11")
    assert again.metrics() != partition.metrics()


@pytest.mark.parametrize("example", ["shop.py", "eshop_clothing_2008.py"])
def test_profiles_stay_small(example: str) -> None:
    """They travel with every write of the changelog."""
    partition = run(example, [e for e in shop_events(users=20, items=60, events=5_000) if e.type == "view"])
    partition.take()
    assert max(partition.stored_bytes(user) for user in partition.users()) < 8_000
