"""The examples as a file of rows, for whoever wants to hold another model against the same predictions."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..backfill.output import check_output, open_output
from ..errors import SettingsError
from .examples import NO_CLASS, Codes, Examples

_NUMBERS = pa.schema(
    [
        ("target", pa.string()),
        ("user_id", pa.string()),
        ("time", pa.int64()),
        ("prediction", pa.float64()),
        ("label", pa.float64()),
        ("last_label", pa.float64()),
    ]
)
_SHARE = pa.struct([("class", pa.string()), ("probability", pa.float64())])
_CLASSES = pa.schema(
    [
        ("predicted_class", pa.string()),
        ("label_class", pa.string()),
        ("last_label_class", pa.string()),
        ("probabilities", pa.list_(_SHARE)),
    ]
)


def check_predictions(path: Path) -> None:
    """Look whether the file can be written, before anything is computed.

    Raises:
        SettingsError: it cannot.
    """
    check_output(path)


def write_predictions(path: Path, examples: Mapping[str, Examples]) -> int:
    """Write the examples of targets, each target's in order of time; returns how many.

    The columns are `target`, `user_id`, `time` (ms), `prediction`, `label` and `last_label`; labels of yes and no are 1
    and 0. Where a target is one of several classes there are also `predicted_class`, `label_class`, `last_label_class`
    and `probabilities`; of its rows `prediction` is the probability of the predicted class, and the two number labels
    are empty.

    Parameters:
        path: .parquet or .csv.
        examples: By target.

    Raises:
        SettingsError: the file cannot be written.
    """
    several = any(each.task == "multiclass" for each in examples.values())
    schema = pa.unify_schemas([_NUMBERS, _CLASSES]) if several else _NUMBERS
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".stream-profiles-evaluate-", dir=path.parent) as folder,
            open_output(path, schema, Path(folder)) as output,
        ):
            for name, each in examples.items():
                output.write(_table(name, each, schema))
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror or error}") from None
    return output.rows


def _table(name: str, examples: Examples, schema: Any) -> Any:
    columns: dict[str, Any] = {
        "target": pa.array([name] * len(examples), pa.string()),
        "user_id": pa.array(examples.users, pa.string()),
        "time": pa.array(examples.times),
        "prediction": pa.array(examples.predicted["model"].numbers),
    }
    guesses = examples.predicted["model"].guesses
    if guesses is None:
        columns["label"] = pa.array(examples.labels)
        columns["last_label"] = pa.array(examples.last_labels, from_pandas=True)
    else:
        names = pa.array(examples.classes, pa.string())
        for column, codes in zip(
            ("predicted_class", "label_class", "last_label_class"),
            (guesses, examples.labels, examples.last_labels),
            strict=True,
        ):
            columns[column] = _named(names, codes)
        columns["probabilities"] = _probabilities(names, examples)
    return pa.table([columns.get(field.name, pa.nulls(len(examples), field.type)) for field in schema], schema=schema)


def _named(names: Any, codes: Any) -> Any:
    return names.take(pa.array(codes, pa.int64(), mask=codes == NO_CLASS))


def _probabilities(names: Any, examples: Examples) -> Any:
    assert examples.ranked is not None and examples.shares is not None
    there = examples.ranked != NO_CLASS
    ends: Codes = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    shares = pa.StructArray.from_arrays(
        [_named(names, examples.ranked[there]), pa.array(examples.shares[there])], fields=list(_SHARE)
    )
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), shares)
