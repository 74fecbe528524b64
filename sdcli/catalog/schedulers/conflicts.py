"""Options that a class takes and then silently ignores beside its other options.

Diffusers raises nothing for these. A test runs every option of every row both ways, so that a rule
is missing or idle only until the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sdcli.catalog.schedulers.entries import Sampler
from sdcli.errors import UsageError

Config = Mapping[str, Any]

_SIGMA_SCHEDULES: Final = ("Karras", "Exponential", "Beta", "Lu")
_ALL_LEVELS: Final = (
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
    "SASolverScheduler",
)
"""Classes that spread Karras and other noise levels over all trained ones, whatever the spacing."""


@dataclass(frozen=True, kw_only=True)
class _MergedConfig:
    """One scheduler as it would be: its class, all options, and the schedule's name."""

    class_name: str
    config: Config
    schedule: str

    def spaced(self) -> bool:
        """Whether the timestep spacing decides anything."""
        return self.class_name not in _ALL_LEVELS or self.schedule not in _SIGMA_SCHEDULES

    def order(self) -> int:
        """The highest order of its solver."""
        names = ("solver_order", "predictor_order", "corrector_order")
        return max(int(self.config.get(name, 1)) for name in names)

    def lowers_last_steps(self) -> bool:
        """Whether lower_order_final decides it: a last noise level of zero may do so already."""
        if self.class_name == "DEISMultistepScheduler":
            return self.spaced() or self.order() > 2
        if self.config.get("final_sigmas_type") != "zero":
            return True
        if self.class_name == "DPMSolverMultistepScheduler":
            return self.order() > 2
        return self.class_name == "UniPCMultistepScheduler"


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """`keys` do something when `heeded`; `needs` tells how to make it so."""

    keys: tuple[str, ...]
    heeded: Callable[[_MergedConfig], bool]
    needs: str


_RULES: Final = (
    _Rule(
        keys=("timestep_spacing", "steps_offset"),
        heeded=_MergedConfig.spaced,
        needs="leave out either it or the schedule",
    ),
    _Rule(
        keys=("steps_offset",),
        heeded=lambda said: said.config["timestep_spacing"] == "leading",
        needs="add timestep_spacing=leading",
    ),
    _Rule(
        keys=("dynamic_thresholding_ratio", "sample_max_value"),
        heeded=lambda said: bool(said.config["thresholding"]),
        needs="add thresholding=true",
    ),
    _Rule(
        keys=("dynamic_thresholding_ratio",),
        heeded=lambda said: said.config["sample_max_value"] > 1,
        needs="the threshold lies between 1 and sample_max_value: add one above 1",
    ),
    _Rule(
        keys=("thresholding",),
        heeded=lambda said: bool(said.config.get("predict_x0", True)),
        needs="it needs predict_x0=true",
    ),
    _Rule(
        keys=("lambda_min_clipped",),
        heeded=lambda said: said.schedule not in _SIGMA_SCHEDULES,
        needs="leave out either it or the schedule",
    ),
    _Rule(
        keys=("clip_sample_range",),
        heeded=lambda said: bool(said.config["clip_sample"]),
        needs="add clip_sample=true",
    ),
    _Rule(
        keys=("euler_at_final",),
        heeded=lambda said: said.config["final_sigmas_type"] != "zero",
        needs="the last step is Euler's as it is; add final_sigmas_type=sigma_min for another",
    ),
    _Rule(
        keys=("lower_order_final",),
        heeded=lambda said: said.order() > 1,
        needs="it is for a solver of order 2 or more",
    ),
    _Rule(
        keys=("lower_order_final",),
        heeded=lambda said: said.lowers_last_steps(),
        needs="the last step is of the first order as it is; "
        "add final_sigmas_type=sigma_min for another",
    ),
    _Rule(
        keys=("sigma_min", "sigma_max"),
        heeded=lambda said: said.schedule in _SIGMA_SCHEDULES,
        needs="add a schedule, as in Karras",
    ),
    _Rule(
        keys=("solver_type",),
        heeded=lambda said: said.config["solver_order"] > 1,
        needs="it is for a solver_order of 2 or more",
    ),
)


def check_ignored_options(row: Sampler, config: Config, said: Config, schedule: str) -> None:
    """Raise UsageError for the first option of `said` that would do nothing in `config`."""
    whole = _MergedConfig(class_name=row.class_name, config=config, schedule=schedule)
    for rule in _RULES:
        for key in rule.keys:
            if key in said and not rule.heeded(whole):
                raise UsageError(
                    f"--scheduler: {row.name} would ignore {key} so",
                    code="scheduler.options",
                    hint=rule.needs,
                )
    check_broken_options(row, config, schedule)


def check_broken_options(row: Sampler, config: Config, schedule: str) -> None:
    """Raise UsageError for options that end in NaN or an error together."""
    for broken, why, hint in _BROKEN:
        if broken(_MergedConfig(class_name=row.class_name, config=config, schedule=schedule)):
            raise UsageError(f"--scheduler: {row.name}: {why}", code="scheduler.options", hint=hint)


_BROKEN: Final[tuple[tuple[Callable[[_MergedConfig], bool], str, str], ...]] = (
    (
        lambda said: (
            said.config.get("algorithm_type") in ("dpmsolver", "sde-dpmsolver")
            and said.config["final_sigmas_type"] == "zero"
        ),
        "without ++ it cannot end at a noise level of zero",
        "add final_sigmas_type=sigma_min",
    ),
    (
        lambda said: (
            said.config.get("solver_type") == "bh1" and said.config["final_sigmas_type"] == "zero"
        ),
        "bh1 ends in NaN at a noise level of zero",
        "add final_sigmas_type=sigma_min, or take solver_type=bh2",
    ),
    (
        lambda said: said.config.get("final_sigmas_type") == "sigma_min" and not said.spaced(),
        "its schedule ends at sigma_min as it is, and the last step would do nothing",
        "leave out either the schedule or final_sigmas_type",
    ),
    (
        lambda said: said.config.get("algorithm_type") == "sde-dpmsolver" and said.order() > 2,
        "sde-dpmsolver has no third order",
        "take algorithm_type=sde-dpmsolver++, or solver_order=2",
    ),
    (
        lambda said: (
            said.class_name == "UniPCMultistepScheduler"
            and not said.config["lower_order_final"]
            and said.config["final_sigmas_type"] == "zero"
        ),
        "lower_order_final=false ends in NaN at a noise level of zero",
        "add final_sigmas_type=sigma_min",
    ),
    (
        lambda said: (
            said.config.get("predict_x0") is False and said.config["final_sigmas_type"] == "zero"
        ),
        "predict_x0=false ends in NaN at a noise level of zero",
        "add final_sigmas_type=sigma_min",
    ),
    (
        lambda said: bool(said.config.get("rescale_betas_zero_snr")) and said.schedule == "Beta",
        "rescale_betas_zero_snr breaks on the Beta schedule",
        "leave out one of them",
    ),
)
