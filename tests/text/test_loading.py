"""Loading encoders: what a definition may name, and the sentences where that cannot be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from stream_profiles.errors import SettingsError
from stream_profiles.text import loading
from stream_profiles.text.encoder import Tokens, Vectors
from stream_profiles.text.loading import Stages, load_encoder

from .fake_encoder import FakeEncoder


class Given:
    """Gives the vectors that it was made with."""

    name, dimension = "given", 2

    def __init__(self, *vectors: list[float]) -> None:
        self.vectors = np.array(vectors)

    def encode(self, batch: Sequence[str]) -> Vectors:
        return self.vectors


def encode(encoder: Stages, *texts: str) -> Vectors:
    return encoder.collect(encoder.forward(encoder.tokenize(texts)))


@pytest.mark.parametrize(
    ("spec", "dimension", "name"),
    [("hashing", None, "hashing-384"), ("hashing", 64, "hashing-64"), ("hashing-256", None, "hashing-256")],
)
def test_hashing_by_name(spec: str, dimension: int | None, name: str) -> None:
    assert load_encoder(spec, dimension).name == name


@pytest.mark.parametrize("spec", ["hashing-", "hashing-x", "hashing-0"])
def test_hashing_of_no_dimension(spec: str) -> None:
    if spec == "hashing-":
        assert load_encoder(spec).dimension == 384
        return
    with pytest.raises(SettingsError, match="hashing-256"):
        load_encoder(spec)


def test_another_dimension_than_declared_is_an_error() -> None:
    with pytest.raises(SettingsError, match="dimension 256, and the definition says 64"):
        load_encoder("hashing-256", 64)
    with pytest.raises(SettingsError, match="dimension 2, and the definition says 3"):
        load_encoder(Given(), 3)


def test_an_encoder_of_ones_own_gets_stages() -> None:
    encoder = load_encoder(Given([3.0, 4.0], [0.0, 1e-30], [3e38, 0.0]))
    assert isinstance(encoder, Stages) and (encoder.name, encoder.version) == ("given", "1")
    assert [tokens.length for tokens in encoder.tokenize(["", "red shoes"])] == [1, 2]
    expected = [[0.6, 0.8], [0.0, 1.0], [1.0, 0.0]]
    np.testing.assert_allclose(encode(encoder, "a", "b", "c"), expected, rtol=1e-6)


def test_its_version_is_kept() -> None:
    given = Given()
    given.version = "7"  # type: ignore[attr-defined]
    assert load_encoder(given).version == "7"


def test_zeros_stay_zeros() -> None:
    assert not encode(Stages(Given([0.0, 0.0])), "a").any()


@pytest.mark.parametrize(
    ("vectors", "problem"),
    [
        ([[1.0, 0.0]], r"shape \(1, 2\) for 2 texts; it must be \(2, 2\)"),
        ([[1.0], [1.0]], r"shape \(2, 1\)"),
        ([[1.0, 0.0], [np.nan, 0.0]], "not finite"),
        ([[1.0, 0.0], [np.inf, 0.0]], "not finite"),
    ],
)
def test_wrong_vectors_are_an_error(vectors: list[list[float]], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        encode(Stages(Given(*vectors)), "a", "b")


def test_an_encoder_with_stages_is_taken_as_it_is() -> None:
    class Staged(FakeEncoder):
        def encode(self, batch: Sequence[str]) -> Vectors:
            return self.collect(self.forward(self.tokenize(batch)))

    staged = Staged()
    assert load_encoder(staged) is staged


def test_what_is_no_encoder() -> None:
    with pytest.raises(SettingsError, match="is no encoder: it needs name, dimension and encode"):
        load_encoder(object())  # type: ignore[arg-type]


def test_out_of_memory_is_known_by_name() -> None:
    class OutOfMemoryError(RuntimeError): ...

    stages = Stages(Given())
    assert stages.is_out_of_memory(OutOfMemoryError()) and stages.is_out_of_memory(MemoryError())
    assert not stages.is_out_of_memory(ValueError("out of memory"))
    assert stages.tokenize(["x"]) == [Tokens("x", 1)]


@pytest.mark.parametrize("package", ["torch", "sentence_transformers"])
def test_without_torch_the_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(SettingsError, match=rf'needs {package}, .*pip install "stream-profiles\[text\]"'):
        load_encoder("all-MiniLM-L6-v2")


def has_torch() -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra text")


@pytest.mark.parametrize("spec", ["./models/nothing", "/nowhere/model", "a/b/c"])
def test_no_such_folder(spec: str) -> None:
    has_torch()
    with pytest.raises(SettingsError, match=f"there is no folder {spec}"):
        load_encoder(spec)


def test_a_model_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    has_torch()
    import huggingface_hub

    asked: list[str] = []

    def fetch(name: str, **options: object) -> str:
        asked.append(name)
        raise OSError("cannot reach the hub\nand much more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    with pytest.raises(SettingsError, match=r"could not be fetched .* online\? .*\(cannot reach the hub\)"):
        load_encoder("no-such-model")
    with pytest.raises(SettingsError, match="the model mine/model could"):
        load_encoder("mine/model")
    assert asked == ["sentence-transformers/no-such-model", "mine/model"]


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    has_torch()
    with pytest.raises(SettingsError, match="is no model: it has no weights"):
        load_encoder(str(tmp_path))


def test_hashing_and_objects_need_no_torch() -> None:
    code = (
        "import sys; from stream_profiles.text.loading import load_encoder; load_encoder('hashing');"
        "assert not {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
