"""The columns of a definition, for every kind of field there is."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stream_profiles import (
    BehaviourEmbedding,
    Count,
    Feature,
    First,
    Happens,
    Last,
    Partition,
    ProfileDefinition,
    ProfileUpdater,
    RecentItems,
    Target,
    TextEmbedding,
    TimeSince,
)
from stream_profiles.backfill.columns import Columns
from stream_profiles.errors import SettingsError
from stream_profiles.features.derived import Cross, Ratio
from stream_profiles.models.labels import Next, ValueWithin
from stream_profiles.models.monitors import Anomaly, Clusters
from stream_profiles.segments import Segment
from stream_profiles.text.offline import OfflineTexts
from tests.events import DAY, HOUR, MINUTE, T0, event


def everything() -> ProfileDefinition:
    return ProfileDefinition(
        "shop",
        features=[
            Count("views", on="view", half_life="1h"),
            Count("carts", on="cart", half_life="1h"),
            TimeSince("seen"),
            Last("country", of="country"),
            First("price", of="price"),
            Last("latest", of="time"),
            Last("size", of="properties.size"),
            RecentItems("recent"),
            Ratio("carts_per_view", of="carts.total", to="views.total"),
            Cross("place", of=("country", "size")),
        ],
        targets=[
            Target("buys", label=Happens("purchase", within="1d")),
            Target("next_category", label=Next("category", within="1d")),
            Target("worth", label=ValueWithin("amount", within="1d")),
            Anomaly("odd"),
        ],
        segments=[Segment("fan", where="views.total >= 2"), Clusters("group")],
        embeddings=[BehaviourEmbedding("taste", dimensions=16)],
    )


def test_names_and_types() -> None:
    schema = Columns(ProfileUpdater(everything())).schema
    number, text = pa.float64(), pa.string()
    assert {field.name: field.type for field in schema} == {
        "views_total": number,
        "views_1h": number,
        "carts_total": number,
        "carts_1h": number,
        "seen_seconds": number,
        "seen_ever": number,
        "country": text,
        "price": number,
        "latest": pa.int64(),
        "size": text,
        "recent": text,
        "carts_per_view_ratio": number,
        "place": text,
        "buys_score": number,
        "next_category": text,
        "worth_value": number,
        "odd_score": number,
        "fan": pa.bool_(),
        "group_cluster": pa.int64(),
        "taste": pa.list_(pa.float32()),
    }


def test_values() -> None:
    partition = Partition(ProfileUpdater(everything()))
    columns = Columns(partition.updater)
    for n in range(6):
        fields: dict[str, Any] = {"country": "PT", "price": 2.5, "item_id": f"i{n % 3}", "category": f"c{n % 2}"}
        for user in ("ada", "bob"):
            type = "cart" if n == 5 else "view"
            partition.apply(event(type, n * MINUTE, user, properties={"size": n if n % 2 else {"eu": n}}, **fields))
    state, now = partition.state("ada"), T0 + 5 * MINUTE + HOUR
    assert state is not None
    row = dict(zip(columns.schema.names, columns.row(state, now), strict=True))
    assert (row["views_total"], row["carts_total"], row["carts_1h"]) == (5.0, 1.0, 0.5)
    assert (row["seen_seconds"], row["seen_ever"]) == (3600.0, 1.0)
    assert (row["country"], row["price"], row["latest"], row["size"]) == ("PT", 2.5, T0 + 5 * MINUTE, "5")
    assert json.loads(row["recent"]) == ["i2", "i1", "i0"]
    assert row["carts_per_view_ratio"] == 0.2 and row["place"] == "PT|5"
    published = partition.published("ada")
    assert published is not None
    assert row["buys_score"] == published["buys"]["score"]  # type: ignore[index]
    assert json.loads(row["next_category"]) == published["next_category"]
    assert row["worth_value"] == published["worth"]["value"]  # type: ignore[index]
    assert row["odd_score"] == published["odd"]["score"]  # type: ignore[index]
    assert row["fan"] is True and row["group_cluster"] == published["group"]["cluster"]  # type: ignore[index]
    assert row["taste"] == published["taste"] and len(row["taste"]) == 64
    arrays = columns.arrays([columns.row(state, now), columns.row(None, now)])
    assert [array.type for array in arrays] == columns.schema.types
    assert all(len(array) == 2 and not array[1].is_valid for array in arrays)


def texts(**options: Any) -> ProfileDefinition:
    interests = TextEmbedding("interests", half_life=("1d", "30d"), encoder="hashing-64", min_angle=0, **options)
    return ProfileDefinition("shop", features=[Count("views")], embeddings=[interests])


def test_text_vectors_have_a_column_each_and_what_is_said_about_them_is_json() -> None:
    partition = Partition(ProfileUpdater(texts(labels=["tea pot", "football"])))
    columns = Columns(partition.updater)
    vector = pa.list_(pa.float32())
    assert {field.name: field.type for field in columns.schema} == {
        "views_total": pa.float64(),
        "interests_1d": vector,
        "interests_30d": vector,
        "interests": pa.string(),
    }
    seen = [event("view", n * DAY, text=text) for n, text in enumerate(("tea pot", "football"))]
    OfflineTexts(partition.updater.text_embeddings).prepare(partition, seen)
    for each in seen:
        partition.apply(each)
    state, published = partition.state("ada"), partition.published("ada")
    assert state is not None and published is not None
    arrays = dict(zip(columns.schema.names, columns.arrays([columns.row(state, T0 + 2 * DAY)]), strict=True))
    for name in ("interests_1d", "interests_30d"):
        [found] = arrays[name].to_pylist()
        assert found == np.frombuffer(published[name], "<f4").tolist()  # type: ignore[call-overload]
        assert len(found) == 64 and np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    assert arrays["interests_1d"] != arrays["interests_30d"]
    assert json.loads(arrays["interests"][0].as_py()) == published["interests"]
    assert json.loads(arrays["interests"][0].as_py())["texts"] == 2


def test_a_user_without_texts_has_no_vector() -> None:
    partition = Partition(ProfileUpdater(texts()))
    partition.apply(event())
    columns = Columns(partition.updater)
    row = columns.row(partition.state("ada"), T0)
    assert row == [1.0, None, None, None]
    assert [array[0].is_valid for array in columns.arrays([row])] == [True, False, False, False]


def test_zeros_are_not_invented_for_somebody_unknown() -> None:
    columns = Columns(ProfileUpdater(everything()))
    nobody = columns.row(None, T0)
    assert nobody == [None] * len(columns.schema)
    updater = ProfileUpdater(everything())
    state = updater.new_state()
    assert columns.row(state, T0) == nobody
    # To somebody who is known, but did not view anything, a model is given a zero.
    partition = Partition(updater)
    partition.apply(event("cart"))
    assert columns.row(partition.state("ada"), T0)[0] == 0.0


def test_a_field_that_fails_is_empty_and_the_others_are_there() -> None:
    class Broken(Feature):
        def update(self, state: Any, event: Any) -> Any:
            return [1]

        def snapshot(self, state: Any) -> Any:
            return 1

        def input_names(self) -> tuple[str, ...]:
            return ("broken_one", "broken_two")

        def inputs(self, state: Any, now: int) -> tuple[float, ...]:
            raise ValueError

        @property
        def max_bytes(self) -> int:
            return 9

    partition = Partition(ProfileUpdater(ProfileDefinition("shop", features=[Broken("broken"), Count("views")])))
    partition.apply(event())
    assert Columns(partition.updater).row(partition.state("ada"), T0) == [None, None, 1.0]


def test_two_columns_of_one_name_are_refused() -> None:
    updater = ProfileUpdater(ProfileDefinition("shop", features=[Count("views"), Last("views_total", of="country")]))
    with pytest.raises(SettingsError, match="two columns would be called 'views_total'"):
        Columns(updater)
    with pytest.raises(SettingsError, match="a column of the file that is given with --at"):
        Columns(ProfileUpdater(ProfileDefinition("shop", features=[Count("views")])), ["views_total"])
