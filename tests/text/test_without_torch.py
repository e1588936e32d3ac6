"""The base install: everything but a torch encoder does its work where there is no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stream_profiles.errors import SettingsError
from stream_profiles.text import loading
from stream_profiles.text.loading import load_encoder

EXAMPLES = Path(__file__).parents[2] / "examples"
#: As in an interpreter that has no such packages: they are not found, and their import raises.
WITHOUT = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *about):
        missing = ("torch", "transformers", "sentence_transformers", "tokenizers", "huggingface_hub")
        return None if name.partition(".")[0] in missing else self.finder.find_spec(name, *about)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


def without_torch(code: str) -> str:
    """What a program prints that runs without torch."""
    ran = subprocess.run([sys.executable, "-c", WITHOUT + code], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_every_module_but_two_is_imported() -> None:
    code = """
import importlib, pkgutil
import stream_profiles, stream_profiles.engine.worker, stream_profiles.cli
failed = {}
for module in pkgutil.walk_packages(stream_profiles.__path__, "stream_profiles."):
    # Not the program itself, nor the examples of an installed one.
    if module.name != "stream_profiles.__main__" and ".examples" not in module.name:
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            failed[module.name] = error.name
print(sorted(failed.items()))
"""
    assert without_torch(code).strip() == str(
        [("stream_profiles.text.onednn", "torch"), ("stream_profiles.text.transformer", "torch")]
    )


def test_a_definition_with_a_model_is_built_applied_and_described() -> None:
    code = f"""
from stream_profiles import Event, Partition, ProfileDefinition, ProfileUpdater, TextEmbedding
from stream_profiles.definition import load_definition
interests = TextEmbedding("interests", encoder="all-MiniLM-L6-v2", labels=["tea"])
definition = ProfileDefinition("shop", embeddings=[interests])
partition = Partition(ProfileUpdater(definition))
partition.apply(Event(event_id="1", user_id="ada", type="view", time=0, text="red shoes"))
print([request.text for request in partition.take_requests()], interests.dimension)
print(sorted(definition.describe()["fields"]), load_definition({str(EXAMPLES / "interests.py")!r}).name)
"""
    assert without_torch(code).splitlines() == [
        "['tea', 'red shoes'] 384",
        "['interests', 'interests_30d'] interests",
    ]


def test_the_sentence_names_the_extra() -> None:
    code = """
from stream_profiles.errors import SettingsError
from stream_profiles.text.loading import load_encoder
print(load_encoder("hashing").name)
try:
    load_encoder("all-MiniLM-L6-v2")
except SettingsError as error:
    print(error)
"""
    assert without_torch(code).splitlines() == [
        "hashing-384",
        "the encoder 'all-MiniLM-L6-v2' needs torch, which is not installed: pip install \"stream-profiles[text]\"",
    ]


def test_a_backfill_says_it_too(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(
        '{"event_id": "1", "user_id": "ada", "type": "view", "time": 0, "text": "red shoes"}\n'
    )
    code = f"""
import os, sys
os.chdir({str(tmp_path)!r})
sys.argv = ["stream-profiles", "backfill", "events.jsonl", "--out", "profiles.parquet", "--processes", "1"]
sys.argv += ["--definition", {str(EXAMPLES / "interests.py")!r}]
sys.stderr = sys.stdout
from stream_profiles.cli import main
try:
    main()
except SystemExit as end:
    print("ended with", end.code)
"""
    *_, sentence, end = without_torch(code).splitlines()
    assert sentence.startswith("error: the encoder 'all-MiniLM-L6-v2' needs torch") and end == "ended with 2"


@pytest.mark.parametrize("error", [ImportError("libcudart.so.13: cannot open shared object file"), OSError("no DLL")])
def test_a_torch_that_does_not_import_is_a_sentence_too(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(name: str, package: str | None = None) -> object:
        raise error

    monkeypatch.setattr(loading, "find_spec", lambda name: object())
    monkeypatch.setattr(loading, "_folder", lambda spec: Path(spec))
    monkeypatch.setattr(loading, "import_module", broken)
    with pytest.raises(SettingsError, match=f"'all-MiniLM-L6-v2' .* does not import: {error}"):
        load_encoder("all-MiniLM-L6-v2")
