"""Linear layers of oneDNN: the same numbers as torch's, and torch's own where there is nothing that gives them."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra text")
pytest.importorskip("sentence_transformers", reason="needs the extra text")

from stream_profiles.text import onednn  # noqa: E402
from stream_profiles.text.onednn import ROWS, packed_linear, plain_linear  # noqa: E402

INPUTS, OUTPUTS = 48, 80


def layer(dtype: Any = torch.float32) -> tuple[Any, Any]:
    """Weight and bias, of the size that a trained layer has."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(OUTPUTS, INPUTS, generator=generator) / INPUTS**0.5
    return weight.to(dtype), torch.randn(OUTPUTS, generator=generator).to(dtype)


def rows(count: int, dtype: Any = torch.float32) -> Any:
    return torch.randn(count, INPUTS, generator=torch.Generator().manual_seed(2)).to(dtype)


def by_hand(given: Any, weight: Any, bias: Any, *, gelu: bool) -> Any:
    """By the definition, in double precision."""
    given, weight, bias = given.double(), weight.double(), bias.double()
    out = given @ weight.T + bias
    return 0.5 * out * (1 + torch.erf(out / 2**0.5)) if gelu else out


def put(monkeypatch: pytest.MonkeyPatch, **operators: Any) -> None:
    """A build of torch with these operators of oneDNN's."""
    monkeypatch.setattr(onednn.torch, "ops", SimpleNamespace(mkldnn=SimpleNamespace(**operators)))


def is_plain(linear: Any) -> bool:
    return linear.__qualname__.startswith("plain_linear.")


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("count", [1, 7, ROWS, ROWS + 1, 3 * ROWS])
def test_they_are_linear_layers_for_any_number_of_rows(count: int, gelu: bool) -> None:
    weight, bias = layer()
    given = rows(count)
    expected = by_hand(given, weight, bias, gelu=gelu)
    for make in (plain_linear, packed_linear):
        found = make(weight, bias, gelu=gelu)(given)
        assert found.dtype == torch.float32 and found.shape == (count, OUTPUTS)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gelu", [False, True])
def test_in_half_precision(gelu: bool) -> None:
    weight, bias = layer(torch.bfloat16)
    given = rows(100, torch.bfloat16)
    found = packed_linear(weight, bias, gelu=gelu)(given)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), by_hand(given, weight, bias, gelu=gelu), rtol=2e-2, atol=5e-2)


def test_weights_that_do_not_lie_in_a_row() -> None:
    weight, bias = layer()
    found = packed_linear(weight.T.contiguous().T, bias)(rows(5))
    torch.testing.assert_close(found, plain_linear(weight, bias)(rows(5)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gelu", [False, True])
def test_operators_that_do_the_same_are_taken(monkeypatch: pytest.MonkeyPatch, gelu: bool) -> None:
    asked: list[Any] = []

    def linear(given: Any, packed: Any, bias: Any, *how: Any) -> Any:
        asked.append(how)
        return plain_linear(packed[0], bias, gelu=how[0] == "gelu")(given)

    put(monkeypatch, _reorder_linear_weight=lambda weight, count: (weight, count), _linear_pointwise=linear)
    taken = packed_linear(*layer(), gelu=gelu)
    assert not is_plain(taken)
    torch.testing.assert_close(taken(rows(3)), plain_linear(*layer(), gelu=gelu)(rows(3)))
    assert asked == 2 * ([("gelu", [], "none")] if gelu else [("none", [], "")])


def raises(error: Exception) -> Any:
    def operator(*given: Any) -> Any:
        raise error

    return operator


def wrong(change: Any) -> Any:
    return lambda given, packed, bias, *how: change(plain_linear(packed, bias, gelu=how[0] == "gelu")(given))


def as_it_is(weight: Any, count: int) -> Any:
    return weight


BUILDS: dict[str, dict[str, Any]] = {
    "no operators": {},
    "half of them": {"_reorder_linear_weight": as_it_is},
    "for another processor": {"_reorder_linear_weight": raises(RuntimeError("oneDNN is not built in"))},
    "on another device": {"_reorder_linear_weight": raises(NotImplementedError("no kernel"))},
    "with other parameters": {
        "_reorder_linear_weight": as_it_is,
        "_linear_pointwise": lambda given, packed, bias: given,
    },
    "that add": {"_reorder_linear_weight": as_it_is, "_linear_pointwise": wrong(lambda out: out + 0.01)},
    "that give nothing": {"_reorder_linear_weight": as_it_is, "_linear_pointwise": wrong(lambda out: out * torch.nan)},
    "of another shape": {"_reorder_linear_weight": as_it_is, "_linear_pointwise": wrong(lambda out: out[:, :-1])},
}


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("build", BUILDS)
def test_else_torchs_own_are_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, build: str, gelu: bool
) -> None:
    put(monkeypatch, **BUILDS[build])
    with caplog.at_level(logging.INFO):
        taken = packed_linear(*layer(), gelu=gelu)
    assert is_plain(taken) and not caplog.records, "it is no news for a user"
    assert torch.equal(taken(rows(3)), plain_linear(*layer(), gelu=gelu)(rows(3)))


def test_the_approximation_of_gelu_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def linear(given: Any, packed: Any, bias: Any, *how: Any) -> Any:
        return torch.nn.functional.gelu(torch.nn.functional.linear(given, packed, bias), approximate="tanh")

    put(monkeypatch, _reorder_linear_weight=as_it_is, _linear_pointwise=linear)
    assert is_plain(packed_linear(*layer(), gelu=True))


def test_a_precision_that_nobody_has_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, _reorder_linear_weight=as_it_is, _linear_pointwise=wrong(lambda out: out))
    assert is_plain(packed_linear(*layer(torch.float16)))
