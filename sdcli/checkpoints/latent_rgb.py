"""What a latent looks like without its VAE: a linear map of its channels to RGB, by family.

The numbers of Stable Diffusion 1/2 and XL are the ones that the field's previews share (as in
ComfyUI's latent formats); a model of our own brings its own in its `sdcli.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from sdcli.checkpoints.model_defaults import OWN_DEFAULTS, read_json
from sdcli.errors import CorruptError, UsageError

Factors = tuple[tuple[float, ...], ...]
KEY: Final = "latent_rgb_factors"

# A row of RGB a channel, and one for the constant; the result is -1 to 1.
SD1: Final[Factors] = (
    (0.3512, 0.2297, 0.3227),
    (0.3250, 0.4974, 0.2350),
    (-0.2829, 0.1762, 0.2721),
    (-0.2120, -0.2616, -0.7177),
    (0.0, 0.0, 0.0),
)
SDXL: Final[Factors] = (
    (0.3651, 0.4232, 0.4341),
    (-0.2533, -0.0042, 0.1068),
    (0.1076, 0.1111, -0.0362),
    (-0.3165, -0.2492, -0.2188),
    (0.1084, -0.0175, -0.0011),
)
_BY_SCALE: Final = {0.18215: SD1, 0.13025: SDXL}


def read_latent_rgb_factors(folder: Path) -> Factors:
    """The factors for a model folder: its own, else those of the VAE whose scaling factor it has.

    Raises UsageError when neither is known, CorruptError when its own are not 3 numbers a row.
    """
    vae = read_json(folder / "vae" / "config.json")
    channels = vae.get("latent_channels", 4)
    own = folder / OWN_DEFAULTS
    if own.exists() and (factors := read_json(own).get(KEY)):
        if not _is_table(factors, channels + 1):
            raise CorruptError(f"{own}: {KEY} is {json.dumps(factors)}", code="model.corrupt")
        return tuple(tuple(float(value) for value in row) for row in factors)
    known = _BY_SCALE.get(vae.get("scaling_factor", 0.18215))
    if known is None or channels != 4:
        raise UsageError(
            f"{folder}: nobody has said what its latents look like",
            code="latents.no_factors",
            hint="use `sdcli latents decode`, which asks the VAE",
        )
    return known


def _is_table(value: object, rows: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == rows
        and all(isinstance(row, list) and len(row) == 3 for row in value)
        and all(isinstance(item, int | float) for row in value for item in row)
    )
