"""Rows on their way from the processes that compute them into one file, in bounded memory.

A part is what one partition gives: an Arrow stream of rows. Where rows are asked for in one order and known in another,
`Answers` gives them back in the first one.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import pyarrow as pa

from .columns import Row

#: Rows of a record batch of a part.
_ROWS_AT_ONCE = 5_000
_NOT_ANSWERED = -1

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Row).decode


def part_path(folder: Path, partition: int) -> Path:
    """Where the part of a partition is."""
    return folder / f"part-{partition}.arrow"


def write_part(
    path: Path, schema: Any, rows: Iterable[Row], arrays: Callable[[Sequence[Row]], list[Any]], tick: Callable[[], None]
) -> int:
    """Write rows as a part; returns how many there were.

    Parameters:
        arrays: Turns rows into an Arrow array per column.
        tick: Called with every batch.
    """
    written = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for some in _many(rows):
            stream.write_batch(pa.RecordBatch.from_arrays(arrays(some), schema=schema))
            written += len(some)
            tick()
    return written


def _many(rows: Iterable[Row]) -> Iterator[list[Row]]:
    some: list[Row] = []
    for row in rows:
        some.append(row)
        if len(some) == _ROWS_AT_ONCE:
            yield some
            some = []
    if some:
        yield some


class Answers:
    """Rows that are put down in any order, and read in the order of their numbers. A later one takes the place of an
    earlier one. Kept in a file; in memory are 8 bytes a row.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Answers(Path(folder, "answers"), 2) as answers:
        ...     answers.put(1, ["later"])
        ...     answers.put(0, ["sooner"])
        ...     print(list(answers.rows()))
        [['sooner'], ['later']]
    """

    def __init__(self, path: Path, count: int) -> None:
        self._file = path.open("w+b", buffering=1024 * 1024)
        self._at = 0
        self._offsets = array("q", [_NOT_ANSWERED]) * count

    def put(self, number: int, row: Row) -> None:
        encoded = _encode(row)
        self._file.write(len(encoded).to_bytes(4, "little"))
        self._file.write(encoded)
        self._offsets[number] = self._at
        self._at += 4 + len(encoded)

    def answered(self, number: int) -> bool:
        return self._offsets[number] != _NOT_ANSWERED

    def rows(self) -> Iterator[Row]:
        """All rows, in order. Each must have been put down."""
        self._file.flush()
        if not self._offsets:
            return
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for offset in self._offsets:
                end = offset + 4
                length = int.from_bytes(content[offset:end], "little")
                yield _decode(content[end : end + length])

    def __enter__(self) -> Answers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class PartReader:
    """Reads a part row by row, as slices of record batches."""

    def __init__(self, path: Path) -> None:
        self._file = pa.OSFile(str(path))
        self._stream = pa.ipc.open_stream(self._file)
        self._batch: Any = None
        self._at = 0

    def batches(self) -> Iterator[Any]:
        """All of it."""
        yield from self._stream

    def take(self, count: int) -> list[Any]:
        """The next `count` rows, which there must be."""
        taken: list[Any] = []
        while count:
            if self._batch is None or self._at == self._batch.num_rows:
                self._batch, self._at = self._stream.read_next_batch(), 0
            some = self._batch.slice(self._at, count)
            taken.append(some)
            self._at += some.num_rows
            count -= some.num_rows
        return taken

    def __enter__(self) -> PartReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._file.close()


def interleave(readers: Sequence[PartReader], partitions: Sequence[int]) -> Any:
    """The next rows of several parts as one table: of each row it is given which part has it.

    Parameters:
        partitions: The part of each row, in the order in which the rows are wanted.
    """
    order: list[list[int]] = [[] for _ in readers]
    for position, partition in enumerate(partitions):
        order[partition].append(position)
    slices = [
        each
        for reader, positions in zip(readers, order, strict=True)
        if positions
        for each in reader.take(len(positions))
    ]
    # The rows were taken part by part: at each wanted position, the place where its row lies among those.
    inverse = [0] * len(partitions)
    for place, position in enumerate(position for positions in order for position in positions):
        inverse[position] = place
    return pa.Table.from_batches(slices).combine_chunks().take(pa.array(inverse, pa.int64()))
