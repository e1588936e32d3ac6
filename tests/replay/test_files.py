"""Files come as numbered rows in order, from any row on, and a wrong file says what is wrong with it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles.errors import SettingsError
from stream_profiles.mapping.config import SourceConfig
from stream_profiles.replay import files
from stream_profiles.replay.files import CHUNK_ROWS, BadRow, Row, open_rows, stem


def write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def read(path: Path, skip: int = 0, **source: Any) -> list[Row]:
    with open_rows(path, SourceConfig(**source)) as rows:
        return [row for chunk in rows.chunks(skip) for row in chunk]


def many(path: Path, count: int) -> Path:
    """A file of `count` rows, as its suffix says."""
    if ".csv" in path.suffixes:
        return write(path, "user,n\n" + "".join(f"u{n % 7},{n}\n" for n in range(count)))
    if ".jsonl" in path.suffixes:
        return write(path, "".join(f'{{"user":"u{n % 7}","n":{n}}}\n' for n in range(count)))
    table = pa.table({"user": [f"u{n % 7}" for n in range(count)], "n": range(count)})
    pq.write_table(table, path, row_group_size=max(1, count // 3))
    return path


FORMATS = ["f.csv", "f.csv.gz", "f.jsonl", "f.jsonl.gz", "f.parquet"]


@pytest.mark.parametrize("name", FORMATS)
def test_rows_come_in_order_and_from_any_row_on(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_SKIPPED_AT_ONCE", 1_000)
    count = 2 * CHUNK_ROWS + 500
    path = many(tmp_path / name, count)
    rows = read(path)
    assert [number for number, _ in rows] == list(range(1, count + 1))
    first = rows[0][1]
    assert isinstance(first, dict)
    assert (first["user"], int(first["n"])) == ("u0", 0)
    for skip in (1, CHUNK_ROWS, CHUNK_ROWS + 1, count - 1, count, count + 10):
        assert read(path, skip) == rows[skip:]


@pytest.mark.parametrize("name", FORMATS)
def test_memory_is_bounded_by_chunks_and_the_total_is_estimated(tmp_path: Path, name: str) -> None:
    count = 20 * CHUNK_ROWS
    with open_rows(many(tmp_path / name, count)) as rows:
        totals = []
        for chunk in rows.chunks():
            assert 0 < len(chunk) <= CHUNK_ROWS
            totals.append(rows.rows_total())
    assert all(total is not None for total in totals)
    assert totals[-1] == pytest.approx(count, rel=0.05)
    assert totals[len(totals) // 2] == pytest.approx(count, rel=0.25)


def test_a_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", '\ufeffuser,"a ""b"""\r\nu1,"x\r\ny"\r\n\r\nu2,é\r\n')
    assert read(path) == [(1, {"user": "u1", 'a "b"': "x\r\ny"}), (2, {"user": "u2", 'a "b"': "é"})]
    assert read(path, 1) == [(2, {"user": "u2", 'a "b"': "é"})]


def test_delimiters_and_encodings(tmp_path: Path) -> None:
    assert read(write(tmp_path / "f.tsv", "a\tb\n1\t2\n")) == [(1, {"a": "1", "b": "2"})]
    assert read(write(tmp_path / "f.csv", "a;b\n1;2\n"), delimiter=";") == [(1, {"a": "1", "b": "2"})]
    assert read(write(tmp_path / "g.CSV", "a\né\n".encode("cp1252")), encoding="cp1252") == [(1, {"a": "é"})]


@pytest.mark.parametrize("name", FORMATS)
def test_rows_can_have_their_number_in_a_column(tmp_path: Path, name: str) -> None:
    path = many(tmp_path / name, CHUNK_ROWS + 10)
    plain, numbered = read(path), read(path, row_number="row")
    assert numbered == [(number, {**row, "row": number}) for number, row in plain if isinstance(row, dict)]
    assert read(path, CHUNK_ROWS + 5, row_number="row") == numbered[CHUNK_ROWS + 5 :]
    with open_rows(path, SourceConfig(row_number="row")) as rows:
        assert rows.columns in (None, ("user", "n", "row"))


def test_a_bad_row_stays_bad_with_a_number(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", "a,b\n1\n1,2\n")
    rows = read(path, row_number="row")
    assert isinstance(rows[0][1], BadRow)
    assert rows[1] == (2, {"a": "1", "b": "2", "row": 2})
    with pytest.raises(SettingsError, match=r"f\.csv has a column 'b' already; give row_number in the \[source\]"):
        read(path, row_number="b")


def test_a_row_with_too_few_or_too_many_cells_is_bad_alone(tmp_path: Path) -> None:
    rows = read(write(tmp_path / "f.csv", 'a,b\n1\n1,2\n1,"2",3\n'))
    assert rows[1] == (2, {"a": "1", "b": "2"})
    assert rows[0] == (1, BadRow("the row has another number of columns than the header's 2: 1", '["1"]'))
    assert rows[2] == (3, BadRow("the row has another number of columns than the header's 2: 3", '["1", "2", "3"]'))


def test_a_line_that_is_no_object_is_bad_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 50)
    lines = [
        b'\xef\xbb\xbf{"a": 1}',
        b"",
        b"{",
        b"[1]",
        b'{"a": "\xff"}',
        b"[" * 40,
        b'{"a": "' + b"x" * 200 + b'"}',
        b'{"a": 2}',
    ]
    rows = read(write(tmp_path / "f.ndjson", b"\n".join(lines)))
    assert [number for number, _ in rows] == [1, 3, 4, 5, 6, 7, 8]
    assert [rows[0][1], rows[-1][1]] == [{"a": 1}, {"a": 2}]
    reasons = [row.reason.partition(": ")[0] for _, row in rows if isinstance(row, BadRow)]
    assert reasons == [
        "the row is not JSON",
        "the row is not a JSON object",
        "the row is not JSON",
        "the row is not JSON",
        "the row is longer than 50 bytes",
    ]


def test_deeply_nested_json_is_a_bad_row(tmp_path: Path) -> None:
    [(_, row)] = read(write(tmp_path / "f.jsonl", "[" * 100_000 + "]" * 100_000))
    assert isinstance(row, BadRow)
    assert len(row.raw) == 10_000


def test_parquet_values_are_what_a_mapping_takes(tmp_path: Path) -> None:
    table = pa.table(
        {
            "at": pa.array([1_296_545_160_000_000_123, None], pa.timestamp("ns", "UTC")),
            "day": pa.array([date(2011, 2, 1), None]),
            "price": pa.array([Decimal("2.55"), None], pa.decimal128(10, 2)),
            "tags": pa.array([["a"], None]),
            "kind": pa.array(["x", "y"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "f.parquet")
    [(_, first), (_, second)] = read(tmp_path / "f.parquet")
    assert first == {
        "at": datetime(2011, 2, 1, 7, 26, tzinfo=UTC),
        "day": date(2011, 2, 1),
        "price": 2.55,
        "tags": ["a"],
        "kind": "x",
    }
    assert second == {"at": None, "day": None, "price": None, "tags": None, "kind": "y"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("f.csv", b"", "f.csv is empty"),
        ("f.csv", b"\n", "f.csv has no header"),
        ("f.csv.gz", gzip.compress(b""), "f.csv.gz has no header"),
        ("f.csv.gz", b"a,b\n1,2\n", "f.csv.gz is not gzip-compressed, though its name ends in .gz"),
        ("f.csv", gzip.compress(b"a,b\n"), "f.csv is gzip-compressed; rename it to f.csv.gz"),
        ("f.csv", b"a;b\n1;2\n", """f.csv has one column, 'a;b'; set delimiter = ";" in the [source]"""),
        ("f.csv", b"a\tb\n1\t2\n", r"""set delimiter = "\t" in the [source]"""),
        ("f.csv", b"a,b,a\n1,2,3\n", "f.csv has two columns named 'a'"),
        ("f.csv", b"a,b\n1,2\n3,\xff\n", "f.csv, before its first row, is not utf-8 text; set encoding"),
        ("f.csv", b'a,b\n1,2\n3,"' + b"x" * 200_000, "f.csv, after row 1, is not a CSV"),
        ("f.csv.gz", gzip.compress(b"a,b\n1,2\n")[:-12] + b"\xff" * 12, "f.csv.gz, "),
        ("f.parquet", b"PAR1 and no more", "f.parquet is not a Parquet file: "),
        ("f.parquet.gz", b"x", "f.parquet.gz has none of the suffixes"),
        ("f.json", b"[]", "f.json has none of the suffixes"),
        ("f", b"x", "f has none of the suffixes"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read(tmp_path / name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no file .*f\.csv"):
        open_rows(tmp_path / "f.csv")
    (tmp_path / "g.csv").mkdir()
    with pytest.raises(SettingsError, match=r"g\.csv cannot be read: Is a directory"):
        open_rows(tmp_path / "g.csv")


@pytest.mark.parametrize("name", ["f.csv.gz", "f.jsonl.gz"])
def test_a_file_that_was_cut_short_gives_all_rows_before_the_cut(tmp_path: Path, name: str) -> None:
    lines = [json.dumps({"n": n, "noise": hash((n, "x"))}) for n in range(50_000)]
    text = "\n".join(lines) if "jsonl" in name else "n\n" + "\n".join(str(hash((n, "x"))) for n in range(50_000))
    whole = gzip.compress(text.encode())
    path = tmp_path / name
    path.write_bytes(whole[: len(whole) // 2])
    seen: list[Row] = []
    with (
        open_rows(path) as rows,
        pytest.raises(SettingsError, match=r"ends in the middle of its compressed data") as caught,
    ):
        for chunk in rows.chunks():
            seen += chunk
    assert [number for number, _ in seen] == list(range(1, len(seen) + 1))
    assert len(seen) > 10_000
    assert f"after row {len(seen):,}," in str(caught.value)


def test_a_parquet_file_that_breaks_in_the_middle(tmp_path: Path) -> None:
    path = many(tmp_path / "f.parquet", 30_000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 5_000] = b"\xff" * 5_000
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"f\.parquet, after row [\d,]+, cannot be read: "):
        read(path)


def test_the_stem_is_the_name_without_the_format() -> None:
    names = ["a.csv", "a.b.csv.gz", "a.JSONL.GZ", "a.parquet", "a.b"]
    assert [stem(Path(name)) for name in names] == ["a", "a.b", "a", "a", "a.b"]


@given(st.lists(st.lists(st.text("ab\"',;\n é", max_size=5), min_size=2, max_size=2), max_size=20), st.integers(0, 25))
def test_what_a_csv_writer_writes_is_read_back(rows: list[list[str]], skip: int) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([["x", "y"], *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "f.csv.gz"), buffer.getvalue())
        assert read(path, skip) == [(n, {"x": x, "y": y}) for n, (x, y) in enumerate(rows, 1) if n > skip]
