"""Resolve scheduler names to Diffusers classes and constructor options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sdcli.catalog.schedulers.lookup import (
    SamplerMatch,
    find_sampler,
    normalize_name,
    sampler_index,
)
from sdcli.catalog.schedulers.model_config import keeps_spacing, merge_config, model_overrides
from sdcli.catalog.schedulers.option_info import option_info
from sdcli.catalog.schedulers.overrides import (
    check_overrides,
    extract_schedule,
    format_value,
    parse_overrides,
    split_overrides,
)
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.catalog.schedulers.sampler_types import Sampler, Schedule
from sdcli.catalog.schedulers.sigma_schedules import AUTOMATIC, SCHEDULES, get_schedule
from sdcli.catalog.schedulers.suggestions import unknown_scheduler_error, unsupported_schedule_error
from sdcli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SchedulerConfig:
    """A scheduler class and the options that override the model's own scheduler configuration.

    A `class_name` of None stands for the model's own scheduler, unchanged.
    """

    class_name: str | None = None
    config: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ResolvedScheduler:
    """A scheduler name together with everything that it implies.

    `label` is the canonical spelling of the name; it resolves to an equal object. `sampler` is
    None for a class that is not in the table. `schedule` is the name of a row of SCHEDULES,
    "Normal" if the name does not include one. `model` is the options in the model's file.
    """

    label: str
    choice: SchedulerConfig
    sampler: Sampler | None
    schedule: str = "Normal"
    model: Mapping[str, object] = field(default_factory=dict, compare=False)

    @property
    def class_name(self) -> str:
        """The Diffusers class."""
        # The label of a model's own scheduler is its class.
        return self.choice.class_name or self.label

    @property
    def is_stochastic(self) -> bool:
        """Whether the scheduler adds noise at its steps, apart from `eta`."""
        # A class that solves both ODEs and SDEs: the algorithm decides, not the row.
        algorithm = str(self._option("algorithm_type"))
        if "dpmsolver" in algorithm:
            return algorithm.startswith("sde")
        return self.sampler is not None and self.sampler.stochastic

    @property
    def order(self) -> int | None:
        """The order of the solver; None for a class that is not in the table."""
        options = [self._option(f"{part}_order") for part in ("solver", "predictor", "corrector")]
        orders = [order for order in options if isinstance(order, int)]
        if orders:
            return max(orders)
        return self.sampler.order if self.sampler else None

    @property
    def max_steps(self) -> int:
        """The maximum number of steps.

        For LCM and TCD it is the number of steps that the model was distilled from, for others the
        number of timesteps that it was trained on.
        """
        for key in ("original_inference_steps", "num_train_timesteps"):
            limit = self.config.get(key)
            if isinstance(limit, int) and limit > 0:
                return limit
        return self.sampler.max_steps if self.sampler else Sampler.max_steps

    @property
    def resumes_from_latents(self) -> bool:
        """Whether a run can be resumed from the latents of one step alone, at an eta of 0."""
        return self.sampler is not None and not (self.sampler.is_multistep or self.is_stochastic)

    @property
    def config(self) -> dict[str, object]:
        """All options of the scheduler: the class's, the model's over them, then the name's."""
        is_models_own = self.choice.class_name is None
        merged = merge_config(self.class_name, self.model, is_models_own=is_models_own)
        return merged | dict(self.choice.config)

    def _option(self, name: str) -> object:
        return self.config.get(name)


NO_MODEL: Final[Mapping[str, object]] = {}
"""The options of a scheduler file that leaves all of them out."""


def resolve_scheduler(
    name: str, model: Mapping[str, object] | None = NO_MODEL
) -> ResolvedScheduler:
    """Resolve a scheduler name, with an optional schedule and options.

    Case, spaces, "_" and "+" do not matter. A name from A1111, ComfyUI, InvokeAI or kohya sets all
    options that it implies. A Diffusers class name selects the class with the model's own
    configuration. Constructor options may follow, as in "DPM++ 2M Karras;solver_order=3".

    `model` is the options in the model's scheduler file, corrected (`correct_config`). With None,
    for a model that is not known yet, the options are not judged together.

    Raises UsageError for an unknown name, for a sampler that Diffusers lacks, and for a schedule
    or an option that the class would ignore.
    """
    base_name, pairs = split_overrides(name)
    result = find_sampler(base_name)
    if result is None:
        raise unknown_scheduler_error(base_name)
    match, schedule = result
    if schedule == AUTOMATIC:
        schedule = _automatic_schedule(match, model or NO_MODEL)
    overrides = parse_overrides(match.sampler, pairs)
    schedule, overrides = extract_schedule(match.sampler, schedule, overrides)
    if _is_default_schedule(match, schedule, model or NO_MODEL):
        schedule = "Normal"
    return _apply(match, schedule, overrides, model)


def model_scheduler(class_name: str, model: Mapping[str, object] = NO_MODEL) -> ResolvedScheduler:
    """Return the model's own scheduler: its class, and the options in its file."""
    match = sampler_index().get(normalize_name(class_name))
    return ResolvedScheduler(
        label=class_name,
        choice=SchedulerConfig(),
        sampler=match.sampler if match else None,
        model=model,
    )


def a1111_names(class_name: str, config: Mapping[str, object]) -> tuple[str, str | None]:
    """Return A1111's (sampler, schedule type) for a scheduler with its complete configuration.

    A class that is not in the table keeps its own name. The schedule type is None if A1111 would
    choose the same one without it.
    """
    rows = [row for row in SAMPLERS if row.class_name == class_name]
    if not rows:
        return class_name, None
    # Several rows share a class; the one that agrees in the most of these options is meant.
    keys = ("algorithm_type", "solver_order", "solver_type")

    def count_matches(row: Sampler) -> int:
        return sum(config.get(key) == row.config[key] for key in keys if key in row.config)

    sampler = max(rows, key=count_matches)
    schedule = _find_schedule(sampler, config)
    # A1111 takes a missing schedule type for Automatic.
    if schedule == sampler.automatic == "Normal":
        return sampler.name, None
    return sampler.name, _A1111_SCHEDULE_TYPES.get(schedule, schedule)


# A1111 calls k-diffusion's default "Uniform", and the leading timesteps of DDIM "DDIM".
_A1111_SCHEDULE_TYPES: Final = {"Normal": "Uniform", "DDIM Uniform": "DDIM"}


def _find_schedule(row: Sampler, config: Mapping[str, object]) -> str:
    """Return the schedule that a complete configuration has."""
    for name in row.schedules:
        # The offset depends on the model, not on the schedule.
        options = {k: v for k, v in get_schedule(name).config.items() if k != "steps_offset"}
        if options and options.items() <= config.items() and name != row.default_schedule:
            return name
    return "Normal"


def _automatic_schedule(match: SamplerMatch, model: Mapping[str, object]) -> str | None:
    """Return the schedule for "Automatic", or None for the spacing of the model."""
    schedule = match.sampler.automatic
    keeps = schedule == "Normal" and keeps_spacing(model) and not match.is_class_name
    return None if keeps else schedule


def _is_default_schedule(
    match: SamplerMatch, schedule: str | None, model: Mapping[str, object]
) -> bool:
    """Whether `schedule` changes nothing for the sampler."""
    row = match.sampler
    if schedule is None or schedule != row.default_schedule:
        return False
    # A bare class, or a sampler on a model that keeps its spacing, runs on the model's
    # configuration, so it needs the options of the schedule unless it ignores them.
    runs_on_model = match.is_class_name or keeps_spacing(model)
    return not runs_on_model or all(
        option_info(row.class_name, key).fixed_reason for key in get_schedule(schedule).config
    )


def _apply(
    match: SamplerMatch,
    schedule: str | None,
    overrides: Mapping[str, object],
    model: Mapping[str, object] | None,
) -> ResolvedScheduler:
    """Combine a row, a schedule and overrides. Raises UsageError if they do not fit together."""
    row = match.sampler
    if schedule is not None and schedule not in row.schedules:
        raise unsupported_schedule_error(row, schedule)
    schedule_row = get_schedule(schedule or "Normal")
    for package in filter(None, (row.package, schedule_row.package)):
        _check_package(package, row)
    file = model or NO_MODEL
    config = _base_config(match, schedule_row, file, has_schedule=bool(schedule))
    if model is not None:
        base = merge_config(row.class_name, model) | config
        check_overrides(row, base, overrides, _schedule_in({**base, **overrides}))
    return ResolvedScheduler(
        label=_format_label(match, schedule, config, overrides, file),
        choice=SchedulerConfig(
            class_name=row.class_name, config=tuple(sorted({**config, **overrides}.items()))
        ),
        sampler=row,
        schedule=schedule_row.name,
        model=file,
    )


def _base_config(
    match: SamplerMatch, schedule: Schedule, model: Mapping[str, object], *, has_schedule: bool
) -> dict[str, object]:
    """Return the options that the name implies, without overrides."""
    row = match.sampler
    config = {} if match.is_class_name else dict(row.config)
    if not (has_schedule and schedule.name == "Normal"):
        for key in model_overrides(config, model):
            del config[key]
    if not match.is_class_name or has_schedule:
        # The model's own configuration may have the flag of another schedule switched on.
        flags = {key for name in row.schedules for key in get_schedule(name).config}
        config |= {key: False for key in flags if key.startswith("use_")}
        config |= schedule.config
    return config


def _schedule_in(config: Mapping[str, object]) -> str:
    """Return the name of the schedule of noise levels that a complete configuration has."""
    return next(
        (
            row.name
            for row in SCHEDULES
            if any(key.startswith("use_") and config.get(key) is True for key in row.config)
        ),
        "Normal",
    )


def _format_label(
    match: SamplerMatch,
    schedule: str | None,
    config: Mapping[str, object],
    overrides: Mapping[str, object],
    model: Mapping[str, object],
) -> str:
    """Return the canonical spelling, without overrides that repeat what the name implies."""
    name = match.sampler.class_name if match.is_class_name else match.sampler.name
    # "Normal" is implied by a sampler, but not by a class or on a model with a spacing of its own.
    implies_normal = not (match.is_class_name or keeps_spacing(model))
    if schedule and not (schedule == "Normal" and implies_normal):
        name = f"{name} {schedule}"
    options = [
        f"{key}={format_value(value)}"
        for key, value in sorted(overrides.items())
        if (key, value) not in config.items()
    ]
    return ";".join([name, *options])


def _check_package(package: str, row: Sampler) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise UsageError(
            f"scheduler {row.name!r} requires the package {package}, which is not installed",
            code="scheduler.package",
            hint=f"pip install {package}",
        )
