"""Training a LoRA on a GPU: in each dtype, near the losses of a CPU, and continued."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.test_train_lora import QUICK, SEED, write_photos
from tests.conftest import RunCli

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="no GPU that CUDA finds: make gpu runs it on one"
    ),
]
STEPS = 4


def losses(run_cli: RunCli, out: str, device: str, dtype: str, steps: int = STEPS) -> list[float]:
    photos = write_photos(Path("photos"))
    options = ("--device", device, "--dtype", dtype, "--seed", str(SEED), "--steps", str(steps))
    ran = run_cli("train-lora", str(photos), "-o", out, *QUICK[:-2], *options, "--force", "--json")
    assert ran.code == 0, ran.stderr
    return [point["loss"] for point in ran.document["losses"]]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_gpu_trains_as_a_cpu(run_cli: RunCli, dtype: str) -> None:
    expected = losses(run_cli, "cpu.safetensors", "cpu", "float32")
    assert losses(run_cli, "gpu.safetensors", "cuda", dtype) == pytest.approx(expected, rel=0.05)
    losses(run_cli, "parts.safetensors", "cuda", dtype, steps=2)
    continued = losses(run_cli, "parts.safetensors", "cuda", dtype)
    assert continued == pytest.approx(expected, rel=0.05)
    changes = load_file("gpu.safetensors")
    assert all(tensor.isfinite().all() for tensor in changes.values())
    assert any(changes[name].abs().max() > 0 for name in changes if name.endswith("up.weight"))
