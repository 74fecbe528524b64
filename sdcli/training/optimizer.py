"""Muon for matrices and kernels, AdamW for the rest; the heavy part is shared between the workers.

Muon (K. Jordan, 2024) steps along the orthogonalised momentum; the scale that makes its step as
long as AdamW's is from "Muon is Scalable for LLM Training" (arXiv 2502.16982).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # quintic Newton–Schulz, converges from (0, 1]
_NOT_MATRICES = ("token_embedding", "position_embedding", "conv_in", "conv_out")


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """Roughly the nearest semi-orthogonal matrix to ``matrix`` (rows, columns).

    Each Newton–Schulz step multiplies x by a polynomial of its small square x·xᵀ. The squares and
    the product of the polynomials are followed alone, and x is multiplied once, at the end: the
    same numbers at a third of the cost.
    """
    a, b, c = _COEFFICIENTS
    x: Tensor = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / (x.norm() + 1e-7)
    square = x @ x.T
    product = torch.eye(len(square))
    for _ in range(steps):
        polynomial = torch.addmm(square, square, square, beta=b, alpha=c)
        polynomial.diagonal().add_(a)
        product = polynomial @ product
        square = polynomial @ square @ polynomial
    x = product @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def _cost(p: Tensor) -> int:
    rows = p.shape[0]
    columns = p.numel() // rows
    return min(rows, columns) ** 2 * max(rows, columns)


class MuonAdamW:
    """One optimiser for a model on several workers that hold the same weights and gradients."""

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        *,
        muon_lr: float,
        adamw_lr: float,
        weight_decay: float,
        rank: int,
        world: int,
    ) -> None:
        """Learning rates are peaks: ``step`` takes the factor of the schedule."""
        parameters = [(name, p) for name, p in named if p.requires_grad]
        self.matrices = [
            p for name, p in parameters if p.ndim >= 2 and not any(w in name for w in _NOT_MATRICES)
        ]
        chosen = {id(p) for p in self.matrices}
        rest = [p for _, p in parameters if id(p) not in chosen]
        self.adamw = torch.optim.AdamW(
            rest, lr=adamw_lr, betas=(0.9, 0.99), weight_decay=weight_decay, foreach=True
        )
        self.momentum = [torch.zeros_like(p) for p in self.matrices]
        self.muon_lr, self.adamw_lr, self.weight_decay = muon_lr, adamw_lr, weight_decay
        self.rank, self.world = rank, world
        self.owner = self._share()

    def _share(self) -> list[int]:
        """Which worker orthogonalises which matrix: the costliest first, to the idlest worker."""
        load = [0] * self.world
        owner = [0] * len(self.matrices)
        for index in sorted(range(len(owner)), key=lambda i: -_cost(self.matrices[i])):
            owner[index] = load.index(min(load))
            load[owner[index]] += _cost(self.matrices[index])
        return owner

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """One step along the gradients, ``factor`` (0…1) of the peak learning rates."""
        for group in self.adamw.param_groups:
            group["lr"] = self.adamw_lr * factor
        self.adamw.step()
        updates = [self._update(index) for index in range(len(self.matrices))]
        flat = torch.cat([u.reshape(-1) for u in updates])
        if self.world > 1:
            torch.distributed.all_reduce(flat)
        start = 0
        rate = self.muon_lr * factor
        for p in self.matrices:
            update = flat[start : start + p.numel()].view_as(p)
            p.mul_(1 - rate * self.weight_decay).sub_(update, alpha=rate)
            start += p.numel()

    def _update(self, index: int) -> Tensor:
        """The matrix's step, or zeros where it is another worker's (their sum is the step)."""
        p, momentum = self.matrices[index], self.momentum[index]
        assert p.grad is not None
        momentum.lerp_(p.grad, 0.05)
        if self.owner[index] != self.rank:
            return torch.zeros(p.numel())
        nesterov = p.grad.lerp(momentum, 0.95).reshape(p.shape[0], -1)
        step = orthogonalize(nesterov)
        scale: float = 0.2 * max(step.shape) ** 0.5
        return step * scale

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {"adamw": self.adamw.state_dict(), "momentum": self.momentum}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.adamw.load_state_dict(state["adamw"])
        for mine, saved in zip(self.momentum, state["momentum"], strict=True):
            mine.copy_(saved)
