"""The VAE's ladder: float32 for NaN, then slices and tiles for too little memory."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sdcli.engine.decode import decode
from sdcli.errors import DeviceError, NumericsError


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def pipeline(loaded: Any) -> Any:
    """The VAE of the embedded model to break, and what decoding needs beside it."""
    return SimpleNamespace(
        vae=copy.deepcopy(loaded.pipeline.vae), image_processor=loaded.pipeline.image_processor
    )


def test_an_overflow_in_half_precision_is_decoded_in_float32(
    pipeline: Any, latents: torch.Tensor
) -> None:
    with torch.no_grad():  # activations of a million: beyond float16, and normalised later
        pipeline.vae.decoder.conv_in.weight *= 1e6
        pipeline.vae.to(torch.float16)
        pipeline.vae.decoder.conv_in.weight.clamp_(-6e4, 6e4)
    pixels, events = decode(pipeline, latents.half())
    assert len(events) == 1
    assert "float32" in events[0]
    assert pixels.std() > 0
    assert pipeline.vae.dtype == torch.float16


def test_nan_in_every_precision_is_named(pipeline: Any, latents: torch.Tensor) -> None:
    with torch.no_grad():
        pipeline.vae.decoder.conv_out.weight[0] = float("nan")
    with pytest.raises(NumericsError, match="VAE") as caught:
        decode(pipeline, latents)
    assert caught.value.exit_code == 8


def _cramp(vae: Any, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Let the decoder refuse inputs of more than `most` numbers, as a small GPU would."""
    forward = vae.decoder.forward

    def cramped(sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if sample.numel() > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(vae.decoder, "forward", cramped)


def test_slices_come_first_and_change_nothing(
    pipeline: Any, latents: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = np.concatenate([decode(pipeline, latent[None])[0] for latent in latents])
    _cramp(pipeline.vae, monkeypatch, most=4 * 8 * 8)
    pixels, events = decode(pipeline, latents)
    assert [event.split(", ")[1] for event in events] == ["decoded one image at a time"]
    assert np.array_equal(pixels, one_by_one)
    assert not pipeline.vae.use_slicing


def test_tiles_come_second(pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = torch.randn((1, 4, 48, 48), generator=torch.Generator().manual_seed(0))
    _cramp(pipeline.vae, monkeypatch, most=4 * 32 * 32)
    pixels, events = decode(pipeline, latents)
    assert pixels.shape == (1, 384, 384, 3)
    assert "tiles" in events[-1]
    assert not pipeline.vae.use_tiling


def test_after_the_last_rung_it_is_a_device_error(
    pipeline: Any, latents: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cramp(pipeline.vae, monkeypatch, most=0)
    with pytest.raises(DeviceError) as caught:
        decode(pipeline, latents)
    assert caught.value.hint
