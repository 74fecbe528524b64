"""Make models of the size of Stable Diffusion 1.5 and XL for the time of a benchmark."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sdcli.bench.baselines import SAVE_FULL_SIZE_MODEL
from sdcli.bench.measure import python_command
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER

SAVE_XL_MODEL: Final = """
import json, sys
import torch
from diffusers import (
    AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
)
from transformers import (
    CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
)
args = json.loads(sys.argv[1])
torch.manual_seed(0)
tokenizer = CLIPTokenizer.from_pretrained(args["tokenizer"], local_files_only=True)

def text_config(width, layers, heads, activation):
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=4 * width,
        projection_dim=width, num_hidden_layers=layers, num_attention_heads=heads,
        hidden_act=activation, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )

StableDiffusionXLPipeline(
    vae=AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=1024,
        scaling_factor=0.13025,
    ),
    text_encoder=CLIPTextModel(text_config(768, 12, 12, "quick_gelu")),
    text_encoder_2=CLIPTextModelWithProjection(text_config(1280, 32, 20, "gelu")),
    tokenizer=tokenizer,
    tokenizer_2=tokenizer,
    unet=UNet2DConditionModel(
        sample_size=128, block_out_channels=(320, 640, 1280), cross_attention_dim=2048,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(5, 10, 20), transformer_layers_per_block=(1, 2, 10),
        use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
    ),
    scheduler=EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
        timestep_spacing="leading",
    ),
    add_watermarker=False,
).to(dtype=torch.float16).save_pretrained(args["out"])
"""
"""Save a model of the size of Stable Diffusion XL with random weights in float16 (7 GB)."""

RANDOM_MODELS: Final = {"sd15": SAVE_FULL_SIZE_MODEL, "sdxl": SAVE_XL_MODEL}
"""The names that --model takes for them."""


@contextmanager
def full_size_model(name: str = "sd15") -> Iterator[tuple[str, str]]:
    """Yield a folder for files and the model in it. Both are deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        model = f"{folder}/model"
        args = {"out": model, "tokenizer": str(EMBEDDED_FOLDER / "tokenizer")}
        script = python_command("-c", RANDOM_MODELS[name], json.dumps(args))
        subprocess.run(script, capture_output=True, check=True)
        yield folder, model


@contextmanager
def model_or_random(model: str) -> Iterator[str]:
    """Yield the model, or the folder of a random one for a name in RANDOM_MODELS."""
    if model not in RANDOM_MODELS:
        yield model
        return
    with full_size_model(model) as (_, folder):
        yield folder
