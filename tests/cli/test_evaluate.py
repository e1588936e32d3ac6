"""`evaluate`: what it prints and writes, and how it ends when something is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from stream_profiles.evaluation import Evaluator
from tests.evaluation import streams

from .conftest import Ended, Run
from .test_errors import SAMPLE, SHOP, assert_one_sentence

DEFINITION = f"{SHOP}:shop"
MULTI = """
from tests.evaluation.streams import definition
shop = definition()
"""


@pytest.fixture
def evaluate(run: Run, tmp_path: Path) -> Any:
    streams.write(tmp_path / "shop.jsonl", streams.events(2_500))
    (tmp_path / "multi.py").write_text(MULTI)

    def evaluate(*words: str | Path, file: str | Path = "shop.jsonl", definition: str = DEFINITION) -> Ended:
        return run("evaluate", file, "--definition", definition, *words)

    return evaluate


def test_the_report_is_printed(evaluate: Any) -> None:
    ended = evaluate(definition="multi.py")
    assert ended.code == 0 and ended.err == ""
    assert ended.out.startswith("2,500 events of ")
    for words in ("buys", "log-loss", "ROC-AUC", "latest 30%", "top 10%", "Calibration", "LogisticRegression"):
        assert words in ended.out
    for words in ("By quarters", "Over time", "mean absolute error", "macro F1", "Confusion", "Importances"):
        assert words in ended.out
    for words in ("Segments at the end", "Clusters at the end", "Anomaly scores at the end", "predictions still wait"):
        assert words in ended.out
    assert "…" not in ended.out and max(map(len, ended.out.splitlines())) < 200


def test_control_characters_of_the_data_do_not_reach_the_terminal(evaluate: Any, tmp_path: Path) -> None:
    stream = streams.events(2_000)
    for each in stream:
        if each.category is not None:
            each.category = f"\x1b[31m[bold]{each.category[:1]}"
    streams.write(tmp_path / "odd.jsonl", stream)
    ended = evaluate("--target", "next", file="odd.jsonl", definition="multi.py")
    assert ended.code == 0 and "\x1b" not in ended.out and "\\x1b[31m[bold]" in ended.out


def test_one_object_of_json(evaluate: Any) -> None:
    ended = evaluate("--json", "--slices", "4")
    report = json.loads(ended.out)
    assert ended.code == 0 and ended.out.count("\n") == 1
    assert report["definition"] == "shop" and report["events"] == 2_500
    [target] = report["targets"]
    assert target["name"] == "buys_soon" and len(target["slices"]) == 4 and len(target["quarters"]) == 4
    assert target["whole"]["model"]["roc_auc"] > 0.5 and target["waiting"] > 0
    assert [each["top"] for each in target["lift"]] == [0.01, 0.05, 0.1, 0.2, 0.5]
    assert target["contenders"][0]["name"] == "LogisticRegression" and target["importances"]


def test_a_page_and_predictions_are_written(evaluate: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    ended = evaluate("--html", "report.html", "--predictions", "p.parquet", "--json")
    assert ended.code == 0 and json.loads(ended.out)
    assert "predictions to p.parquet" in ended.err and "wrote the report to report.html" in ended.err
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "p.parquet").stat().st_size > 1_000


def test_until_partitions_and_targets(evaluate: Any) -> None:
    end = streams.events(2_500)[1_000].time
    report = json.loads(
        evaluate("--json", "--until", str(end), "--partitions", "3", "-t", "next", definition="multi.py").out
    )
    assert report["after"] == 1_500 and report["partitions"] == 3
    assert [target["name"] for target in report["targets"]] == ["next"]
    assert report["targets"][0]["contenders"][0]["partitions"] == 3


def test_what_is_wrong_is_one_sentence(evaluate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_is_computed(*_: object) -> None:
        raise AssertionError("events were applied")

    monkeypatch.setattr(Evaluator, "run", nothing_is_computed)
    assert_one_sentence(evaluate(file="none.jsonl"), "there is no file none.jsonl")
    assert_one_sentence(evaluate("--target", "buy_soon"), "no target 'buy_soon'; did you mean 'buys_soon'?")
    assert_one_sentence(evaluate(file=SAMPLE), "--mapping FILE.toml says how rows become events")
    assert_one_sentence(evaluate("--mapping", "none.toml"), "there is no mapping file none.toml")
    assert_one_sentence(evaluate("--until", "soon"), "--until: ")
    assert_one_sentence(evaluate("--slices", "0"), "the number of slices is from 1 to 1000")
    assert_one_sentence(evaluate("--partitions", "0"), "the number of partitions is from 1 to 1024")
    assert_one_sentence(evaluate("--predictions", "p.xlsx"), ".parquet or .csv")
    assert_one_sentence(evaluate("--html", "none/report.html"), "there is no folder none")
    assert_one_sentence(evaluate(definition="none.py:shop"), "there is no file none.py")
    (tmp_path / "plain.py").write_text(
        "from stream_profiles import Count, ProfileDefinition\np = ProfileDefinition('plain', features=[Count('n')])\n"
    )
    assert_one_sentence(evaluate(definition="plain.py"), "has no targets")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert_one_sentence(evaluate("--html", "report.html"), "matplotlib", "pip install 'stream-profiles[report]'")
    assert {each.name for each in tmp_path.iterdir()} <= {"shop.jsonl", "multi.py", "plain.py", "__pycache__"}


def test_ctrl_c_leaves_nothing(evaluate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Evaluator, "run", stop)
    ended = evaluate("--html", "report.html", "--predictions", "p.parquet")
    assert (ended.code, ended.out, ended.err) == (130, "", "evaluation stopped; nothing is left of it\n")
    assert {each.name for each in tmp_path.iterdir()} == {"shop.jsonl", "multi.py"}
