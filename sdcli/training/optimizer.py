"""Optimize matrices and kernels with Muon and the rest with AdamW, on several workers.

Muon (K. Jordan, 2024) steps along the orthogonalized momentum. The scale that makes its steps as
long as those of AdamW is from "Muon is Scalable for LLM Training" (arXiv 2502.16982).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Of the quintic Newton-Schulz iteration, which converges for singular values in (0, 1].
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)

# Embeddings, and the first and last layers, are trained with AdamW as in the original Muon.
_NOT_MATRICES = ("token_embedding", "position_embedding", "conv_in", "conv_out")


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """Return roughly the nearest semi-orthogonal matrix to ``matrix`` (rows, columns).

    Each Newton-Schulz step multiplies x by a polynomial of the small square matrix x·xᵀ. Only x·xᵀ
    and the product of the polynomials are updated in each step, and x is multiplied once at the
    end, which costs a third.
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


def _orthogonalization_cost(p: Tensor) -> int:
    rows = p.shape[0]
    columns = p.numel() // rows
    return min(rows, columns) ** 2 * max(rows, columns)


class MuonAdamW:
    """An optimizer for workers with the same weights and gradients.

    Each worker orthogonalizes a share of the matrices, which is the largest part of the work.
    """

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        muon_lr: float,
        adamw_lr: float,
        weight_decay: float,
        rank: int,
        world: int,
    ) -> None:
        """Set the peak learning rates, which ``step`` scales by the factor of the schedule."""
        parameters = [(name, p) for name, p in named_parameters if p.requires_grad]
        self.matrices = [
            p for name, p in parameters if p.ndim >= 2 and not any(w in name for w in _NOT_MATRICES)
        ]
        matrix_ids = {id(p) for p in self.matrices}
        rest = [p for _, p in parameters if id(p) not in matrix_ids]
        self.adamw = torch.optim.AdamW(
            rest, lr=adamw_lr, betas=(0.9, 0.99), weight_decay=weight_decay, foreach=True
        )
        self.momentum = [torch.zeros_like(p) for p in self.matrices]
        self.muon_lr, self.adamw_lr, self.weight_decay = muon_lr, adamw_lr, weight_decay
        self.rank, self.world = rank, world
        self.owner = self._assign_owners()

    def _assign_owners(self) -> list[int]:
        """Assign each matrix to a worker: the costliest first, to the one with the least work."""
        load = [0] * self.world
        owner = [0] * len(self.matrices)
        for index in sorted(
            range(len(owner)), key=lambda i: -_orthogonalization_cost(self.matrices[i])
        ):
            owner[index] = load.index(min(load))
            load[owner[index]] += _orthogonalization_cost(self.matrices[index])
        return owner

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Update the weights at ``factor`` (0 to 1) of the peak learning rates."""
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
        """Return the step of a matrix, or zeros if it belongs to another worker.

        The sum over the workers is the step.
        """
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
        """Return the state that a resumed run needs."""
        return {"adamw": self.adamw.state_dict(), "momentum": self.momentum}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state."""
        self.adamw.load_state_dict(state["adamw"])
        for momentum, saved in zip(self.momentum, state["momentum"], strict=True):
            momentum.copy_(saved)
