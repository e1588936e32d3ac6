"""Linear layers for the CPU: oneDNN's, with weights laid out for it once and the activation inside.

Torch takes the BLAS it was built with, which on some processors is a fifth slower. The operators are those that torch's
own compiler puts in place of its linear layers; a build that has others, or none, gets torch's layers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

log = logging.getLogger(__name__)

Linear = Callable[[Tensor], Tensor]

#: Rows that oneDNN lays the weights out for. With many more they fall out of the processor's caches: a fifth slower.
ROWS = 2_048
#: What a layer may differ by from torch's own, relative to the largest number; else torch's own is taken.
_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def plain_linear(weight: Tensor, bias: Tensor, *, gelu: bool = False) -> Linear:
    """Torch's own layer, on any device."""
    if gelu:
        return lambda rows: functional.gelu(functional.linear(rows, weight, bias))
    return lambda rows: functional.linear(rows, weight, bias)


def packed_linear(weight: Tensor, bias: Tensor, *, gelu: bool = False) -> Linear:
    """oneDNN's layer, where there is one that does the same; for tensors on the CPU."""
    plain = plain_linear(weight, bias, gelu=gelu)
    activation, algorithm = ("gelu", "none") if gelu else ("none", "")
    try:
        operators = torch.ops.mkldnn
        packed = operators._reorder_linear_weight(weight.contiguous(), ROWS)

        def fused(rows: Tensor) -> Tensor:
            result: Tensor = operators._linear_pointwise(rows, packed, bias, activation, [], algorithm)
            return result

        probe = torch.linspace(-1, 1, 8 * weight.shape[1]).view(8, -1).to(weight.dtype)
        expected = plain(probe)
        if (fused(probe) - expected).abs().max() <= _TOLERANCE[weight.dtype] * expected.abs().max():
            return fused
    except (AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError) as error:
        log.debug("oneDNN's linear layers cannot be had: %r", error)
    return plain
