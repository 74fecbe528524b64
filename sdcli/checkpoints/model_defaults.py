"""Read a model's family, its default settings and its vocabulary from the files of its folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from sdcli.catalog.known_vaes import UNKNOWN_FAMILY
from sdcli.catalog.schedulers.model_config import correct_config
from sdcli.errors import CorruptError, ModelError

EMBEDDED_FOLDER: Final = Path(__file__).parent.parent / "models" / "tiny-emoji-128"

DEFAULTS_FILE: Final = "sdcli.json"
"""File in a model's folder with defaults for sdcli, which override those of Diffusers."""

# The defaults of StableDiffusionPipeline.__call__.
DIFFUSERS_STEPS: Final = 50
DIFFUSERS_GUIDANCE: Final = 7.5

_PIPELINE: Final = "StableDiffusionPipeline"

# The width of the text encoder: CLIP ViT-L in Stable Diffusion 1, OpenCLIP ViT-H in 2.
_FAMILIES: Final = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2"}
_KEY_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "family": (str,),
    "num_inference_steps": (int,),
    "guidance_scale": (int, float),
    "width": (int,),
    "height": (int,),
    "scheduler": (str,),
    "words": (list,),
}


@dataclass(frozen=True, kw_only=True)
class ModelDefaults:
    """The settings that a model uses unless a request overrides them.

    Attributes:
        width, height: image size in pixels.
        scheduler: a name for `resolve_scheduler`, or None for the scheduler in the model's files.
        scheduler_class: Diffusers class of the scheduler in the model's files.
        scheduler_config: the options in that file, as StableDiffusionPipeline corrects them.
        embeds_guidance: whether the UNet takes the guidance scale as an input, so that Diffusers
            never computes an unconditional half (distilled models, `time_cond_proj_dim`).
        vae_scale_factor: pixels of the image for each latent, in each direction.
        text_encoder_layers: number of layers of the text encoder, None if unknown.
        words: all words that the model was trained on, None if unknown.
    """

    family: str
    num_inference_steps: int
    guidance_scale: float
    width: int
    height: int
    scheduler: str | None
    scheduler_class: str
    prediction_type: str
    latent_channels: int
    vae_scale_factor: int
    text_encoder_layers: int | None = None
    scheduler_config: Mapping[str, object] = field(default_factory=dict, hash=False)
    embeds_guidance: bool = False
    words: frozenset[str] | None = None


@cache
def read_defaults(folder: Path) -> ModelDefaults:
    """Read the defaults of the model in `folder`: its `sdcli.json`, or else those of Diffusers.

    Raises ModelError if it is not a StableDiffusionPipeline, and CorruptError for broken JSON.
    """
    _check_pipeline(folder)
    unet = read_json(folder / "unet" / "config.json")
    vae = read_json(folder / "vae" / "config.json")
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    text_encoder = read_json(folder / "text_encoder" / "config.json")
    custom = _read_custom_defaults(folder)
    # The VAE halves the size once between two levels.
    scale_factor = 2 ** (len(vae.get("block_out_channels", (0,) * 4)) - 1)
    height, width = _sample_size(unet)
    words = custom.get("words")
    return ModelDefaults(
        family=custom.get("family") or _find_family(unet, folder),
        num_inference_steps=custom.get("num_inference_steps", DIFFUSERS_STEPS),
        guidance_scale=custom.get("guidance_scale", DIFFUSERS_GUIDANCE),
        width=custom.get("width", width * scale_factor),
        height=custom.get("height", height * scale_factor),
        scheduler=custom.get("scheduler"),
        scheduler_class=scheduler.get("_class_name", "unknown"),
        prediction_type=scheduler.get("prediction_type", "epsilon"),
        latent_channels=vae.get("latent_channels", 4),
        vae_scale_factor=scale_factor,
        text_encoder_layers=text_encoder.get("num_hidden_layers"),
        scheduler_config=correct_config(scheduler),
        embeds_guidance=unet.get("time_cond_proj_dim") is not None,
        words=frozenset(words) if words else None,
    )


def unknown_words(prompt: str, words: frozenset[str]) -> tuple[str, ...]:
    """Return the words of a prompt that are not in `words`: lower case, in order, each once."""
    prompt_words = re.findall(r"[^\W_]+", prompt.lower())
    return tuple(dict.fromkeys(word for word in prompt_words if word not in words))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a model folder.

    Raises ModelError if the file is missing, and CorruptError if it is not a JSON object.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ModelError(
            f"{path.parent}: cannot read {path.name}: {error.strerror}",
            code="model.incomplete",
            hint="use a folder in the Diffusers layout, with model_index.json and its components",
        ) from error
    except ValueError as error:
        raise CorruptError(f"{path}: not JSON: {error}", code="model.corrupt") from error
    if not isinstance(data, dict):
        raise CorruptError(f"{path}: not a JSON object", code="model.corrupt")
    return data


def _check_pipeline(folder: Path) -> None:
    class_name = read_json(folder / "model_index.json").get("_class_name")
    if class_name != _PIPELINE:
        raise ModelError(
            f"{folder}: a {class_name}; sdcli needs a {_PIPELINE}",
            code="model.family",
            hint="use a Stable Diffusion 1 or 2 text-to-image model",
        )


def _find_family(unet: Mapping[str, Any], folder: Path) -> str:
    channels = unet.get("in_channels", 4)
    if channels != 4:
        raise ModelError(
            f"{folder}: its UNet has {channels} input channels; a text-to-image model has 4",
            code="model.family",
            hint="inpainting and depth models need an input image; use a text-to-image model",
        )
    width = unet.get("cross_attention_dim")
    # A list, one number for each block, is no Stable Diffusion 1 or 2.
    return _FAMILIES.get(width, UNKNOWN_FAMILY) if isinstance(width, int) else UNKNOWN_FAMILY


def _sample_size(unet: Mapping[str, Any]) -> tuple[int, int]:
    """Return the (height, width) in latents that the UNet was trained on."""
    size = unet.get("sample_size") or 64
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _read_custom_defaults(folder: Path) -> dict[str, Any]:
    path = folder / DEFAULTS_FILE
    if not path.exists():
        return {}
    data = read_json(path)
    for key, types in _KEY_TYPES.items():
        if key in data and not isinstance(data[key], types):
            raise CorruptError(f"{path}: {key} is {data[key]!r}", code="model.corrupt")
    return data
