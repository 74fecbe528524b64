"""Check from configurations and headers that a T2I-Adapter is whole, and fits a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.json_files import read_json
from sdcli.checkpoints.safetensors_header import SafetensorsHeader
from sdcli.errors import CorruptError, ModelError, SdcliError, name_some

CLASS: Final = "T2IAdapter"
COMPONENT: Final = "t2i_adapter"

_CELL: Final = 8
"""Pixels of the image for each latent, to which the sizes of outputs are compared."""

_DEFAULTS: Final[Mapping[str, Any]] = {
    "adapter_type": "full_adapter",
    "in_channels": 3,
    "channels": [320, 640, 1280, 1280],
    "num_res_blocks": 2,
    "downscale_factor": 8,
}
"""What the class of Diffusers assumes for what a configuration leaves out."""

_UNET_BLOCKS: Final = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
_UNET_WIDTHS: Final = (320, 640, 1280, 1280)

Output = tuple[int, float]
"""The channels of an output, and the latents of the image for each of its cells, in a direction."""


def is_t2i_adapter(folder: Path) -> bool:
    """Whether the configuration in a folder is that of a T2I-Adapter."""
    with suppress(OSError, SdcliError):
        return bool(read_json(folder / "config.json").get("_class_name") == CLASS)
    return False


def read_adapter_config(path: Path) -> dict[str, Any]:
    """Read a configuration, with the defaults for what it leaves out. Raises CorruptError."""
    return {**_DEFAULTS, **read_config(path, COMPONENT)}


def check_adapter(
    folder: Path,
    model: str,
    config: Mapping[str, Any],
    header: SafetensorsHeader,
    unet: Mapping[str, Any],
) -> None:
    """Raise CorruptError for weights of another layout, ModelError for those of another model.

    `config` is that of the adapter, `unet` that of the model's UNet.
    """
    # Built from its configuration first, a network of other sizes would fill the memory.
    expected = dict(_layout(config))
    found = {name: tensor.shape for name, tensor in header.tensors.items()}
    if wrong := sorted(n for n in {*expected, *found} if expected.get(n) != found.get(n)):
        raise CorruptError(
            f"{folder}: the weights do not fit config.json in {name_some(wrong)}",
            code="model.corrupt",
            hint="download the folder again",
        )
    for reason in _misfits(config, unet):
        raise ModelError(
            f"{folder} is a T2I-Adapter that does not fit {model}: {reason}",
            code="model.controlnet_family",
            hint="use a T2I-Adapter of the model's family",
        )


def _widths(config: Mapping[str, Any]) -> Iterator[tuple[int, int, bool]]:
    """Yield the channels that enter and leave each block, and whether it halves the size."""
    widths, first = config["channels"], config["in_channels"] * config["downscale_factor"] ** 2
    kind = config["adapter_type"]
    if kind == "light_adapter":
        yield first, widths[0], False
        yield from ((a, b, True) for a, b in zip(widths, [*widths[1:], widths[-1]], strict=True))
        return
    is_full = kind == "full_adapter"
    yield widths[0], widths[0], False
    for i in range(1, len(widths)):
        # The third block of XL is the only one that halves it, and those after it keep the width.
        before = widths[i - 1] if is_full or i < 3 else widths[i]
        yield before, widths[i], is_full or i == 2


def _layout(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors of an adapter of this configuration, and their shapes."""
    is_light = config["adapter_type"] == "light_adapter"
    if not is_light:
        first = config["in_channels"] * config["downscale_factor"] ** 2
        yield from _convolution("adapter.conv_in", first, config["channels"][0], 3)
    for i, (before, after, _) in enumerate(_widths(config)):
        block, inner = f"adapter.body.{i}", after // 4 if is_light else after
        if is_light or before != after:
            yield from _convolution(f"{block}.in_conv", before, inner, 1)
        for j in range(config["num_res_blocks"]):
            yield from _convolution(f"{block}.resnets.{j}.block1", inner, inner, 3)
            yield from _convolution(
                f"{block}.resnets.{j}.block2", inner, inner, 3 if is_light else 1
            )
        if is_light:
            yield from _convolution(f"{block}.out_conv", inner, after, 1)


def _convolution(
    name: str, before: int, after: int, side: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (after, before, side, side)
    yield f"{name}.bias", (after,)


def _misfits(config: Mapping[str, Any], unet: Mapping[str, Any]) -> Iterator[str]:
    """Yield the reasons why Diffusers could not use an adapter, or would use a part of it."""
    widths = config["channels"]
    if config["adapter_type"] == "full_adapter_xl" and len(set(widths[2:])) > 1:
        yield "its last blocks have several widths"
    if config["in_channels"] not in (1, 3):
        yield f"it takes images of {config['in_channels']} channels, not 3 or 1"
    outputs, (taken, middle) = list(_outputs(config)), _inputs(unet)
    # Diffusers adds what it can, and drops an output of another size without a word.
    if outputs not in (taken, [*taken, middle]):
        yield f"its outputs are {_list(outputs)}, and the UNet takes {_list(taken)}"


def _outputs(config: Mapping[str, Any]) -> Iterator[Output]:
    step = config["downscale_factor"] / _CELL
    for _, width, halves in _widths(config):
        step *= 2 if halves else 1
        yield width, step


def _inputs(unet: Mapping[str, Any]) -> tuple[list[Output], Output]:
    """Return what each block of a UNet takes, and what its middle takes if there is one more."""
    kinds, widths = unet.get("down_block_types", _UNET_BLOCKS), unet.get("block_out_channels")
    widths, step, taken = widths or _UNET_WIDTHS, 1, list[Output]()
    for i, (kind, width) in enumerate(zip(kinds, widths, strict=False)):
        smaller = step * 2 if i + 1 < len(kinds) else step
        # A block without attention takes it after it has halved the size.
        taken.append((width, step if "CrossAttn" in kind else smaller))
        step = smaller
    return taken, (widths[-1], step)


def _list(outputs: list[Output]) -> str:
    return ", ".join(f"{width} at 1/{step * _CELL:g}" for width, step in outputs)
