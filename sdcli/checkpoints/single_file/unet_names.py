"""List the tensors of a UNet under their names in Diffusers and in the original code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sdcli.errors import ModelError

Pair = tuple[str, str]
"""A name in Diffusers, and in the original code."""

_RESNET: Final = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
}
_TRANSFORMER: Final = ("norm", "proj_in", "proj_out")
_TRANSFORMER_BLOCK: Final = (
    "norm1", "norm2", "norm3", "attn1.to_out.0", "attn2.to_out.0", "ff.net.0.proj", "ff.net.2",
)  # fmt: skip
_PROJECTIONS: Final = tuple(f"attn{n}.to_{x}.weight" for n in (1, 2) for x in "qkv")

_DOWN_TYPES: Final = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}
_UP_TYPES: Final = {"CrossAttnUpBlock2D": True, "UpBlock2D": False}
"""Block types that the original code has, and whether they have attention."""

_DEFAULT_DOWN: Final = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
_DEFAULT_UP: Final = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3


def unet_names(config: Mapping[str, Any]) -> Iterator[Pair]:
    """Yield the names of all tensors of the UNet that the configuration describes.

    Raises ModelError for a UNet that the original code cannot express.
    """
    widths, layers, depths = _sizes(config)
    yield from encoder_names(config)
    yield from _up_names(config, widths, layers, depths)
    yield from both("conv_norm_out", "out.0")
    yield from both("conv_out", "out.2")


def encoder_names(config: Mapping[str, Any]) -> Iterator[Pair]:
    """Yield the names of the half of a UNet that a ControlNet is a copy of.

    Raises ModelError as `unet_names` does.
    """
    widths, layers, depths = _sizes(config)
    yield from both("conv_in", "input_blocks.0.0")
    yield from _embedding_names(config)
    yield from _down_names(config, widths, layers, depths)
    yield from _mid_names(config, depths[-1])


def skipped_widths(config: Mapping[str, Any]) -> list[int]:
    """Return the channels of each output of that half, in their order. Raises ModelError."""
    widths, layers, _ = _sizes(config)
    found = widths[:1]
    for level, width in enumerate(widths):
        found += [width] * (layers[level] + (level < len(widths) - 1))
    return found


def _sizes(config: Mapping[str, Any]) -> tuple[list[int], list[int], list[int]]:
    """Return the channels, blocks and depths of transformers of each level."""
    widths = list(config.get("block_out_channels", (320, 640, 1280, 1280)))
    layers = _per_level(config.get("layers_per_block", 2), len(widths))
    depths = _per_level(config.get("transformer_layers_per_block", 1), len(widths))
    return widths, layers, depths


def _embedding_names(config: Mapping[str, Any]) -> Iterator[Pair]:
    for diffusers, original in (("linear_1", "0"), ("linear_2", "2")):
        yield from both(f"time_embedding.{diffusers}", f"time_embed.{original}")
        if config.get("addition_embed_type") == "text_time":
            yield from both(f"add_embedding.{diffusers}", f"label_emb.0.{original}")
    # Only Diffusers has this input; its name serves for both.
    if config.get("time_cond_proj_dim") is not None:
        yield "time_embedding.cond_proj.weight", "time_embedding.cond_proj.weight"


def _down_names(
    config: Mapping[str, Any], widths: list[int], layers: list[int], depths: list[int]
) -> Iterator[Pair]:
    attentions = _attentions(config.get("down_block_types", _DEFAULT_DOWN), _DOWN_TYPES)
    index, width = 1, widths[0]
    for level, has_attention in enumerate(attentions):
        for layer in range(layers[level]):
            at, block = f"input_blocks.{index}", f"down_blocks.{level}"
            yield from _resnet(f"{block}.resnets.{layer}", f"{at}.0", width != widths[level])
            if has_attention:
                yield from _transformer(f"{block}.attentions.{layer}", f"{at}.1", depths[level])
            index, width = index + 1, widths[level]
        if level < len(widths) - 1:
            yield from both(f"{block}.downsamplers.0.conv", f"input_blocks.{index}.0.op")
            index += 1


def _mid_names(config: Mapping[str, Any], depth: int) -> Iterator[Pair]:
    if config.get("mid_block_type", "UNetMidBlock2DCrossAttn") != "UNetMidBlock2DCrossAttn":
        raise _layout_error("mid_block_type", config["mid_block_type"])
    yield from _resnet("mid_block.resnets.0", "middle_block.0", False)
    yield from _transformer("mid_block.attentions.0", "middle_block.1", depth)
    yield from _resnet("mid_block.resnets.1", "middle_block.2", False)


def _up_names(
    config: Mapping[str, Any], widths: list[int], layers: list[int], depths: list[int]
) -> Iterator[Pair]:
    attentions = _attentions(config.get("up_block_types", _DEFAULT_UP), _UP_TYPES)
    widths, layers, depths = widths[::-1], layers[::-1], depths[::-1]
    reverse = config.get("reverse_transformer_layers_per_block")
    depths = _per_level(reverse, len(widths)) if reverse else depths
    index, width = 0, widths[0]
    for level, has_attention in enumerate(attentions):
        below = widths[min(level + 1, len(widths) - 1)]
        for layer in range(layers[level] + 1):
            at, block = f"output_blocks.{index}", f"up_blocks.{level}"
            # The last block of a level takes the output of the narrower level on its way down.
            skipped = below if layer == layers[level] else widths[level]
            changes = width + skipped != widths[level]
            yield from _resnet(f"{block}.resnets.{layer}", f"{at}.0", changes)
            if has_attention:
                yield from _transformer(f"{block}.attentions.{layer}", f"{at}.1", depths[level])
            index, width = index + 1, widths[level]
        if level < len(widths) - 1:
            slot = 2 if has_attention else 1
            yield from both(f"{block}.upsamplers.0.conv", f"{at}.{slot}.conv")


def _resnet(diffusers: str, original: str, changes_width: bool) -> Iterator[Pair]:
    for name, old in _RESNET.items():
        yield from both(f"{diffusers}.{name}", f"{original}.{old}")
    if changes_width:
        yield from both(f"{diffusers}.conv_shortcut", f"{original}.skip_connection")


def _transformer(diffusers: str, original: str, depth: int) -> Iterator[Pair]:
    for name in _TRANSFORMER:
        yield from both(f"{diffusers}.{name}", f"{original}.{name}")
    for i in range(depth):
        block = f"transformer_blocks.{i}"
        for name in _TRANSFORMER_BLOCK:
            yield from both(f"{diffusers}.{block}.{name}", f"{original}.{block}.{name}")
        for name in _PROJECTIONS:
            yield f"{diffusers}.{block}.{name}", f"{original}.{block}.{name}"


def both(diffusers: str, original: str) -> Iterator[Pair]:
    """Yield the names of a layer's weight and bias."""
    for leaf in ("weight", "bias"):
        yield f"{diffusers}.{leaf}", f"{original}.{leaf}"


def _per_level(value: Any, levels: int) -> list[int]:
    values = list(value) if isinstance(value, list | tuple) else [value] * levels
    if len(values) != levels or not all(type(item) is int for item in values):
        raise _layout_error("layers_per_block or transformer_layers_per_block", value)
    return values


def _attentions(types: Any, known: Mapping[str, bool]) -> list[bool]:
    for block_type in types:
        if block_type not in known:
            raise _layout_error("down_block_types or up_block_types", block_type)
    return [known[block_type] for block_type in types]


def _layout_error(key: str, value: object) -> ModelError:
    return ModelError(
        f"unet: {key} is {value}, which a file with the original names cannot have",
        code="model.family",
        hint="use the configuration that belongs to the file",
    )
