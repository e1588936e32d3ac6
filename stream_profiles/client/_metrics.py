"""The targets' metrics: what the workers report of each partition, added up.

A report has the metrics' inner counts, so that partitions merge exactly. Where reports are is `_reader`'s business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import fsum
from typing import Any

import msgspec
from msgspec import Struct

from ..errors import DefinitionError, StateError
from ..models.metrics import Evaluation, EvaluationValues

#: A configuration that is longer is no name any more.
_MAX_NAME_LENGTH = 80


class Contender(Struct, kw_only=True, frozen=True):
    """One of the models that learn a target, over the partitions that have it."""

    #: Its place among the target's models: those it begins with, then the challengers.
    model: int
    #: Its class, and what tells it from others of the class; None where the definition is not known.
    name: str | None
    partitions: int
    #: In how many of them it is the one whose predictions are published.
    asked: int
    examples: int
    #: Mean of late: log-loss, or the squared error of a regression. None where there is no other to compare it with.
    loss: float | None
    #: Mean of late of its loss less that of the model that is asked; below 0, it is better. None for that model itself.
    behind: float | None


class TargetMetrics(EvaluationValues, kw_only=True, frozen=True):
    """How good the predictions of a target have been, next to two baselines, and the models that make them.

    `model`, `prevalence` (predicts what is usual) and `last_label` (predicts what the user's label was the last time)
    are metrics of the `task`, by the same names: `metrics.model.roc_auc` is to be held against
    `metrics.prevalence.roc_auc`.
    """

    #: Learned from.
    examples: int
    #: How often another model took the place of the one that is asked.
    promotions: int
    #: How often what was learned no longer held.
    drifts: int
    #: Those that are asked in most partitions first, then by loss.
    contenders: tuple[Contender, ...]
    #: Each input's share in the predictions, the largest first: mean over the partitions' models, by their examples.
    importances: dict[str, float] | None


class _StoredContender(Struct):
    model: int
    examples: int = 0
    loss: float | None = None
    behind: float | None = None


class Report(Struct):
    """What a worker says of one target in one partition: `Learner.report`."""

    #: Of release 0.1, all there is of a report: the model's metrics, without baselines.
    evaluation: dict[str, Any] | list[Any]
    examples: int = 0
    promotions: int = 0
    drifts: int = 0
    #: null stands for what is no number.
    importances: dict[str, float | None] | None = None
    contenders: list[_StoredContender] = []


Reports = dict[str, Report]

_decode = msgspec.json.Decoder(dict[str, Report | list[Any]]).decode


def read_reports(fields: Mapping[bytes, bytes]) -> dict[int, Reports]:
    """The reports of each partition, by target.

    Raises:
        StateError: they are none.
    """
    try:
        partitions = {int(number): _decode(raw) for number, raw in fields.items()}
    except (msgspec.MsgspecError, ValueError) as error:
        raise StateError(str(error)) from None
    return {
        number: {name: _of_release_0_1(each) if isinstance(each, list) else each for name, each in reports.items()}
        for number, reports in sorted(partitions.items())
    }


def merge(reports: Iterable[Report], names: Sequence[str] = ()) -> TargetMetrics:
    """The metrics of a target over partitions.

    Parameters:
        reports: Of one partition each, at least one.
        names: What its models are called, as `model_names` gives them.

    Raises:
        StateError: they are no reports of one target.
    """
    reports = list(reports)
    evaluation, *others = map(_evaluation, reports)
    for other in others:
        evaluation.merge(other)
    values = evaluation.values()
    return TargetMetrics(
        task=values.task,
        model=values.model,
        prevalence=values.prevalence,
        last_label=values.last_label,
        examples=sum(report.examples for report in reports),
        promotions=sum(report.promotions for report in reports),
        drifts=sum(report.drifts for report in reports),
        contenders=_contenders(reports, names),
        importances=_importances(reports),
    )


def model_names(described: Mapping[str, Any]) -> list[str]:
    """What to call a target's models, in the order in which reports count them: empty when that cannot be told.

    Parameters:
        described: The target's field in `ProfileDefinition.describe`.

    Examples:
        >>> model = {"kind": "LogisticRegression", "config": {"learning_rate": 0.01, "l2": 0.0}}
        >>> other = {"kind": "LogisticRegression", "config": {"learning_rate": 0.1, "l2": 0.0}}
        >>> tree = {"kind": "HoeffdingTree", "config": {"max_depth": 8}}
        >>> model_names({"config": {"model": model, "challengers": [other, tree]}})
        ['LogisticRegression(learning_rate=0.01)', 'LogisticRegression(learning_rate=0.1)', 'HoeffdingTree']
    """
    try:
        config = described["config"]
        models = [*_begun_with(config["model"]), *((each["kind"], each["config"]) for each in config["challengers"])]
        alike = Counter(kind for kind, _ in models)
        return [_name(kind, config, models) if alike[kind] > 1 else kind for kind, config in models]
    except (KeyError, TypeError, AttributeError, ValueError):
        # A newer library's, or an older one's.
        return []


def _begun_with(model: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    kind, config = model["kind"], model["config"]
    if kind != "Search":
        return [(kind, config)]
    grid = config["grid"]
    return [(config["model"], dict(zip(grid, values, strict=True))) for values in product(*grid.values())]


def _name(kind: str, config: Mapping[str, Any], models: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """The class, with the parameters that are not the same in all models of the class."""
    missing = object()
    told = [
        f"{name}={value['kind'] if isinstance(value, dict) and 'kind' in value else value}"
        for name, value in config.items()
        if any(other.get(name, missing) != value for same, other in models if same == kind)
    ]
    shown = f"{kind}({', '.join(told)})"
    return shown if len(shown) <= _MAX_NAME_LENGTH else f"{shown[:_MAX_NAME_LENGTH]}…"


def _of_release_0_1(state: list[Any]) -> Report:
    examples = state[0] if state and isinstance(state[0], int) else 0
    return Report(evaluation=state, examples=examples)


def _evaluation(report: Report) -> Evaluation:
    state = report.evaluation
    try:
        return Evaluation("binary" if isinstance(state, list) else str(state.get("task")), state)
    except DefinitionError as error:
        raise StateError(str(error)) from None


def _contenders(reports: Sequence[Report], names: Sequence[str]) -> tuple[Contender, ...]:
    found: dict[int, list[_StoredContender]] = {}
    asked: Counter[int] = Counter()
    for report in reports:
        asked.update(contender.model for contender in report.contenders[:1])
        for contender in report.contenders:
            found.setdefault(contender.model, []).append(contender)
    merged = [
        Contender(
            model=model,
            name=names[model] if 0 <= model < len(names) else None,
            partitions=len(parts),
            asked=asked[model],
            examples=sum(part.examples for part in parts),
            loss=_mean((part.examples, part.loss) for part in parts),
            behind=_mean((part.examples, part.behind) for part in parts),
        )
        for model, parts in found.items()
    ]
    return tuple(sorted(merged, key=lambda each: (-each.asked, each.loss is None, each.loss or 0.0, each.model)))


def _importances(reports: Sequence[Report]) -> dict[str, float] | None:
    told = [(report.examples, report.importances) for report in reports if report.importances is not None]
    names = dict.fromkeys(name for _, importances in told for name in importances)
    # What a partition's model does not name has nothing to say there.
    means = {name: _mean((examples, each.get(name, 0.0)) for examples, each in told) for name in names}
    known = {name: mean for name, mean in means.items() if mean is not None}
    return dict(sorted(known.items(), key=lambda item: (-item[1], item[0]))) if told else None


def _mean(weighed: Iterable[tuple[int, float | None]]) -> float | None:
    """The mean of the values that are there, by weight; None where nothing is."""
    known = [(weight, value) for weight, value in weighed if value is not None]
    total = sum(weight for weight, _ in known)
    return fsum(weight / total * value for weight, value in known) if total else None
