"""Encoding equals Diffusers, and decoding undoes it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import retrieve_latents

from sdcli.engine.loading.vae import load_vae
from sdcli.engine.vae.encode import encode_image
from sdcli.engine.vae.roundtrip import decode_array, round_trip
from sdcli.errors import NumericsError, UsageError
from sdcli.numerics.metrics import psnr
from tests.jobs import CPU

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def vae() -> Any:
    return load_vae(CPU)


@pytest.fixture(scope="module")
def smooth() -> np.ndarray:
    """An image that a VAE can represent."""
    across, down = np.meshgrid(np.linspace(0, 3, 64), np.linspace(0, 2, 64))
    waves = np.stack([np.sin(across), np.cos(down), np.sin(across + down)], axis=-1)
    return ((waves + 1) * 127).astype(np.uint8)


@pytest.mark.parametrize("seed", [None, 5])
def test_latents_equal_those_of_the_image_to_image_pipeline(vae: Any, seed: int | None) -> None:
    image = torch.from_numpy(PIXELS).permute(2, 0, 1)[None].float() / 255 * 2 - 1
    generator = torch.Generator().manual_seed(seed or 0)
    mode = "argmax" if seed is None else "sample"
    with torch.no_grad():
        encoded = retrieve_latents(vae.vae.encode(image), generator, mode)
    latents, events = encode_image(vae, PIXELS, seed=seed)
    expected = (encoded * vae.vae.config.scaling_factor)[0].numpy()
    assert np.allclose(latents, expected, atol=1e-5)
    assert (latents.shape, latents.dtype, events) == ((4, 8, 8), np.float32, [])
    assert latents.flags["C_CONTIGUOUS"]


def test_equal_seeds_give_equal_samples(vae: Any) -> None:
    first, second, other = (encode_image(vae, PIXELS, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_vae_without_a_distribution_has_no_samples() -> None:
    tiny = load_vae(replace(CPU, vae="tiny"))
    assert np.isfinite(encode_image(tiny, PIXELS)[0]).all()
    with pytest.raises(UsageError) as caught:
        encode_image(tiny, PIXELS, seed=1)
    assert caught.value.code == "usage.sample"


def test_latents_that_are_not_finite_are_an_error(vae: Any) -> None:
    broken = replace(vae, vae=copy.deepcopy(vae.vae))
    with torch.no_grad():
        broken.vae.encoder.conv_out.weight[0] = float("nan")
    with pytest.raises(NumericsError) as caught:
        encode_image(broken, PIXELS)
    assert caught.value.code == "numerics.vae"


def test_a_round_trip_is_encoding_and_decoding(vae: Any, smooth: np.ndarray) -> None:
    trip = round_trip(vae, pixels=smooth, latents=None)
    latents, _ = encode_image(vae, smooth)
    assert np.array_equal(trip.pixels, decode_array(vae, latents).pixels)
    assert psnr(trip.pixels, smooth) > 15
    assert trip.encode_seconds is not None
    assert trip.events == ()


def test_a_round_trip_of_latents_only_decodes(vae: Any) -> None:
    latents, _ = encode_image(vae, PIXELS)
    trip = round_trip(vae, pixels=None, latents=latents)
    assert np.array_equal(trip.pixels, decode_array(vae, latents).pixels)
    assert trip.encode_seconds is None


def test_latents_of_another_model_are_an_error(vae: Any) -> None:
    with pytest.raises(UsageError, match="16 channels") as caught:
        decode_array(vae, np.zeros((16, 8, 8), np.float32))
    assert caught.value.code == "usage.latents"
