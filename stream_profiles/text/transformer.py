"""TransformerEncoder: vectors by a sentence-transformers model, on a GPU if there is one.

What a model is (its modules, its longest text, its prompt) is read by sentence-transformers; how it is run is decided
here. A BERT, as the most used models are, runs without the work that changes nothing: no padding on a CPU, no
question to a GPU that would have to be waited for. Any other model runs as it is written. Which texts go together is
the batcher's business. Only this module and `onednn` import torch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from ..errors import SettingsError
from .encoder import Tokens, Vectors
from .onednn import ROWS, Linear, packed_linear, plain_linear

log = logging.getLogger(__name__)

#: What is read of a text at most, in characters for each token: nobody's words are longer.
_CHARACTERS_A_TOKEN = 64
#: The longest text of a model that names no limit.
_MAX_TOKENS = 512
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
#: How a device says that it has no more memory, where it has no exception of its own for it.
_OUT_OF_MEMORY = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory")


class Launched(NamedTuple):
    """Vectors that are on their way to the host."""

    vectors: Tensor
    #: Where the vector of each text is; None for at its own place.
    places: NDArray[np.intp] | None
    #: When they have arrived; None for already.
    arrived: torch.cuda.Event | None


class TransformerEncoder:
    """A model of sentence-transformers, from a folder.

    Parameters:
        folder: Where the model is, as `SentenceTransformer.save` writes it.
        name: Of the encoder; that of the folder unless given.
        device: In torch's words, such as "cuda:1"; None for a GPU if there is one, and else the CPU.
        dtype: "float32", "bfloat16" or "float16"; None for half precision on a GPU and full on a CPU. Sums, means and
            lengths are computed in full precision in any case.

    Raises:
        SettingsError: there is no such model or device, or its tokeniser has no stages.
    """

    def __init__(
        self, folder: str | Path, *, name: str | None = None, device: str | None = None, dtype: str | None = None
    ) -> None:
        self.folder = Path(folder)
        self.name = name or self.folder.name
        self.version = _digest(self.folder)
        self._device = _device(device)
        self._dtype = _dtype(dtype, self._device)
        try:
            model = SentenceTransformer(str(self.folder), device=str(self._device), local_files_only=True)
        except Exception as error:
            raise SettingsError(f"{self.folder} cannot be read by sentence-transformers: {error}") from error
        model.eval().to(self._dtype)
        dimension = model.get_embedding_dimension()
        if dimension is None:
            raise SettingsError(f"{self.folder} does not tell the dimension of its vectors")
        self.dimension: int = dimension
        self._tokenizer, self._max_tokens = _tokenizer(model, self.folder)
        self._prompt = model.prompts.get(model.default_prompt_name or "", "")
        self._lowers = bool(getattr(model[0], "do_lower_case", False))
        self._run = _runner(model, self._device)

    def encode(self, batch: Sequence[str]) -> Vectors:
        """All stages at once: unit vectors of shape `(len(batch), dimension)`."""
        return self.collect(self.forward(self.tokenize(batch)))

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        longest = _CHARACTERS_A_TOKEN * self._max_tokens
        given = [self._prompt + text[:longest] for text in texts]
        if self._lowers:
            given = [text.lower() for text in given]
        return [
            Tokens(encoding.ids, len(encoding.ids), bool(encoding.overflowing) or len(text) > longest)
            for encoding, text in zip(self._tokenizer.encode_batch_fast(given), texts, strict=True)
        ]

    def forward(self, batch: Sequence[Tokens]) -> Launched:
        if not batch:
            return Launched(torch.empty(0, self.dimension), None, None)
        with torch.inference_mode():
            vectors, places = self._run([tokens.content for tokens in batch])
            vectors = functional.normalize(vectors.float(), dim=-1)
            if self._device.type != "cuda":
                return Launched(vectors.cpu(), places, None)
            here = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
            here.copy_(vectors, non_blocking=True)
            # Waiting for it sleeps: the tokeniser has better use for a core.
            arrived = torch.cuda.Event(blocking=True)
            arrived.record(torch.cuda.current_stream(self._device))
            return Launched(here, places, arrived)

    def collect(self, output: Launched) -> Vectors:
        if output.arrived is not None:
            output.arrived.synchronize()
        vectors: Vectors = output.vectors.numpy()
        return vectors.copy() if output.places is None else vectors[output.places]

    def is_out_of_memory(self, error: BaseException) -> bool:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            return True
        return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


#: Runs texts, given as their tokens' ids: their vectors, in some order, and at which place each text's is.
_Run = Callable[[list[list[int]]], tuple[Tensor, NDArray[np.intp] | None]]


def _runner(model: SentenceTransformer, device: torch.device) -> _Run:
    modules = {type(module).__name__: module for module in model}
    backbone, pooling = getattr(model[0], "auto_model", None), modules.pop("Pooling", None)
    plain = list(modules) in (["Transformer"], ["Transformer", "Normalize"]) and model.truncate_dim is None
    if plain and _is_plain_bert(backbone) and getattr(pooling, "pooling_mode", None) in _POOLINGS:
        assert pooling is not None
        return _Bert(backbone, pooling.pooling_mode, device)
    return _AsWritten(model, device)


class _AsWritten:
    """Any model: padded, and run by its own modules."""

    def __init__(self, model: SentenceTransformer, device: torch.device) -> None:
        self._model, self._device = model, device
        self._has_types = "token_type_ids" in model.tokenizer.model_input_names

    def __call__(self, texts: list[list[int]]) -> tuple[Tensor, None]:
        features = self._model.tokenizer.pad({"input_ids": texts}, return_tensors="pt")
        if self._has_types:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        features = {name: _to(tensor, self._device) for name, tensor in features.items()}
        vectors: Tensor = self._model(features)["sentence_embedding"]
        return vectors, None


class _Group(NamedTuple):
    """Texts of one length, in a row: `texts` times `length` rows."""

    texts: int
    length: int
    #: Which rows are padding, where some are: shape `(texts, length)`, False for padding.
    mask: Tensor | None


class _Layer(NamedTuple):
    """What a layer has learned; query, key and value as one."""

    qkv: Linear
    attended: Linear
    attended_norm: tuple[Tensor, Tensor]
    #: With the activation behind it.
    wide: Linear
    narrow: Linear
    norm: tuple[Tensor, Tensor]


class _Bert:
    """BERT (Devlin et al., NAACL 2019) with the tokens of all texts one below the other.

    All but attention looks at single tokens. On a CPU, texts of one length share their attention, and nothing is
    padded; on a GPU, where every group would be a launch of its own, all texts are padded to one length.
    """

    def __init__(self, model: Any, pooling: str, device: torch.device) -> None:
        self._pool, self._device = _POOLINGS[pooling], device
        self._heads, self._epsilon = model.config.num_attention_heads, model.config.layer_norm_eps
        with torch.no_grad():
            inputs = model.embeddings
            self._words = inputs.word_embeddings.weight.detach()
            self._positions = (inputs.position_embeddings.weight + inputs.token_type_embeddings.weight[0]).detach()
            self._norm = _weights(inputs.LayerNorm)
            linear = packed_linear if device.type == "cpu" else plain_linear
            self._layers = [_layer(layer, linear) for layer in model.encoder.layer]

    def __call__(self, texts: list[list[int]]) -> tuple[Tensor, NDArray[np.intp] | None]:
        if self._device.type == "cpu":
            order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
            vectors = torch.cat([self._packed(some) for some in _parts([texts[place] for place in order])])
            return vectors, np.argsort(order)
        return self._padded(texts), None

    def _packed(self, texts: list[list[int]]) -> Tensor:
        """The vectors of texts in order of length, without padding."""
        ids = np.fromiter((token for text in texts for token in text), np.int64)
        groups = [_Group(len(list(same)), length, None) for length, same in groupby(map(len, texts))]
        return self._pooled(ids, groups)

    def _padded(self, texts: list[list[int]]) -> Tensor:
        lengths = np.array([len(text) for text in texts])
        padded, longest = np.zeros((len(texts), lengths.max()), np.int64), int(lengths.max())
        real = np.arange(longest) < lengths[:, None]
        padded[real] = np.fromiter((token for text in texts for token in text), np.int64)
        # Without padding no mask is needed. The host knows; asking the device would be waiting for it.
        mask = None if real.all() else _to(torch.from_numpy(real), self._device)
        ids, groups = padded.ravel(), [_Group(len(texts), longest, mask)]
        return self._pooled(ids, groups)

    def _pooled(self, ids: NDArray[np.int64], groups: list[_Group]) -> Tensor:
        rows = self._rows(_to(torch.from_numpy(ids), self._device), groups)
        return torch.cat([self._pool(part.float(), group.mask) for part, group in _split(rows, groups)])

    def _rows(self, ids: Tensor, groups: list[_Group]) -> Tensor:
        rows = functional.embedding(ids, self._words)
        for part, group in _split(rows, groups):
            part += self._positions[: group.length]
        rows = self._normed(rows, self._norm)
        for layer in self._layers:
            attended = self._attend(layer.qkv(rows), groups)
            rows = self._normed(layer.attended(attended).add_(rows), layer.attended_norm)
            rows = self._normed(layer.narrow(layer.wide(rows)).add_(rows), layer.norm)
        return rows

    def _attend(self, qkv: Tensor, groups: list[_Group]) -> Tensor:
        attended = []
        for part, group in _split(qkv, groups):
            query, key, value = part.view(group.texts, group.length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            mask = None if group.mask is None else group.mask[:, None, None, :]
            out = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            attended.append(out.transpose(1, 2).reshape(group.texts * group.length, -1))
        return attended[0] if len(attended) == 1 else torch.cat(attended)

    def _normed(self, rows: Tensor, weights: tuple[Tensor, Tensor]) -> Tensor:
        return functional.layer_norm(rows, rows.shape[-1:], *weights, self._epsilon)


def _is_plain_bert(model: Any) -> bool:
    if type(model).__name__ != "BertModel":
        return False
    config = model.config
    return (
        config.hidden_act == "gelu"
        and not getattr(config, "is_decoder", False)
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
    )


def _layer(layer: Any, linear: Callable[..., Linear]) -> _Layer:
    attention = layer.attention
    parts = [getattr(attention.self, name) for name in ("query", "key", "value")]
    return _Layer(
        linear(torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])),
        linear(*_weights(attention.output.dense)),
        _weights(attention.output.LayerNorm),
        linear(*_weights(layer.intermediate.dense), gelu=True),
        linear(*_weights(layer.output.dense)),
        _weights(layer.output.LayerNorm),
    )


def _weights(module: Any) -> tuple[Tensor, Tensor]:
    return module.weight.detach(), module.bias.detach()


def _parts(texts: list[list[int]]) -> Iterator[list[list[int]]]:
    """Texts in order of length, a few at a time: so many as the processor's caches like."""
    start = 0
    while start < len(texts):
        end, tokens = start + 1, len(texts[start])
        while end < len(texts) and tokens + len(texts[end]) <= ROWS:
            tokens += len(texts[end])
            end += 1
        yield texts[start:end]
        start = end


def _split(rows: Tensor, groups: list[_Group]) -> Iterator[tuple[Tensor, _Group]]:
    """The rows of each group, shape `(texts, length, ...)`."""
    start = 0
    for group in groups:
        end = start + group.texts * group.length
        yield rows[start:end].view(group.texts, group.length, -1), group
        start = end


def _mean(rows: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return rows.mean(dim=1)
    return (rows * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def _first(rows: Tensor, mask: Tensor | None) -> Tensor:
    return rows[:, 0]


def _max(rows: Tensor, mask: Tensor | None) -> Tensor:
    return (rows if mask is None else rows.masked_fill(~mask[..., None], -torch.inf)).amax(dim=1)


_POOLINGS = {"mean": _mean, "cls": _first, "max": _max}


def _to(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _tokenizer(model: SentenceTransformer, folder: Path) -> tuple[Tokenizer, int]:
    """The model's tokeniser, for texts of their own length, and the longest that the model reads."""
    fast = getattr(model.tokenizer, "backend_tokenizer", None)
    if fast is None:
        raise SettingsError(f"{folder} has no fast tokeniser: it must have a tokenizer.json")
    longest = int(model.max_seq_length or _MAX_TOKENS)
    own = Tokenizer.from_str(fast.to_str())
    own.enable_truncation(longest)
    own.no_padding()
    return own, longest


def _digest(folder: Path) -> str:
    """Of the weights: another model in the same folder is another version."""
    files = sorted({file for pattern in _WEIGHTS for file in folder.rglob(pattern)})
    if not files:
        raise SettingsError(f"{folder} is no model: it has no weights, {' or '.join(_WEIGHTS)}")
    digest = blake2b(digest_size=8)
    for file in files:
        with file.open("rb") as weights:
            while block := weights.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _device(given: str | None) -> torch.device:
    if given is None:
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        log.info("no GPU: text is encoded on the CPU")
        return torch.device("cpu")
    try:
        device = torch.device(given)
    except RuntimeError as error:
        raise SettingsError(f"there is no device {given!r}; give cpu, cuda or cuda:1, say") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(f"there is no {given}: torch finds {torch.cuda.device_count()} GPUs")
    return device


def _dtype(given: str | None, device: torch.device) -> torch.dtype:
    if given is None:
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if given not in _DTYPES:
        raise SettingsError(f"there is no precision {given!r}; give one of {', '.join(_DTYPES)}")
    return _DTYPES[given]
