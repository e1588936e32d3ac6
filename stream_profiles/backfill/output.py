"""The file that a backfill writes: Parquet or CSV, a row group of it in memory, and in its place once it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ..errors import SettingsError

#: Rows of a row group: enough to compress well, few enough to hold.
_GROUP_ROWS = 50_000
_SUFFIXES = (".parquet", ".pq", ".csv")

_encode = msgspec.json.Encoder().encode


def check_output(path: Path) -> None:
    """Look whether the file can be written, before anything is computed.

    Raises:
        SettingsError: it cannot.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise SettingsError(f"{path.name} has none of the suffixes that tell how to write it: .parquet or .csv")
    if not path.parent.is_dir():
        raise SettingsError(f"there is no folder {path.parent} to write {path.name} into")
    if path.is_dir():
        raise SettingsError(f"{path} is a folder; name the file to write")


class Output:
    """Takes rows of one schema.

    Attributes:
        rows: how many it took.
    """

    def __init__(self, writer: Any, schema: Any) -> None:
        self.rows = 0
        self._writer, self._schema = writer, schema
        self._waiting: list[Any] = []
        self._waiting_rows = 0

    def write(self, table: Any) -> None:
        """Take a table."""
        self.rows += table.num_rows
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        if self._waiting_rows >= _GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is in memory. Called after the last table too."""
        if self._waiting_rows:
            table = pa.concat_tables(self._waiting).combine_chunks()
            columns = [
                column if column.type == field.type else _as_json(column)
                for column, field in zip(table.columns, self._schema, strict=True)
            ]
            self._writer.write_table(pa.table(columns, schema=self._schema))
        self._waiting, self._waiting_rows = [], 0


@contextmanager
def open_output(path: Path, schema: Any, folder: Path) -> Iterator[Output]:
    """A file of rows, written in `folder` and moved to its place when the block ends well.

    Parameters:
        folder: One on the same disk.

    Raises:
        SettingsError: such a file cannot hold one of the columns.
    """
    unfinished = folder / f"output{path.suffix}"
    try:
        if path.suffix.lower() == ".csv":
            schema = _without_lists(schema)
            writer = pyarrow.csv.CSVWriter(str(unfinished), schema)
        else:
            writer = pyarrow.parquet.ParquetWriter(str(unfinished), schema, compression="zstd")
        with writer:
            output = Output(writer, schema)
            yield output
            output.flush()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingsError(f"{path.name} cannot hold what is to be written: {reason}") from None
    unfinished.replace(path)


def _without_lists(schema: Any) -> Any:
    """A CSV has no lists: they are written as JSON."""
    return pa.schema([pa.field(f.name, pa.string() if pa.types.is_nested(f.type) else f.type) for f in schema])


def _as_json(column: Any) -> Any:
    values = [None if value is None else _encode(value).decode() for value in column.to_pylist()]
    return pa.array(values, pa.string())
