"""How profiles, changes and definitions read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console
from river import linear_model, preprocessing

from stream_profiles import (
    Count,
    Event,
    Happens,
    Partition,
    Profile,
    ProfileDefinition,
    ProfileDelta,
    ProfileUpdater,
    Raw,
    RiverModel,
    Target,
    TextEmbedding,
)
from stream_profiles.cli import show
from stream_profiles.client import TargetMetrics
from stream_profiles.client._metrics import Report, merge
from stream_profiles.definition import load_definition
from stream_profiles.dev.shop import shop_events
from stream_profiles.models.metrics import Evaluation
from stream_profiles.text.offline import OfflineTexts

SHOP = load_definition(str(Path(__file__).parents[2] / "examples" / "shop.py"))


def drawn(what: Any, width: int = 200) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(what)
    return file.getvalue()


def profile(values: dict[str, Any], user: str = "ada") -> Profile:
    return Profile(user_id=user, profile="shop", version=1234, event_time=0, updated_at=0, values=values)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"total": 12, "1h": 2.34, "at": 0}, "12 in all, 2.34 (1h)"),
        ({"top": [["shoes", 3.16], ["hats", 1.0]], "at": 0}, "shoes 3.16, hats 1"),
        ({"top": [], "at": 0}, ""),
        ({"seconds": 93_600.0, "at": 0}, "1 d 2 h"),
        ({"score": 0.125, "at": 0}, "12.5%"),
        (
            {"count": 3, "events": 8, "seconds": 300.0, "mean_seconds": 660.0, "active": True, "at": 0},
            "3 in all, now 8 events in 5 min, 11 min on average",
        ),
        (
            {"count": 3, "events": 8, "seconds": 300.0, "mean_seconds": 660.0, "active": False, "at": 0},
            "3 in all, the last 8 events in 5 min, 11 min on average",
        ),
        (
            {
                "count": 3,
                "start": 0,
                "events": 8,
                "seconds": 300.0,
                "mean_seconds": 660.0,
                "mean_events": 2.5,
                "bounce_rate": 0.5,
                "active": True,
                "last_7d": 2,
                "at": 0,
                "then": {"active": [[1, False]], "last_7d": [[2, 0]]},
            },
            "3 in all, now 8 events in 5 min, 11 min and 2.5 events on average, 50% with one event, 2 (last 7d)",
        ),
        ({"last_seconds": None, "mean_seconds": 60.0, "at": 0}, "last_seconds none, mean 1 min"),
        ({"last": 2, "mean": 1.5, "std": 0.5, "min": 1, "max": 2}, "last 2, mean 1.5, std 0.5, min 1, max 2"),
        (["a", "b"], "a, b"),
        ("DE", "DE"),
        (1234.5, "1,234"),
        (np.arange(8, dtype="<f4"), "8 numbers: +0.00 +1.00 +2.00 +3.00 +4.00 +5.00 …"),
        (
            {
                "encoder": "hashing-384@1",
                "texts": 1_234,
                "top": {"1d": ["tea", "music"], "30d": ["music", "tea"]},
                "cosines": {
                    "1d": {"tea": 0.504, "music": -0.1, "x": 0.0},
                    "30d": {"music": 0.5, "tea": 0.25, "x": 0.0},
                },
            },
            "tea 0.50, music -0.10 (1d); music 0.50, tea 0.25 (30d); 1,234 texts by hashing-384@1",
        ),
        ({"encoder": "hashing-384@1", "texts": 1}, "1 texts by hashing-384@1"),
        ({"own": "kind", "flag": True, "half": 0.5}, "own kind, flag, half 0.5"),
        (None, "none"),
    ],
)
def test_values_in_words(value: Any, text: str) -> None:
    assert show.readable(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0, "0"), (3.0, "3"), (7, "7"), (1_000_000, "1,000,000"), (0.004567, "0.0046"), (-2.5, "-2.5")],
)
def test_numbers(value: float, text: str) -> None:
    assert show.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3_700, "1 h 1 min"), (86_400, "1 d")]
)
def test_durations(seconds: float, text: str) -> None:
    assert show.duration(seconds) == text


def test_everything_the_example_publishes_can_be_drawn() -> None:
    partition = Partition(ProfileUpdater(SHOP))
    for event in shop_events(seed=1, users=1, events=300):
        partition.apply(event)
    (user,) = partition.users()
    published = partition.published(user)
    assert published is not None
    panel = drawn(show.profile_panel(profile(dict(published), user)))
    assert set(published) <= set(panel.split())
    assert user in panel and "version 1,234 · last event 1970-01-01 00:00:00 UTC" in panel
    assert "{" not in panel and "'at'" not in panel, "a value is shown raw"


def test_what_users_send_cannot_write_into_the_terminal() -> None:
    nasty = "\x1b[2J[bold]:bug:[/]\r\n"
    panel = drawn(show.profile_panel(profile({"country": nasty}, user=nasty)))
    delta = ProfileDelta(
        user_id=nasty,
        profile="shop",
        version=1,
        event_id="1",
        event_time=0,
        changed={"country": nasty},
        removed=["city"],
        snapshot=True,
    )
    for text in (panel, drawn(show.delta_line(delta))):
        assert "\x1b" not in text and "\r" not in text
        assert text.count(r"\x1b[2J[bold]:bug:[/]\r\n") == 2


def test_text_vectors_and_what_is_said_about_them() -> None:
    interests = TextEmbedding(
        "interests", half_life=("1d", "30d"), labels=["tea pot", "football"], encoder="hashing-64"
    )
    partition = Partition(ProfileUpdater(ProfileDefinition("shop", embeddings=[interests])))
    event = Event(event_id="1", user_id="ada", type="view", time=0, text="tea pot")
    OfflineTexts([interests]).prepare(partition, [event])
    partition.apply(event)
    values: dict[str, Any] = dict(partition.published("ada") or {})
    for name in ("interests_1d", "interests_30d"):
        values[name] = np.frombuffer(values[name], "<f4")
    lines = [line.strip(" │") for line in drawn(show.profile_panel(profile(values))).splitlines()]
    said = dict(line.split(maxsplit=1) for line in lines if line.startswith("interests"))
    assert said["interests_1d"].startswith("64 numbers: ") and said["interests_30d"].startswith("64 numbers: ")
    football = values["interests"]["cosines"]["1d"]["football"]
    nearest = f"tea pot 1.00, football {football:.2f}"
    assert said["interests"] == f"{nearest} (1d); {nearest} (30d); 1 texts by hashing-64@1"
    table = drawn(show.definition_table(ProfileDefinition("shop", embeddings=[interests])), 1_000)
    assert all(name in table for name in ("interests_1d", "interests_30d", "TextInterests", "football", "hashing-64"))


def test_labels_cannot_write_into_the_terminal() -> None:
    nasty = "\x1b[2J[bold]:bug:[/]"
    said = {"encoder": "x@1", "texts": 1, "top": {"1d": [nasty]}, "cosines": {"1d": {nasty: 0.5}}}
    panel = drawn(show.profile_panel(profile({"interests": said})))
    assert "\x1b" not in panel and r"\x1b[2J[bold]:bug:[/] 0.50 (1d)" in panel


def test_a_change_is_a_line() -> None:
    delta = ProfileDelta(
        user_id="ada",
        profile="shop",
        version=7,
        event_id="1",
        event_time=0,
        changed={"views": {"total": 2, "at": 0}, "country": "DE"},
        removed=["city"],
        snapshot=False,
    )
    assert show.delta_line(delta).plain == "ada v7 1970-01-01 00:00:00 UTC  views 2 in all; country DE; city is gone"


def metrics_of(evaluation: Evaluation) -> TargetMetrics:
    report = {"evaluation": evaluation.state(), "examples": evaluation.values().model.examples}
    return merge([msgspec.convert(report, Report)])


def test_metrics_before_and_after_both_outcomes_were_seen() -> None:
    evaluation = Evaluation("binary")
    assert show.metrics_line("buys", metrics_of(evaluation)) == "buys: 0 examples"
    evaluation.update(0.9, True)
    assert show.metrics_line("buys", metrics_of(evaluation)) == "buys: 1 examples"
    for number in range(1, 100):
        evaluation.update(0.9 if number % 4 == 0 else 0.1, number % 4 == 0, number % 2 == 0)
    values: Any = evaluation.values()
    prevalence = f"{values.prevalence.roc_auc:.3f}, {values.prevalence.log_loss:.3f}"
    last_label = f"{values.last_label.roc_auc:.3f}, {values.last_label.log_loss:.3f}"
    assert show.metrics_line("buys", metrics_of(evaluation)) == (
        f"buys: AUC 1.000, log-loss 0.105 (prevalence {prevalence}; last label {last_label}) "
        "over 100 examples, 25.0% true"
    )


@pytest.mark.parametrize(
    ("task", "examples", "line"),
    [
        ("multiclass", [], "t: 0 examples"),
        (
            "multiclass",
            [({"a": 0.5, "b": 0.5}, "a", "b")] * 4,
            "t: accuracy 100.0%, log-loss 0.693 (prevalence 75.0%, 8.635; last label 0.0%, 12.089) over 4 examples",
        ),
        ("regression", [], "t: 0 examples"),
        (
            "regression",
            [(9.0, 10.0, None), (12.5, 10.0, 7.0)],
            "t: mean absolute error 1.75 (prevalence 5; last label 6.5) over 2 examples",
        ),
    ],
)
def test_metrics_of_other_tasks(task: str, examples: list[Any], line: str) -> None:
    evaluation = Evaluation(task)
    for prediction, label, last_label in examples:
        evaluation.update(prediction, label, last_label)
    assert show.metrics_line("t", metrics_of(evaluation)) == line


def test_a_definition_is_shown_whole_however_narrow_the_terminal() -> None:
    table = drawn(show.definition_table(SHOP), width=80)
    assert "…" not in table
    assert all(name in table for name in SHOP.field_names)


def test_a_definition_with_a_pipeline_of_rivers_is_shown() -> None:
    pipeline = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    target = Target("buys", label=Happens("purchase", within="1d"), model=RiverModel(pipeline), inputs=[Raw("views")])
    text = drawn(show.definition_table(ProfileDefinition("shop", features=[Count("views")], targets=[target])), 2_000)
    assert "RiverModel(" in text and "LogisticRegression" in text and "inputs=Raw(of=views)" in text
