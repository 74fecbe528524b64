"""Group the jobs of a batch that can be denoised together."""

from __future__ import annotations

from collections.abc import Sequence

from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.runtime import memory
from sdcli.engine.runtime.model_errors import model_errors_as_corrupt_errors
from sdcli.engine.text.conditioning import shape_of
from sdcli.errors import DeviceError
from sdcli.fields.execution import ON_DEVICE
from sdcli.job import Job


def group_by_shape(loaded: LoadedPipeline, jobs: Sequence[Job]) -> list[Sequence[Job]]:
    """Choose the placement of the model, and return the groups of jobs with one shape of prompts.

    A shorter prompt could only be filled up with empty chunks, which would change its image. Raises
    UsageError for options of the placement, and DeviceError for text encoders that do not fit.
    """
    loaded.choose_placement(jobs[0])
    if len(jobs) == 1 or not any(job.reads_syntax for job in jobs):
        return [jobs]
    groups: dict[tuple[int, int], list[Job]] = {}
    while True:
        try:
            loaded.placement.install()
            with model_errors_as_corrupt_errors(loaded.folder):
                for job in jobs:
                    groups.setdefault(shape_of(loaded.prompt_encoder, job), []).append(job)
            return list(groups.values())
        except RuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
            if not loaded.placement.can_go_down:
                raise out_of_memory_error(loaded, jobs[0]) from error
        groups.clear()
        loaded.placement.go_down()


def out_of_memory_error(loaded: LoadedPipeline, job: Job) -> DeviceError:
    """Return the error of an image that does not fit into memory on any rung."""
    width, height = job.final_size
    is_gpu = loaded.placement.has_own_memory
    smaller = "--hires or --size" if job.hires else "--size"
    more = "leave --offload none out, " if job.offload == ON_DEVICE and is_gpu else ""
    return DeviceError(
        f"out of memory on {loaded.device} for one image of {width}x{height}",
        code="device.memory",
        hint=f"{more}use a smaller {smaller}, --dtype float16, or --device cpu",
    )
