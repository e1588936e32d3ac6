"""A reader brings what is made of other fields to a later time by making it anew."""

from __future__ import annotations

import msgspec
import pytest

from stream_profiles import Count, Partition, ProfileDefinition, ProfileUpdater, Ratio
from stream_profiles.client._schema import Schema
from stream_profiles.sinks.redis import encode_fields
from tests.events import DAY, HOUR, T0, event

DEFINITION = ProfileDefinition(
    "shop",
    features=[
        Count("views", half_life="1h", window="1d"),
        Count("slow", half_life="1d"),
        Ratio("trend", of="views.1h", to="slow.1d"),
        Ratio("lately", of="views.last_1d", to="views.total"),
    ],
)


def stored(names: set[str] | None = None) -> dict[bytes, bytes]:
    partition = Partition(ProfileUpdater(DEFINITION))
    for hour in range(4):
        partition.apply(event("view", hour * HOUR))
    fields = encode_fields(partition.published("ada") or {})
    kept = {name.encode(): value for name, value in fields.items() if names is None or name in names}
    return {b"_version": b"4", b"_event_time": b"0", b"_updated_at": b"0", b"_lineage": b"x", **kept}


def read(stored: dict[bytes, bytes], now: int | None) -> dict[str, object]:
    strange: set[str] = set()
    schema = Schema(msgspec.json.encode(DEFINITION.describe()))
    profile = schema.profile("shop", "ada", stored, now, strange)
    assert profile is not None and not strange
    return profile.values


def test_it_is_made_of_what_is_brought_there() -> None:
    now = T0 + 3 * HOUR + DAY
    then, later = read(stored(), None), read(stored(), now)
    assert later["trend"] == {"ratio": pytest.approx(later["views"]["1h"] / later["slow"]["1d"]), "at": now}  # type: ignore[index]
    assert later["trend"] != then["trend"]
    assert (then["lately"]["ratio"], later["lately"]["ratio"]) == (1.0, 0.25)  # type: ignore[index]


def test_of_chosen_fields_it_stays_as_it_was_where_its_sources_are_not_among_them() -> None:
    some = stored({"trend"})
    assert read(some, T0 + 10 * DAY) == read(some, None)
