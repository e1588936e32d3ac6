"""The file of predictions holds what the report is made of."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from stream_profiles.backfill import BackfillOptions, backfill
from stream_profiles.errors import SettingsError
from stream_profiles.evaluation import Evaluated, EvaluateOptions, evaluate
from stream_profiles.evaluation.predictions import check_predictions, write_predictions

from . import streams

DEFINITION = """
from tests.evaluation.streams import definition
shop = definition()
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return streams.write(tmp_path / "shop.jsonl", streams.events(2_500))


def evaluated(shop: Path, *targets: str) -> Evaluated:
    return evaluate([shop], streams.definition(), options=EvaluateOptions(targets=targets))


def test_rows_of_all_targets(shop: Path, tmp_path: Path) -> None:
    found = evaluated(shop)
    path = tmp_path / "predictions.parquet"
    assert write_predictions(path, found.examples) == sum(map(len, found.examples.values()))
    rows = pl.read_parquet(path)
    for name, examples in found.examples.items():
        part = rows.filter(pl.col("target") == name)
        assert part["user_id"].to_list() == examples.users.tolist()
        assert part["time"].to_list() == examples.times.tolist()
        assert part["prediction"].to_list() == examples.predicted["model"].numbers.tolist()
    buys = rows.filter(pl.col("target") == "buys")
    assert buys["label"].to_list() == found.examples["buys"].labels.tolist()
    assert buys["last_label"].null_count() > 0 and set(buys["last_label"].drop_nulls()) == {0.0, 1.0}
    assert buys["label_class"].null_count() == len(buys)
    following = rows.filter(pl.col("target") == "next")
    assert following["label"].null_count() == len(following)
    hits = (following["label_class"] == following["predicted_class"]).sum()
    whole = found.report.targets[1].whole
    assert whole is not None and hits / len(following) == pytest.approx(whole.model.accuracy)  # type: ignore[union-attr]
    likeliest = [max(each, key=lambda one: one["probability"])["probability"] if len(each) else 0.0 for each in
                 following["probabilities"].to_list()]  # fmt: skip
    assert likeliest == following["prediction"].to_list()


def test_without_classes_there_are_no_columns_of_them(shop: Path, tmp_path: Path) -> None:
    found = evaluated(shop, "spends")
    for name, read in (("p.parquet", pl.read_parquet), ("p.csv", pl.read_csv)):
        write_predictions(tmp_path / name, found.examples)
        rows = read(tmp_path / name)
        assert rows.columns == ["target", "user_id", "time", "prediction", "label", "last_label"]
        assert rows["label"].to_list() == pytest.approx(found.examples["spends"].labels.tolist())
    assert {each.name for each in tmp_path.iterdir()} == {"shop.jsonl", "p.parquet", "p.csv"}


def test_a_backfill_gives_the_features_of_the_same_moments(shop: Path, tmp_path: Path) -> None:
    """So that a model can be trained in batch on the very examples that were predicted online."""
    predictions, training = tmp_path / "predictions.parquet", tmp_path / "training.parquet"
    write_predictions(predictions, evaluated(shop, "buys").examples)
    (tmp_path / "definition.py").write_text(DEFINITION)
    options = BackfillOptions(at=predictions, out=training, partitions=1, processes=1)
    backfill([shop], str(tmp_path / "definition.py"), options=options)
    rows, asked = pl.read_parquet(training), pl.read_parquet(predictions)
    assert rows.select(asked.columns).equals(asked)
    views = rows["views_total"].to_list()
    stream = streams.events(2_500)
    for row in range(0, len(rows), 50):
        user, time = rows["user_id"][row], rows["time"][row]
        seen = sum(each.user_id == user and each.type == "view" and each.time <= time for each in stream)
        assert views[row] == seen


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\.parquet or \.csv"):
        check_predictions(tmp_path / "p.xlsx")
    with pytest.raises(SettingsError, match="there is no folder"):
        check_predictions(tmp_path / "none" / "p.parquet")
