"""Read a model's family, its default settings and its vocabulary from the files of its folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from sdcli.catalog.known_vaes import SDXL_FAMILY, SDXL_REFINER_FAMILY, UNKNOWN_FAMILY
from sdcli.catalog.schedulers.model_config import correct_config, visible_config
from sdcli.checkpoints.adapters.few_steps import NO_GUIDANCE, TURBO
from sdcli.checkpoints.clip_tokenizer import ModelTokenizers, OtherEncoder
from sdcli.checkpoints.component_configs import DEFAULTS_FILE, read_config
from sdcli.checkpoints.file_state import cache_by_files
from sdcli.checkpoints.json_files import shorten
from sdcli.checkpoints.model_index import (
    XL_REFINER_PIPELINE,
    check_pipeline,
    class_of,
    find_text_encoders,
    is_xl,
)
from sdcli.checkpoints.single_file.families import TEXT_WIDTHS
from sdcli.checkpoints.xl_traits import XlTraits, read_xl_traits
from sdcli.errors import CorruptError, ModelError

EMBEDDED_FOLDER: Final = Path(__file__).parent.parent / "models" / "tiny-emoji-128"
"""The folder of the built-in model."""

# The defaults of StableDiffusionPipeline.__call__.
DIFFUSERS_STEPS: Final = 50
DIFFUSERS_GUIDANCE: Final = 7.5

# Fewer steps than Diffusers' 50: with them, an image of 1024 x 1024 is as good, and sooner there.
XL_STEPS: Final = 30
XL_GUIDANCE: Final = 5.0

# The width of the text encoder: CLIP ViT-L in Stable Diffusion 1, OpenCLIP ViT-H in 2.
_FAMILIES: Final = {width: TEXT_WIDTHS[width] for width in (768, 1024)}
_INPAINTING_CHANNELS: Final = 9
"""The noisy latents, the masked image and the mask."""

_CONDITIONS: Final[Mapping[str, tuple[object, ...]]] = {
    "class_embed_type": (None,),
    "num_class_embeds": (None,),
    "addition_embed_type": (None, "text"),
    "encoder_hid_dim_type": (None, "text_proj"),
}
"""Inputs of a UNet, and their kinds that the pipeline makes from the prompt or does without."""

_DOWN_BLOCKS: Final = ("CrossAttnDownBlock2D", "DownBlock2D")
_UP_BLOCKS: Final = ("UpBlock2D", "CrossAttnUpBlock2D")
_MIDDLE_BLOCK: Final = "UNetMidBlock2DCrossAttn"
"""The blocks of Stable Diffusion's UNets, which are those of a file that names none."""

_SAMPLE_SIZE: Final = 64
"""Height and width of the latents of Stable Diffusion 1."""


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
        keeps_features: whether the first and the last block of the UNet can be run alone, with what
            lies between them left out (`--feature-cache`).
        has_middle_attention: whether the middle block of the UNet has attention (`--pag`).
        is_inpainting: whether the UNet also takes a mask and the masked image (9 channels).
        vae_scale_factor: pixels of the image for each latent, in each direction.
        text_encoder_layers: number of layers of the text encoder, None if unknown.
        other_encoder: the text encoder that a request names, None for the model's own.
        xl: the inputs that only Stable Diffusion XL has, None for another model.
        refiner: those of the refiner that a request names, None without one.
        folder: the folder of the model, None if unknown.
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
    keeps_features: bool = True
    has_middle_attention: bool = True
    is_inpainting: bool = False
    other_encoder: OtherEncoder | None = None
    xl: XlTraits | None = None
    refiner: XlTraits | None = None
    folder: Path | None = field(default=None, compare=False)
    words: frozenset[str] | None = None

    @cached_property
    def tokenizers(self) -> ModelTokenizers | None:
        """The tokenizers in the folder, read once for all prompts; None without a folder."""
        return ModelTokenizers(self.folder, self.other_encoder) if self.folder else None


@cache_by_files
def read_defaults(folder: Path) -> ModelDefaults:
    """Read the defaults of the model in `folder`: its `sdcli.json`, or else those of its family.

    Raises ModelError if it is not a text-to-image model, and CorruptError for broken files.
    """
    defaults = describe_model(folder)
    if check_pipeline(folder) == XL_REFINER_PIPELINE:
        raise ModelError(
            f"{folder}: a refiner, which only continues what another model began",
            code="model.family",
            hint="use it together with a base model: -m BASE --refiner REFINER",
        )
    return defaults


@cache_by_files
def describe_model(folder: Path) -> ModelDefaults:
    """Read the defaults of a text-to-image model as `read_defaults` does, or of a refiner."""
    class_name = check_pipeline(folder)
    unet = read_config(folder / "unet" / "config.json", "unet")
    takes_sizes = is_xl(folder)
    _check_channels(unet, folder, is_xl=takes_sizes)
    vae = read_config(folder / "vae" / "config.json", "vae")
    scheduler = read_config(folder / "scheduler" / "scheduler_config.json", "scheduler")
    xl = read_xl_traits(folder, unet) if takes_sizes else None
    custom = _read_custom_defaults(folder)
    # The VAE halves the size once between two levels.
    scale_factor = 2 ** (len(vae.get("block_out_channels", (0,) * 4)) - 1)
    height, width = _sample_size(unet, folder)
    steps, guidance = _family_settings((height, width), scheduler, is_xl=takes_sizes)
    words = custom.get("words")
    return ModelDefaults(
        family=custom.get("family") or _find_family(class_name, unet, is_xl=takes_sizes),
        num_inference_steps=custom.get("num_inference_steps", steps),
        guidance_scale=custom.get("guidance_scale", guidance),
        width=custom.get("width", width * scale_factor),
        height=custom.get("height", height * scale_factor),
        scheduler=custom.get("scheduler"),
        scheduler_class=class_of(folder, "scheduler") or "unknown",
        prediction_type=scheduler.get("prediction_type", "epsilon"),
        latent_channels=vae.get("latent_channels", 4),
        vae_scale_factor=scale_factor,
        text_encoder_layers=_count_layers(folder),
        scheduler_config=visible_config(scheduler) if takes_sizes else correct_config(scheduler),
        embeds_guidance=unet.get("time_cond_proj_dim") is not None,
        keeps_features=_has_plain_outer_blocks(unet),
        has_middle_attention=unet.get("mid_block_type", _MIDDLE_BLOCK) == _MIDDLE_BLOCK,
        is_inpainting=unet.get("in_channels", 4) == _INPAINTING_CHANNELS,
        xl=xl,
        folder=folder,
        words=frozenset(words) if words else None,
    )


def _has_plain_outer_blocks(unet: Mapping[str, Any]) -> bool:
    """Return whether the first and last block are of a kind that runs without those between."""
    down, up = unet.get("down_block_types", _DOWN_BLOCKS), unet.get("up_block_types", _UP_BLOCKS)
    return len(down) > 1 and down[0] in _DOWN_BLOCKS and up[-1] in _UP_BLOCKS


def unknown_words(prompt: str, words: frozenset[str]) -> tuple[str, ...]:
    """Return the words of a prompt that are not in `words`: lower case, in order, each once."""
    prompt_words = re.findall(r"[^\W_]+", prompt.lower())
    return tuple(dict.fromkeys(word for word in prompt_words if word not in words))


def _family_settings(
    size: tuple[int, int], scheduler: Mapping[str, Any], *, is_xl: bool
) -> tuple[int, float]:
    """Return the steps and the guidance scale that suit the family."""
    if not is_xl:
        return DIFFUSERS_STEPS, DIFFUSERS_GUIDANCE
    # Turbo models, which are distilled for few steps without guidance, are trained on 512 pixels
    # and end at the noise. No file says that they are distilled.
    if size == (64, 64) and scheduler.get("timestep_spacing") == "trailing":
        return TURBO.num_inference_steps, NO_GUIDANCE
    return XL_STEPS, XL_GUIDANCE


def _count_layers(folder: Path) -> int | None:
    """Return the number of layers of the text encoder, the smaller number of two."""
    configs = (read_config(folder / n / "config.json", n) for n in find_text_encoders(folder))
    counts = [config.get("num_hidden_layers") for config in configs]
    return min((count for count in counts if count is not None), default=None)


def _check_channels(unet: Mapping[str, Any], folder: Path, *, is_xl: bool) -> None:
    """Raise ModelError for a UNet that needs more than noise and a prompt."""
    channels = unet.get("in_channels", 4)
    if channels not in (4, _INPAINTING_CHANNELS):
        raise ModelError(
            f"{folder}: its UNet has {channels} input channels; a text-to-image model has 4, an "
            f"inpainting model {_INPAINTING_CHANNELS}",
            code="model.family",
            hint="depth and editing models are not supported; use one of those",
        )
    if unet.get("out_channels", 4) != 4:
        raise ModelError(
            f"{folder}: its UNet has {unet['out_channels']} output channels; a text-to-image model "
            "has 4",
            code="model.family",
            hint="use a Stable Diffusion 1, 2 or XL text-to-image model",
        )
    for key, usable in _CONDITIONS.items():
        # That of Stable Diffusion XL is checked together with its sizes.
        if unet.get(key) not in usable and not (is_xl and key == "addition_embed_type"):
            raise ModelError(
                f"{folder}: its UNet has {key} {shorten(unet[key])}: it needs more than a prompt",
                code="model.family",
                hint="use a Stable Diffusion 1, 2 or XL text-to-image model",
            )


def _find_family(class_name: str, unet: Mapping[str, Any], *, is_xl: bool) -> str:
    if is_xl:
        return SDXL_REFINER_FAMILY if class_name == XL_REFINER_PIPELINE else SDXL_FAMILY
    width = unet.get("cross_attention_dim")
    # A list, one number for each block, is no Stable Diffusion 1 or 2.
    return _FAMILIES.get(width, UNKNOWN_FAMILY) if isinstance(width, int) else UNKNOWN_FAMILY


def _sample_size(unet: Mapping[str, Any], folder: Path) -> tuple[int, int]:
    """Return the (height, width) in latents that the UNet was trained on."""
    size = unet.get("sample_size") or _SAMPLE_SIZE
    if not isinstance(size, int):
        return size[0], size[1]
    # As the constructor of StableDiffusionPipeline corrects it: the first files all say 32.
    if size < _SAMPLE_SIZE and _is_older_than_0_9(unet.get("_diffusers_version"), folder):
        size = _SAMPLE_SIZE
    return size, size


def _is_older_than_0_9(version: str | None, folder: Path) -> bool:
    if version is None:
        return False
    from packaging.version import InvalidVersion, Version  # slow to import

    try:
        return Version(Version(version).base_version) < Version("0.9.0.dev0")
    except InvalidVersion as error:
        raise CorruptError(
            f"{folder / 'unet' / 'config.json'}: _diffusers_version is {shorten(version)}; it must "
            "be a version, as in 0.38.0",
            code="model.corrupt",
            hint="download the file again",
        ) from error


def _read_custom_defaults(folder: Path) -> dict[str, Any]:
    path = folder / DEFAULTS_FILE
    return read_config(path, DEFAULTS_FILE) if path.exists() else {}
