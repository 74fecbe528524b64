"""Compare schedulers by how fast they converge on one prompt and one noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sdcli.catalog.schedulers.resolve import ResolvedScheduler, resolve_scheduler
from sdcli.checkpoints.refiner import fetch_defaults
from sdcli.errors import SdcliError, UsageError
from sdcli.planning.resolve import random_seed, resolve_jobs
from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest
from sdcli.result import GenerationResult, JobFailure, StepEvent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REFERENCE_SCHEDULER: Final = "DPM++ 2M"
CONVERGED_DB: Final = 30.0
"""PSNR in dB from which a run counts as converged, as differences are then hard to see."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SchedulerRun:
    """Result of one scheduler with one number of steps; `error` is set for a run that failed.

    `seconds` is the time of the denoising alone. `latent_rmse` of the final latents and `psnr` in
    dB (None for identical images) compare it with the reference.
    """

    scheduler: str
    stochastic: bool
    steps: int
    unet_calls: int | None = None
    seconds: float | None = None
    latent_rmse: float | None = None
    psnr: float | None = None
    pixels: NDArray[np.uint8] | None = None
    error: SdcliError | None = None

    @property
    def is_converged(self) -> bool:
        """Whether the image is as good as the reference."""
        return self.error is None and (self.psnr is None or self.psnr >= CONVERGED_DB)


@dataclass(frozen=True, kw_only=True)
class SchedulerComparison:
    """All runs, in the order of the schedulers, and for each of them of the steps."""

    prompt: str
    seed: int
    reference_steps: int
    reference: SchedulerRun
    runs: tuple[SchedulerRun, ...]

    @property
    def fastest(self) -> SchedulerRun | None:
        """The converged run with the fewest UNet calls, and of several the nearest."""
        converged = [run for run in self.runs if run.is_converged]
        return min(
            converged, key=lambda run: (run.unet_calls, run.latent_rmse or 0.0), default=None
        )


def compare_schedulers(
    template: GenerationRequest,
    schedulers: Sequence[str],
    steps: Sequence[int],
    *,
    reference_steps: int,
    on_step: Callable[[StepEvent], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> SchedulerComparison:
    """Generate an image with each scheduler and number of steps, and one with the reference.

    All runs share the template's prompt, and one seed. Raises SdcliError for options that any of
    the runs rejects, before anything is generated, and when the reference fails. A run that fails
    later is kept with its error.
    """
    from sdcli.runner.loop import iter_results

    seed = random_seed() if template.seed is None else template.seed
    defaults = fetch_defaults(template.spec)
    # Short names leave out what the model's own file implies.
    chosen = [resolve_scheduler(name, defaults.scheduler_config) for name in schedulers]
    _check_distinct(schedulers, [scheduler.label for scheduler in chosen])
    pairs = [(scheduler, n) for scheduler in chosen for n in steps]
    best = resolve_scheduler(REFERENCE_SCHEDULER, defaults.scheduler_config)
    requests = [
        replace(template, scheduler=scheduler.label, num_inference_steps=n, seed=seed)
        for scheduler, n in [(best, reference_steps), *pairs]
    ]
    # All are planned before any is drawn.
    for request in requests:
        list(resolve_jobs(request, defaults, 0))
    outcomes = iter_results(
        IterableSource(requests), save_latents="final", on_step=on_step, warn=warn
    )
    reference = next(outcomes)
    if isinstance(reference, JobFailure):
        raise reference.error
    return SchedulerComparison(
        prompt=template.prompt,
        seed=seed,
        reference_steps=reference_steps,
        reference=_to_run(best, reference_steps, reference, reference),
        runs=tuple(
            _to_run(scheduler, n, outcome, reference)
            for (scheduler, n), outcome in zip(pairs, outcomes, strict=True)
        ),
    )


def _check_distinct(schedulers: Sequence[str], labels: Sequence[str]) -> None:
    for i, label in enumerate(labels):
        if label in labels[:i]:
            raise UsageError(
                f"--schedulers: {schedulers[labels.index(label)]!r} and {schedulers[i]!r} are both "
                f"{label}",
                code="usage.schedulers",
                hint="name each scheduler once",
            )


def _to_run(
    scheduler: ResolvedScheduler,
    steps: int,
    outcome: GenerationResult | JobFailure,
    reference: GenerationResult,
) -> SchedulerRun:
    from sdcli.numerics.metrics import psnr, rmse

    label, stochastic = scheduler.label, scheduler.is_stochastic
    if isinstance(outcome, JobFailure):
        return SchedulerRun(
            scheduler=label, stochastic=stochastic, steps=steps, error=outcome.error
        )
    return SchedulerRun(
        scheduler=label,
        stochastic=stochastic,
        steps=steps,
        unet_calls=len(outcome.run.timesteps),
        seconds=outcome.seconds["denoise"],
        latent_rmse=rmse(_final_latents(outcome), _final_latents(reference)),
        psnr=_finite(psnr(outcome.pixels, reference.pixels)),
        pixels=outcome.pixels,
    )


def _final_latents(result: GenerationResult) -> NDArray[Any]:
    assert result.latents is not None
    final: NDArray[Any] = result.latents["final"]
    return final


def _finite(decibels: float) -> float | None:
    """None for the infinite PSNR of identical images, because JSON has no infinity."""
    return decibels if math.isfinite(decibels) else None
