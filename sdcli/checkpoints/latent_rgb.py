"""Read the linear map from a model's latents to RGB, for previews without a VAE.

The factors for Stable Diffusion 1/2 and XL are those of ComfyUI's `latent_formats.py`. A model can
bring its own in its `sdcli.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from sdcli.catalog.known_vaes import SD_SCALING_FACTOR, SDXL_SCALING_FACTOR
from sdcli.checkpoints.component_configs import DEFAULTS_FILE, read_config
from sdcli.checkpoints.json_files import read_json
from sdcli.errors import CorruptError, UsageError

Factors = tuple[tuple[float, ...], ...]

FACTORS_KEY: Final = "latent_rgb_factors"
"""Key of the factors in a model's `sdcli.json`."""

# One RGB row for each latent channel, then one for the constant. The result is in -1 to 1.
SD_FACTORS: Final[Factors] = (
    (0.3512, 0.2297, 0.3227),
    (0.3250, 0.4974, 0.2350),
    (-0.2829, 0.1762, 0.2721),
    (-0.2120, -0.2616, -0.7177),
    (0.0, 0.0, 0.0),
)
SDXL_FACTORS: Final[Factors] = (
    (0.3651, 0.4232, 0.4341),
    (-0.2533, -0.0042, 0.1068),
    (0.1076, 0.1111, -0.0362),
    (-0.3165, -0.2492, -0.2188),
    (0.1084, -0.0175, -0.0011),
)
# Both VAEs have the same architecture; the scaling factor tells their latent spaces apart.
_BY_SCALING_FACTOR: Final = {SD_SCALING_FACTOR: SD_FACTORS, SDXL_SCALING_FACTOR: SDXL_FACTORS}


def read_latent_rgb_factors(folder: Path) -> Factors:
    """Return the factors for the model in `folder`: (latent channels + 1) rows of 3 numbers.

    They come from the model's `sdcli.json`, or else from the family that its VAE's scaling factor
    indicates. Raises UsageError if neither is known, and CorruptError if the model's own factors
    have the wrong shape.
    """
    vae = read_config(folder / "vae" / "config.json", "vae")
    channels = vae.get("latent_channels", 4)
    defaults_file = folder / DEFAULTS_FILE
    if defaults_file.exists() and (factors := read_json(defaults_file).get(FACTORS_KEY)):
        if not _is_table(factors, channels + 1):
            raise CorruptError(
                f"{defaults_file}: {FACTORS_KEY} is {json.dumps(factors)}", code="model.corrupt"
            )
        return tuple(tuple(float(value) for value in row) for row in factors)
    family_factors = _BY_SCALING_FACTOR.get(vae.get("scaling_factor", SD_SCALING_FACTOR))
    if family_factors is None or channels != 4:
        raise UsageError(
            f"{folder}: no linear approximation of its latents is known",
            code="latents.no_factors",
            hint="use `sdcli latents decode`, which uses the VAE",
        )
    return family_factors


def _is_table(value: object, rows: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == rows
        and all(isinstance(row, list) and len(row) == 3 for row in value)
        and all(isinstance(item, int | float) for row in value for item in row)
    )
