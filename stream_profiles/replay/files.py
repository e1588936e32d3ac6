"""Files read row by row: CSV, JSON lines (both also gzipped) and Parquet, in order and in bounded memory.

A row is its number and a dict by column, or a `BadRow` where only this row is unreadable. What a row means is the
mapping's; where to begin is the caller's. A file that is wrong as a whole is a `SettingsError` that says what it is.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from ..errors import SettingsError
from ..mapping.config import SourceConfig

#: Rows a chunk holds: enough to spread the cost of a chunk, few enough to answer to Ctrl-C at once.
CHUNK_ROWS = 2_000
#: A line of JSON longer than this is a bad row and is not kept in memory.
MAX_LINE_BYTES = 16 * 1024 * 1024

#: As much of an unreadable row as is worth showing.
_RAW_CHARACTERS = 10_000
#: Rows skipped between two looks up: a tenth of a second.
_SKIPPED_AT_ONCE = 50_000
_GZIP_MAGIC = b"\x1f\x8b"
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json lines",
    ".ndjson": "json lines",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read, while those after it can."""

    reason: str
    raw: str


#: A row's number, from 1 and without the header, and what it holds.
Row = tuple[int, dict[str, Any] | BadRow]


class RowFile(ABC):
    """An open file of rows. It is read once, from its beginning to its end.

    Attributes:
        path: where it is.
        columns: the names in its header or schema; None for JSON lines, where each row has its own.
    """

    columns: tuple[str, ...] | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows_read = 0

    @abstractmethod
    def chunks(self, skip: int = 0) -> Iterator[list[Row]]:
        """The rows after the first `skip`, in order, up to `CHUNK_ROWS` at a time. Called once.

        A chunk is empty now and then while rows are skipped, so that the caller can look up.

        Raises:
            SettingsError: while iterating, where the file is broken; all rows before that place have been given.
        """

    @abstractmethod
    def rows_total(self) -> int | None:
        """The number of rows, estimated by the bytes read so far where the file does not tell; None too early for it.

        Called at any time between two chunks.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the file. Called once, also after an error."""

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_rows(path: str | Path, source: SourceConfig | None = None) -> RowFile:
    """Open a file by its suffix.

    Parameters:
        source: the `[source]` of the mapping: delimiter, encoding, and the column for the rows' numbers.

    Raises:
        SettingsError: there is no such file, its suffix is unknown, its content is not what the suffix says, or it is
            empty; or it has a column already where the rows' numbers are to go.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "clicks.csv")
        ...     _ = path.write_text("user,item\\nu1,i1\\nu2,i2\\n")
        ...     with open_rows(path) as rows:
        ...         print(rows.columns, list(rows.chunks(skip=1)))
        ('user', 'item') [[(2, {'user': 'u2', 'item': 'i2'})]]
    """
    path, source = Path(path), source if source is not None else SourceConfig()
    rows = _open(path, source)
    return rows if source.row_number is None else _NumberedFile(rows, source.row_number)


def _open(path: Path, source: SourceConfig) -> RowFile:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    suffix = (suffixes[:-1] if zipped else suffixes)[-1:]
    kind = _SUFFIXES.get(suffix[0]) if suffix else None
    if kind is None or (kind == "parquet" and zipped):
        raise SettingsError(
            f"{path.name} has none of the suffixes that tell how to read a file: "
            ".csv, .tsv, .jsonl, .ndjson (each also with .gz) or .parquet"
        )
    try:
        with path.open("rb") as file:
            magic = file.read(2)
    except FileNotFoundError:
        raise SettingsError(f"there is no file {path}") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    if not magic:
        raise SettingsError(f"{path.name} is empty")
    if zipped and magic != _GZIP_MAGIC:
        raise SettingsError(f"{path.name} is not gzip-compressed, though its name ends in .gz; rename it")
    if not zipped and magic == _GZIP_MAGIC:
        raise SettingsError(f"{path.name} is gzip-compressed; rename it to {path.name}.gz")
    if kind == "parquet":
        return _ParquetFile(path)
    if kind == "json lines":
        return _JsonLinesFile(path, zipped)
    return _CsvFile(path, zipped, source.delimiter or ("\t" if suffix == [".tsv"] else ","), source.encoding)


def stem(path: Path) -> str:
    """The name of a file without what tells its format.

    Examples:
        >>> stem(Path("data/clicks.2024.csv.gz"))
        'clicks.2024'
    """
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in _SUFFIXES else name


class _NumberedFile(RowFile):
    """Another file with one more column: the number of each row."""

    def __init__(self, rows: RowFile, column: str) -> None:
        super().__init__(rows.path)
        self._rows, self._column = rows, column
        if rows.columns is not None:
            if column in rows.columns:
                rows.close()
                raise SettingsError(
                    f"{rows.path.name} has a column {column!r} already; give row_number in the [source] of the mapping "
                    "another name"
                )
            self.columns = (*rows.columns, column)

    def chunks(self, skip: int = 0) -> Iterator[list[Row]]:
        column = self._column
        for chunk in self._rows.chunks(skip):
            yield [(n, row if isinstance(row, BadRow) else {**row, column: n}) for n, row in chunk]

    def rows_total(self) -> int | None:
        return self._rows.rows_total()

    def close(self) -> None:
        self._rows.close()


class _TextFile(RowFile):
    """What CSV and JSON lines share: bytes, perhaps gzipped, whose position tells how far the reading is."""

    _encoding = "utf-8"

    def __init__(self, path: Path, zipped: bool) -> None:
        super().__init__(path)
        self._file = path.open("rb")
        self._size = path.stat().st_size
        self._bytes = cast(IO[bytes], gzip.GzipFile(fileobj=self._file) if zipped else self._file)

    @abstractmethod
    def _rows(self, skip: int) -> Iterator[Row | None]:
        """The rows after the first `skip`, one at a time; None now and then while they are skipped."""

    def chunks(self, skip: int = 0) -> Iterator[list[Row]]:
        chunk: list[Row] = []
        broken: SettingsError | None = None
        self._rows_read = skip
        try:
            for row in self._rows(skip):
                if row is None:
                    yield []
                    continue
                chunk.append(row)
                if len(chunk) == CHUNK_ROWS:
                    self._rows_read = row[0]
                    yield chunk
                    chunk = []
        except _BROKEN as error:
            if chunk:
                self._rows_read = chunk[-1][0]
            broken = self._explain(error)
        if chunk:
            self._rows_read = chunk[-1][0]
            yield chunk
        if broken is not None:
            raise broken

    def rows_total(self) -> int | None:
        position = self._file.tell()
        if self._rows_read == 0 or position == 0:
            return None
        return max(self._rows_read, round(self._rows_read * self._size / position))

    def close(self) -> None:
        self._bytes.close()
        self._file.close()

    def _explain(self, error: Exception) -> SettingsError:
        after = f"after row {self._rows_read:,}" if self._rows_read else "before its first row"
        if isinstance(error, EOFError):
            what = "ends in the middle of its compressed data; it was cut short, get it again"
        elif isinstance(error, gzip.BadGzipFile | zlib.error):
            what = f"has damaged compressed data ({error}); get it again"
        elif isinstance(error, UnicodeError):
            what = f"is not {self._encoding} text; set encoding in the [source] of the mapping"
        elif isinstance(error, csv.Error):
            what = f"is not a CSV ({error}); perhaps a quote is opened and never closed"
        else:
            what = f"cannot be read: {error}"
        return SettingsError(f"{self.path.name}, {after}, {what}")


#: What reading a text file raises when the file is not what it should be.
_BROKEN = (OSError, EOFError, zlib.error, UnicodeError, csv.Error)


class _CsvFile(_TextFile):
    def __init__(self, path: Path, zipped: bool, delimiter: str, encoding: str) -> None:
        super().__init__(path, zipped)
        self._encoding = encoding
        # Excel begins UTF-8 with a mark that would become part of the first column's name.
        codec = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
        self._text = io.TextIOWrapper(self._bytes, encoding=codec, newline="")
        self._reader = csv.reader(self._text, delimiter=delimiter)
        try:
            self.columns = self._header(delimiter)
        except BaseException:
            self.close()
            raise

    def _header(self, delimiter: str) -> tuple[str, ...]:
        try:
            header = next(self._reader, [])
        except _BROKEN as error:
            raise self._explain(error) from None
        if not any(column.strip() for column in header):
            raise SettingsError(f"{self.path.name} has no header; its first line must name the columns")
        other = next((mark for mark in ";,\t|" if mark != delimiter and mark in header[0]), None)
        if len(header) == 1 and other is not None:
            raise SettingsError(
                f"{self.path.name} has one column, {header[0][:60]!r}; "
                f"set delimiter = {json.dumps(other)} in the [source] of the mapping"
            )
        _check_unique(self.path, header)
        return tuple(header)

    def _rows(self, skip: int) -> Iterator[Row | None]:
        assert self.columns is not None
        columns, width = self.columns, len(self.columns)
        number = 0
        for values in self._reader:
            if not values:
                continue  # A blank line is no row.
            number += 1
            if number <= skip:
                if number % _SKIPPED_AT_ONCE == 0:
                    yield None
                continue
            if len(values) == width:
                yield number, dict(zip(columns, values, strict=True))
            else:
                reason = f"the row has another number of columns than the header's {width}: {len(values)}"
                yield number, BadRow(reason, json.dumps(values, ensure_ascii=False)[:_RAW_CHARACTERS])

    def close(self) -> None:
        self._text.close()
        super().close()


class _JsonLinesFile(_TextFile):
    def _rows(self, skip: int) -> Iterator[Row | None]:
        decode = msgspec.json.Decoder().decode
        number = 0
        while line := self._bytes.readline(MAX_LINE_BYTES + 1):
            number += 1  # Of the line, which is how an editor finds it; a blank one is no row but counts.
            too_long = len(line) > MAX_LINE_BYTES
            if too_long:
                self._skip_line(line)
            if number <= skip or not line.strip():
                if number % _SKIPPED_AT_ONCE == 0:
                    yield None
                continue
            if too_long:
                yield number, _bad(f"the row is longer than {MAX_LINE_BYTES:,} bytes", line)
                continue
            try:
                record = decode(line if number > 1 else line.removeprefix(codecs.BOM_UTF8))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                yield number, _bad(f"the row is not JSON: {error}", line)
                continue
            yield number, record if type(record) is dict else _bad("the row is not a JSON object", line)

    def _skip_line(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._bytes.readline(MAX_LINE_BYTES)


class _ParquetFile(RowFile):
    def __init__(self, path: Path) -> None:
        # Loading pyarrow takes longer than reading a small CSV.
        import pyarrow as pa
        import pyarrow.parquet as pq

        super().__init__(path)
        self._errors = (pa.ArrowException, OSError, ValueError)
        try:
            self._parquet = pq.ParquetFile(path)
        except self._errors as error:
            raise SettingsError(f"{path.name} is not a Parquet file: {_first_line(error)}") from None
        self.columns = tuple(self._parquet.schema_arrow.names)
        self._total = int(self._parquet.metadata.num_rows)
        try:
            _check_unique(path, self.columns)
        except BaseException:
            self.close()
            raise

    def chunks(self, skip: int = 0) -> Iterator[list[Row]]:
        assert self.columns is not None
        groups, number = self._groups_after(skip)
        batches = self._parquet.iter_batches(batch_size=CHUNK_ROWS, row_groups=groups)
        while True:
            try:
                batch = next(batches, None)
                if batch is None:
                    return
                values = [_values(column) for column in batch.columns]
            except self._errors as error:
                raise SettingsError(
                    f"{self.path.name}, after row {number:,}, cannot be read: {_first_line(error)}"
                ) from None
            chunk: list[Row] = []
            for row in zip(*values, strict=True):
                number += 1
                if number > skip:
                    chunk.append((number, dict(zip(self.columns, row, strict=True))))
            yield chunk

    def _groups_after(self, skip: int) -> tuple[list[int], int]:
        """The row groups that hold rows after the first `skip`, and the number of rows before them."""
        before, count = 0, self._parquet.metadata.num_row_groups
        for group in range(count):
            rows = self._parquet.metadata.row_group(group).num_rows
            if before + rows > skip:
                return list(range(group, count)), before
            before += rows
        return [], before

    def rows_total(self) -> int | None:
        return self._total

    def close(self) -> None:
        self._parquet.close()


def _values(column: Any) -> list[Any]:
    """A column as Python can hold it and an event can use it: no nanoseconds, no decimals."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    values: list[Any] = column.to_pylist()
    if pa.types.is_decimal(kind):
        # Not a cast by Arrow, which makes 2.5500000000000003 of 2.55.
        return [None if value is None else float(value) for value in values]
    return values


def _check_unique(path: Path, columns: Sequence[str]) -> None:
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise SettingsError(f"{path.name} has two columns named {twice!r}; each needs a name of its own")


def _bad(reason: str, line: bytes) -> BadRow:
    return BadRow(reason, line[:_RAW_CHARACTERS].decode("utf-8", "replace").rstrip("\n"))


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
