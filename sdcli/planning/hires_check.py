"""Check the second pass of a job against the model and the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import UsageError
from sdcli.image_fields import steps_run
from sdcli.job import Job

StepCheck = Callable[[Job], Iterator[UsageError]]
"""Yields the errors of the number of steps of a job."""

_CODE: Final = "usage.hires"


def hires_faults(job: Job, defaults: ModelDefaults, check_steps: StepCheck) -> Iterator[UsageError]:
    """Yield the errors of a second pass, none for a job without one."""
    second = job.second_pass()
    if second is None:
        return
    yield from _size_faults(job, second, defaults.vae_scale_factor)
    yield from _conflicts(job, defaults)
    if second.denoising_steps < 1:
        yield _no_steps_error(second)
    for fault in check_steps(second):
        yield UsageError(f"hires_steps: {fault.message}", code="usage.hires_steps", hint=fault.hint)


def _size_faults(job: Job, second: Job, grid: int) -> Iterator[UsageError]:
    sizes = f"{second.width}x{second.height}", f"{job.width}x{job.height}"
    if second.width % grid or second.height % grid:
        yield UsageError(
            f"hires: the sides of {sizes[0]} are not multiples of {grid}, as this model needs",
            code=_CODE,
        )
    is_smaller = second.width < job.width or second.height < job.height
    if is_smaller or (second.width, second.height) == (job.width, job.height):
        yield UsageError(
            f"hires: {sizes[0]} does not enlarge the image, which is {sizes[1]}",
            code=_CODE,
            hint="e.g. --hires 2x",
        )
    # Sides are rounded to whole cells, which may change the shape a little.
    elif abs(second.width * job.height - second.height * job.width) > grid * max(
        job.width, job.height
    ):
        yield UsageError(
            f"hires: {sizes[0]} has another shape than the image, which is {sizes[1]}, and would "
            "distort it",
            code=_CODE,
            hint="use a factor such as 2x, or another --size",
        )


def _conflicts(job: Job, defaults: ModelDefaults) -> Iterator[UsageError]:
    if job.has_mask:
        yield UsageError(
            "hires: the second pass redraws the whole image, which a mask would keep",
            code=_CODE,
            hint="generate the inpainted image first, then enlarge it with --image and --hires; "
            "for a detailed small area, use --inpaint-area mask",
        )
    if defaults.refiner:
        yield UsageError(
            "hires: not supported together with --refiner: the second pass would redraw what the "
            "refiner finished",
            code=_CODE,
            hint="leave one of them out, or enlarge the refined image with --image",
        )


def _no_steps_error(second: Job) -> UsageError:
    steps = second.num_inference_steps
    enough = [n for n in range(steps, 1001) if steps_run(n, second.strength)]
    more = f"--hires-steps {enough[0]}, or " if enough else ""
    return UsageError(
        f"hires_strength: {second.strength:g} of {steps} {'step' if steps == 1 else 'steps'} "
        "leaves no step to run, and the enlarged image as it is",
        code="usage.hires_strength",
        hint=f"use {more}a higher --hires-strength",
    )
