"""The file of moments: rows that name a user and a time, at which the user's features are asked for.

It is read once. What it asks is spilled by the user's partition, as `[user, time]` in the order of the file; all its
columns are kept beside, with the partition of each row, so that the answers find back to their rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .._suggestions import did_you_mean
from ..errors import InvalidEvent, SettingsError
from ..mapping import time_reader
from ..mapping.values import EVENT_FIELDS, converter
from ..partitioner import Partitioner
from ..replay.files import BadRow, RowFile, open_rows
from ..replay.progress import Status, View
from .report import BackfillOptions
from .spill import Spill

#: What the spilled lines' files are called.
MOMENTS = "moments"

_ROWS_AT_ONCE = 20_000
_PARTITION = pa.field("", pa.int16())
#: A CSV has no types. A column whose values are all written as numbers is one of numbers, unless they lost something by
#: it, as "007" and what has twenty digits would.
_NARROWER = (
    (pa.int64(), r"^-?(0|[1-9][0-9]{0,17})$"),
    (pa.float64(), r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$"),
)

_encode = msgspec.json.Encoder().encode


class Moments:
    """The rows of a file of moments, set aside.

    Attributes:
        rows: how many there are.
        schema: their columns.
    """

    def __init__(self, path: Path, rows: int, schema: Any) -> None:
        self._path, self.rows, self.schema = path, rows, schema

    def batches(self) -> Iterator[tuple[Any, list[int]]]:
        """The rows, many at a time and in order: a record batch of the file's columns, and each row's partition."""
        with pa.OSFile(str(self._path)) as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                *columns, partitions = batch.columns
                typed = [column.cast(field.type) for column, field in zip(columns, self.schema, strict=True)]
                yield pa.RecordBatch.from_arrays(typed, schema=self.schema), partitions.to_pylist()


def check_moments(options: BackfillOptions) -> tuple[str, ...]:
    """The columns of the file, looked at before anything is read.

    Raises:
        SettingsError: it cannot be read, or lacks a column.
    """
    path = options.at
    assert path is not None
    with open_rows(path) as rows:
        columns = rows.columns
    if columns is None:
        raise SettingsError(f"{path.name}: moments are read from CSV or Parquet")
    for option, column in (("--user-column", options.user_column), ("--time-column", options.time_column)):
        if column not in columns:
            raise SettingsError(
                f"{path.name} has no column {column!r}; say with {option} which one it is: "
                f"{did_you_mean(column, columns)}"
            )
    return columns


def read_moments(options: BackfillOptions, folder: Path, view: View) -> Moments:
    """Read the file of moments and spill what it asks.

    Raises:
        SettingsError: a row names no user or no time, and it says which; or the file is broken.
    """
    path = options.at
    assert path is not None
    reader = _MomentReader(options)
    spill, partitioner = Spill(folder, MOMENTS, options.partitions), Partitioner(options.partitions)
    kept = folder / "rows.arrow"
    with _open(path, options.user_column) as source:
        stored = source.schema.append(_PARTITION)
        with pa.OSFile(str(kept), "wb") as file, pa.ipc.new_stream(file, stored) as stream:
            for batch in source.batches():
                partitions = []
                for user, time in reader.read(batch):
                    partition = partitioner(user.encode())
                    partitions.append(partition)
                    spill.add(partition, _encode([user, time]))
                columns = [*batch.columns, pa.array(partitions, _PARTITION.type)]
                stream.write_batch(pa.RecordBatch.from_arrays(columns, schema=stored))
                view.show(Status(file=path.name, rows=reader.rows, rows_total=source.rows_total(), sent=0))
        schema = source.typed_schema()
    spill.flush()
    return Moments(kept, reader.rows, schema)


class _MomentReader:
    """Reads users and times, and counts the rows."""

    def __init__(self, options: BackfillOptions) -> None:
        assert options.at is not None
        self.rows = 0
        self._name, self._user, self._time = options.at.name, options.user_column, options.time_column
        self._to_user, self._to_time = converter(EVENT_FIELDS["user_id"]), time_reader()

    def read(self, batch: Any) -> Iterator[tuple[str, int]]:
        """Raises: SettingsError."""
        users, times = (_python_values(batch.column(name)) for name in (self._user, self._time))
        for user, time in zip(users, times, strict=True):
            self.rows += 1
            for column, value in ((self._user, user), (self._time, time)):
                if value is None or value == "":
                    raise SettingsError(f"{self._name}, row {self.rows:,}: the column {column!r} is empty")
            try:
                yield self._to_user(user), self._to_time(time)
            except InvalidEvent as error:
                raise SettingsError(f"{self._name}, row {self.rows:,}: {error}") from None


class _Source(ABC):
    """A file of rows as Arrow has them."""

    schema: Any

    @abstractmethod
    def batches(self) -> Iterator[Any]:
        """All rows as record batches of `schema`."""

    @abstractmethod
    def typed_schema(self) -> Any:
        """What the columns are to become; known after the last batch."""

    @abstractmethod
    def rows_total(self) -> int | None:
        """The number of rows as far as it can be told."""


@contextmanager
def _open(path: Path, user_column: str) -> Iterator[_Source]:
    with open_rows(path) as rows:
        if path.suffix.lower() in (".parquet", ".pq"):
            with pq.ParquetFile(path) as file:
                yield _Parquet(file, path)
        else:
            yield _Csv(rows, user_column)


class _Parquet(_Source):
    def __init__(self, file: Any, path: Path) -> None:
        self._file, self._path = file, path
        self.schema = file.schema_arrow.remove_metadata()

    def batches(self) -> Iterator[Any]:
        try:
            for batch in self._file.iter_batches(batch_size=_ROWS_AT_ONCE):
                yield pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise SettingsError(f"{self._path.name} cannot be read: {reason}") from None

    def typed_schema(self) -> Any:
        return self.schema

    def rows_total(self) -> int | None:
        return int(self._file.metadata.num_rows)


class _Csv(_Source):
    """Columns are text here; those that turn out to be of numbers become so."""

    def __init__(self, rows: RowFile, user_column: str) -> None:
        assert rows.columns is not None
        self._rows = rows
        self.schema = pa.schema([pa.field(name, pa.string()) for name in rows.columns])
        #: By column: the narrowest type in `_NARROWER` that its values allow; None while it has no value.
        self._narrowest: dict[str, int | None] = dict.fromkeys(rows.columns)
        self._narrowest[user_column] = len(_NARROWER)

    def batches(self) -> Iterator[Any]:
        for chunk in self._rows.chunks():
            records = []
            for number, row in chunk:
                if isinstance(row, BadRow):
                    raise SettingsError(f"{self._rows.path.name}, row {number:,}: {row.reason}")
                records.append(row)
            columns = [
                pa.array([record[name] or None for record in records], pa.string()) for name in self.schema.names
            ]
            for name, column in zip(self.schema.names, columns, strict=True):
                self._narrow(name, column)
            yield pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _narrow(self, name: str, column: Any) -> None:
        if column.null_count == len(column):
            return
        narrowest = self._narrowest[name] or 0
        while narrowest < len(_NARROWER):
            if pc.all(pc.match_substring_regex(column, _NARROWER[narrowest][1])).as_py():
                break
            narrowest += 1
        self._narrowest[name] = narrowest

    def typed_schema(self) -> Any:
        kinds = [*(kind for kind, _ in _NARROWER), pa.string()]
        return pa.schema(
            [
                pa.field(name, pa.string() if narrowest is None else kinds[narrowest])
                for name, narrowest in self._narrowest.items()
            ]
        )

    def rows_total(self) -> int | None:
        return self._rows.rows_total()


def _python_values(column: Any) -> list[Any]:
    """A column's values as Python can hold them: no nanoseconds."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    values: list[Any] = column.to_pylist()
    return values
