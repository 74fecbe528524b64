"""Check the second pass of a job against the model and the scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import UsageError
from sdcli.job import Job
from sdcli.planning.request_images import no_steps_error

_CODE: Final = "usage.hires"


def hires_faults(job: Job, defaults: ModelDefaults) -> Iterator[UsageError]:
    """Yield the errors of a second pass, none for a job without one."""
    second = job.second_pass()
    if second is None:
        return
    yield from _size_faults(job, second, defaults.vae_scale_factor)
    yield from _conflicts(job, defaults)
    if second.denoising_steps < 1:
        yield no_steps_error(second, "hires_", "the enlarged image")


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
