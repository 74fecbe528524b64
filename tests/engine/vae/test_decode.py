"""Decoding falls back to float32 for NaN, and to slices and tiles for low memory."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sdcli.engine.vae import memory_fallback
from sdcli.engine.vae.decode import decode_latents
from sdcli.errors import DeviceError, NumericsError
from sdcli.numerics.metrics import psnr


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def pipeline(loaded: Any) -> Any:
    """A copy of the embedded model's VAE that a test may damage, with its image processor."""
    return SimpleNamespace(
        vae=copy.deepcopy(loaded.pipeline.vae), image_processor=loaded.pipeline.image_processor
    )


def test_an_overflow_in_half_precision_is_decoded_in_float32(
    pipeline: Any, latents: torch.Tensor
) -> None:
    with torch.no_grad():  # activations of a million: too large for float16, and normalized later
        pipeline.vae.decoder.conv_in.weight *= 1e6
        pipeline.vae.to(torch.float16)
        pipeline.vae.decoder.conv_in.weight.clamp_(-6e4, 6e4)
    pixels, events = decode_latents(pipeline, latents.half())
    assert len(events) == 1
    assert "float32" in events[0]
    assert pixels.std() > 0
    assert pipeline.vae.dtype == torch.float16


def test_nan_in_every_precision_is_an_error_that_names_the_vae(
    pipeline: Any, latents: torch.Tensor
) -> None:
    with torch.no_grad():
        pipeline.vae.decoder.conv_out.weight[0] = float("nan")
    with pytest.raises(NumericsError, match="VAE") as caught:
        decode_latents(pipeline, latents)
    assert caught.value.exit_code == 8


def limit_decoder(vae: Any, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Make the decoder run out of memory for more than `limit` numbers, as on a small GPU."""
    forward = vae.decoder.forward

    def limited(sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if sample.numel() > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(vae.decoder, "forward", limited)


def test_slices_come_first_and_do_not_change_the_images(
    pipeline: Any, latents: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = np.concatenate([decode_latents(pipeline, latent[None])[0] for latent in latents])
    limit_decoder(pipeline.vae, monkeypatch, limit=4 * 8 * 8)
    pixels, events = decode_latents(pipeline, latents)
    assert events == ["VAE: out of memory, one image at a time"]
    assert np.array_equal(pixels, one_by_one)
    assert not pipeline.vae.use_slicing


def test_tiles_come_second(pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = torch.randn((1, 4, 48, 48), generator=torch.Generator().manual_seed(0))
    limit_decoder(pipeline.vae, monkeypatch, limit=4 * 32 * 32)
    pixels, events = decode_latents(pipeline, latents)
    assert pixels.shape == (1, 384, 384, 3)
    assert "tiles" in events[-1]
    assert not pipeline.vae.use_tiling


def test_running_out_of_memory_in_every_fallback_is_a_device_error(
    pipeline: Any, latents: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_decoder(pipeline.vae, monkeypatch, limit=0)
    with pytest.raises(DeviceError) as caught:
        decode_latents(pipeline, latents)
    assert caught.value.hint


def test_without_tiling_it_is_a_device_error(
    pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_decoder(pipeline.vae, monkeypatch, limit=4 * 32 * 32)
    latents = torch.zeros((1, 4, 48, 48))
    with pytest.raises(DeviceError):
        decode_latents(pipeline, latents, tiling="off")
    _, events = decode_latents(pipeline, latents, tiling="on")
    assert events == []


def test_the_cpu_comes_last(
    pipeline: Any, latents: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device has no room at all. The test recognises the CPU fallback by its float32."""
    monkeypatch.setattr(memory_fallback, "can_move_to_cpu", lambda vae: True)
    whole, _ = decode_latents(pipeline, latents)
    pipeline.vae.to(torch.bfloat16)
    forward = pipeline.vae.decoder.forward

    def limited(sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if sample.dtype != torch.float32:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(pipeline.vae.decoder, "forward", limited)
    pixels, events = decode_latents(pipeline, latents)
    assert [event.removeprefix("VAE: out of memory, ") for event in events] == [
        "one image at a time",
        "in tiles (seams may differ)",
        "on the CPU, in float32",
    ]
    assert psnr(pixels[0], whole[0]) > 30  # bfloat16 rounded its weights
    assert pipeline.vae.dtype == torch.bfloat16


def test_a_black_image_is_decoded_again_and_then_accepted(
    pipeline: Any, latents: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = decode_latents(pipeline, latents.bfloat16())
    pipeline.vae.to(torch.bfloat16)
    forward = pipeline.vae.decoder.forward

    def darkened(sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        image = forward(sample, *args, **kwargs)
        return image - 1000 if sample.dtype == torch.bfloat16 else image

    monkeypatch.setattr(pipeline.vae.decoder, "forward", darkened)
    pixels, events = decode_latents(pipeline, latents.bfloat16())
    assert events == ["VAE: black in bfloat16, decoded in float32"]
    assert psnr(pixels[0], whole[0]) > 30
    with torch.no_grad():
        pipeline.vae.decoder.conv_out.bias -= 1000
    pixels, events = decode_latents(pipeline, latents.bfloat16())
    assert events[-1] == "VAE: the image is black"
    assert not pixels.any()


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", ["own", "tiny"])
def test_tiles_look_like_the_whole_image(name: str) -> None:
    """Four times as large as the model's images, so that there are several tiles."""
    from sdcli.engine.loading.vae import load_vae
    from sdcli.engine.vae.encode import encode_image
    from sdcli.pipeline_spec import PipelineSpec

    loaded = load_vae(PipelineSpec(vae=name, device="cpu"))
    across, down = np.meshgrid(np.linspace(0, 12, 512), np.linspace(0, 9, 512))
    waves = np.stack([np.sin(across), np.cos(down), np.sin(across + down)], axis=-1)
    picture = ((waves + 1) * 127).astype(np.uint8)
    array, _ = encode_image(loaded, picture)
    latents = torch.from_numpy(array)[None]
    whole, _ = decode_latents(loaded, latents, tiling="off")
    tiled, _ = decode_latents(loaded, latents, tiling="on")
    assert not np.array_equal(tiled, whole)
    assert psnr(tiled[0], whole[0]) > 25
