"""Map the tensors of a component to those of a single file, and find what is missing or left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.single_file.parts import Part
from sdcli.checkpoints.single_file.text_names import PREFIX, text_names
from sdcli.checkpoints.single_file.unet_names import unet_names
from sdcli.checkpoints.single_file.vae_names import ATTENTION, OLD_ATTENTION, vae_names
from sdcli.checkpoints.weight_files import TensorSource
from sdcli.errors import CorruptError, name_some

Sources = dict[str, TensorSource]

_UNUSED: Final = (
    "position_ids", "logit_scale", "text_projection", "text_projection.weight", "attn_mask",
)  # fmt: skip
"""Ends of names of tensors that files have and no component needs."""

_UNUSED_BEGINNINGS: Final = ("loss.", "model_ema.", "vision_model.", "transformer.resblocks.",
                             "text_model.encoder.layers.", "visual")  # fmt: skip


def map_component(component: str, config: Mapping[str, Any], part: Part, path: Path) -> Sources:
    """Return the source in the file at `path` of each tensor of a component.

    Raises CorruptError for tensors that the file lacks.
    """
    if component == "unet":
        sources = _unet_sources(config, part)
    elif component == "vae":
        sources = _vae_sources(config, part)
    else:
        sources = _text_sources(component, config, part)
    found = frozenset(part.names)
    missing = [source.name for source in sources.values() if source.name not in found]
    if missing:
        names = dict.fromkeys(missing)
        raise CorruptError(
            f"{component}: {path} lacks {name_some(names)}",
            code="model.corrupt",
            hint="download the file again, or give a --model-config that fits it",
        )
    return sources


def unused_names(part: Part, sources: Mapping[str, TensorSource]) -> list[str]:
    """Return the tensors of a part that the component does not use, though it should."""
    used = {source.name for source in sources.values()}
    return [
        name
        for name in part.names
        if name not in used
        and not name.endswith(_UNUSED)
        and not name.removeprefix(part.prefix).startswith(_UNUSED_BEGINNINGS)
    ]


def _unet_sources(config: Mapping[str, Any], part: Part) -> Sources:
    return {
        new: TensorSource(part.prefix + (old if part.layout == "original" else new))
        for new, old in unet_names(config)
    }


def _vae_sources(config: Mapping[str, Any], part: Part) -> Sources:
    sources: Sources = {}
    for new, old in vae_names(config):
        name = part.prefix + (old if part.layout == "original" else new)
        if part.layout == "diffusers" and name not in part.names:
            name = _old_attention_name(name)
        is_matrix = ATTENTION in new and new.endswith(".weight")
        sources[new] = TensorSource(name, "matrix" if is_matrix else "none")
    return sources


def _old_attention_name(name: str) -> str:
    for new, old in OLD_ATTENTION.items():
        name = name.replace(new, old)
    return name


def _text_sources(component: str, config: Mapping[str, Any], part: Part) -> Sources:
    pairs: Iterable[tuple[str, TensorSource]] = text_names(config, component == "text_encoder_2")
    if part.layout == "original":
        return {
            new: TensorSource(part.prefix + source.name, source.transform) for new, source in pairs
        }
    # NovelAI's files, and those of newer versions of Transformers, leave the prefix out.
    has_prefix = any(name.startswith(part.prefix + PREFIX) for name in part.names)
    return {
        new: TensorSource(part.prefix + (new if has_prefix else new.removeprefix(PREFIX)))
        for new, _ in pairs
    }
