"""Files are read as a backfill reads them, and what they hold is evaluated as if it had come through memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from stream_profiles.errors import SettingsError
from stream_profiles.evaluation import EvaluateOptions, Evaluator, evaluate
from stream_profiles.evaluation import run as evaluation_run
from stream_profiles.mapping import EventMapping
from stream_profiles.partitioner import Partitioner

from . import streams

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return streams.write(tmp_path / "shop.jsonl", streams.events(2_500))


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_file_gives_what_its_events_give(shop: Path, partitions: int) -> None:
    found = evaluate([shop], streams.definition(), options=EvaluateOptions(partitions=partitions, slices=5))
    direct, place = Evaluator(streams.definition()), Partitioner(partitions)
    stream = streams.events(2_500)
    for number in range(partitions):
        direct.run([[each for each in stream if place(each.user_id.encode()) == number]])
    assert found.report.targets == direct.reports(slices=5)
    assert found.report.anomalies == direct.population.anomalies()
    assert (found.report.events, found.report.users) == (2_500, direct.population.users)
    assert (found.report.start, found.report.end) == (stream[0].time, stream[-1].time)


def test_several_files_and_an_end(tmp_path: Path) -> None:
    stream = streams.events(2_000)
    parts = [streams.write(tmp_path / f"{n}.jsonl", stream[n * 1_000 : n * 1_000 + 1_000]) for n in range(2)]
    whole = streams.write(tmp_path / "whole.jsonl", stream)
    options = EvaluateOptions(until=stream[1_500].time)
    one, two = (evaluate(files, streams.definition(), options=options).report for files in ([whole], parts))
    assert one.targets == two.targets and one.events == 1_500 and one.after == 500
    assert two.files == ["0.jsonl", "1.jsonl"]


def test_real_rows_by_a_mapping() -> None:
    mapping = EventMapping.load(ROOT / "examples" / "online_retail.toml")
    sample = ROOT / "tests" / "data" / "online_retail_sample.csv"
    report = evaluate([sample], f"{ROOT / 'examples' / 'shop.py'}:shop", mapping).report
    assert report.dropped["anonymous"] > 0 and report.events > 0
    assert [target.name for target in report.targets] == ["buys_soon"]


def test_rows_that_are_no_events_are_counted(tmp_path: Path) -> None:
    file = streams.write(tmp_path / "shop.jsonl", streams.events(300))
    file.write_bytes(file.read_bytes() + b'\nno JSON\n{"user_id": "ada"}\n')
    report = evaluate([file], streams.definition()).report
    assert report.events == 300 and sum(report.rejected.values()) == 2


def test_nothing_is_left_when_it_is_stopped(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def stop(*_: object) -> None:
        assert any(temporary.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation_run, "_apply", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate([shop], streams.definition())
    assert not any(temporary.iterdir())


def test_wrong_options(shop: Path) -> None:
    with pytest.raises(SettingsError, match="the number of slices is from 1 to 1000, not 0"):
        EvaluateOptions(slices=0)
    with pytest.raises(SettingsError, match="the number of partitions is from 1 to 1024, not 0"):
        evaluate([shop], streams.definition(), options=EvaluateOptions(partitions=0))
