"""List the tensors of a VAE under their names in Diffusers and in the original code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sdcli.checkpoints.single_file.unet_names import Pair

ATTENTION: Final = ".attentions.0.to_"
"""Piece of the names of the attention's matrices, which the original code has as convolutions."""

# Diffusers names the matrices of the attention otherwise in files from before 2023.
OLD_ATTENTION: Final = {
    ".to_q.": ".query.",
    ".to_k.": ".key.",
    ".to_v.": ".value.",
    ".to_out.0.": ".proj_attn.",
}

_RESNET: Final = ("norm1", "conv1", "norm2", "conv2")
_ATTENTION: Final = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def vae_names(config: Mapping[str, Any]) -> Iterator[Pair]:
    """Yield the names of all tensors of the AutoencoderKL that the configuration describes."""
    widths = list(config.get("block_out_channels", (64,)))
    layers = int(config.get("layers_per_block", 1))
    for side in ("encoder", "decoder"):
        yield from _both(f"{side}.conv_in", f"{side}.conv_in")
        yield from _levels(side, widths, layers)
        yield from _mid(side, bool(config.get("mid_block_add_attention", True)))
        yield from _both(f"{side}.conv_norm_out", f"{side}.norm_out")
        yield from _both(f"{side}.conv_out", f"{side}.conv_out")
    for name in ("quant_conv", "post_quant_conv"):
        if config.get(f"use_{name}", True):
            yield from _both(name, name)


def _levels(side: str, widths: list[int], layers: int) -> Iterator[Pair]:
    is_encoder = side == "encoder"
    way, sampler = ("down", "downsample") if is_encoder else ("up", "upsample")
    widths, layers = (widths, layers) if is_encoder else (widths[::-1], layers + 1)
    width, last = widths[0], len(widths) - 1
    for level, new_width in enumerate(widths):
        block = f"{side}.{way}_blocks.{level}"
        # The original code counts the decoder's levels from its end.
        old = f"{side}.{way}.{level if is_encoder else last - level}"
        for layer in range(layers):
            changes = width != new_width
            yield from _resnet(f"{block}.resnets.{layer}", f"{old}.block.{layer}", changes)
            width = new_width
        if level < last:
            yield from _both(f"{block}.{sampler}rs.0.conv", f"{old}.{sampler}.conv")


def _mid(side: str, has_attention: bool) -> Iterator[Pair]:
    for n in (0, 1):
        yield from _resnet(f"{side}.mid_block.resnets.{n}", f"{side}.mid.block_{n + 1}", False)
    if has_attention:
        for name, old in _ATTENTION.items():
            yield from _both(f"{side}.mid_block.attentions.0.{name}", f"{side}.mid.attn_1.{old}")


def _resnet(diffusers: str, original: str, changes_width: bool) -> Iterator[Pair]:
    for name in _RESNET:
        yield from _both(f"{diffusers}.{name}", f"{original}.{name}")
    if changes_width:
        yield from _both(f"{diffusers}.conv_shortcut", f"{original}.nin_shortcut")


def _both(diffusers: str, original: str) -> Iterator[Pair]:
    for leaf in ("weight", "bias"):
        yield f"{diffusers}.{leaf}", f"{original}.{leaf}"
