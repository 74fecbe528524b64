"""The optimizer."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from sdcli.training.optimizer import MuonAdamW, orthogonalize


def test_orthogonalized_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((8, 30), (30, 8), (16, 16)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape)))
        assert values.min() > 0.3
        assert values.max() < 1.4


def test_orthogonalizing_is_five_newton_schulz_steps() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(6, 20)
    x = matrix / matrix.norm()
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    assert torch.allclose(orthogonalize(matrix), x, atol=1e-4)
    assert torch.allclose(orthogonalize(matrix.T), x.T, atol=1e-4)


def test_the_matrices_are_shared_between_the_workers() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4), nn.Linear(4, 4))
    owners = [
        MuonAdamW(
            model.named_parameters(),
            muon_lr=1e-3,
            adamw_lr=1e-3,
            weight_decay=0.0,
            rank=rank,
            world=2,
        ).owner
        for rank in range(2)
    ]
    assert owners[0] == owners[1]
    assert set(owners[0]) == {0, 1}


def test_a_restored_state_continues_with_the_same_steps() -> None:
    def build(seed: int) -> tuple[nn.Linear, MuonAdamW]:
        torch.manual_seed(seed)
        model = nn.Linear(4, 4)
        optimizer = MuonAdamW(
            model.named_parameters(),
            muon_lr=0.1,
            adamw_lr=0.1,
            weight_decay=0.1,
            rank=0,
            world=1,
        )
        return model, optimizer

    def advance(model: nn.Linear, optimizer: MuonAdamW) -> None:
        model.zero_grad()
        model(torch.ones(4)).square().sum().backward()
        optimizer.step(0.5)

    model, optimizer = build(0)
    advance(model, optimizer)
    other_model, other_optimizer = build(1)
    other_model.load_state_dict(model.state_dict())
    # The tensors of a state_dict are those of the optimizer.
    other_optimizer.load_state_dict(deepcopy(optimizer.state_dict()))
    advance(model, optimizer)
    advance(other_model, other_optimizer)
    assert torch.equal(model.weight, other_model.weight)
    assert torch.equal(model.bias, other_model.bias)
