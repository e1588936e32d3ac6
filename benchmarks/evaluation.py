"""How good the example definitions predict on the public data that they are made for, next to what else there is.

    python benchmarks/evaluation.py --data FOLDER [--only intention] [--markdown FILE]

The folder holds `online_shoppers_intention.csv.gz`, `online_retail.csv.gz` and `eshop_clothing_2008.csv.gz`, the data
sets of UCI's that the mappings in `examples/` name. Each definition runs over its file as a worker would run it: a
prediction is scored before anything was learned from its example. Examples whose time is not up when the file ends have
no label and are left out. By the time of the prediction they are cut into quarters, and the last 30 % of them.

Held against the model that a target asks, on the same examples:

* prevalence: what was usual so far; last label: what was true of the user the last time;
* River's logistic regression on raw counts, or on the last category alone, as targets of their own;
* two batch models of scikit-learn's, for the last 30 % only: they are trained once, on all examples before it whose
  label was known when it began, and see the target's own inputs as the library's backfill computes them (`--at`).
  Boosting has up to 300 trees of 15 leaves at a rate of 0.05, and stops early by a tenth of its examples; the linear
  model has scikit-learn's defaults on standardised inputs.

Expect some minutes on one core.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import log1p
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from river import linear_model, preprocessing
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression as BatchLogisticRegression
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from stream_profiles import LogisticRegression, OneHot, ProfileDefinition, Raw, RiverModel, Target
from stream_profiles.backfill import BackfillOptions, backfill
from stream_profiles.definition import load_definition
from stream_profiles.evaluation import evaluate
from stream_profiles.evaluation.examples import Examples, Predicted
from stream_profiles.evaluation.report import LATEST
from stream_profiles.evaluation.scores import binary_scores, multiclass_scores, regression_scores
from stream_profiles.mapping import EventMapping
from stream_profiles.models.inputs import Hash, Log
from stream_profiles.models.labels import SCALES

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
#: Of each task: what is told, and how many digits of it.
MEASURES = {
    "binary": {"roc_auc": ("ROC-AUC", ".4f"), "log_loss": ("log-loss", ".4f")},
    "multiclass": {"accuracy": ("accuracy", ".4f"), "log_loss": ("log-loss", ".4f"), "top2": ("top-2", ".4f")},
    "regression": {"mae": ("mean absolute error", ",.1f"), "rmse": ("root mean squared error", ",.1f")},
}
SPANS = ("whole file", "Q1", "Q2", "Q3", "Q4", "last 30 %")

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """One that predicts.

    Attributes:
        predicted: by example, from the first it predicts.
        since: the place of that one among all examples.
        top2: of several classes, whether the label was among the best two; None where only one is told.
    """

    name: str
    predicted: Predicted
    since: int = 0
    top2: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Study:
    """A definition of `examples/` and its file.

    Attributes:
        example: the file of the definition and its mapping, without suffix.
        extra: makes further targets, by the name of the target they are held against and what they are called.
    """

    name: str
    example: str
    extra: Callable[[ProfileDefinition], dict[tuple[str, str], Target]] = field(default=lambda _: {})


def raw_counts(definition: ProfileDefinition) -> dict[tuple[str, str], Target]:
    """River's logistic regression on raw counts, in place of each model that says yes or no."""
    known = {name for feature in definition.features for name in feature.input_names()}
    inputs = [Raw(name) for name in ("orders_total", "days_total", "units_total", "refunds_total") if name in known]
    pipelines = {
        "River's LR, raw counts": linear_model.LogisticRegression(),
        "same, standardised": preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    }
    return {
        (target.name, called): instead(target, f"{target.name}_raw{number}", inputs, RiverModel(pipeline))
        for target in definition.targets
        if target.label.task == "binary"
        for number, (called, pipeline) in enumerate(pipelines.items())
    }


def last_category(definition: ProfileDefinition) -> dict[tuple[str, str], Target]:
    """The last category alone: what the baseline of the last label is worth when it may say how sure it is."""
    target = next(target for target in definition.targets if target.name == "next_category")
    inputs = [OneHot("category", values=["trousers", "skirts", "blouses", "sale"])]
    return {(target.name, "LR, last category"): instead(target, "next_by_category", inputs, LogisticRegression())}


def instead(target: Target, name: str, inputs: list[Any], model: Any) -> Target:
    """The same target with other inputs and another model."""
    return Target(
        name,
        label=target.label,
        model=model,
        on=target.on,
        inputs=inputs,
        every=target.every,
        max_pending=target.max_pending,
    )


STUDIES = (
    Study("intention", "online_shoppers_intention"),
    Study("retail", "online_retail", raw_counts),
    Study("eshop", "eshop_clothing_2008", last_category),
)


def run(study: Study, data: Path) -> Iterator[tuple[str, list[list[str]]]]:
    """Tables of a study, each with its title."""
    file, reference = data / f"{study.example}.csv.gz", f"{EXAMPLES / study.example}.py:{study.name}"
    mapping = EventMapping.load(EXAMPLES / f"{study.example}.toml")
    definition = load_definition(reference)
    extra = study.extra(definition)
    began = time.monotonic()
    evaluated = evaluate([file], _with(definition, [*definition.targets, *extra.values()]), mapping)
    if evaluated.report.failed:
        print(f"{study.name}: updates of fields failed: {evaluated.report.failed}", file=sys.stderr)
    seconds = time.monotonic() - began
    print(f"{study.name}: {evaluated.report.events:,} events in {seconds:,.0f} s", file=sys.stderr)
    backfilled: dict[bytes, pd.DataFrame] = {}
    for target in definition.targets:
        examples = evaluated.examples[target.name]
        sides = [_model(type(target.model).__name__, examples)]
        sides += [Side(name.replace("_", " "), examples.predicted[name]) for name in ("prevalence", "last_label")]
        if examples.task == "multiclass":
            sides[-1] = Side("last label, then what mostly follows", sides[-1].predicted, top2=_followers(examples))
        for (name, called), other in extra.items():
            if name == target.name:
                sides.append(_model(called, evaluated.examples[other.name]))
        # Targets that predict at the same moments share their rows.
        moments = pickle.dumps((examples.users.tolist(), examples.times.tobytes()))
        if moments not in backfilled:
            backfilled[moments] = _backfilled(examples, file, mapping, reference)
        sides += batch_peers(target, examples, _inputs(target, examples, definition, backfilled[moments]))
        about = f"{study.name}, {target.name}: {target.label!r}, {len(examples):,} examples"
        for measure, (title, digits) in MEASURES[examples.task].items():
            yield f"{about}, {title}", [[title, *SPANS], *(_row(side, examples, measure, digits) for side in sides)]


def batch_peers(target: Target, examples: Examples, rows: pd.DataFrame) -> Iterator[Side]:
    """Batch models of the target's inputs, trained on the examples before the last 30 % whose label was known then."""
    cut = len(examples) - round(LATEST * len(examples))
    waits = 0 if target.label.at_once or target.label.in_event else target.label.within_ms
    known = np.flatnonzero(examples.times[:cut] + waits < examples.times[cut])
    if len(np.unique(examples.labels[known])) < 2:
        return
    numbers = make_column_selector(dtype_include="number")
    texts = make_column_selector(dtype_include="category")
    linear = make_column_transformer(
        (StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore", min_frequency=10), texts)
    )
    boosting: dict[str, Any] = dict(
        learning_rate=0.05,
        max_iter=300,
        max_leaf_nodes=15,
        early_stopping=True,
        categorical_features="from_dtype",
        random_state=0,
    )
    several = examples.task != "regression"
    models = {
        "batch boosting": HistGradientBoostingClassifier(**boosting)
        if several
        else HistGradientBoostingRegressor(**boosting),
        "batch linear model": make_pipeline(linear, BatchLogisticRegression(max_iter=2_000) if several else Ridge()),
    }
    forth, back = SCALES[target.label.scale] if target.label.scale else (float, float)
    for name, model in models.items():
        labels = examples.labels[known] if several else [forth(label) for label in examples.labels[known]]
        model.fit(rows.iloc[known], labels)
        if not several:
            yield Side(name, Predicted(np.array([back(x) for x in model.predict(rows.iloc[cut:])])), cut)
            continue
        shares = model.predict_proba(rows.iloc[cut:])
        if examples.task == "binary":
            yield Side(name, Predicted(shares[:, 1]), cut)
            continue
        classes = model.classes_.astype(np.int64)
        ranked = classes[np.argsort(-shares, axis=1)]
        of_label = np.where(classes == examples.labels[cut:, None], shares, 0.0).sum(axis=1)
        top2 = (ranked[:, :2] == examples.labels[cut:, None]).any(axis=1)
        yield Side(name, Predicted(shares.max(axis=1), ranked[:, 0], of_label), cut, top2)


def _backfilled(examples: Examples, file: Path, mapping: EventMapping, reference: str) -> pd.DataFrame:
    """All features of the definition as of each example, by the library's backfill."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Without targets: nothing but features is wanted, and models take their time.
        (folder / "features.py").write_text(
            "from stream_profiles import ProfileDefinition\n"
            "from stream_profiles.definition import load_definition\n"
            f"whole = load_definition({reference!r})\n"
            "features = ProfileDefinition(whole.name, features=whole.features, event_types=whole.event_types)\n",
            encoding="utf-8",
        )
        moments, out = folder / "moments.parquet", folder / "rows.parquet"
        pq.write_table(pa.table({"user_id": pa.array(examples.users.tolist()), "time": examples.times}), moments)
        options = BackfillOptions(at=moments, out=out, partitions=1, processes=1)
        backfill([file], f"{folder / 'features.py'}:features", mapping, options)
        return pq.read_table(out).to_pandas()


def _inputs(target: Target, examples: Examples, definition: ProfileDefinition, table: pd.DataFrame) -> pd.DataFrame:
    """What the target's model sees of them, transformed as the target says."""
    features = {feature.name: feature for feature in definition.features}
    columns: dict[str, Any] = {}
    for spec in target.inputs or [name for name, feature in features.items() if feature.input_names()]:
        transform = Log(spec) if isinstance(spec, str) else spec
        if isinstance(transform, (OneHot, Hash)):
            texts = table[transform.of]
            if isinstance(transform, OneHot):
                texts = texts.where(texts.isin(transform.values) | texts.isna(), "other")
            columns[f"{transform.of}="] = texts.astype("category")
            continue
        feature = features.get(transform.of)
        for name in (transform.of,) if feature is None else feature.input_names():
            columns[name] = table[name].fillna(0.0).map(transform.number)
    if target.history:
        columns |= _own_labels(examples, target.label.within_ms)
    return pd.DataFrame(columns)


def _own_labels(examples: Examples, within_ms: int) -> dict[str, list[float]]:
    """The inputs that a target makes of the user's labels: of those known at each example, how many, and the mean."""
    past: dict[str, list[tuple[int, float]]] = {}
    numbers, rates = [], []
    for user, moment, label in zip(examples.users, examples.times.tolist(), examples.labels.tolist(), strict=True):
        own = past.setdefault(user, [])
        known = [before for at, before in own if at + within_ms < moment]
        numbers.append(log1p(len(known)))
        rates.append((sum(known) + 1.0) / (len(known) + 2.0))
        own.append((moment, label))
    return {"own_labels": numbers, "own_rate": rates}


def _model(name: str, examples: Examples) -> Side:
    top2 = None
    if examples.ranked is not None:
        top2 = (examples.ranked[:, :2] == examples.labels[:, None]).any(axis=1)
    return Side(name, examples.predicted["model"], top2=top2)


def _followers(examples: Examples) -> npt.NDArray[np.bool_]:
    """Whether the next class is the last one, or the one that has followed it most often otherwise."""
    count = len(examples.classes)
    followed = np.zeros((count, count))
    found = np.zeros(len(examples), dtype=np.bool_)
    for place, (last, label) in enumerate(zip(examples.last_labels.tolist(), examples.labels.tolist(), strict=True)):
        found[place] = label in (last, int(np.argmax(followed[last])))
        if label != last:
            followed[last, label] += 1
    return found


def _row(side: Side, examples: Examples, measure: str, digits: str) -> list[str]:
    size = len(examples)
    borders = [size * place // 4 for place in range(5)]
    spans = [(0, size), *((borders[at], borders[at + 1]) for at in range(4)), (size - round(LATEST * size), size)]
    cells = []
    for start, end in spans:
        value = _measured(side, examples, measure, start, end) if start >= side.since else None
        cells.append("" if value is None else format(value, digits))
    return [side.name, *cells]


def _measured(side: Side, examples: Examples, measure: str, start: int, end: int) -> float | None:
    labels, own = examples.labels[start:end], slice(start - side.since, end - side.since)
    predicted = side.predicted.taken(own)
    if measure == "top2":
        return None if side.top2 is None else float(side.top2[own].mean())
    scores: Any
    if examples.task == "binary":
        scores = binary_scores(labels, predicted.numbers)
    elif examples.task == "regression":
        scores = regression_scores(labels, predicted.numbers)
    else:
        assert predicted.guesses is not None and predicted.of_label is not None
        scores = multiclass_scores(labels, predicted.guesses, predicted.of_label)
    value: float | None = getattr(scores, measure)
    return value


def _with(definition: ProfileDefinition, targets: Sequence[Target]) -> ProfileDefinition:
    """The definition's features and event types with other targets."""
    return ProfileDefinition(
        definition.name, features=definition.features, targets=targets, event_types=definition.event_types
    )


def as_text(title: str, rows: list[list[str]]) -> str:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) if not place else cell.rjust(width) for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join([title, *(f"  {line}".rstrip() for line in lines), ""])


def as_markdown(title: str, rows: list[list[str]]) -> str:
    header, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"**{title}**", "", header, "| --- |" + " --: |" * (len(rows[0]) - 1), *body, "", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with the files")
    parser.add_argument("--only", choices=[study.name for study in STUDIES], action="append", help="just this one")
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file")
    arguments = parser.parse_args()
    pages = []
    for study in STUDIES:
        if arguments.only and study.name not in arguments.only:
            continue
        for title, rows in run(study, arguments.data):
            print(as_text(title, rows), flush=True)
            pages.append(as_markdown(title, rows))
    if arguments.markdown is not None:
        arguments.markdown.write_text("\n".join(pages), encoding="utf-8")


if __name__ == "__main__":
    main()
