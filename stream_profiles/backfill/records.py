"""Changelog records of a computed partition, kept in a file until they are sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..partition import Record

#: Bytes of keys and values read at a time.
_SLICE_BYTES = 2 * 1024 * 1024
_SIZE_BYTES = 4


class Records:
    """The last record of each key, as compaction would leave it."""

    def __init__(self) -> None:
        # Values are shared with the partition, which has every user encoded too.
        self._latest: dict[bytes, bytes] = {}

    def add(self, records: Iterable[Record]) -> None:
        """Take over records in the order in which they would be written."""
        for key, value in records:
            if value is None:
                self._latest.pop(key, None)
            else:
                self._latest[key] = value

    def write(self, path: Path) -> None:
        """Write them to a file."""
        with path.open("wb") as file:
            for record in self._latest.items():
                for part in record:
                    file.write(len(part).to_bytes(_SIZE_BYTES, "little"))
                    file.write(part)


def records_path(folder: Path, partition: int) -> Path:
    """Where the records of a partition are."""
    return folder / f"records-{partition}"


def read_records(path: Path) -> Iterator[list[tuple[bytes, bytes]]]:
    """The records of a file, some megabytes at a time.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     records = Records()
        ...     records.add([(b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"b", None)])
        ...     records.write(Path(folder, "records"))
        ...     print(list(read_records(Path(folder, "records"))))
        [[(b'a', b'3')]]
    """
    with path.open("rb") as file:
        some: list[tuple[bytes, bytes]] = []
        size = 0
        while length := file.read(_SIZE_BYTES):
            key = file.read(int.from_bytes(length, "little"))
            value = file.read(int.from_bytes(file.read(_SIZE_BYTES), "little"))
            some.append((key, value))
            size += len(key) + len(value)
            if size >= _SLICE_BYTES:
                yield some
                some, size = [], 0
        if some:
            yield some
