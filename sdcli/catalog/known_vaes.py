"""List the published VAEs that users can select by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OWN_VAE, TINY_VAE = "own", "tiny"
"""Names of the VAEs in a model's folder: `vae` and the optional `vae_tiny`."""

VAE_CLASSES: Final = ("AutoencoderKL", "AutoencoderTiny", "ConsistencyDecoderVAE")
"""The Diffusers classes that can be loaded."""

SD_SCALING_FACTOR: Final = 0.18215
"""Scaling factor of Stable Diffusion 1 and 2, and the default of AutoencoderKL."""

SDXL_SCALING_FACTOR: Final = 0.13025

SD_FAMILIES: Final = frozenset({"Stable Diffusion 1", "Stable Diffusion 2"})
SDXL_FAMILY: Final = "Stable Diffusion XL"
SDXL_REFINER_FAMILY: Final = "Stable Diffusion XL Refiner"
SDXL_FAMILIES: Final = frozenset({SDXL_FAMILY})

FAMILY_SCALING_FACTORS: Final = {
    **dict.fromkeys(SD_FAMILIES, SD_SCALING_FACTOR),
    **dict.fromkeys(SDXL_FAMILIES, SDXL_SCALING_FACTOR),
}

UNKNOWN_FAMILY: Final = "unknown"
"""Family of a model that is not recognised."""


@dataclass(frozen=True, kw_only=True)
class KnownVae:
    """A published VAE.

    `repo` is its Hugging Face id. `families` are the model families whose latents it decodes.
    """

    name: str
    repo: str
    class_name: str
    families: frozenset[str]
    scaling_factor: float
    description: str


# The TAESD models are trained on latents that are already scaled, hence their factor of 1.
VAES: Final = (
    KnownVae(
        name="taesd", repo="madebyollin/taesd", class_name="AutoencoderTiny",
        families=SD_FAMILIES, scaling_factor=1.0, description="small and fast, for previews",
    ),
    KnownVae(
        name="sd-vae-ft-mse", repo="stabilityai/sd-vae-ft-mse", class_name="AutoencoderKL",
        families=SD_FAMILIES, scaling_factor=SD_SCALING_FACTOR,
        description="smoother than the original, better faces",
    ),
    KnownVae(
        name="sd-vae-ft-ema", repo="stabilityai/sd-vae-ft-ema", class_name="AutoencoderKL",
        families=SD_FAMILIES, scaling_factor=SD_SCALING_FACTOR,
        description="sharper than sd-vae-ft-mse",
    ),
    KnownVae(
        name="consistency", repo="openai/consistency-decoder", class_name="ConsistencyDecoderVAE",
        families=SD_FAMILIES, scaling_factor=SD_SCALING_FACTOR,
        description="slow; adds random noise while decoding",
    ),
    KnownVae(
        name="taesdxl", repo="madebyollin/taesdxl", class_name="AutoencoderTiny",
        families=SDXL_FAMILIES, scaling_factor=1.0, description="small and fast, for previews",
    ),
    KnownVae(
        name="sdxl-vae", repo="stabilityai/sdxl-vae", class_name="AutoencoderKL",
        families=SDXL_FAMILIES, scaling_factor=SDXL_SCALING_FACTOR,
        description="overflows in float16",
    ),
    KnownVae(
        name="sdxl-fp16-fix", repo="madebyollin/sdxl-vae-fp16-fix", class_name="AutoencoderKL",
        families=SDXL_FAMILIES, scaling_factor=SDXL_SCALING_FACTOR,
        description="sdxl-vae without the overflow in float16",
    ),
)  # fmt: skip


def find_known_vae(name: str) -> KnownVae | None:
    """Return the VAE with that name or Hugging Face id."""
    return next((row for row in VAES if name in (row.name, row.repo)), None)
