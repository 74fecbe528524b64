"""The training of the few-step LoRA: the student's steps are those of Diffusers, and it resumes."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from torch import Tensor, nn

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.engine.judge import load_judge
from sdcli.training import evaluate_fast, fast_lora, teacher_paths
from sdcli.training.evaluate import EvaluatedModel, select_cases
from sdcli.training.evaluate_flag import add_lora
from sdcli.training.low_rank import LowRankChanges, LowRankRun

LORA = Path(f"{EMBEDDED_FOLDER}-loras") / "fast.safetensors"
CASES = 12


@pytest.fixture(scope="module")
def pipeline() -> Any:
    loaded = StableDiffusionPipeline.from_pretrained(str(EMBEDDED_FOLDER), dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture
def in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (fast_lora, teacher_paths):
        monkeypatch.setattr(module, "half_precision", nullcontext)


def draw_latents(pipeline: Any, noise: Tensor, steps: int, guidance: float) -> Tensor:
    """What a user of Diffusers gets."""
    latents: Tensor = pipeline(
        ["a cat", "a red star"], latents=noise, num_inference_steps=steps,
        guidance_scale=guidance, output_type="latent",
    ).images  # fmt: skip
    return latents


@pytest.mark.usefixtures("in_full_precision")
def test_student_and_teacher_end_where_diffusers_does(pipeline: Any) -> None:
    noise = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    words = teacher_paths.embed(pipeline, ["a cat", "a red star"])
    path = teacher_paths.follow_teacher(pipeline, noise, words)
    assert path.shape == (1 + teacher_paths.POINTS, 2, 4, 16, 16)
    assert torch.equal(path[0], noise)
    taught = draw_latents(pipeline, noise, teacher_paths.STEPS, teacher_paths.GUIDANCE)
    torch.testing.assert_close(path[-1], taught, atol=1e-3, rtol=0)
    own, config = pipeline.scheduler, pipeline.scheduler.config
    pipeline.scheduler = DDIMScheduler.from_config(config, timestep_spacing="trailing")
    with torch.no_grad():
        steps = fast_lora.Student(pipeline.unet).path(noise, words)
    torch.testing.assert_close(steps[-1], draw_latents(pipeline, noise, 4, 1.0), atol=1e-3, rtol=0)
    pipeline.scheduler = own


def test_an_interrupted_training_ends_the_same(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"

    def train(steps: int, at: Path) -> list[Tensor]:
        torch.manual_seed(3)
        network = nn.Sequential(nn.Linear(4, 4))
        run = LowRankRun(LowRankChanges(network, 2, "0"), at, 1e-2, 6)
        while run.step < steps:
            x = torch.full((2, 4), float(run.step))
            run.minimize((network(x) - 1).square().mean())
        run.save()
        return [parameter.detach().clone() for parameter in run.changes.parameters()]

    whole, half = train(6, tmp_path / "whole.pt"), train(3, file)
    resumed = train(6, file)
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(whole, half, strict=True))


def test_a_step_of_the_training_changes_the_student_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(teacher_paths, "CHUNK", 2)
    monkeypatch.setattr(fast_lora, "PATHS", 2)
    monkeypatch.setattr(fast_lora, "BATCH", 2)
    training = fast_lora.FastTraining(EMBEDDED_FOLDER, tmp_path)
    assert [file.name for file in (tmp_path / "teacher_paths").iterdir()] == ["00000.safetensors"]
    errors = [training.advance() for _ in range(3)]
    assert np.isfinite(errors).all()
    up, down = (
        [getattr(change, name) for change in training.changes.changes.values()]
        for name in ("up", "down")
    )
    assert all(factor.any() for factor in (*up, *down))


def test_four_steps_with_the_lora_draw_what_twenty_draw_without() -> None:
    cases = select_cases(tuning=False)
    cases = cases[:: len(cases) // CASES][:CASES]
    prompts = [case.prompt for case in cases]
    model = EvaluatedModel(EMBEDDED_FOLDER, 20, 3.0)
    slow = evaluate_fast.draw(model, evaluate_fast.DEFAULT_WAY, prompts, 500)
    without = evaluate_fast.draw(model, evaluate_fast.fast_way(4), prompts, 500)
    add_lora(model, LORA)
    fast = evaluate_fast.draw(model, evaluate_fast.fast_way(4), prompts, 500)
    # Measured: all with 20 steps, 11 of 12 with the LoRA, 10 without; 28.0 and 26.7 dB.
    assert evaluate_fast.share_right(load_judge(), cases, fast) > 0.8
    distance = evaluate_fast.mean_psnr(fast, slow)
    assert distance > evaluate_fast.mean_psnr(without, slow) + 0.5, distance
