"""Describe the published models: the configurations of their components, and their defaults.

A single file has none of them. They are facts about the published models, written as Diffusers
writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sdcli.checkpoints.adapters.few_steps import LCM, LIGHTNING, TURBO
from sdcli.checkpoints.model_defaults import XL_GUIDANCE, XL_STEPS
from sdcli.checkpoints.single_file.families import Family
from sdcli.checkpoints.single_file.training import Distillation, Prediction

Config = dict[str, Any]

_UNET: Final[Config] = {
    "_class_name": "UNet2DConditionModel",
    "act_fn": "silu",
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "out_channels": 4,
}
_SD1_UNET: Final[Config] = {
    **_UNET,
    "sample_size": 64,
    "block_out_channels": [320, 640, 1280, 1280],
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}
_SD2_UNET: Final[Config] = {
    **_SD1_UNET,
    "attention_head_dim": [5, 10, 20, 20],
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
_SDXL_UNET: Final[Config] = {
    **_UNET,
    "sample_size": 128,
    "block_out_channels": [320, 640, 1280],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "transformer_layers_per_block": [1, 2, 10],
    "use_linear_projection": True,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_REFINER_UNET: Final[Config] = {
    **_UNET,
    "sample_size": 128,
    "block_out_channels": [384, 768, 1536, 1536],
    "attention_head_dim": [6, 12, 24, 24],
    "cross_attention_dim": 1280,
    "transformer_layers_per_block": 4,
    "use_linear_projection": True,
    "down_block_types": ["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 2 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 2 + ["UpBlock2D"],
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2560,
}
_UNETS: Final[Mapping[str, Config]] = {
    "sd1": _SD1_UNET,
    "sd2": _SD2_UNET,
    "sdxl": _SDXL_UNET,
    "sdxl-refiner": _REFINER_UNET,
}

_VAE: Final[Config] = {
    "_class_name": "AutoencoderKL",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "sample_size": 512,
    "scaling_factor": 0.18215,
}
# In half precision, the published VAE of SDXL overflows.
_SDXL_VAE: Final[Config] = {
    **_VAE,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
    "force_upcast": True,
}

_CLIP_L: Final[Config] = {
    "architectures": ["CLIPTextModel"],
    "model_type": "clip_text_model",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
    "max_position_embeddings": 77,
    "vocab_size": 49408,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
    "layer_norm_eps": 1e-05,
}
# The published model has 24 layers, of which Stable Diffusion 2 leaves out the last.
_CLIP_H: Final[Config] = {
    **_CLIP_L,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 23,
    "hidden_act": "gelu",
    "projection_dim": 512,
}
_CLIP_G: Final[Config] = {
    **_CLIP_L,
    "architectures": ["CLIPTextModelWithProjection"],
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_attention_heads": 20,
    "num_hidden_layers": 32,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}

_SCHEDULE: Final[Config] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "trained_betas": None,
}
_PNDM: Final[Config] = {
    **_SCHEDULE,
    "_class_name": "PNDMScheduler",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
}
_DDIM: Final[Config] = {
    **_SCHEDULE,
    "_class_name": "DDIMScheduler",
    "set_alpha_to_one": False,
    "clip_sample": False,
}
_EULER: Final[Config] = {
    **_SCHEDULE,
    "_class_name": "EulerDiscreteScheduler",
    "interpolation_type": "linear",
    "timestep_spacing": "leading",
    "use_karras_sigmas": False,
}

_PIPELINES: Final[Mapping[tuple[bool, str], str]] = {
    (False, "text-to-image"): "StableDiffusionPipeline",
    (False, "inpainting"): "StableDiffusionInpaintPipeline",
    (True, "text-to-image"): "StableDiffusionXLPipeline",
    (True, "inpainting"): "StableDiffusionXLInpaintPipeline",
}
_CLIP_PAD, _OPENCLIP_PAD = "<|endoftext|>", "!"

_CHANNELS: Final = {"text-to-image": 4, "inpainting": 9}


def component_configs(
    family: Family, prediction: Prediction, distillation: Distillation | None
) -> dict[str, Config]:
    """Return the configuration of each component that has one, by its name in Diffusers."""
    unet = {**_UNETS[family.base], "in_channels": _CHANNELS[family.task]}
    if family.base == "sd2":
        unet["sample_size"] = 96 if prediction.type == "v_prediction" else 64
        # The attention of the larger model overflows in half precision.
        unet["upcast_attention"] = prediction.type == "v_prediction"
    is_xl = family.base.startswith("sdxl")
    configs = {
        "unet": unet,
        "vae": dict(_SDXL_VAE if is_xl else _VAE),
        "scheduler": _scheduler(is_xl, prediction),
    }
    if distillation and distillation.kind == "turbo":
        unet["sample_size"] = 64
        configs["scheduler"] |= {"timestep_spacing": "trailing"}
    if family.base != "sdxl-refiner":
        configs["text_encoder"] = dict(_CLIP_H if family.base == "sd2" else _CLIP_L)
    if is_xl:
        configs["text_encoder_2"] = dict(_CLIP_G)
    return configs


def pad_tokens(family: Family) -> dict[str, str]:
    """Return the padding token of each tokenizer, by its name in Diffusers."""
    if family.base == "sdxl-refiner":
        return {"tokenizer_2": _OPENCLIP_PAD}
    if family.base == "sdxl":
        return {"tokenizer": _CLIP_PAD, "tokenizer_2": _OPENCLIP_PAD}
    return {"tokenizer": _OPENCLIP_PAD if family.base == "sd2" else _CLIP_PAD}


def model_index(family: Family, configs: Mapping[str, Config]) -> Config:
    """Return the model_index.json of a family with these components."""
    is_xl = family.base.startswith("sdxl")
    name = _PIPELINES[is_xl, family.task]
    if family.base == "sdxl-refiner":
        name = "StableDiffusionXLImg2ImgPipeline"
    index: Config = {
        "_class_name": name,
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", configs["scheduler"]["_class_name"]],
    }
    has_first = "text_encoder" in configs
    index["text_encoder"] = ["transformers", "CLIPTextModel"] if has_first else [None, None]
    index["tokenizer"] = ["transformers", "CLIPTokenizer"] if has_first else [None, None]
    if not is_xl:
        return index | {"safety_checker": [None, None], "feature_extractor": [None, None]}
    return index | {
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "force_zeros_for_empty_prompt": has_first,
        "requires_aesthetics_score": not has_first,
    }


def default_settings(
    family: Family, prediction: Prediction, distillation: Distillation | None
) -> Config:
    """Return the contents of sdcli.json: the settings that such models are used with."""
    settings: Config = {"family": family.name}
    if distillation:
        few = _DISTILLED[distillation.kind]
        return settings | {
            "num_inference_steps": few.num_inference_steps,
            "guidance_scale": few.guidance_scale,
            "scheduler": few.scheduler,
        }
    if family.base.startswith("sdxl"):
        settings |= {
            "num_inference_steps": XL_STEPS,
            "guidance_scale": XL_GUIDANCE,
            "scheduler": "Euler",
        }
    else:
        settings |= {
            "num_inference_steps": 25,
            "guidance_scale": 7.0,
            "scheduler": "DPM++ 2M Karras",
        }
    if prediction.zero_snr:
        # Such a model starts from pure noise, which the usual schedules never reach.
        settings["scheduler"] = "Euler;rescale_betas_zero_snr=true;timestep_spacing=trailing"
    return settings


_DISTILLED: Final = {"turbo": TURBO, "lightning": LIGHTNING, "lcm": LCM}


def _scheduler(is_xl: bool, prediction: Prediction) -> Config:
    base = _EULER if is_xl else _PNDM if prediction.type == "epsilon" else _DDIM
    zero_snr = {"rescale_betas_zero_snr": True} if prediction.zero_snr and base != _PNDM else {}
    return {**base, "prediction_type": prediction.type, **zero_snr}
