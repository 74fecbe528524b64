"""The VAE of Stable Diffusion XL: upcasting, moments of its latents, and which VAEs fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdcli import engine
from sdcli.engine.vae.encode import encode_image
from sdcli.errors import CorruptError, ModelError
from sdcli.storage.metadata.record import make_record
from tests.engine.xl.conftest import load
from tests.engine.xl.hand_calls import draw_by_hand, xl_job
from tests.xl_models import write_xl_model

MOMENTS = {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [1.1, 0.9, 1.2, 0.7]}


def diffusers_pipeline(folder: Path, dtype: Any) -> Any:
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.filterwarnings("ignore:.*upcast_vae:FutureWarning")
@pytest.mark.parametrize("upcast", [True, False])
def test_float16_upcasts_the_vae_as_its_configuration_says(tmp_path: Path, upcast: bool) -> None:
    import torch

    folder = write_xl_model(tmp_path / "model", vae={"force_upcast": upcast})
    loaded = load(folder, dtype="float16")
    job = xl_job(num_inference_steps=2)
    [result] = engine.generate_batch(loaded, [job])
    theirs = draw_by_hand(diffusers_pipeline(folder, torch.float16), folder, job)
    assert np.array_equal(result.pixels, theirs)
    record = make_record(result, {})
    assert record["dtype"] == "float16"
    assert record.get("vae_dtype") == ("float32" if upcast else None)
    assert loaded.pipeline.vae.dtype == torch.float16
    assert not any("VAE" in event for event in result.events)


def test_float32_needs_no_upcast(xl: Any) -> None:
    [result] = engine.generate_batch(xl, [xl_job(num_inference_steps=1)])
    assert "vae_dtype" not in make_record(result, {})


def test_moments_of_the_latents_are_applied(tmp_path: Path) -> None:
    import torch

    folder = write_xl_model(tmp_path / "model", vae=MOMENTS)
    plain = diffusers_pipeline(folder, torch.float32)
    job = xl_job(num_inference_steps=2)
    [result] = engine.generate_batch(load(folder), [job])
    assert np.array_equal(result.pixels, draw_by_hand(plain, folder, job))
    # The inverse, as Diffusers' image-to-image pipeline computes it.
    latents, _ = encode_image(engine.load_vae(load(folder).spec), result.pixels)
    image = plain.image_processor.preprocess(result.pixels[None].astype(np.float32) / 255)
    mean, std = (torch.tensor(MOMENTS[name]).view(1, 4, 1, 1) for name in MOMENTS)
    with torch.no_grad():
        encoded = plain.vae.encode(image).latent_dist.mean
    theirs = (encoded - mean) * plain.vae.config.scaling_factor / std
    assert np.array_equal(latents, theirs[0].numpy())


def test_moments_for_other_channels_are_refused(base_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(base_folder / "vae", tmp_path / "vae"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "latents_mean": [0.0, 1.0]}))
    with pytest.raises(CorruptError, match="latents_mean has 2 numbers for 4 latent channels"):
        load(base_folder, vae=str(folder))


def test_a_vae_of_stable_diffusion_1_is_refused(base_folder: Path, tmp_path: Path) -> None:
    other = write_xl_model(tmp_path / "sd", vae={"scaling_factor": 0.18215}) / "vae"
    with pytest.raises(ModelError, match=r"0\.18215, but this model needs 0\.13025"):
        load(base_folder, vae=str(other))
    forced = load(base_folder, vae=str(other), force_vae=True)
    assert any("used because of --force-vae" in note for note in forced.notes)
