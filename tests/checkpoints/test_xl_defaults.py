"""The defaults of Stable Diffusion XL models, and what is downloaded of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdcli.checkpoints.download_selection import needed_files
from sdcli.checkpoints.latent_rgb import SDXL_FACTORS, read_latent_rgb_factors
from sdcli.checkpoints.model_defaults import describe_model, read_defaults
from sdcli.errors import ModelError
from tests.checkpoints.model_files import write_model

INDEX = {
    "_class_name": "StableDiffusionXLPipeline",
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
}
UNET = {
    "sample_size": 128,
    "cross_attention_dim": 2048,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
EULER = {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading", "steps_offset": 0}


def write_xl(folder: Path, **changes: Any) -> Path:
    """Write the configurations of a model of the true size."""
    files = {"index": INDEX, "unet": UNET, "vae": {"scaling_factor": 0.13025}, "scheduler": EULER}
    write_model(folder, **{**files, **changes})
    encoder = folder / "text_encoder_2" / "config.json"
    encoder.parent.mkdir()
    encoder.write_text('{"hidden_size": 1280, "projection_dim": 1280, "num_hidden_layers": 32}')
    return folder


def test_the_base_model(tmp_path: Path) -> None:
    defaults = read_defaults(write_xl(tmp_path))
    assert (defaults.family, defaults.width, defaults.height) == ("Stable Diffusion XL", 1024, 1024)
    assert (defaults.num_inference_steps, defaults.guidance_scale) == (30, 5.0)
    assert defaults.text_encoder_layers == 12
    # The pipeline's constructor corrects nothing in the scheduler's file.
    assert defaults.scheduler_config["steps_offset"] == 0
    assert read_latent_rgb_factors(tmp_path) == SDXL_FACTORS


def test_a_turbo_model_needs_few_steps_and_no_guidance(tmp_path: Path) -> None:
    trailing = {"_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing"}
    folder = write_xl(tmp_path, unet={**UNET, "sample_size": 64}, scheduler=trailing)
    defaults = read_defaults(folder)
    assert (defaults.num_inference_steps, defaults.guidance_scale) == (4, 1.0)
    assert (defaults.width, defaults.height) == (512, 512)


def test_the_model_s_own_defaults_win(tmp_path: Path) -> None:
    folder = write_xl(tmp_path, defaults={"num_inference_steps": 8, "guidance_scale": 1.5})
    defaults = read_defaults(folder)
    assert (defaults.num_inference_steps, defaults.guidance_scale) == (8, 1.5)


def test_a_refiner_is_described_and_does_not_draw_alone(tmp_path: Path) -> None:
    refiner = {"_class_name": "StableDiffusionXLImg2ImgPipeline", "requires_aesthetics_score": True}
    index = {**INDEX, **refiner, **{key: [None, None] for key in ("text_encoder", "tokenizer")}}
    unet = {**UNET, "cross_attention_dim": 1280, "projection_class_embeddings_input_dim": 2560}
    folder = write_xl(tmp_path, index=index, unet=unet, defaults={"family": "mine"})
    traits = describe_model(folder).xl
    assert traits is not None
    assert (traits.text_encoders, traits.takes_aesthetic_score) == (1, True)
    assert describe_model(folder).text_encoder_layers == 32
    with pytest.raises(ModelError, match="only continues what another model began"):
        read_defaults(folder)


def test_every_component_is_downloaded_once() -> None:
    names = [
        "model_index.json", "sd_xl_base_1.0.safetensors", "scheduler/scheduler_config.json",
        *(f"{name}/{file}" for name in ("tokenizer", "tokenizer_2")
          for file in ("vocab.json", "merges.txt", "tokenizer_config.json")),
        *(f"{name}/{file}" for name in ("text_encoder", "text_encoder_2")
          for file in ("config.json", "model.safetensors", "model.fp16.safetensors", "model.onnx")),
        *(f"{name}/{file}" for name in ("unet", "vae")
          for file in ("config.json", "diffusion_pytorch_model.safetensors",
                       "diffusion_pytorch_model.fp16.safetensors")),
        "vae_1_0/diffusion_pytorch_model.safetensors",
    ]  # fmt: skip
    chosen = needed_files(names, "fp16")
    assert sum(name.endswith(".fp16.safetensors") for name in chosen) == 4
    assert {name for name in chosen if not name.endswith(".safetensors")} == {
        name for name in names if name.endswith((".json", ".txt"))
    }
    assert len(chosen) == 4 + 12
