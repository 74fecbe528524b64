"""Build Diffusers schedulers from the model's configuration and a chosen class and options."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers

from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.model_index import class_of
from sdcli.engine.loading.components import loading_errors_as_corrupt_errors
from sdcli.engine.runtime.deferred_scipy import scipy_deferred
from sdcli.engine.runtime.diffusers_internals import (
    constructor_parameters,
    copy_corrections,
    noise_sampler_options,
    step_parameters,
)
from sdcli.engine.schedulers.construct import construct, pickle_settings
from sdcli.engine.schedulers.schedule_check import ERRORS_OF_CLASSES, check_schedule
from sdcli.errors import ModelError, UsageError, quoted


def scheduler_class(name: str, source: Path | None = None) -> Any:
    """Return the Diffusers scheduler class of that name. Raises ModelError if there is none.

    `source` is the file that has the name.
    """
    # `SchedulerMixin.compatibles` would be a shorter list, but lacks LCM, TCD and SA-Solver.
    with scipy_deferred():
        cls = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
    if cls is None:
        where = f"{source}: " if source else ""
        raise ModelError(
            f"{where}Diffusers has no scheduler {quoted(name)}",
            code="model.scheduler",
            hint="use a model whose scheduler is part of Diffusers",
        )
    return cls


def load_scheduler(folder: Path) -> Any:
    """Build the scheduler that the model in `folder` configures. Raises ModelError or
    CorruptError.
    """
    path = folder / "scheduler" / "scheduler_config.json"
    config = read_config(path, "scheduler")
    cls = scheduler_class(str(class_of(folder, "scheduler")), folder / "model_index.json")
    # Diffusers imports all classes that can share the configuration, in `from_config`, too.
    with loading_errors_as_corrupt_errors("scheduler", path), scipy_deferred():
        return cls.from_config(config)


def build_scheduler(
    base: Any,
    choice: SchedulerConfig,
    *,
    steps: int,
    seeds: Sequence[int],
    try_run: bool = True,
) -> Any:
    """Build a scheduler of the chosen class and options, with its timesteps set for `steps`.

    The options override the configuration of `base`, the model's own scheduler, which is not
    changed. `seeds` has one seed per image. Raises UsageError for an option that the class doesn't
    have, a missing package, a number of steps that the class doesn't support, or a schedule that
    no run could follow; without `try_run`, one that only a run shows is not found.
    """
    cls = scheduler_class(choice.class_name) if choice.class_name else type(base)
    options = dict(choice.config)
    _check_options(cls, options)
    options |= noise_sampler_options(cls, seeds)
    with _ignore_construction_warnings(), _errors_as_usage_errors(cls, steps):
        # Never from the scheduler of the run before: its configuration also has entries that its
        # own class ignores, so that Karras sigmas would come back after a detour over DDIM.
        with scipy_deferred():
            scheduler = construct(cls, pickle_settings(base.config, options))
        trial = dict(options)
        if choice.class_name is None:
            trial |= copy_corrections(base, scheduler, except_keys=options)
        scheduler.set_timesteps(steps)
    if "noise_sampler_seed" in trial:
        trial["noise_sampler_seed"] = 0  # one trial is enough for all seeds
    check_schedule(scheduler, steps, pickle_settings(base.config, trial) if try_run else None)
    return scheduler


@contextmanager
def _ignore_construction_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # Diffusers deprecates algorithm_type=dpmsolver, which still works.
        warnings.filterwarnings("ignore", ".*algorithm_type", FutureWarning)
        # Some classes convert tensors to numpy in a way that numpy 2 deprecates.
        warnings.filterwarnings("ignore", "__array(_wrap__)?", DeprecationWarning)
        yield


@contextmanager
def _errors_as_usage_errors(cls: Any, steps: int) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"{cls.__name__} needs a package that is not installed: {error}".splitlines()[0],
            code="usage.scheduler",
            hint="pip install scipy torchsde",
        ) from error
    except ERRORS_OF_CLASSES as error:
        raise UsageError(
            f"{cls.__name__} does not support {steps} steps with these options: {error}",
            code="usage.scheduler",
            hint="use other --steps or another --scheduler",
        ) from error


def _check_options(cls: Any, options: Mapping[str, object]) -> None:
    # `from_config` only logs unknown options.
    unknown = options.keys() - constructor_parameters(cls)
    if unknown:
        raise UsageError(
            f"{cls.__name__} has no option {', '.join(sorted(unknown))}", code="usage.scheduler"
        )


def check_eta(scheduler: Any, eta: float) -> None:
    """Raise UsageError for an eta that the scheduler would silently ignore."""
    if eta and "eta" not in step_parameters(scheduler):
        raise UsageError(
            f"eta: {type(scheduler).__name__} does not use it",
            code="usage.eta",
            hint="eta works with DDIM and TCD",
        )
