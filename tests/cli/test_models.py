"""What `models` shows: the client's numbers, model and baselines side by side, of every task."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from rich.console import Console

from stream_profiles.cli import connect, models
from stream_profiles.client import Contender, TargetMetrics
from stream_profiles.errors import StreamProfilesError
from stream_profiles.models.metrics import Evaluation

TASKS = ("binary", "multiclass", "regression")
#: Of each task some examples: prediction, label, last label.
EXAMPLES: dict[str, list[tuple[Any, Any, Any]]] = {
    "binary": [(0.9, True, False), (0.8, True, None), (0.3, False, True), (0.6, False, None), (0.2, False, False)]
    * 300,
    "multiclass": [({"a": 0.7, "b": 0.3}, "a", None), ({"a": 0.6, "b": 0.4}, "b", "b"), ({}, "c", "a")] * 20,
    "regression": [(10.0, 12.0, None), (20.0, 19.0, 12.0), (30.0, 33.5, 10.0)] * 20,
}


def target(task: str, examples: list[tuple[Any, Any, Any]] | None = None, **changes: Any) -> TargetMetrics:
    evaluation = Evaluation(task)
    for prediction, label, last_label in EXAMPLES[task] if examples is None else examples:
        evaluation.update(prediction, label, last_label)
    values = evaluation.values()
    fields: dict[str, Any] = {
        "examples": values.model.examples,
        "promotions": 1,
        "drifts": 0,
        "contenders": (
            Contender(model=1, name="Tree", partitions=2, asked=2, examples=900, loss=0.25, behind=None),
            Contender(model=0, name=None, partitions=1, asked=0, examples=400, loss=0.375, behind=0.125),
        ),
        "importances": {"views_1h": 0.8, "spend": 0.2},
    } | changes
    sides = {"model": values.model, "prevalence": values.prevalence, "last_label": values.last_label}
    return TargetMetrics(task=task, **sides, **fields)


def drawn(what: Any) -> str:
    file = io.StringIO()
    Console(file=file, width=200).print(what)
    return file.getvalue()


def row(text: str, first: str) -> list[str]:
    """The cells of the first line that begins with these words."""
    (line, *_) = [line.strip() for line in text.splitlines() if line.strip().startswith(f"{first} ")]
    return re.split(r" {2,}", line)[1:]


def test_a_binary_target() -> None:
    metrics = target("binary")
    text = drawn(models.target_report("buys_soon", metrics))
    assert text.splitlines()[0].strip() == "buys_soon  binary · 1,500 examples · 40.0% true · 1 promotion · 0 drifts"
    assert row(text, "model") == ["prevalence", "last label"]
    model: Any = metrics.model
    for words, field in (("log-loss", "log_loss"), ("ROC-AUC", "roc_auc"), ("PR-AUC", "pr_auc"), ("F1", "f1")):
        sides: list[Any] = [metrics.model, metrics.prevalence, metrics.last_label]
        assert row(text, words) == [f"{getattr(side, field):.3f}" for side in sides]
    assert row(text, "calibration error (ECE)")[0] == f"{model.calibration_error:.3f}"
    assert row(text, "lift at 10 %")[0] == "2.5"
    assert row(text, "accuracy")[0] == "80.0%"
    assert row(text, "precision")[0] == "66.7%"
    assert row(text, "recall")[0] == "100.0%"
    assert row(text, "true") == ["600", "0"] and row(text, "false") == ["300", "600"]


def test_a_multiclass_target() -> None:
    metrics = target("multiclass")
    text = drawn(models.target_report("next", metrics))
    assert "multiclass · 60 examples · 3 classes" in text
    assert row(text, "accuracy")[0] == "33.3%"
    assert row(text, "macro F1")[0] == "0.222"
    assert row(text, "a")[:3] == ["20", "50.0%", "100.0%"]
    assert row(text, "c")[:3] == ["20", "-", "0.0%"]
    assert row(text, "class, guessed as") == ["a", "b", "c", "others"]
    *_, line = [line for line in text.splitlines() if line.strip().startswith("c ")]
    assert line.split() == ["c", "0", "0", "0", "20"], "no guess at all is one of the others"


def test_of_many_classes_the_largest() -> None:
    many = [({"c0": 1.0}, f"c{number}", None) for number in range(30) for _ in range(30 - number)]
    text = drawn(models.target_report("next", target("multiclass", many)))
    assert row(text, "c9") and not re.search(r"^ *c10 ", text, flags=re.MULTILINE)
    assert text.count("and 20 more") == 2
    assert row(text, "c3")[0] == "27"


def test_a_regression_target() -> None:
    metrics = target("regression")
    text = drawn(models.target_report("worth", metrics))
    values: Any = metrics.model
    assert row(text, "mean absolute error")[0] == "2.17" and round(values.mae, 2) == 2.17
    assert row(text, "root mean squared error")[0] == "2.4" and round(values.rmse, 2) == 2.4
    assert row(text, "R2") == [f"{side.r2:.3f}" for side in (values, metrics.prevalence, metrics.last_label)]  # type: ignore[union-attr]
    assert row(text, "bias")[0] == "-1.5"


def test_contenders_and_importances() -> None:
    text = drawn(models.target_report("buys_soon", target("binary")))
    assert row(text, "Tree") == ["2 of 2 partitions", "900", "0.2500", "-"]
    assert row(text, "model 0") == ["0 of 1 partition", "400", "0.3750", "+0.1250"]
    assert row(text, "views_1h")[0] == "80.0%" and row(text, "spend")[0] == "20.0%"
    assert len(row(text, "views_1h")[1]) == 4 * len(row(text, "spend")[1]), "bars"


@pytest.mark.parametrize("task", TASKS)
def test_before_the_first_example(task: str) -> None:
    text = drawn(models.target_report("t", target(task, [], contenders=(), importances=None)))
    assert f"{task} · 0 examples" in text
    assert "None" not in text and "nan" not in text
    assert len([line for line in text.splitlines() if line.rstrip().endswith("-  -  -") or "  -  " in line]) >= 3


def test_each_partition_is_a_line() -> None:
    partitions = {
        0: {"buys_soon": target("binary"), "other": target("regression")},
        3: {"buys_soon": target("binary", EXAMPLES["binary"][:50])},
        7: {"other": target("regression")},
    }
    text = drawn(models.partitions_table("buys_soon", partitions))
    lines = [line.split() for line in text.splitlines()[-2:]]
    assert [line[:3] for line in lines] == [["0", "1,500", "Tree"], ["3", "50", "Tree"]]
    values: Any = partitions[3]["buys_soon"]
    assert lines[1][3:6] == [f"{side.log_loss:.3f}" for side in (values.model, values.prevalence, values.last_label)]


def test_json_is_a_line_for_each_target_and_partition() -> None:
    metrics = {"buys_soon": target("binary"), "worth": target("regression")}
    lines = [json.loads(line) for line in models.json_lines(metrics, {2: metrics})]
    assert [(line["target"], line.get("partition")) for line in lines] == [
        ("buys_soon", None),
        ("buys_soon", 2),
        ("worth", None),
        ("worth", 2),
    ]
    values: Any = metrics["buys_soon"].model
    assert lines[0]["model"]["roc_auc"] == values.roc_auc
    assert lines[0]["contenders"][1]["behind"] == 0.125


def test_what_users_send_cannot_write_into_the_terminal() -> None:
    nasty = "\x1b[2J[bold]:bug:[/]\r\n"
    examples = [({nasty: 1.0}, nasty, None)] * 3
    contender = Contender(model=0, name=nasty, partitions=1, asked=1, examples=3, loss=None, behind=None)
    metrics = target("multiclass", examples, contenders=(contender,), importances={nasty: 1.0})
    text = drawn(models.target_report(nasty, metrics)) + drawn(models.partitions_table("t", {0: {"t": metrics}}))
    assert "\x1b" not in text and "\r" not in text
    assert text.count(r"\x1b[2J[bold]:bug:[/]\r\n") >= 6


class Client:
    """A `ProfileClient`, as far as the command sees it."""

    def __init__(self, metrics: dict[str, TargetMetrics], error: Exception | None = None) -> None:
        self._metrics, self._error = metrics, error

    def metrics(self) -> dict[str, TargetMetrics]:
        return self._metrics

    def partition_metrics(self) -> dict[int, dict[str, TargetMetrics]]:
        return {4: self._metrics}

    def get_many(self, users: Any) -> dict[str, None]:
        if self._error is not None:
            raise self._error
        return {}

    @contextmanager
    def open(self, redis: str, name: str) -> Iterator[Client]:
        assert (redis, name) == ("redis://localhost:1", "shop")
        yield self


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> connect.Deployment:
    monkeypatch.chdir(tmp_path)
    return connect.Deployment(None, name="shop", redis="redis://localhost:1")


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("partitions", [False, True])
def test_the_command(
    deployment: connect.Deployment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    as_json: bool,
    partitions: bool,
) -> None:
    monkeypatch.setattr(models, "ProfileClient", Client({"buys_soon": target("binary")}).open)
    models.print_models(deployment, as_json=as_json, partitions=partitions)
    printed = capsys.readouterr().out
    if as_json:
        assert [json.loads(line).get("partition") for line in printed.splitlines()] == [None, 4][: 1 + partitions]
    else:
        assert printed.startswith("buys_soon  binary") and ("\n   4 " in printed) == partitions
        assert max(map(len, printed.splitlines())) < 200, "padded to the width of a console that has none"


def test_no_metrics_is_an_error_that_says_why(deployment: connect.Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "ProfileClient", Client({}).open)
    with pytest.raises(StreamProfilesError, match="shop has no metrics yet"):
        models.print_models(deployment, as_json=False, partitions=False)
    monkeypatch.setattr(models, "ProfileClient", Client({}, StreamProfilesError("no profiles called 'shop'")).open)
    with pytest.raises(StreamProfilesError, match="no profiles called"):
        models.print_models(deployment, as_json=False, partitions=False)
