"""LoRAs that make a model need few steps, by the names under which they were published."""

from __future__ import annotations

import pytest

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.checkpoints.adapters.few_steps import find_few_steps


@pytest.mark.parametrize(
    ("name", "kind", "steps", "guidance"),
    [
        ("latent-consistency/lcm-lora-sdv1-5", "LCM", 6, 1.0),
        ("LCM_LoRA_Weights_SD15", "LCM", 6, 1.0),
        ("h1t/TCD-SDXL-LoRA", "TCD", 4, 1.0),
        ("Hyper-SD15-8steps-lora", "Hyper-SD", 8, 1.0),
        ("ByteDance/Hyper-SD/Hyper-SDXL-2steps-lora.safetensors", "Hyper-SD", 2, 1.0),
        ("Hyper-SD15-12steps-CFG-lora", "Hyper-SD", 12, None),
        ("sdxl_lightning_4step_lora", "Lightning", 4, 1.0),
        ("SDXL-Lightning", "Lightning", 8, 1.0),
        ("sd_xl_turbo_lora_v1", "Turbo", 4, 1.0),
        ("dmd2_sdxl_4step_lora_fp16", "DMD2", 4, 1.0),
        ("Trajectory distillation of a model, 3 steps", "trajectory distillation", 3, 1.0),
    ],
)
def test_names(name: str, kind: str, steps: int, guidance: float | None) -> None:
    found = find_few_steps((name,), {})
    assert found is not None
    assert (found.name, found.num_inference_steps, found.guidance_scale) == (kind, steps, guidance)
    resolve_scheduler(found.scheduler)


@pytest.mark.parametrize("name", ["style", "turbocharged car", "hyperrealism", "balcmy", "dmd3d"])
def test_other_names_tell_nothing(name: str) -> None:
    assert find_few_steps((name,), {}) is None


def test_metadata_tells_it_too() -> None:
    found = find_few_steps(("pytorch_lora_weights",), {"modelspec.title": "My LCM, 8 steps"})
    assert found is not None
    assert (found.name, found.num_inference_steps) == ("LCM", 8)
