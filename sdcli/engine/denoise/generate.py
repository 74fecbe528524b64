"""Generate the images of a batch of jobs: encode the prompts, denoise, decode."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from sdcli.engine.denoise.hires import HiresPass, seeded_generators
from sdcli.engine.denoise.loop import OnStep, denoise
from sdcli.engine.denoise.pipeline_arguments import BatchInputs
from sdcli.engine.denoise.run_info import describe_runs
from sdcli.engine.denoise.run_part import plan_parts
from sdcli.engine.loading.pipeline import LoadedPipeline, memory_kind
from sdcli.engine.loading.pipeline_classes import mode_of
from sdcli.engine.recorders.latents import LatentsRecorder, MemorySink, Recorder
from sdcli.engine.runtime import memory
from sdcli.engine.runtime.model_errors import model_errors_as_corrupt_errors
from sdcli.engine.runtime.profiling import PhaseTimer
from sdcli.engine.schedulers.job_scheduler import build_for_jobs
from sdcli.engine.schedulers.start_check import describe_late_start
from sdcli.engine.vae.decode import decode_latents
from sdcli.errors import DeviceError, NumericsError, UsageError
from sdcli.input_images import InputPixels
from sdcli.job import Job, batch_key
from sdcli.latents import LatentsSelection, LatentsSink, ResumePoint
from sdcli.result import GenerationResult


def generate_batch(
    loaded: LoadedPipeline,
    jobs: Sequence[Job],
    *,
    on_step: OnStep | None = None,
    save_latents: LatentsSelection | str | None = None,
    sinks: Sequence[LatentsSink] = (),
    start: ResumePoint | None = None,
    inputs: InputPixels | None = None,
    warn: Callable[[str], None] | None = None,
) -> list[GenerationResult]:
    """Generate one image per job, all in one batch.

    The jobs may differ only in their prompts and seeds. Latents are written to each of `sinks` as
    they are computed, and with `save_latents` also returned. With `start`, the only job resumes
    there. `inputs` are the image and mask of jobs that have them; the results are what the pipeline
    draws, before it is put back into the image. Of two passes, the latents are those of the first.
    `warn` gets reasons to expect a poor image, before the first step; they are among the results'
    events, too.

    A batch of one equals the call of the Diffusers pipeline bit for bit. In a larger batch each
    image starts from the same noise as alone, and is identical up to floating-point rounding. A
    batch that does not fit into memory is split in half.

    Raises UsageError for options that the scheduler or the model does not support, DeviceError if
    not even one image fits into memory, CorruptError if a component of the model cannot run, and
    NumericsError, which names the component, if the result is not finite.
    """
    if len({batch_key(job) for job in jobs}) != 1:
        raise ValueError("the jobs of a batch must share all but prompts and seeds")
    selection = LatentsSelection.coerce(save_latents)
    batch_sinks = [*sinks, MemorySink(selection)] if selection else sinks
    kind = memory_kind(jobs[0])
    try:
        with (
            _ignore_library_warnings(),
            loaded.memory.recording(kind, len(jobs)),
            model_errors_as_corrupt_errors(loaded.folder),
        ):
            return _generate(loaded, jobs, on_step, batch_sinks, start, inputs, warn)
    except RuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
        if len(jobs) == 1:
            raise _out_of_memory_error(loaded, jobs[0]) from error
    # Outside of `except`: there, the traceback would keep the tensors of the failed batch alive.
    memory.empty_cache()
    loaded.memory.record_out_of_memory(kind, len(jobs))
    options = {"on_step": on_step, "save_latents": selection, "sinks": sinks, "inputs": inputs}
    return _generate_halves(loaded, jobs, {**options, "warn": warn})


def _generate_halves(
    loaded: LoadedPipeline, jobs: Sequence[Job], options: Mapping[str, Any]
) -> list[GenerationResult]:
    half = len(jobs) // 2
    event = f"out of memory with a batch of {len(jobs)}, halved"
    return [
        replace(result, events=(event, *result.events))
        for part in (jobs[:half], jobs[half:])
        for result in generate_batch(loaded, part, **options)
    ]


def _generate(
    loaded: LoadedPipeline,
    jobs: Sequence[Job],
    on_step: OnStep | None,
    sinks: Sequence[LatentsSink],
    start: ResumePoint | None,
    inputs: InputPixels | None,
    warn: Callable[[str], None] | None,
) -> list[GenerationResult]:
    scheduler = _set_scheduler(loaded, jobs)
    hires = HiresPass.plan(loaded, jobs)
    notes = start.notes if start else _start_warnings(loaded, jobs, scheduler)
    _tell(notes, warn)
    timer = PhaseTimer()
    parts = plan_parts(loaded, jobs, scheduler)
    timer.finish("encode")
    runs = describe_runs(loaded, jobs, scheduler, parts, hires.describe() if hires else None)
    recorders: list[Recorder] = [LatentsRecorder(sink, runs, scheduler) for sink in sinks]
    generators = seeded_generators(jobs)
    latents = denoise(
        loaded,
        jobs,
        parts,
        generators=generators,
        recorders=recorders,
        on_step=hires.before(on_step) if hires else on_step,
        start=start,
        inputs=BatchInputs.of(inputs, len(jobs)) if inputs else None,
    )
    _check_finite(latents, loaded)
    calls = len(runs[0].timesteps)
    latents, enlarging = hires.run(loaded, latents, on_step, calls) if hires else (latents, [])
    _check_finite(latents, loaded)
    timer.finish("denoise")
    pixels, fallbacks = decode_latents(
        loaded.pipeline, latents, tiling=jobs[0].vae_tiling, generators=generators
    )
    timer.finish("decode")
    events = (*enlarging, *fallbacks)
    return [
        GenerationResult(
            run=run,
            pixels=pixels[image],
            weights=loaded.hashes.result(),
            seconds={**loaded.seconds, **timer.seconds},
            latents=_collect_latents(recorders, image),
            events=(*loaded.notes, *notes, *parts[0].conditioning.events[image], *events),
        )
        for image, run in enumerate(runs)
    ]


def _tell(notes: Sequence[str], warn: Callable[[str], None] | None) -> None:
    if warn:
        for note in notes:
            warn(note)


def _set_scheduler(loaded: LoadedPipeline, jobs: Sequence[Job]) -> Any:
    """Build the scheduler of the jobs, and make it the pipeline's. Raises UsageError."""
    _check_size(loaded, jobs[0])
    scheduler = build_for_jobs(loaded, jobs)
    loaded.pipeline_for(mode_of(jobs[0])).scheduler = scheduler
    return scheduler


def _start_warnings(loaded: LoadedPipeline, jobs: Sequence[Job], scheduler: Any) -> tuple[str, ...]:
    job, seeds = jobs[0], [job.seed for job in jobs]
    # Noise is added to an image at the level of the first timestep, whatever that is.
    if job.image and not (job.has_mask and job.strength == 1):
        return ()
    steps = job.num_inference_steps
    return describe_late_start(loaded.base_scheduler, job.scheduler, scheduler, steps, seeds)


def _collect_latents(recorders: Sequence[Recorder], image: int) -> dict[str, Any] | None:
    arrays: dict[str, Any] = {}
    for recorder in recorders:
        arrays |= recorder.results(image)
    return arrays or None


def _check_size(loaded: LoadedPipeline, job: Job) -> None:
    multiple = max(8, loaded.pipeline.vae_scale_factor)
    if job.width % multiple or job.height % multiple:
        raise UsageError(
            f"size: {job.width}x{job.height}, but sides must be multiples of {multiple}",
            code="usage.size",
        )


def _check_finite(latents: torch.Tensor, loaded: LoadedPipeline) -> None:
    if torch.isfinite(latents).all():
        return
    # float16 ends at 65504; bfloat16 has the range of float32.
    overflows = loaded.dtype == torch.float16
    raise NumericsError(
        "UNet: the latents are not finite",
        code="numerics.unet",
        hint="try " + ("--dtype float32" if overflows else "another --scheduler or more --steps"),
    )


def _out_of_memory_error(loaded: LoadedPipeline, job: Job) -> DeviceError:
    return DeviceError(
        f"out of memory on {loaded.device} for one image of {job.width}x{job.height}",
        code="device.memory",
        hint="use a smaller --size, --dtype float16, or --device cpu",
    )


@contextmanager
def _ignore_library_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # torchsde warns of every rounding of its times.
        warnings.filterwarnings("ignore", "Should have t[ab]", UserWarning)
        # Some schedulers convert tensors to numpy in a way that numpy 2 deprecates, in every step.
        warnings.filterwarnings("ignore", "__array(_wrap__)?", DeprecationWarning)
        yield
