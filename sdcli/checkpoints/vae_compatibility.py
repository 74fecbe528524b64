"""Check whether a VAE fits the latents of a model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sdcli.catalog.known_vaes import (
    FAMILY_SCALING_FACTORS,
    UNKNOWN_FAMILY,
    KnownVae,
)
from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.checkpoints.vae_info import VaeInfo, scaling_factor


@dataclass(frozen=True, kw_only=True)
class VaeMismatch:
    """A reason why a VAE does not fit a model.

    `can_be_forced` tells that the VAE can decode the model's latents, though to wrong colors.
    """

    reason: str
    can_be_forced: bool
    hint: str = "use a VAE made for this model; `sdcli vae list` shows which fit"


def find_mismatch(
    vae: VaeInfo,
    model_vae_config: Mapping[str, Any],
    model: ModelDefaults,
    known_vae: KnownVae | None,
) -> VaeMismatch | None:
    """Return the first reason why `vae` does not fit `model`, or None if it fits.

    `model_vae_config` is the configuration of the model's own VAE. `known_vae` is the entry of the
    table if the VAE was selected by name.
    """
    mismatches = (
        *_shape_mismatches(vae, model),
        *_scaling_mismatches(vae, model_vae_config, model),
        *_family_mismatches(model, known_vae),
    )
    return next(iter(mismatches), None)


def _shape_mismatches(vae: VaeInfo, model: ModelDefaults) -> Iterator[VaeMismatch]:
    if vae.latent_channels != model.latent_channels:
        yield VaeMismatch(
            reason=f"it has {vae.latent_channels} latent channels, but the model has "
            f"{model.latent_channels}",
            can_be_forced=False,
        )
    if vae.vae_scale_factor != model.vae_scale_factor:
        yield VaeMismatch(
            reason=f"its latents are {vae.vae_scale_factor} pixels wide, but those of the model "
            f"are {model.vae_scale_factor}",
            can_be_forced=False,
        )


def _scaling_mismatches(
    vae: VaeInfo, model_vae_config: Mapping[str, Any], model: ModelDefaults
) -> Iterator[VaeMismatch]:
    expected = _expected_scaling_factor(vae, model_vae_config, model)
    # Configurations round the factor differently, to 4 or 5 digits.
    if expected is not None and not math.isclose(vae.scaling_factor, expected, rel_tol=1e-4):
        yield VaeMismatch(
            reason=f"its scaling factor is {vae.scaling_factor:g}, but this model needs "
            f"{expected:g}: the image would be washed out or oversaturated",
            can_be_forced=True,
        )


def _family_mismatches(model: ModelDefaults, known_vae: KnownVae | None) -> Iterator[VaeMismatch]:
    if known_vae and model.family not in (UNKNOWN_FAMILY, *known_vae.families):
        families = " and ".join(sorted(known_vae.families))
        yield VaeMismatch(
            reason=f"it was made for {families}, but this model is {model.family}",
            can_be_forced=True,
        )


def _expected_scaling_factor(
    vae: VaeInfo, model_vae_config: Mapping[str, Any], model: ModelDefaults
) -> float | None:
    """Return the factor that fits the model's latents, None if it is unknown."""
    # AutoencoderTiny is trained on latents that are already scaled.
    if vae.class_name == "AutoencoderTiny":
        return 1.0
    if model_vae_config.get("_class_name") != "AutoencoderTiny":
        return scaling_factor(model_vae_config)
    return FAMILY_SCALING_FACTORS.get(model.family)
