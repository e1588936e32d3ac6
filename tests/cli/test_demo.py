"""What `demo` decides before it starts anything. That it runs is for `integration/test_cli.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stream_profiles.cli import demo

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize("name", ["online_retail", "eshop_clothing_2008"])
def test_a_file_of_an_example_is_read_with_its_mapping(name: str) -> None:
    assert demo._mapping_file(DATA / f"{name}_sample.csv", None) == EXAMPLES / f"{name}.toml"


def test_rows_that_are_events_already_need_no_mapping(tmp_path: Path) -> None:
    rows = tmp_path / "events.csv"
    rows.write_text("user_id,time,type\nada,2024-01-01T00:00:00Z,view\n")
    assert demo._mapping_file(rows, None) is None
    lines = tmp_path / "events.jsonl"
    lines.write_text('{"user_id": "ada", "time": 0, "type": "view"}\n')
    assert demo._mapping_file(lines, None) is None


def test_a_mapping_brings_the_definition_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine.toml"
    mine.touch()
    assert demo._example_for(mine) == str(EXAMPLES / "shop.py")
    (tmp_path / "mine.py").touch()
    assert demo._example_for(mine) == "mine.py"
    assert demo._example_for(None) == str(EXAMPLES / "shop.py")


def test_next_steps_can_be_typed_where_the_demo_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [str(ROOT / ".venv" / "bin" / "stream-profiles")])
    monkeypatch.setenv("PATH", "/nowhere")
    steps = demo._next_steps("shop", "examples/shop.py", None, None, "u1").splitlines()
    assert "  .venv/bin/stream-profiles worker --definition examples/shop.py" in steps
    assert (
        "  .venv/bin/stream-profiles replay tests/data/online_retail_sample.csv --mapping examples/online_retail.toml "
        "--name shop" in steps
    )
    assert steps[-1] == "  .venv/bin/stream-profiles get 17850 --name shop"
    own = demo._next_steps("shop", "examples/shop.py", Path("my file.csv"), None, "a b").splitlines()
    assert "  .venv/bin/stream-profiles replay 'my file.csv' --name shop" in own
    assert own[-1] == "  .venv/bin/stream-profiles get 'a b' --name shop"
