"""Generate the images of a batch of jobs: encode the prompts, denoise, decode."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdcli.engine.adapters.freeu import applied_freeu
from sdcli.engine.adapters.ip_adapter import applied_ip_adapters
from sdcli.engine.adapters.lora import applied_loras
from sdcli.engine.denoise.compiled_run import Compiling, compiled_run
from sdcli.engine.denoise.control import load_controls
from sdcli.engine.denoise.decode_images import decode_images
from sdcli.engine.denoise.grouping import group_by_shape, out_of_memory_error
from sdcli.engine.denoise.hires import HiresPass, seeded_generators
from sdcli.engine.denoise.loop import OnStep, denoise
from sdcli.engine.denoise.pipeline_arguments import BatchInputs
from sdcli.engine.denoise.run_info import describe_runs
from sdcli.engine.denoise.run_part import plan_parts
from sdcli.engine.loading.pipeline import LoadedPipeline, memory_kind
from sdcli.engine.loading.pipeline_classes import mode_of
from sdcli.engine.recorders.latents import LatentsRecorder, MemorySink, Recorder
from sdcli.engine.recorders.observed_run import ObservedRun, RecorderFactory
from sdcli.engine.runtime import memory
from sdcli.engine.runtime.model_errors import model_errors_as_corrupt_errors
from sdcli.engine.runtime.profiling import PhaseTimer
from sdcli.engine.schedulers.job_scheduler import build_for_jobs
from sdcli.engine.schedulers.start_check import describe_late_start
from sdcli.errors import NumericsError, UsageError
from sdcli.input_images import ControlPixels, InputPixels
from sdcli.job import Job
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
    controls: ControlPixels | None = None,
    image_prompts: Sequence[NDArray[np.uint8]] = (),
    warn: Callable[[str], None] | None = None,
    recorders: Sequence[RecorderFactory] = (),
) -> list[GenerationResult]:
    """Generate one image per job, all in one batch.

    The jobs may differ only in their prompts and seeds; those whose prompts differ in the number of
    chunks, or of parts that AND combines, are denoised apart. Latents are written to each of
    `sinks` as they are computed, and with `save_latents` also returned. With `start`, the only job
    resumes there. `inputs` are the image and mask of jobs that have them, `controls` the images for
    their ControlNets, and `image_prompts` those for their IP-Adapters, (height, width, 3) of any
    size; the results are what the pipeline draws, before it is put back into the image. `warn` gets
    reasons to expect a poor image, also events of the results. `recorders` make further observers.
    Of two passes, latents and recorders are those of the first.

    A batch of one equals the call of the Diffusers pipeline bit for bit. In a larger batch each
    image starts from the same noise as alone, and is identical up to floating-point rounding. A
    batch that does not fit into memory is split in half, and then more of the model kept off a GPU.

    Raises UsageError for options that the scheduler or the model does not support, DeviceError for
    an image that does not fit into memory, CorruptError if a component of the model cannot run, and
    NumericsError, which names the component, if the result is not finite.
    """
    if len({job.batch_key for job in jobs}) != 1:
        raise ValueError("the jobs of a batch must share all but prompts and seeds")
    options = _RunOptions(
        on_step=on_step,
        sinks=sinks,
        selection=LatentsSelection.coerce(save_latents),
        start=start,
        inputs=inputs,
        controls=controls or ControlPixels(first=()),
        image_prompts=image_prompts,
        warn=warn,
        recorders=recorders,
    )
    groups = group_by_shape(loaded, jobs)
    results = [r for group in groups for r in _generate_or_halve(loaded, group, options)]
    positions = [jobs.index(job) for group in groups for job in group]
    return [result for _, result in sorted(zip(positions, results, strict=True), key=itemgetter(0))]


@dataclass(frozen=True, kw_only=True, eq=False)
class _RunOptions:
    """The options of `generate_batch`. Latents of the `selection` are kept in memory."""

    on_step: OnStep | None
    sinks: Sequence[LatentsSink]
    selection: LatentsSelection | None
    start: ResumePoint | None
    inputs: InputPixels | None
    controls: ControlPixels
    image_prompts: Sequence[NDArray[np.uint8]]
    warn: Callable[[str], None] | None
    recorders: Sequence[RecorderFactory]


def _generate_or_halve(
    loaded: LoadedPipeline, jobs: Sequence[Job], options: _RunOptions
) -> list[GenerationResult]:
    """Generate a batch; one that does not fit into memory is divided, or goes down a rung."""
    try:
        with _ready_to_run(loaded, jobs, options) as compiling:
            return _generate(loaded, jobs, options, compiling)
    except RuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
        if len(jobs) == 1 and not loaded.placement.can_go_down:
            raise out_of_memory_error(loaded, jobs[0]) from error
    # Outside of `except`: there, the traceback would keep the tensors of the failed batch alive.
    memory.empty_cache()
    if len(jobs) == 1:
        loaded.placement.go_down()
        loaded.memory.forget()
        return _generate_or_halve(loaded, jobs, options)
    loaded.memory.record_out_of_memory(memory_kind(jobs[0]), len(jobs))
    half = len(jobs) // 2
    event = f"out of memory with a batch of {len(jobs)}, halved"
    halves = (_generate_or_halve(loaded, part, options) for part in (jobs[:half], jobs[half:]))
    return [replace(result, events=(event, *result.events)) for half in halves for result in half]


@contextmanager
def _ready_to_run(
    loaded: LoadedPipeline, jobs: Sequence[Job], options: _RunOptions
) -> Iterator[Compiling]:
    with (
        _ignore_library_warnings(),
        loaded.placement.changing(jobs[0]),
        loaded.memory.recording(memory_kind(jobs[0]), len(jobs)),
        model_errors_as_corrupt_errors(loaded.folder),
        applied_loras(loaded, jobs[0]),
        applied_freeu(loaded, jobs[0]),
        applied_ip_adapters(loaded, jobs, options.image_prompts),
        loaded.placement.running(jobs[0]),
        compiled_run(loaded, jobs[0], records=bool(options.recorders)) as compiling,
    ):
        yield compiling


def _generate(
    loaded: LoadedPipeline, jobs: Sequence[Job], options: _RunOptions, compiling: Compiling
) -> list[GenerationResult]:
    scheduler = _set_scheduler(loaded, jobs)
    start, on_step = options.start, options.on_step
    hires = HiresPass.plan(loaded, jobs)
    notes = _tell_notes(loaded, jobs, scheduler, options, compiling.notes)
    timer = PhaseTimer()
    controls = load_controls(loaded, jobs[0], options.controls.first)
    parts = plan_parts(loaded, jobs, scheduler)
    timer.finish("encode")
    second = hires.description if hires else None
    runs = describe_runs(loaded, jobs, scheduler, parts, second, compiled=compiling.is_on)
    observed = ObservedRun(loaded=loaded, runs=runs, parts=parts, scheduler=scheduler)
    recorders = _open_recorders(observed, options)
    generators = seeded_generators(jobs)
    latents = denoise(
        loaded,
        jobs,
        parts,
        generators=generators,
        recorders=recorders,
        on_step=hires.before(on_step) if hires else on_step,
        start=start,
        inputs=BatchInputs.of(options.inputs, len(jobs)) if options.inputs else None,
        controls=controls,
    )
    _check_finite(latents, loaded)
    enlarging: list[str] = []
    if hires:
        controls = load_controls(loaded, hires.jobs[0], options.controls.second)
        calls = len(runs[0].timesteps)
        latents, enlarging = hires.run(loaded, latents, on_step, calls, controls)
    _check_finite(latents, loaded)
    timer.finish("denoise")
    pixels, fallbacks = decode_images(loaded, latents, jobs[0].vae_tiling, generators)
    timer.finish("decode")
    events = (*enlarging, *fallbacks)
    return [
        GenerationResult(
            run=run,
            pixels=pixels[image],
            weights=loaded.hashes.result(),
            seconds={**loaded.placement.add_to(loaded.seconds), **timer.seconds},
            latents=_collect_latents(recorders, image),
            events=(*loaded.notes, *notes, *parts[0].conditioning.events[image], *events),
        )
        for image, run in enumerate(runs)
    ]


def _open_recorders(observed: ObservedRun, options: _RunOptions) -> list[Recorder]:
    sinks = [*options.sinks, *([MemorySink(options.selection)] if options.selection else [])]
    runs, scheduler = observed.runs, observed.scheduler
    recorders: list[Recorder] = [LatentsRecorder(sink, runs, scheduler) for sink in sinks]
    return [*recorders, *(make_recorder(observed) for make_recorder in options.recorders)]


def _tell_notes(
    loaded: LoadedPipeline,
    jobs: Sequence[Job],
    scheduler: Any,
    options: _RunOptions,
    more: Sequence[str],
) -> tuple[str, ...]:
    """Tell what is to be said before the first step, and return it."""
    start = options.start
    own = start.notes if start else _start_warnings(loaded, jobs, scheduler)
    notes = (*loaded.placement.notes, *more, *own)
    if options.warn:
        for note in notes:
            options.warn(note)
    return notes


def _set_scheduler(loaded: LoadedPipeline, jobs: Sequence[Job]) -> Any:
    """Build the scheduler of the jobs, and make it the pipeline's. Raises UsageError."""
    _check_size(loaded, jobs[0])
    scheduler = build_for_jobs(loaded, jobs)
    loaded.pipeline_for(mode_of(jobs[0])).scheduler = scheduler
    return scheduler


def _start_warnings(loaded: LoadedPipeline, jobs: Sequence[Job], scheduler: Any) -> tuple[str, ...]:
    job, seeds = jobs[0], [job.seed for job in jobs]
    if not job.begins_with_noise:
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
    if error := loaded.defective_weights_error():
        raise error
    loaded.hashes.result()  # raises CorruptError for a damaged file
    # float16 ends at 65504; bfloat16 has the range of float32.
    overflows = loaded.dtype == torch.float16
    raise NumericsError(
        "UNet: the latents are not finite",
        code="numerics.unet",
        hint="try " + ("--dtype float32" if overflows else "another --scheduler or more --steps"),
    )


@contextmanager
def _ignore_library_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # torchsde warns of every rounding of its times.
        warnings.filterwarnings("ignore", "Should have t[ab]", UserWarning)
        # Some schedulers convert tensors to numpy in a way that numpy 2 deprecates, in every step.
        warnings.filterwarnings("ignore", "__array(_wrap__)?", DeprecationWarning)
        yield
