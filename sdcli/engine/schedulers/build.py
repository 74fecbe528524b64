"""Schedulers, built anew for every batch from the model's pristine configuration.

Never from the current scheduler's: `from_config` hands hidden entries on, so that Karras sigmas
would survive a detour over DDIM. Diffusers' `compatibles` is no registry either: it misses LCM,
TCD and SA-Solver.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

import diffusers
import torch

from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.errors import ModelError, UsageError


def scheduler_class(name: str) -> Any:
    """The Diffusers class of that name. Raises ModelError when it is not a scheduler."""
    found = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
    if found is None:
        raise ModelError(f"Diffusers has no scheduler {name!r}", code="model.scheduler")
    return found


def build_scheduler(base: Any, choice: SchedulerConfig, *, steps: int, seeds: Sequence[int]) -> Any:
    """A scheduler of the chosen class and options over `base`'s configuration, ready for `steps`.

    `base` is the model's own scheduler and stays untouched. `seeds` has one seed an image.
    Raises UsageError for an option the class lacks, a missing package, impossible steps.
    """
    cls = scheduler_class(choice.class_name) if choice.class_name else type(base)
    options = dict(choice.config)
    _check_options(cls, options)
    if "noise_sampler_seed" in _parameters(cls):  # DPMSolverSDE never asks the generator
        options["noise_sampler_seed"] = list(seeds)
    try:
        with warnings.catch_warnings():
            # Of algorithm_type=dpmsolver, which works all the same.
            warnings.filterwarnings("ignore", ".*algorithm_type", FutureWarning)
            warnings.filterwarnings("ignore", "__array(_wrap__)?", DeprecationWarning)
            scheduler = cls.from_config(base.config, **options)
            scheduler.set_timesteps(steps)
    except ImportError as error:
        raise UsageError(
            f"{cls.__name__} needs a package that is not installed: {error}".splitlines()[0],
            code="usage.scheduler",
            hint="pip install scipy torchsde",
        ) from error
    except (ValueError, ZeroDivisionError, IndexError) as error:
        raise UsageError(
            f"{cls.__name__} cannot do {steps} steps so: {error}", code="usage.scheduler"
        ) from error
    _check_times(scheduler, steps)
    return scheduler


def _check_times(scheduler: Any, steps: int) -> None:
    """Raises UsageError for so many steps that two fall together, or one before the trained times.

    Multistep solvers divide by the way between two steps.
    """
    trained = scheduler.config.num_train_timesteps
    levels = [float(level) for level in getattr(scheduler, "sigmas", ())][:steps]
    together = "solver_order" in scheduler.config and len(set(levels)) < len(levels)
    if together or float(max(scheduler.timesteps)) >= trained:
        raise UsageError(
            f"{type(scheduler).__name__} cannot do {steps} steps so: {trained} times were trained",
            code="usage.scheduler",
            hint=f"at most {trained - 1} steps",
        )


def timestep_table(choice: SchedulerConfig, steps: int) -> tuple[list[tuple[float, float]], float]:
    """(timestep, sigma) of each UNet call, and the sigma that the last one leaves.

    On the configuration of Stable Diffusion 1. Sigma is √((1-ᾱ)/ᾱ), the noise per signal. Raises
    UsageError as `build` does.
    """
    scheduler = build_scheduler(
        SimpleNamespace(config=_STABLE_DIFFUSION), choice, steps=steps, seeds=[0]
    )
    between = getattr(scheduler, "sigmas_interpol", None)  # DPM2's second call of a step
    behind = 1 if isinstance(scheduler, diffusers.KDPM2AncestralDiscreteScheduler) else 0
    levels = getattr(scheduler, "sigmas", None)
    pairs = []
    for i, t in enumerate(scheduler.timesteps):
        if between is not None and i % 2:
            sigma = float(between[i - behind])
        elif levels is not None:
            sigma = float(levels[i])
        else:
            sigma = _sigma(scheduler.alphas_cumprod[int(t)])
        pairs.append((float(t), sigma))
    return pairs, _last_sigma(scheduler)


def _last_sigma(scheduler: Any) -> float:
    levels = getattr(scheduler, "sigmas", None)
    if levels is not None:
        return float(levels[-1])
    if isinstance(scheduler, _ENDING_CLEAN):
        return 0.0
    if isinstance(scheduler, diffusers.TCDScheduler):
        return _sigma(scheduler.alphas_cumprod[0])
    return _sigma(scheduler.final_alpha_cumprod)


_ENDING_CLEAN: Final = (
    diffusers.DDPMScheduler,
    diffusers.DDPMParallelScheduler,
    diffusers.LCMScheduler,
)
"""Classes without sigmas whose last step gives the predicted clean latents."""


def _sigma(alpha: Any) -> float:
    return float(((1 - alpha) / alpha) ** 0.5)


_STABLE_DIFFUSION: Final[Mapping[str, object]] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "clip_sample": False,
}


def check_eta(scheduler: Any, eta: float) -> None:
    """Raise UsageError for an eta that the scheduler would silently ignore."""
    if eta and "eta" not in inspect.signature(scheduler.step).parameters:
        raise UsageError(
            f"eta: {type(scheduler).__name__} has none",
            code="usage.eta",
            hint="eta means something to DDIM and TCD",
        )


def timesteps(scheduler: Any) -> tuple[float, ...]:
    """Trained times that the UNet is asked at, first to last."""
    return tuple(float(t) for t in scheduler.timesteps)


def sigmas(scheduler: Any) -> tuple[float, ...] | None:
    """Noise levels of the steps and the one after them; None for classes that keep none."""
    levels = getattr(scheduler, "sigmas", None)
    return None if levels is None else tuple(float(s) for s in levels)


def public_config(scheduler: Any) -> dict[str, object]:
    """The scheduler's configuration as JSON can hold it, without Diffusers' own bookkeeping."""
    return {
        key: _plain(value) for key, value in scheduler.config.items() if not key.startswith("_")
    }


def _check_options(cls: Any, options: Mapping[str, object]) -> None:
    unknown = options.keys() - _parameters(cls)
    if unknown:
        raise UsageError(
            f"{cls.__name__} has no option {', '.join(sorted(unknown))}", code="usage.scheduler"
        )


def _parameters(cls: Any) -> set[str]:
    return set(inspect.signature(cls.__init__).parameters) - {"self"}


def _plain(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if hasattr(value, "tolist"):  # a numpy array or number
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):  # lambda_min_clipped is "-inf"
        return str(value)
    return value
