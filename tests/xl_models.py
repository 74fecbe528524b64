"""Small Stable Diffusion XL models of random weights, base and refiner, to test with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER

_TOKENIZER: Final = EMBEDDED_FOLDER / "tokenizer"
_SCHEDULER: Final = {
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.42.1",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "prediction_type": "epsilon",
}
_WIDTHS: Final = {"text_encoder": 16, "text_encoder_2": 24}
_TIME_WIDTH: Final = 8


def write_xl_model(
    folder: Path, *, seed: int = 0, unet: Any = None, vae: Any = None, index: Any = None
) -> Path:
    """Write a base model; the last arguments change its configurations."""
    encoders = ("text_encoder", "text_encoder_2")
    index = {"force_zeros_for_empty_prompt": True, **(index or {})}
    return _write(folder, "StableDiffusionXLPipeline", encoders, seed, unet or {}, vae or {}, index)


def write_refiner(folder: Path, *, seed: int = 1, unet: Any = None, index: Any = None) -> Path:
    """Write a refiner, which has the second text encoder only."""
    index = {
        "text_encoder": [None, None],
        "tokenizer": [None, None],
        "force_zeros_for_empty_prompt": False,
        "requires_aesthetics_score": True,
        **(index or {}),
    }
    name = "StableDiffusionXLImg2ImgPipeline"
    return _write(folder, name, ("text_encoder_2",), seed, unet or {}, {}, index)


def _write(
    folder: Path, name: str, encoders: tuple[str, ...], seed: int, unet: Any, vae: Any, index: Any
) -> Path:
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    torch.manual_seed(seed)
    count = 5 if index.get("requires_aesthetics_score") else 6
    sizes = {
        "cross_attention_dim": sum(_WIDTHS[name] for name in encoders),
        "projection_class_embeddings_input_dim": _WIDTHS["text_encoder_2"] + count * _TIME_WIDTH,
    }
    UNet2DConditionModel(**_UNET | sizes | unet).save_pretrained(folder / "unet")
    AutoencoderKL(**_VAE | vae).save_pretrained(folder / "vae")
    entries: dict[str, Any] = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    }
    for encoder in encoders:
        tokenizer = encoder.replace("text_encoder", "tokenizer")
        entries[encoder] = ["transformers", _write_encoder(folder / encoder, _WIDTHS[encoder])]
        entries[tokenizer] = ["transformers", "CLIPTokenizer"]
        _write_tokenizer(folder / tokenizer, "!" if encoder.endswith("2") else "<|endoftext|>")
    _write_json(folder / "scheduler" / "scheduler_config.json", _SCHEDULER)
    document = {"_class_name": name, "_diffusers_version": "0.42.1", **entries, **index}
    _write_json(folder / "model_index.json", document)
    return folder


_UNET: Final = {
    "sample_size": 8,
    "block_out_channels": (16, 32),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "transformer_layers_per_block": (1, 2),
    "attention_head_dim": (2, 4),
    "norm_num_groups": 8,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": _TIME_WIDTH,
}
_VAE: Final = {
    "block_out_channels": (8, 8, 16, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "scaling_factor": 0.13025,
    "sample_size": 64,
}


def _write_encoder(folder: Path, width: int) -> str:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    vocabulary = json.loads((_TOKENIZER / "vocab.json").read_text("utf-8"))
    cls = CLIPTextModelWithProjection if folder.name.endswith("2") else CLIPTextModel
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=3,
        num_attention_heads=4,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        hidden_act="gelu",
    )
    cls(config).save_pretrained(folder)
    return cls.__name__


def _write_tokenizer(folder: Path, pad: str) -> None:
    shutil.copytree(_TOKENIZER, folder)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        file = folder / name
        _write_json(file, json.loads(file.read_text("utf-8")) | {"pad_token": pad})


def _write_json(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), "utf-8")
