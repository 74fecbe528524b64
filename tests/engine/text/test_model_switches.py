"""Switches in a model's files that change how Diffusers conditions the UNet."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from sdcli import engine
from sdcli.checkpoints.model_defaults import read_defaults
from sdcli.errors import UsageError
from sdcli.planning.resolve import resolve_jobs
from sdcli.request import GenerationRequest
from tests.jobs import CPU, make_job


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def both(folder: Path, **changes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return sdcli's picture and that of plain Diffusers, on the model's own scheduler."""
    job = make_job(scheduler=make_job().scheduler.__class__(), num_inference_steps=2, **changes)
    spec = replace(CPU, model=str(folder))
    [result] = engine.generate_batch(engine.load(spec), [replace(job, spec=spec)])
    plain = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)
    [theirs] = plain(
        job.prompt,
        height=job.height,
        width=job.width,
        num_inference_steps=2,
        guidance_scale=job.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(job.seed),
    ).images
    return result.pixels, np.asarray(theirs)


def test_the_attention_mask_is_used_where_the_text_encoder_says_so(
    model_copy: Callable[[], Path],
) -> None:
    folder = model_copy()
    unmasked, _ = both(folder)
    edit(folder / "text_encoder" / "config.json", use_attention_mask=True)
    ours, theirs = both(folder)
    assert np.array_equal(ours, theirs)
    assert not np.array_equal(ours, unmasked)


@pytest.fixture
def embedding_model(model_copy: Callable[[], Path]) -> Path:
    """A model whose UNet takes the guidance scale as an input."""
    folder = model_copy()
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    torch.manual_seed(0)
    other = UNet2DConditionModel.from_config({**unet.config, "time_cond_proj_dim": 8})
    other.load_state_dict(unet.state_dict(), strict=False)
    other.save_pretrained(folder / "unet")
    return folder


@pytest.mark.sample(1)
@pytest.mark.parametrize("guidance_scale", [0.5, 3.0])
def test_guidance_as_an_input_equals_diffusers(
    embedding_model: Path, guidance_scale: float
) -> None:
    ours, theirs = both(embedding_model, guidance_scale=guidance_scale)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    "changes",
    [{"negative_prompt": "a dog"}, {"guidance_rescale": 0.7}, {"guidance_from": 0.5}],
    ids=str,
)
def test_what_such_a_unet_would_ignore_is_refused(
    embedding_model: Path, changes: dict[str, Any]
) -> None:
    defaults = read_defaults(embedding_model)
    request = GenerationRequest(prompt="a cat", guidance_scale=8.0, num_inference_steps=4)
    assert list(resolve_jobs(request, defaults, 0))
    with pytest.raises(UsageError, match="has no effect on this model"):
        list(resolve_jobs(replace(request, **changes), defaults, 0))
