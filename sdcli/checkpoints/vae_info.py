"""VAEs: names for those on the hub, what the files of one say, and whether it fits a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdcli.catalog.known_vaes import _SD, _UNKNOWN_FAMILY, CLASSES, SD_SCALING_FACTOR, KnownVae
from sdcli.checkpoints.model_defaults import ModelDefaults, read_json
from sdcli.checkpoints.safetensors_header import read_header
from sdcli.checkpoints.vae_config import infer_vae_config
from sdcli.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class VaeInfo:
    """A VAE as its files tell it, nothing loaded.

    `home` is its folder, or the file that is all of it; `weights` the file with the tensors.
    `vae_scale_factor` is pixels a latent. `assumed` are sentences on what no file says.
    """

    home: Path
    weights: Path
    class_name: str
    config: Mapping[str, Any]
    latent_channels: int
    scaling_factor: float
    vae_scale_factor: int
    parameters: int
    bytes: int
    dtypes: tuple[str, ...]
    assumed: tuple[str, ...] = ()

    @property
    def is_single_file(self) -> bool:
        """Whether it is one file without a configuration."""
        return self.home == self.weights


def read_vae(home: Path, weights: Path, own: Mapping[str, Any]) -> VaeInfo:
    """The facts of the VAE in the folder `home`, or in the file `home` when that is `weights`.

    `own` is the configuration of the model's own VAE: a file without one borrows from it what its
    tensors do not tell. Raises ModelError for classes that are not read, CorruptError.
    """
    header = read_header(weights)
    if home == weights:
        config, assumed = infer_vae_config(home, header, own)
    else:
        config, assumed = read_json(home / "config.json"), ()
    class_name = str(config.get("_class_name"))
    if class_name not in CLASSES:
        raise ModelError(
            f"VAE: {home} is a {class_name}",
            code="model.vae",
            hint=f"it must be one of {', '.join(CLASSES)}",
        )
    blocks = (
        config.get("encoder_block_out_channels") or config.get("block_out_channels") or (0,) * 4
    )
    return VaeInfo(
        home=home,
        weights=weights,
        class_name=class_name,
        config=config,
        latent_channels=config.get("latent_channels", 4),
        scaling_factor=scaling_factor(config),
        vae_scale_factor=2 ** (len(blocks) - 1),
        parameters=sum(math.prod(tensor.shape) for tensor in header.tensors.values()),
        bytes=weights.stat().st_size,
        dtypes=tuple(sorted({tensor.dtype for tensor in header.tensors.values()})),
        assumed=assumed,
    )


def scaling_factor(config: Mapping[str, Any]) -> float:
    """What latents are multiplied by before the UNet sees them, or the default of the class."""
    default = 1.0 if config.get("_class_name") == "AutoencoderTiny" else SD_SCALING_FACTOR
    return float(config.get("scaling_factor", default))


@dataclass(frozen=True, kw_only=True)
class VaeMismatch:
    """Why a VAE is wrong for a model. What `can_be_forced` gives a picture, though a wrong one."""

    reason: str
    can_be_forced: bool
    hint: str = field(default="use a VAE made for this model, as `sdcli vae list` marks them")


def find_mismatch(
    vae: VaeInfo, own: Mapping[str, Any], model: ModelDefaults, row: KnownVae | None
) -> VaeMismatch | None:
    """What is wrong with `vae` under a model whose own has the configuration `own`, or None.

    `row` is the table's, where the VAE was asked for by a name of it.
    """
    if vae.latent_channels != model.latent_channels:
        return VaeMismatch(
            reason=f"it has {vae.latent_channels} latent channels, "
            f"the model's latents {model.latent_channels}",
            can_be_forced=False,
        )
    if vae.vae_scale_factor != model.vae_scale_factor:
        return VaeMismatch(
            reason=f"a latent of it is {vae.vae_scale_factor} pixels wide, "
            f"the model's {model.vae_scale_factor}",
            can_be_forced=False,
        )
    wanted = _wanted_scaling_factor(vae, own, model)
    if wanted is not None and not math.isclose(vae.scaling_factor, wanted, rel_tol=1e-4):
        return VaeMismatch(
            reason=f"its scaling factor is {vae.scaling_factor:g}, this model's latents need "
            f"{wanted:g}: the picture would be washed out or burnt",
            can_be_forced=True,
        )
    if row and model.family != _UNKNOWN_FAMILY and model.family not in row.families:
        families = " and ".join(sorted(row.families))
        return VaeMismatch(
            reason=f"it was made for the latents of {families}, this model is {model.family}",
            can_be_forced=True,
        )
    return None


def _wanted_scaling_factor(
    vae: VaeInfo, own: Mapping[str, Any], model: ModelDefaults
) -> float | None:
    if vae.class_name == "AutoencoderTiny":  # trained on latents as the UNet has them
        return 1.0
    if own.get("_class_name") != "AutoencoderTiny":
        return scaling_factor(own)
    return SD_SCALING_FACTOR if model.family in _SD else None
