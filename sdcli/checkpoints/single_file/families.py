"""Tell the family of a model from the shapes of its UNet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of a UNet's tensors, by names without the prefix of the UNet."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of model.

    `name` is what users and records read. `base` is "sd1", "sd2", "sdxl" or "sdxl-refiner", and
    `task` says what the UNet takes besides noise. `supported` tells whether sdcli can run it.
    """

    id: str
    name: str
    base: str
    task: str = "text-to-image"
    supported: bool = True


@dataclass(frozen=True, kw_only=True)
class UnetShape:
    """The sizes of a UNet that tell its family, None for those that it doesn't have.

    `text_width` is the width of the text embeddings, `label_width` that of the vector with the
    pooled embedding and the image size.
    """

    in_channels: int | None
    text_width: int | None
    label_width: int | None


_BASES: Final[Mapping[str, tuple[str, int, int | None]]] = {
    "sd1": ("Stable Diffusion 1", 768, None),
    "sd2": ("Stable Diffusion 2", 1024, None),
    "sdxl": ("Stable Diffusion XL", 2048, 2816),
    "sdxl-refiner": ("Stable Diffusion XL refiner", 1280, 2560),
}
"""Family -> name, width of the text embeddings, width of the additional vector."""

TEXT_WIDTHS: Final[Mapping[int, str]] = {width: name for name, width, _ in _BASES.values()}
"""Width of the text embeddings -> name of the family."""

_TASKS: Final[Mapping[int, tuple[str, str, bool]]] = {
    4: ("", "text-to-image", True),
    9: ("-inpaint", "inpainting", True),
    8: ("-pix2pix", "InstructPix2Pix", False),
    5: ("-depth", "depth-to-image", False),
    7: ("-upscaler", "upscaling", False),
}
"""Input channels of the UNet -> suffix of the family, task, whether sdcli can run it."""

# The names of the original layout come before those of Diffusers.
_INPUTS: Final = ("input_blocks.0.0.weight", "conv_in.weight")
_LABELS: Final = ("label_emb.0.0.weight", "add_embedding.linear_1.weight")


def find_families() -> list[Family]:
    """Return every family that can be recognised."""
    return [
        Family(
            id=base + suffix,
            name=name if task == "text-to-image" else f"{name} {task}",
            base=base,
            task=task,
            supported=supported,
        )
        for base, (name, _, _) in _BASES.items()
        for suffix, task, supported in _TASKS.values()
    ]


FAMILIES: Final[Mapping[str, Family]] = {family.id: family for family in find_families()}


def measure_unet(shapes: Shapes) -> UnetShape:
    """Return the sizes of a UNet that tell its family."""
    cross = (shape for name, shape in shapes.items() if name.endswith("attn2.to_k.weight"))
    inputs = next((shapes[name] for name in _INPUTS if len(shapes.get(name, ())) == 4), None)
    labels = next((shapes[name] for name in _LABELS if len(shapes.get(name, ())) == 2), None)
    text = next((shape[-1] for shape in cross if shape), None)
    return UnetShape(
        in_channels=inputs[1] if inputs else None,
        text_width=text,
        label_width=labels[1] if labels else None,
    )


def find_family(shape: UnetShape) -> tuple[Family | None, tuple[str, ...]]:
    """Return the family of a UNet, None for one that is not known, and the reasons."""
    reasons = (
        f"the UNet takes text embeddings {shape.text_width} wide",
        f"the UNet has {shape.in_channels} input channels",
        "the UNet has no vector for the image size"
        if shape.label_width is None
        else f"the UNet takes a vector {shape.label_width} wide with the image size",
    )
    if shape.in_channels is None or shape.in_channels not in _TASKS:
        return None, reasons
    suffix = _TASKS[shape.in_channels][0]
    for base, (_, text_width, label_width) in _BASES.items():
        if (text_width, label_width) == (shape.text_width, shape.label_width):
            return FAMILIES[base + suffix], reasons
    return None, reasons
