"""Known VAEs: the names that users can type for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OWN, TINY = "own", "tiny"
"""The VAE of the model's folder, and the small one beside it."""


CLASSES: Final = ("AutoencoderKL", "AutoencoderTiny", "ConsistencyDecoderVAE")


SD_SCALING_FACTOR: Final = 0.18215
"""What the configurations of Stable Diffusion 1 mean where they say nothing."""


_SD: Final = frozenset({"Stable Diffusion 1", "Stable Diffusion 2"})


_SDXL: Final = frozenset({"Stable Diffusion XL"})


_UNKNOWN_FAMILY: Final = "of its own"


@dataclass(frozen=True, kw_only=True)
class KnownVae:
    """A VAE that many know by name. `families` are the models whose latents it was made for."""

    name: str
    repo: str
    class_name: str
    families: frozenset[str]
    scaling_factor: float
    about: str


VAES: Final = (
    KnownVae(
        name="taesd", repo="madebyollin/taesd", class_name="AutoencoderTiny",
        families=_SD, scaling_factor=1.0, about="small and fast, for previews",
    ),
    KnownVae(
        name="sd-vae-ft-mse", repo="stabilityai/sd-vae-ft-mse", class_name="AutoencoderKL",
        families=_SD, scaling_factor=SD_SCALING_FACTOR, about="smoother faces than the first",
    ),
    KnownVae(
        name="sd-vae-ft-ema", repo="stabilityai/sd-vae-ft-ema", class_name="AutoencoderKL",
        families=_SD, scaling_factor=SD_SCALING_FACTOR, about="sharper, less smooth",
    ),
    KnownVae(
        name="consistency", repo="openai/consistency-decoder", class_name="ConsistencyDecoderVAE",
        families=_SD, scaling_factor=SD_SCALING_FACTOR, about="draws its own noise, slow",
    ),
    KnownVae(
        name="taesdxl", repo="madebyollin/taesdxl", class_name="AutoencoderTiny",
        families=_SDXL, scaling_factor=1.0, about="small and fast, for previews",
    ),
    KnownVae(
        name="sdxl-vae", repo="stabilityai/sdxl-vae", class_name="AutoencoderKL",
        families=_SDXL, scaling_factor=0.13025, about="overflows in float16",
    ),
    KnownVae(
        name="sdxl-fp16-fix", repo="madebyollin/sdxl-vae-fp16-fix", class_name="AutoencoderKL",
        families=_SDXL, scaling_factor=0.13025, about="the same, finite in float16",
    ),
)  # fmt: skip


def find_known_vae(name: str) -> KnownVae | None:
    """The row of an alias or of a hub id."""
    return next((row for row in VAES if name in (row.name, row.repo)), None)
