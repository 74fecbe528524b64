"""Estimate the memory of a GPU that a model needs, and choose how much of the model stays on it.

The weights are counted from the headers of their files. What the networks compute on the way takes
a number of bytes in proportion to the pixels. The factors below are the peaks of networks of the
true size of Stable Diffusion 1.5 and XL (26, 16 and 6), with room for the workspaces of libraries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

from sdcli.checkpoints.safetensors_header import TensorInfo
from sdcli.fields.execution import ON_DEVICE

GIBIBYTE: Final = 2**30

RESERVE: Final = GIBIBYTE // 2
"""Bytes for the libraries of the GPU and for gaps between tensors."""

UNET_TENSORS: Final = 32
"""Tensors of the UNet's first width, as large as the latents, that are in memory at its peak."""

VAE_TENSORS: Final = 8
"""Tensors of the decoder's last width, as large as the image, that are in memory at its peak."""

LAYERS_AT_ONCE: Final = 3
"""Layers on the GPU when it computes layer by layer: one runs, the others come and go."""

_LATENT_SIDE: Final = 8


@dataclass(frozen=True, kw_only=True)
class PartSize:
    """The numbers in the weights of a network, and in its largest tensor.

    `channels` is the width of its layers at the full size of its input or output.
    """

    numbers: int
    largest: int
    channels: int = 0


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """The networks of a model.

    They compute with numbers of `number_bytes`, but for the VAE; the UNets may store smaller ones.
    """

    text_encoders: Sequence[PartSize]
    unets: Sequence[PartSize]
    vae: PartSize
    number_bytes: int = 2
    unet_number_bytes: int = 2
    vae_number_bytes: int = 2


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """The pixels of an image, and the rows of the UNet's batch: 2 with guidance."""

    width: int
    height: int
    rows: int = 2


def part_size(tensors: Mapping[str, TensorInfo]) -> PartSize:
    """Count the tensors of a network by their names and shapes."""
    counts = [prod(tensor.shape) for tensor in tensors.values()]
    first, last = tensors.get("conv_in.weight"), tensors.get("decoder.conv_out.weight")
    channels = first.shape[0] if first else last.shape[1] if last else 0
    return PartSize(numbers=sum(counts), largest=max(counts), channels=channels)


def needed_bytes(model: ModelSize, image: ImageSize, rung: str) -> int:
    """Return the memory of the GPU that an image needs, whose decoding may use all of it.

    The VAE is always on the GPU: it is small.
    """
    size = model.number_bytes
    drawing = drawing_bytes(model, image)
    encoders = [part.numbers * size for part in model.text_encoders]
    unets = [part.numbers * model.unet_number_bytes for part in model.unets]
    layers = [part.largest * size for part in model.unets]
    match rung:
        case "none":
            decoding = decoding_bytes(model, image)
            needed = sum(encoders) + sum(unets) + max(drawing, decoding)
        case "model":
            needed = max(sum(encoders), max(unets) + drawing)
        case "group":
            needed = max(sum(encoders), LAYERS_AT_ONCE * max(layers) + drawing)
        case _:
            embedding = max(part.largest * size for part in model.text_encoders)
            needed = max(embedding, max(layers) + drawing)
    return RESERVE + _vae_bytes(model) + needed


def drawing_bytes(model: ModelSize, image: ImageSize) -> int:
    """Return the bytes that the UNet needs besides its weights."""
    cells = image.width * image.height // _LATENT_SIDE**2
    channels = max(part.channels for part in model.unets)
    return image.rows * cells * channels * UNET_TENSORS * model.number_bytes


def decoding_bytes(model: ModelSize, image: ImageSize) -> int:
    """Return the bytes that the VAE needs besides its weights, for the whole image at once."""
    pixels = image.width * image.height
    return pixels * model.vae.channels * VAE_TENSORS * model.vae_number_bytes


def choose_rung(model: ModelSize, image: ImageSize, budget: int, rungs: Sequence[str]) -> str:
    """Return the first rung with which an image fits into `budget` bytes, or the last one."""
    fitting = (rung for rung in rungs if needed_bytes(model, image, rung) <= budget)
    return next(fitting, rungs[-1])


def needs_tiles(model: ModelSize, image: ImageSize, budget: int, rung: str) -> bool:
    """Return whether the image can only be decoded in tiles, with all but the VAE off the GPU."""
    if rung == ON_DEVICE:
        return False
    return RESERVE + _vae_bytes(model) + decoding_bytes(model, image) > budget


def _vae_bytes(model: ModelSize) -> int:
    return model.vae.numbers * model.vae_number_bytes


SD_15: Final = ModelSize(
    text_encoders=[PartSize(numbers=123_060_480, largest=37_945_344)],
    unets=[PartSize(numbers=859_520_964, largest=29_491_200, channels=320)],
    vae=PartSize(numbers=83_653_863, largest=2_359_296, channels=128),
)
"""Stable Diffusion 1.5 in float16."""

SDXL: Final = ModelSize(
    text_encoders=[
        PartSize(numbers=123_060_480, largest=37_945_344),
        PartSize(numbers=694_659_840, largest=63_242_240),
    ],
    unets=[PartSize(numbers=2_567_463_684, largest=29_491_200, channels=320)],
    vae=PartSize(numbers=83_653_863, largest=2_359_296, channels=128),
    vae_number_bytes=4,
)
"""Stable Diffusion XL in float16, whose VAE needs float32."""
