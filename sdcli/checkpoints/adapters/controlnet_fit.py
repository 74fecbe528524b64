"""Check from headers alone that a ControlNet fits a model: it is a copy of half of its UNet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.adapters.controlnet_names import ControlnetShapes
from sdcli.checkpoints.safetensors_header import SafetensorsHeader
from sdcli.checkpoints.single_file.families import TEXT_WIDTHS
from sdcli.checkpoints.single_file.unet_names import skipped_widths
from sdcli.errors import ModelError

_IMAGE_CHANNELS: Final = 3
_CELL: Final = 8
_LATENT_CHANNELS: Final = 4
_COPIED: Final = ("time_embedding.", "add_embedding.", "down_blocks.", "mid_block.")
"""Beginnings of the names that a ControlNet and the UNet share."""


def check_fit(
    path: Path,
    model: str,
    found: ControlnetShapes,
    own: Mapping[str, Any],
    unet: SafetensorsHeader,
    config: Mapping[str, Any],
) -> None:
    """Raise ModelError for a ControlNet that does not fit the model.

    `own` is the configuration of the model's UNet, and `unet` has its tensors. `config` is that of
    the ControlNet.
    """
    width = _text_width(unet)
    reasons = (
        *_family_reasons(found, width, own),
        *_size_reasons(found, own, config),
    )
    for reason in reasons:
        raise _misfit_error(path, model, reason)


def check_shapes(
    path: Path, model: str, tensors: SafetensorsHeader, unet: SafetensorsHeader
) -> None:
    """Raise ModelError for a tensor, by its name in Diffusers, that differs from the UNet's."""
    for name, tensor in tensors.tensors.items():
        copied = unet.tensors.get(name) if name.startswith(_COPIED) else None
        if copied and copied.shape != tensor.shape:
            shapes = f"the shape {_list(tensor.shape)}, and the UNet's {_list(copied.shape)}"
            raise _misfit_error(path, model, f"{name} has {shapes}")


def _misfit_error(path: Path, model: str, reason: str) -> ModelError:
    return ModelError(
        f"{path} is a ControlNet that does not fit {model}: {reason}",
        code="model.controlnet_family",
        hint="use a ControlNet of the model's family (sdcli inspect FILE names it)",
    )


def _text_width(unet: SafetensorsHeader) -> int | None:
    ends = (t.shape for n, t in unet.tensors.items() if n.endswith("attn2.to_k.weight"))
    return next((shape[-1] for shape in ends if shape), None)


def _family_reasons(
    found: ControlnetShapes, width: int | None, own: Mapping[str, Any]
) -> Iterator[str]:
    if found.text_width and found.text_width != width:
        family = TEXT_WIDTHS.get(found.text_width)
        named = f" ({family})" if family else ""
        yield (
            f"it takes text embeddings of width {found.text_width}{named}, and this model has "
            f"{width}"
        )
    if found.takes_pooled_text != (own.get("addition_embed_type") == "text_time"):
        has, lacks = ("it takes", "does not") if found.takes_pooled_text else ("it lacks", "does")
        yield f"{has} the further inputs of Stable Diffusion XL, and this model {lacks}"


def _size_reasons(
    found: ControlnetShapes, own: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[str]:
    expected = skipped_widths(own)
    if found.skipped_widths != expected:
        yield (
            f"its outputs have {_list(found.skipped_widths)} channels, and the UNet needs "
            f"{_list(expected)}"
        )
    latents = own.get("out_channels", _LATENT_CHANNELS)
    if found.latent_channels != latents:
        yield f"it takes latents of {found.latent_channels} channels, and this model has {latents}"
    if found.image_channels != _IMAGE_CHANNELS:
        yield f"it takes images of {found.image_channels} channels, not {_IMAGE_CHANNELS}"
    cell = 2 ** (len(found.embedding_widths) - 1)
    if cell != _CELL:
        yield f"it reads the control image in cells of {cell} pixels, not {_CELL}"
    if config.get("global_pool_conditions"):
        yield "it is for shuffled images (global_pool_conditions), which sdcli cannot draw with"


def _list(values: Any) -> str:
    return "x".join(map(str, values)) or "no"
