"""The memory order of a VAE's decoder: where it is changed, and what that changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sdcli import engine
from sdcli.engine.vae import memory_order as order
from sdcli.engine.vae.decode import decode_latents
from sdcli.numerics.metrics import psnr
from sdcli.pipeline_spec import PipelineSpec
from sdcli.storage.metadata.record import make_record
from tests.jobs import make_job


def load(dtype: str) -> Any:
    return engine.load_vae(PipelineSpec(device="cpu", dtype=dtype))


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every decoder counts as large, and every CPU as one with instructions for bfloat16."""
    monkeypatch.setattr(order, "_LARGE_DECODER_BYTES", 0)
    monkeypatch.setattr(order, "has_fast_bfloat16", lambda: True)


def test_it_is_not_changed_in_float32_on_a_gpu_or_in_a_small_decoder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(order, "has_fast_bfloat16", lambda: True)
    assert order.memory_order(load("bfloat16").vae) is None
    monkeypatch.setattr(order, "_LARGE_DECODER_BYTES", 0)
    assert order.memory_order(load("float32").vae) is None
    vae = load("float32").vae.to(torch.bfloat16)
    order.use_fast_order(vae, torch.device("cuda"))
    assert order.memory_order(vae) is None
    monkeypatch.setattr(order, "has_fast_bfloat16", lambda: False)
    order.use_fast_order(vae, torch.device("cpu"))
    assert order.memory_order(vae) is None
    assert order.memory_order(engine.load_vae(PipelineSpec(device="cpu", vae="tiny")).vae) is None


@pytest.mark.usefixtures("large")
def test_the_same_image_is_decoded_up_to_rounding() -> None:
    loaded = load("bfloat16")
    latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    latents = latents.to(torch.bfloat16)
    changed, _ = decode_latents(loaded, latents)
    assert order.memory_order(loaded.vae) == "channels_last"
    encoder = loaded.vae.encoder
    assert all(p.is_contiguous() for p in encoder.parameters())
    loaded.vae.decoder.to(memory_format=torch.contiguous_format)
    usual, _ = decode_latents(loaded, latents)
    assert psnr(changed[0], usual[0]) > 40


@pytest.mark.usefixtures("large")
def test_it_is_in_the_record_and_replayed() -> None:
    spec = PipelineSpec(device="cpu", dtype="bfloat16")
    job = make_job(spec=spec, num_inference_steps=1)
    loaded = engine.load(spec)
    first, again = (engine.generate_batch(loaded, [job])[0] for _ in range(2))
    assert make_record(first, {})["vae_order"] == "channels_last"
    assert np.array_equal(first.pixels, again.pixels)
