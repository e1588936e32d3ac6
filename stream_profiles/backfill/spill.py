"""Lines of JSON set aside in one temporary file per partition, in order, and read again by whoever computes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

#: Lines in memory, of all partitions, before they are written.
_BUFFER_BYTES = 16 * 1024 * 1024
#: Lines read at a time.
_BLOCK_BYTES = 1024 * 1024


class Spill:
    """Writes lines of one kind to the files of partitions. No file stays open: there may be a thousand partitions.

    Parameters:
        folder: Where the files are made.
        kind: What their names begin with.
        partitions: How many there are.
    """

    def __init__(self, folder: Path, kind: str, partitions: int) -> None:
        self._paths = [spill_path(folder, kind, number) for number in range(partitions)]
        self._lines: list[list[bytes]] = [[] for _ in range(partitions)]
        self._buffered = 0
        #: Lines of each partition.
        self.counts = [0] * partitions
        for path in self._paths:
            path.touch()

    def add(self, partition: int, line: bytes) -> None:
        """One line, without its end."""
        self._lines[partition].append(line)
        self.counts[partition] += 1
        self._buffered += len(line)
        if self._buffered > _BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is in memory. Called after the last line too."""
        for path, lines in zip(self._paths, self._lines, strict=True):
            if lines:
                lines.append(b"")
                with path.open("ab") as file:
                    file.write(b"\n".join(lines))
                lines.clear()
        self._buffered = 0


def spill_path(folder: Path, kind: str, partition: int) -> Path:
    """The file of a partition's lines."""
    return folder / f"{kind}-{partition}.jsonl"


def blocks(path: Path) -> Iterator[bytes]:
    """The lines of a file, many at a time."""
    with path.open("rb") as file:
        while lines := file.readlines(_BLOCK_BYTES):
            yield b"".join(lines)
