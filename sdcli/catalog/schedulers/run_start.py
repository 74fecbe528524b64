"""Describe runs that begin far below the noise that their latents are drawn with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from sdcli.catalog.schedulers.option_info import option_info

Config = Mapping[str, Any]

_LOWEST_START: Final = 3.87
"""Sigma below which more than a quarter of the UNet's first input should be image."""

_KNOWN: Final = frozenset(
    {
        "DDIMScheduler",
        "DDPMScheduler",
        "EulerAncestralDiscreteScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "LMSDiscreteScheduler",
        "PNDMScheduler",
    }
)
"""Classes that begin at the first timestep of their spacing."""

_UNKNOWN_OPTIONS: Final = (
    "rescale_betas_zero_snr", "sigma_max", "trained_betas", "use_beta_sigmas",
    "use_exponential_sigmas", "use_karras_sigmas",
)  # fmt: skip
"""Options that move the beginning, or the noise at it."""


def begins_at_noise(sigma: float, trained_maximum: float) -> bool:
    """Whether a run that begins at noise level `sigma` can begin with pure noise."""
    # A model that was trained on little noise begins at its most.
    return sigma >= min(_LOWEST_START, trained_maximum / 2)


def takes_trailing(class_name: str, config: Config) -> bool:
    """Whether the spacing "trailing" is another one for the class, which begins at the noise."""
    if config.get("timestep_spacing") in (None, "trailing"):
        return False
    try:
        return not option_info(class_name, "timestep_spacing").fixed_reason
    except KeyError:
        return False


def trailing_hint(class_name: str) -> str:
    """The end of a warning that recommends the spacing "trailing"."""
    return f"; try -s '{class_name};timestep_spacing=trailing' or the SGM Uniform schedule"


def late_start_warning(
    class_name: str, steps: int, timestep: float, sigma: float, hint: str
) -> str:
    """The warning about a run that begins at a timestep of less noise."""
    return (
        f"{class_name} with {steps} {'step' if steps == 1 else 'steps'} begins at "
        f"timestep {timestep:g} (sigma {sigma:.3g}), but the latents are pure noise: the image "
        f"will be poor{hint}"
    )


def known_late_start(class_name: str, config: Config, steps: int) -> str | None:
    """Return the warning about a run that begins too late, None for any other run.

    `config` is all options of the scheduler. Where only torch could tell, the answer is None, too.
    """
    timestep = _first_timestep(class_name, config, steps)
    if timestep is None:
        return None
    sigmas = _trained_sigmas(config)
    if not sigmas or timestep >= len(sigmas):
        return None
    sigma = sigmas[timestep]
    if begins_at_noise(sigma, sigmas[-1]):
        return None
    hint = trailing_hint(class_name) if takes_trailing(class_name, config) else ""
    return late_start_warning(class_name, steps, timestep, sigma, hint)


def _first_timestep(class_name: str, config: Config, steps: int) -> int | None:
    is_runge_kutta = class_name == "PNDMScheduler" and not config.get("skip_prk_steps")
    if class_name not in _KNOWN or is_runge_kutta or any(map(config.get, _UNKNOWN_OPTIONS)):
        return None
    if config.get("timestep_spacing") == "linspace" and steps == 1:
        return 0
    if config.get("timestep_spacing") == "leading":
        ratio = int(config["num_train_timesteps"]) // steps
        return (steps - 1) * ratio + int(config.get("steps_offset") or 0)
    return None


def _trained_sigmas(config: Config) -> list[float]:
    """The noise level of each trained timestep; none for betas that are no straight line."""
    powers = {"linear": 1.0, "scaled_linear": 0.5}
    power = powers.get(str(config.get("beta_schedule")))
    count = config.get("num_train_timesteps")
    if power is None or not isinstance(count, int) or count < 2:
        return []
    first, last = (float(config[name]) ** power for name in ("beta_start", "beta_end"))
    alpha, sigmas = 1.0, []
    for i in range(count):
        alpha *= 1 - (first + (last - first) * i / (count - 1)) ** (1 / power)
        sigmas.append(math.sqrt((1 - alpha) / alpha) if 0 < alpha < 1 else math.inf)
    return sigmas
