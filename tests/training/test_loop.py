"""The training loop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sdcli.training.loop import Run, StepRandom, result_file, schedule, train


def test_the_schedule_warms_up_and_falls_to_one_percent() -> None:
    assert schedule(0.0, 0) < 0.05
    assert schedule(0.0, 1000) == pytest.approx(1.0)
    assert schedule(1.0, 1000) == pytest.approx(0.01)


class LineStage:
    """A stage that fits a line."""

    name = "line"
    muon_lr, adamw_lr, weight_decay, ema_decay = 0.1, 0.02, 0.0, 0.9

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(3, 1)
        self.modules: dict[str, nn.Module] = {"line": self.model}

    def loss(
        self, random: StepRandom, progress: float, rank: int
    ) -> tuple[Tensor, dict[str, float]]:
        x = random.normal(64, 3)
        target = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 1
        return (self.model(x) - target).square().mean(), {}


def build_run(folder: Path) -> Run:
    """A run with a budget so large that the speed of the machine does not change its schedule."""
    return Run(LineStage(folder), folder, 1e9, rank=0, world=1)


def test_a_stage_learns(tmp_path: Path) -> None:
    run = build_run(tmp_path)
    for _ in range(300):
        run.advance(seed=1)
    run.finish()
    learned = run.stage.modules["line"].state_dict()["weight"]
    assert torch.allclose(learned, torch.tensor([[1.0, -2.0, 0.5]]), atol=0.1)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    uninterrupted = build_run(tmp_path)
    for _ in range(10):
        uninterrupted.advance(seed=1)
    first = build_run(tmp_path)
    for _ in range(5):
        first.advance(seed=1)
    first.save()
    second = build_run(tmp_path)
    assert second.step == 5
    for _ in range(5):
        second.advance(seed=1)
    assert torch.equal(uninterrupted.parameters[0], second.parameters[0])
    assert torch.equal(uninterrupted.ema[0], second.ema[0])


def test_a_finished_stage_is_not_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("line", LineStage, tmp_path, seconds=0.0, seed=1, workers=1)
    modified = result_file(tmp_path, "line").stat().st_mtime_ns
    train("line", LineStage, tmp_path, seconds=9.0, seed=1, workers=1)
    assert "already trained" in capsys.readouterr().out
    assert result_file(tmp_path, "line").stat().st_mtime_ns == modified


def test_random_numbers_depend_only_on_seed_worker_and_step() -> None:
    for rank, step in ((0, 0), (1, 0), (0, 1)):
        assert torch.equal(StepRandom(1, rank, step).normal(4), StepRandom(1, rank, step).normal(4))
    assert not torch.equal(StepRandom(1, 0, 0).normal(4), StepRandom(1, 1, 0).normal(4))
