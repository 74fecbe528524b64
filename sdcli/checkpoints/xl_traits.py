"""Read the properties of Stable Diffusion XL models that no other model has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.json_files import read_json, shorten
from sdcli.checkpoints.model_index import find_text_encoders
from sdcli.errors import CorruptError, ModelError


@dataclass(frozen=True, kw_only=True)
class XlTraits:
    """What the UNet of a Stable Diffusion XL model takes beside a prompt.

    Attributes:
        text_encoders: the number of text encoders, 2, or 1 in a refiner.
        zeroes_negative: whether a negative prompt that is left out stands for embeddings of zero,
            which differ from those of an empty text.
        takes_aesthetic_score: whether an aesthetic score takes the place of the target size.
    """

    text_encoders: int
    zeroes_negative: bool
    takes_aesthetic_score: bool


def read_xl_traits(folder: Path, unet: Mapping[str, Any]) -> XlTraits:
    """Read the traits of the model in `folder`, whose UNet has the configuration `unet`.

    Raises ModelError for a UNet whose inputs are not those that its pipeline makes, and
    CorruptError for a broken model_index.json.
    """
    encoders = find_text_encoders(folder)
    traits = XlTraits(
        text_encoders=len(encoders),
        zeroes_negative=_read_flag(folder, "force_zeros_for_empty_prompt", default=True),
        takes_aesthetic_score=_read_flag(folder, "requires_aesthetics_score", default=False),
    )
    _check_time_ids(folder, unet, traits)
    return traits


def _read_flag(folder: Path, key: str, *, default: bool) -> bool:
    path = folder / "model_index.json"
    value = read_json(path).get(key, default)
    if not isinstance(value, bool):
        raise CorruptError(
            f"{path}: {key} is {shorten(value)}; it must be true or false", code="model.corrupt"
        )
    return value


def _check_time_ids(folder: Path, unet: Mapping[str, Any], traits: XlTraits) -> None:
    """Raise ModelError unless the UNet takes the pooled embeddings and numbers of its pipeline."""
    if unet.get("addition_embed_type") != "text_time":
        raise ModelError(
            f"{folder}: its UNet has addition_embed_type "
            f"{shorten(unet.get('addition_embed_type'))}; that of Stable Diffusion XL is text_time",
            code="model.family",
            hint="use a Stable Diffusion XL model",
        )
    encoder = read_config(folder / "text_encoder_2" / "config.json", "text_encoder_2")
    pooled, width = encoder.get("projection_dim", 512), unet.get("addition_time_embed_dim")
    # Original size, crop and target size are two numbers each; a score replaces the last two.
    count = 5 if traits.takes_aesthetic_score else 6
    expected = unet.get("projection_class_embeddings_input_dim")
    if not isinstance(width, int) or expected != pooled + count * width:
        raise ModelError(
            f"{folder}: its UNet takes {expected} added numbers, but its second text encoder gives "
            f"{pooled}, and {count} sizes of {width} make {pooled} + {count} x {width}",
            code="model.incompatible",
            hint="use the text encoders that the model was trained with",
        )
