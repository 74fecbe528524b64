"""The few-step LoRA that comes with the embedded model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from sdcli.checkpoints.adapters.embedded_addons import EMBEDDED_LORAS
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.training.evaluate import EvaluatedModel
from sdcli.training.evaluate_flag import add_lora
from tests.conftest import RunCli
from tests.image_files import pixels_of, record_of
from tests.xl_models import write_xl_model

FILE = EMBEDDED_LORAS / "fast.safetensors"
FAST = ("--lora", "embedded:fast", "--seed", "5", "--size", "64x64", "--device", "cpu")
TRAILING = "DDIM;timestep_spacing=trailing"


def settings_of(path: Path) -> tuple[Any, ...]:
    request = record_of(path)["request"]
    return tuple(request[n] for n in ("scheduler", "num_inference_steps", "guidance_scale"))


def test_it_brings_its_settings_and_draws_what_diffusers_draws(run_cli: RunCli) -> None:
    ran = run_cli("generate", "a red star", *FAST, "-o", "a.png")
    said = "embedded:fast is for few steps (trajectory distillation), so it uses"
    assert (ran.code, said in ran.stderr) == (0, True), ran.stderr
    assert f"{TRAILING}, 4 steps, guidance 1" in ran.stderr
    assert settings_of(Path("a.png")) == (TRAILING, 4, 1.0)
    model = EvaluatedModel(EMBEDDED_FOLDER, 4, 1.0)
    add_lora(model, FILE)
    plain = model.pipeline
    plain.scheduler = DDIMScheduler.from_pretrained(
        str(EMBEDDED_FOLDER), subfolder="scheduler", timestep_spacing="trailing"
    )
    image = plain(
        "a red star", num_inference_steps=4, guidance_scale=1.0, width=64, height=64,
        generator=torch.Generator().manual_seed(5),
    ).images[0]  # fmt: skip
    assert np.array_equal(pixels_of(Path("a.png")), np.asarray(image))


def test_diffusers_own_loader_reads_it(run_cli: RunCli) -> None:
    assert run_cli("generate", "a red star", *FAST, "-o", "a.png").code == 0
    pytest.importorskip("peft")
    plain = StableDiffusionPipeline.from_pretrained(str(EMBEDDED_FOLDER), dtype=torch.float32)
    plain.load_lora_weights(str(FILE.parent), weight_name=FILE.name)
    plain.scheduler = DDIMScheduler.from_config(plain.scheduler.config, timestep_spacing="trailing")
    image = plain(
        "a red star", num_inference_steps=4, guidance_scale=1.0, width=64, height=64,
        generator=torch.Generator().manual_seed(5),
    ).images[0]  # fmt: skip
    assert np.abs(pixels_of(Path("a.png")).astype(int) - np.asarray(image)).max() <= 1


def test_what_the_user_sets_counts(run_cli: RunCli) -> None:
    more = ("-s", "euler", "--steps", "2", "-g", "1.5")
    ran = run_cli("generate", "a red star", *FAST, *more, "-o", "a.png")
    assert (ran.code, ran.stderr) == (0, "")
    assert settings_of(Path("a.png")) == ("Euler", 2, 1.5)
    ran = run_cli("generate", "a red star", *FAST, "--steps", "2", "-o", "b.png")
    assert f"so it uses {TRAILING}, guidance 1\n" in ran.stderr
    assert settings_of(Path("b.png")) == (TRAILING, 2, 1.0)


def test_only_a_positive_weight_chooses_settings(run_cli: RunCli) -> None:
    Path("a.txt").write_text("a cat\n")
    lora = ("--lora", "embedded:fast:-1,embedded:fast:0,embedded:fast:0.5")
    planned = run_cli("batch", "a.txt", *lora, "--dry-run", "--json").document
    assert [job["num_inference_steps"] for job in planned["jobs"]] == [20, 20, 4]


def test_with_the_flag_it_draws_a_flag(run_cli: RunCli) -> None:
    both = ("--lora", "embedded:fast", "--lora", "embedded:flag", "--seed", "3")
    assert run_cli("generate", "a flag on a blue background", *both, "-o", "a.png").code == 0
    assert settings_of(Path("a.png")) == (TRAILING, 4, 1.0)
    image = pixels_of(Path("a.png")).astype(int)
    stripes = [(31, 158, 143), (226, 72, 61)]
    shares = [(np.abs(image - color).max(-1) < 60).mean() for color in stripes]
    assert min(shares) > 0.03, shares


def test_its_file_says_what_it_is(run_cli: RunCli, tmp_path: Path) -> None:
    shown = run_cli("inspect", "embedded:fast", "--json").document
    assert (shown["kind"], shown["addon"]["few_steps"]) == ("lora", "trajectory distillation")
    assert FILE.stat().st_size < 600_000
    xl = ("-m", str(write_xl_model(tmp_path / "xl")))
    ran = run_cli("generate", "a cat", *FAST, *xl, "-o", "a.png")
    assert ran.code == 3, ran.stderr
