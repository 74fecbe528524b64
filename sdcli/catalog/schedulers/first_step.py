"""Find schedules that would run the model twice at its first timestep.

Where a model's noise levels rise steeply at the end, as those of a cosine schedule do, a schedule
of noise levels can place two steps within one trained timestep. The classes of Diffusers look up
the first one to know where they are, find the second, and end in an IndexError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Config = Mapping[str, Any]

_WHOLE_TIMESTEPS: Final = (
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
)
"""Classes whose schedules span all trained noise levels, and that cut timesteps to integers."""

_ROUNDED_TIMESTEPS: Final = ("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler")
"""Classes that round the timesteps of Karras sigmas, and begin at the first of their spacing."""

_RHO: Final = 7
"""The exponent of Karras et al., arXiv 2206.00364."""

_BETA_SHAPE: Final = 0.6
"""Both parameters of the beta distribution."""

SCHEDULE_HINT: Final = "use another schedule, other --steps, or the model's own scheduler (omit -s)"


def repeated_first_timestep(class_name: str, config: Config, steps: int) -> int | None:
    """Return the first timestep of a run if its second is the same, None otherwise.

    `config` is all options of the scheduler. What is not known without building the scheduler gives
    None, too.
    """
    if not _is_known(class_name, config) or steps < 2:
        return None
    sigmas = _trained_sigmas(config)
    if sigmas is None:
        return None
    largest = config.get("sigma_max") or float(sigmas[-1])
    smallest = config.get("sigma_min") or float(sigmas[0])
    second = _second_sigma(config, largest, smallest, 1 / (steps - 1))
    timesteps = [_timestep(sigma, sigmas) for sigma in (largest, second)]
    if config.get("use_karras_sigmas") and not _keeps_fractions(class_name, config):
        timesteps = [round(timestep) for timestep in timesteps]
    first_timestep, second_timestep = map(int, timesteps)
    return first_timestep if first_timestep == second_timestep else None


def _is_known(class_name: str, config: Config) -> bool:
    is_karras, others = config.get("use_karras_sigmas"), ("exponential", "beta")
    if class_name in _WHOLE_TIMESTEPS:
        return bool(is_karras or any(config.get(f"use_{name}_sigmas") for name in others))
    spans_all = config.get("timestep_spacing") == "linspace"
    return class_name in _ROUNDED_TIMESTEPS and bool(is_karras) and spans_all


def _keeps_fractions(class_name: str, config: Config) -> bool:
    is_cosine = config.get("beta_schedule") == "squaredcos_cap_v2"
    return class_name == "DPMSolverMultistepScheduler" and is_cosine


def _trained_sigmas(config: Config) -> NDArray[np.float32] | None:
    """Return the noise level of each trained timestep, None if only torch computes them exactly."""
    import numpy as np  # slow to import

    # The last bit decides whether a timestep is 998 or 999, so this rounds as Diffusers does.
    if config.get("rescale_betas_zero_snr"):
        return None
    if config.get("trained_betas"):
        betas = np.array(config["trained_betas"], np.float32)
    elif config.get("beta_schedule") == "squaredcos_cap_v2":
        betas = np.array(_cosine_betas(config["num_train_timesteps"]), np.float32)
    else:
        return None
    alphas = np.cumprod(1 - betas, dtype=np.float64).astype(np.float32)
    if len(alphas) < 2 or not (alphas > 0).all() or not (alphas < 1).all():
        return None
    sigmas: NDArray[np.float32] = np.sqrt((1 - alphas) / alphas)
    return sigmas


def _cosine_betas(count: int) -> list[float]:
    # Nichol & Dhariwal, arXiv 2102.09672, equation 17.
    bars = [math.cos((i / count + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(count + 1)]
    return [min(1 - bars[i + 1] / bars[i], 0.999) for i in range(count)]


def _second_sigma(config: Config, largest: float, smallest: float, fraction: float) -> float:
    """Return the noise level at which the second step begins, `fraction` of the way down."""
    if config.get("use_karras_sigmas"):
        high, low = largest ** (1 / _RHO), smallest ** (1 / _RHO)
        return float((high + fraction * (low - high)) ** _RHO)
    if config.get("use_exponential_sigmas"):
        return math.exp(math.log(largest) + fraction * math.log(smallest / largest))
    import scipy.stats  # slow to import

    quantile = float(scipy.stats.beta.ppf(1 - fraction, _BETA_SHAPE, _BETA_SHAPE))
    return float(smallest + quantile * (largest - smallest))


def _timestep(sigma: float, sigmas: NDArray[np.float32]) -> float:
    """Return the timestep of a noise level, interpolated in log(sigma)."""
    import numpy as np

    logs, log_sigma = np.log(sigmas), np.log(max(sigma, 1e-10))
    low = min(max(int((logs <= log_sigma).sum()) - 1, 0), len(logs) - 2)
    weight = (logs[low] - log_sigma) / (logs[low] - logs[low + 1])
    return low + float(min(max(weight, 0.0), 1.0))
