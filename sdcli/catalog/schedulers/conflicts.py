"""Check for options that a scheduler class accepts but ignores, or that break it.

Diffusers raises no error for these. `tests/engine/schedulers/test_class_options.py` runs every
sampler with and without every option, which finds rules that are missing or needless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sdcli.catalog.schedulers.sampler_types import Sampler
from sdcli.errors import UsageError

Config = Mapping[str, Any]

_SIGMA_SCHEDULES: Final = ("Karras", "Exponential", "Beta", "Lu")

# Classes whose sigma schedules span all trained noise levels, whatever the timestep spacing. Other
# classes start from the spaced timesteps.
_IGNORE_SPACING: Final = (
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
    "SASolverScheduler",
)


@dataclass(frozen=True, kw_only=True)
class _MergedConfig:
    """A scheduler as it will be built: the class, all options and the name of the schedule."""

    class_name: str
    config: Config
    schedule: str

    def uses_spacing(self) -> bool:
        """Whether timestep_spacing has an effect."""
        return self.class_name not in _IGNORE_SPACING or self.schedule not in _SIGMA_SCHEDULES

    def order(self) -> int:
        """Return the highest order of the solver, predictor and corrector."""
        names = ("solver_order", "predictor_order", "corrector_order")
        return max(int(self.config.get(name, 1)) for name in names)

    def needs_lower_order_final(self) -> bool:
        """Whether lower_order_final has an effect.

        It has none where the class lowers the order of the last steps anyway.
        """
        if self.class_name == "DEISMultistepScheduler":
            return self.uses_spacing() or self.order() > 2
        if self.config.get("final_sigmas_type") != "zero":
            return True
        # At a last noise level of zero, DPMSolverMultistep makes the last step first-order by
        # itself; lower_order_final then changes only the step before, from third to second order.
        if self.class_name == "DPMSolverMultistepScheduler":
            return self.order() > 2
        return self.class_name == "UniPCMultistepScheduler"


Condition = Callable[[_MergedConfig], bool]


@dataclass(frozen=True, kw_only=True)
class _EffectRule:
    """A condition without which the options in `keys` have no effect.

    `hint` tells how to meet the condition.
    """

    keys: tuple[str, ...]
    condition: Condition
    hint: str


_EFFECT_RULES: Final = (
    _EffectRule(
        keys=("timestep_spacing", "steps_offset"),
        condition=_MergedConfig.uses_spacing,
        hint="omit either the option or the schedule",
    ),
    _EffectRule(
        keys=("steps_offset",),
        condition=lambda merged: merged.config["timestep_spacing"] == "leading",
        hint="add timestep_spacing=leading",
    ),
    _EffectRule(
        keys=("dynamic_thresholding_ratio", "sample_max_value"),
        condition=lambda merged: bool(merged.config["thresholding"]),
        hint="add thresholding=true",
    ),
    _EffectRule(
        keys=("dynamic_thresholding_ratio",),
        condition=lambda merged: merged.config["sample_max_value"] > 1,
        hint="the threshold lies between 1 and sample_max_value: add a sample_max_value above 1",
    ),
    _EffectRule(
        keys=("thresholding",),
        condition=lambda merged: bool(merged.config.get("predict_x0", True)),
        hint="it requires predict_x0=true",
    ),
    _EffectRule(
        keys=("lambda_min_clipped",),
        condition=lambda merged: merged.schedule not in _SIGMA_SCHEDULES,
        hint="omit either the option or the schedule",
    ),
    _EffectRule(
        keys=("clip_sample_range",),
        condition=lambda merged: bool(merged.config["clip_sample"]),
        hint="add clip_sample=true",
    ),
    _EffectRule(
        keys=("euler_at_final",),
        condition=lambda merged: merged.config["final_sigmas_type"] != "zero",
        hint="the last step is already an Euler step; to change it, add "
        "final_sigmas_type=sigma_min",
    ),
    _EffectRule(
        keys=("lower_order_final",),
        condition=lambda merged: merged.order() > 1,
        hint="it is for solvers of order 2 or higher",
    ),
    _EffectRule(
        keys=("lower_order_final",),
        condition=_MergedConfig.needs_lower_order_final,
        hint="the last step is already of order 1; to change it, add final_sigmas_type=sigma_min",
    ),
    _EffectRule(
        keys=("sigma_min", "sigma_max"),
        condition=lambda merged: merged.schedule in _SIGMA_SCHEDULES,
        hint="add a schedule, for example Karras",
    ),
    _EffectRule(
        keys=("solver_type",),
        condition=lambda merged: merged.config["solver_order"] > 1,
        hint="it is for a solver_order of 2 or higher",
    ),
)


@dataclass(frozen=True, kw_only=True)
class _BrokenRule:
    """A combination of options that ends in NaN or in an error, and how to avoid it."""

    condition: Condition
    reason: str
    hint: str


_BROKEN_RULES: Final = (
    # The formulas without ++ multiply the last noise level by exp(h), where h is the step in log
    # signal-to-noise ratio. At a level of zero this is zero times infinity.
    _BrokenRule(
        condition=lambda merged: (
            merged.config.get("algorithm_type") in ("dpmsolver", "sde-dpmsolver")
            and merged.config["final_sigmas_type"] == "zero"
        ),
        reason="without ++ it cannot end at a noise level of zero",
        hint="add final_sigmas_type=sigma_min",
    ),
    _BrokenRule(
        condition=lambda merged: (
            merged.config.get("solver_type") == "bh1"
            and merged.config["final_sigmas_type"] == "zero"
        ),
        reason="bh1 ends in NaN at a noise level of zero",
        hint="add final_sigmas_type=sigma_min, or use solver_type=bh2",
    ),
    _BrokenRule(
        condition=lambda merged: (
            merged.config.get("final_sigmas_type") == "sigma_min" and not merged.uses_spacing()
        ),
        reason="the schedule already ends at sigma_min, so the last step would do nothing",
        hint="omit either the schedule or final_sigmas_type",
    ),
    _BrokenRule(
        condition=lambda merged: (
            merged.config.get("algorithm_type") == "sde-dpmsolver" and merged.order() > 2
        ),
        reason="sde-dpmsolver has no third order",
        hint="use algorithm_type=sde-dpmsolver++, or solver_order=2",
    ),
    _BrokenRule(
        condition=lambda merged: (
            merged.class_name == "UniPCMultistepScheduler"
            and not merged.config["lower_order_final"]
            and merged.config["final_sigmas_type"] == "zero"
        ),
        reason="lower_order_final=false ends in NaN at a noise level of zero",
        hint="add final_sigmas_type=sigma_min",
    ),
    _BrokenRule(
        condition=lambda merged: (
            merged.config.get("predict_x0") is False
            and merged.config["final_sigmas_type"] == "zero"
        ),
        reason="predict_x0=false ends in NaN at a noise level of zero",
        hint="add final_sigmas_type=sigma_min",
    ),
    _BrokenRule(
        condition=lambda merged: (
            bool(merged.config.get("rescale_betas_zero_snr")) and merged.schedule == "Beta"
        ),
        reason="rescale_betas_zero_snr does not work with the Beta schedule",
        hint="omit one of them",
    ),
)


def check_ignored_options(row: Sampler, config: Config, overrides: Config, schedule: str) -> None:
    """Raise UsageError for the first of `overrides` that has no effect in `config`.

    Raises it as well for a combination of options that ends in NaN or in an error.
    """
    merged = _MergedConfig(class_name=row.class_name, config=config, schedule=schedule)
    for rule in _EFFECT_RULES:
        for key in rule.keys:
            if key in overrides and not rule.condition(merged):
                raise UsageError(
                    f"--scheduler: {row.name} would ignore {key} here",
                    code="scheduler.options",
                    hint=rule.hint,
                )
    _check_broken_options(row, config, schedule)


def _check_broken_options(row: Sampler, config: Config, schedule: str) -> None:
    """Raise UsageError for a combination of options that ends in NaN or in an error."""
    merged = _MergedConfig(class_name=row.class_name, config=config, schedule=schedule)
    for rule in _BROKEN_RULES:
        if rule.condition(merged):
            raise UsageError(
                f"--scheduler: {row.name}: {rule.reason}", code="scheduler.options", hint=rule.hint
            )
