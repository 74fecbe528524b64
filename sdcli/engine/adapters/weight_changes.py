"""Compute what a LoRA adds to a weight: LoRA, LoCon, DoRA, LoHa, LoKr, (IA)³ and differences.

The formulas are those of LyCORIS (arXiv 2309.14859), LoRA (2106.09685) and DoRA (2402.09353).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]
"""The tensors of one layer in float32, by their part in it."""


def weight_change(
    tensors: Tensors, weight: Tensor, alpha: float | None, *, uses_sqrt_rank: bool = False
) -> Tensor | None:
    """Return the change of `weight` (float32) at a weight of 1, None if there is none.

    `alpha` is used where the layer has none of its own; without either, it is the rank. Raises
    RuntimeError for tensors whose shapes do not fit.
    """
    made = _product(tensors, weight)
    if made is None:
        return None
    change, rank = made
    stated = float(tensors["alpha"]) if "alpha" in tensors else alpha
    # A LoKr with both factors whole has no rank, and LyCORIS ignores its alpha.
    if rank and stated is not None:
        change = change * (stated / (rank**0.5 if uses_sqrt_rank else rank))
    change = change.reshape(weight.shape)
    if "magnitude" in tensors:
        return _with_magnitude(weight + change, tensors["magnitude"]) - weight
    return change


def bias_change(tensors: Tensors, bias: Tensor) -> Tensor | None:
    """Return the change of a bias, None if there is none."""
    return tensors["diff_b"].reshape(bias.shape) if "diff_b" in tensors else None


def _product(tensors: Tensors, weight: Tensor) -> tuple[Tensor, int] | None:
    """Return the change before it is scaled, and its rank, 0 where there is none."""
    if "down" in tensors:
        return _low_rank(tensors)
    if "hada_w1_a" in tensors:
        first, second = (_factor(tensors, f"hada_w{n}", f"hada_t{n}") for n in (1, 2))
        return first * second, tensors["hada_w1_b"].shape[0]
    if any(name.startswith("lokr_") for name in tensors):
        return _kronecker(tensors)
    if "ia3" in tensors:
        return weight * _ia3_factor(tensors, weight), 0
    if "diff" in tensors:
        return tensors["diff"], 0
    return None


def _low_rank(tensors: Tensors) -> tuple[Tensor, int]:
    down, up = tensors["down"], tensors["up"]
    rank = down.shape[0]
    if "mid" in tensors:
        core = torch.einsum("rskl,si->rikl", tensors["mid"], down.flatten(1))
        return torch.einsum("or,rikl->oikl", up.flatten(1), core), rank
    return up.flatten(1) @ down.flatten(1), rank


def _factor(tensors: Tensors, name: str, core: str) -> Tensor:
    """Return a factor that is whole, the product of two matrices, or of those and a small core."""
    if name in tensors:
        return tensors[name]
    a, b = tensors[f"{name}_a"], tensors[f"{name}_b"]
    if core in tensors:
        return torch.einsum("rskl,ro,si->oikl", tensors[core], a, b)
    return a @ b


def _kronecker(tensors: Tensors) -> tuple[Tensor, int]:
    first = _factor(tensors, "lokr_w1", "")
    second = _factor(tensors, "lokr_w2", "lokr_t2")
    ranks = [tensors[name].shape[0] for name in ("lokr_w1_b", "lokr_w2_b") if name in tensors]
    # A kernel is a part of the columns, in which kron multiplies the numbers of inputs.
    return torch.kron(first, second.flatten(1)), ranks[-1] if ranks else 0


def _ia3_factor(tensors: Tensors, weight: Tensor) -> Tensor:
    scale = tensors["ia3"].flatten()
    ones = (1,) * (weight.ndim - 2)
    return scale.view(1, -1, *ones) if bool(tensors["on_input"]) else scale.view(-1, 1, *ones)


def _with_magnitude(weight: Tensor, magnitude: Tensor) -> Tensor:
    """Return the weight with other norms: of its rows, or of its columns if there are as many."""
    is_of_columns = magnitude.ndim > 1 and magnitude.shape[0] == 1 and magnitude.numel() > 1
    kept = 1 if is_of_columns else 0
    others = [dim for dim in range(weight.ndim) if dim != kept]
    shape = [1] * weight.ndim
    shape[kept] = -1
    norm: Tensor = torch.linalg.vector_norm(weight, dim=others, keepdim=True)
    return weight * (magnitude.flatten().view(shape) / norm)
