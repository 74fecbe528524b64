"""What a model folder says about itself: its family, its own defaults, the words it knows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from sdcli.errors import CorruptError, ModelError

EMBEDDED_FOLDER: Final = Path(__file__).parent.parent / "models" / "tiny-emoji-128"
OWN_DEFAULTS: Final = "sdcli.json"

# What StableDiffusionPipeline itself does when it is told nothing.
DIFFUSERS_STEPS: Final = 50
DIFFUSERS_GUIDANCE: Final = 7.5

_PIPELINE: Final = "StableDiffusionPipeline"
_FAMILIES: Final = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2"}
_OWN_KEYS: Final[Mapping[str, tuple[type, ...]]] = {
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
    """What a model wants when nothing is said. Sizes are pixels; flags win over all of it.

    `scheduler` is a name of the sampler table, None for the scheduler of the model's files, whose
    class is `scheduler_class`. `words` are all the words the model was trained on, None if unknown.
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
    words: frozenset[str] | None = None


@cache
def read_defaults(folder: Path) -> ModelDefaults:
    """The defaults of the model in `folder`: its `sdcli.json`, else what Diffusers would do.

    Raises ModelError for what is not a StableDiffusionPipeline, CorruptError for broken JSON.
    """
    _check_pipeline(folder)
    unet = read_json(folder / "unet" / "config.json")
    vae = read_json(folder / "vae" / "config.json")
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    encoder = read_json(folder / "text_encoder" / "config.json")
    own = _own_defaults(folder)
    factor = 2 ** (len(vae.get("block_out_channels", (0,) * 4)) - 1)
    height, width = _sample_size(unet)
    words = own.get("words")
    return ModelDefaults(
        family=own.get("family") or _family(unet, folder),
        num_inference_steps=own.get("num_inference_steps", DIFFUSERS_STEPS),
        guidance_scale=own.get("guidance_scale", DIFFUSERS_GUIDANCE),
        width=own.get("width", width * factor),
        height=own.get("height", height * factor),
        scheduler=own.get("scheduler"),
        scheduler_class=scheduler.get("_class_name", "unknown"),
        prediction_type=scheduler.get("prediction_type", "epsilon"),
        latent_channels=vae.get("latent_channels", 4),
        vae_scale_factor=factor,
        text_encoder_layers=encoder.get("num_hidden_layers"),
        words=frozenset(words) if words else None,
    )


def unknown_words(prompt: str, words: frozenset[str]) -> tuple[str, ...]:
    """The words of a prompt that are not among `words`, in order, each once."""
    asked = re.findall(r"[^\W_]+", prompt.lower())
    return tuple(dict.fromkeys(word for word in asked if word not in words))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a model folder. Raises ModelError when missing, CorruptError when broken."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ModelError(
            f"{path.parent}: cannot read {path.name}: {error.strerror}",
            code="model.incomplete",
            hint="give a folder in the Diffusers layout, with model_index.json and its parts",
        ) from error
    except ValueError as error:
        raise CorruptError(f"{path}: not JSON: {error}", code="model.corrupt") from error
    if not isinstance(data, dict):
        raise CorruptError(f"{path}: not a JSON object", code="model.corrupt")
    return data


def _check_pipeline(folder: Path) -> None:
    name = read_json(folder / "model_index.json").get("_class_name")
    if name != _PIPELINE:
        raise ModelError(
            f"{folder}: a {name}; sdcli draws with models of {_PIPELINE}",
            code="model.family",
            hint="give a Stable Diffusion 1 or 2 text-to-image model",
        )


def _family(unet: Mapping[str, Any], folder: Path) -> str:
    channels = unet.get("in_channels", 4)
    if channels != 4:
        raise ModelError(
            f"{folder}: its UNet takes {channels} channels, a text-to-image one takes 4",
            code="model.family",
            hint="inpainting and depth models need a picture; give a text-to-image model",
        )
    dim = unet.get("cross_attention_dim")
    return _FAMILIES.get(dim, "of its own") if isinstance(dim, int) else "of its own"


def _sample_size(unet: Mapping[str, Any]) -> tuple[int, int]:
    size = unet.get("sample_size") or 64
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _own_defaults(folder: Path) -> dict[str, Any]:
    path = folder / OWN_DEFAULTS
    if not path.exists():
        return {}
    data = read_json(path)
    for key, kinds in _OWN_KEYS.items():
        if key in data and not isinstance(data[key], kinds):
            raise CorruptError(f"{path}: {key} is {data[key]!r}", code="model.corrupt")
    return data
