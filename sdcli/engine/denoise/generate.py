"""Jobs to images: encode, denoise by the real Diffusers pipeline, decode."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor

from sdcli.engine.denoise.injection import resuming_at
from sdcli.engine.loading.pipeline import LoadedPipeline, memory_kind
from sdcli.engine.recorders.latents import LatentsRecorder, MemorySink, Recorder
from sdcli.engine.runtime import memory
from sdcli.engine.schedulers.build import (
    build_scheduler,
    check_eta,
    public_config,
    sigmas,
    timesteps,
)
from sdcli.engine.text.conditioning import Conditioning, encode_prompts
from sdcli.engine.vae.decode import decode_latents
from sdcli.errors import DeviceError, NumericsError, UsageError
from sdcli.job import Job, batch_key
from sdcli.latents import LatentsSelection, LatentsSink, ResumePoint
from sdcli.result import GenerationResult, RunInfo, StepEvent

OnStep = Callable[[StepEvent], None]


def generate_batch(
    loaded: LoadedPipeline,
    jobs: Sequence[Job],
    *,
    on_step: OnStep | None = None,
    save_latents: LatentsSelection | str | None = None,
    sinks: Sequence[LatentsSink] = (),
    start: ResumePoint | None = None,
) -> list[GenerationResult]:
    """One image a job, all in one batch; they must agree in all but prompts and seeds.

    Latents go to each of `sinks` as they come, and with `save_latents` into the results. With
    `start` the one job goes on from there.

    A batch of one equals `StableDiffusionPipeline(...)` bit for bit; in a larger one each image
    has the noise it would have alone, and equals that image to rounding. A batch that does not
    fit into memory is halved. Raises UsageError for what the scheduler or the model cannot do,
    DeviceError when memory runs out, NumericsError naming the part whose numbers went wrong.
    """
    if len({batch_key(job) for job in jobs}) != 1:
        raise ValueError("the jobs of a batch must share all but prompts and seeds")
    wanted = LatentsSelection.coerce(save_latents)
    kind = memory_kind(jobs[0])
    taking = [*sinks, MemorySink(wanted)] if wanted else sinks
    try:
        with _quiet_numpy(), loaded.memory.recording(kind, len(jobs)):
            return _generate(loaded, jobs, on_step, taking, start)
    except RuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
        out_of_memory = error
    if len(jobs) == 1:
        raise _out_of_memory_error(loaded, jobs[0]) from out_of_memory
    memory.empty_cache()
    loaded.memory.record_out_of_memory(kind, len(jobs))
    half = len(jobs) // 2
    event = f"out of memory with a batch of {len(jobs)}, halved"
    return [
        replace(result, events=(event, *result.events))
        for part in (jobs[:half], jobs[half:])
        for result in generate_batch(
            loaded, part, on_step=on_step, save_latents=wanted, sinks=sinks
        )
    ]


def _generate(
    loaded: LoadedPipeline,
    jobs: Sequence[Job],
    on_step: OnStep | None,
    sinks: Sequence[LatentsSink],
    start: ResumePoint | None,
) -> list[GenerationResult]:
    first = jobs[0]
    _check_size(loaded, first)
    scheduler = build_scheduler(
        loaded.base_scheduler,
        first.scheduler,
        steps=first.num_inference_steps,
        seeds=[job.seed for job in jobs],
    )
    check_eta(scheduler, first.eta)
    loaded.pipeline.scheduler = scheduler
    clock = _Clock()
    conditioning = encode_prompts(loaded.encoder, jobs)
    clock.lap("encode")
    runs = _run_infos(loaded, jobs, scheduler)
    recorders: list[Recorder] = [LatentsRecorder(sink, runs, scheduler) for sink in sinks]
    # CPU generators: the same seed is the same noise on every device.
    generators = [torch.Generator("cpu").manual_seed(job.seed) for job in jobs]
    latents = _denoise(loaded, jobs, conditioning, recorders, on_step, generators, start)
    _check_finite(latents, loaded)
    clock.lap("denoise")
    pixels, rungs = decode_latents(
        loaded.pipeline, latents, tiling=first.vae_tiling, generators=generators
    )
    clock.lap("decode")
    before = (*loaded.notes, *(start.notes if start else ()))
    return [
        GenerationResult(
            run=run,
            pixels=pixels[image],
            weights=loaded.hashes.result(),
            seconds={**loaded.seconds, **clock.seconds},
            latents=_collect_latents(recorders, image),
            events=(*before, *conditioning.events[image], *rungs),
        )
        for image, run in enumerate(runs)
    ]


def _run_infos(loaded: LoadedPipeline, jobs: Sequence[Job], scheduler: Any) -> list[RunInfo]:
    course = RunInfo(
        job=jobs[0],
        timesteps=timesteps(scheduler),
        sigmas=sigmas(scheduler),
        scheduler_class=type(scheduler).__name__,
        scheduler_config=public_config(scheduler),
        init_noise_sigma=float(scheduler.init_noise_sigma),
        batch_size=len(jobs),
        dtype=str(loaded.dtype).removeprefix("torch."),
        device=str(loaded.device),
    )
    return [replace(course, job=job) for job in jobs]


def _denoise(
    loaded: LoadedPipeline,
    jobs: Sequence[Job],
    conditioning: Conditioning,
    recorders: Sequence[Recorder],
    on_step: OnStep | None,
    generators: list[torch.Generator],
    start: ResumePoint | None,
) -> torch.Tensor:
    """Run the pipeline's own loop; latents (batch, 4, height/8, width/8)."""
    first = jobs[0]
    noise = _draw_noise(loaded, jobs, generators, conditioning.prompt_embeds.dtype)
    indices = tuple(job.index for job in jobs)

    def on_step_end(pipe: Any, step: int, timestep: Any, state: dict[str, Any]) -> dict[str, Any]:
        for recorder in recorders:
            recorder.on_step(step + 1, state["latents"])
        if on_step:
            on_step(
                StepEvent(
                    job_indices=indices,
                    step=step + 1,
                    steps=pipe.num_timesteps,
                    timestep=float(timestep),
                )
            )
        return {}  # nothing changed; None would be an error

    with ExitStack() as entered:
        for recorder in recorders:
            entered.enter_context(recorder)
            recorder.on_step(0, noise)
        if start:
            noise = entered.enter_context(resuming_at(loaded.pipeline, noise, start))
        output = loaded.pipeline(
            prompt_embeds=conditioning.prompt_embeds,
            negative_prompt_embeds=conditioning.negative_prompt_embeds,
            height=first.height,
            width=first.width,
            num_inference_steps=first.num_inference_steps,
            guidance_scale=first.guidance_scale,
            guidance_rescale=first.guidance_rescale,
            eta=first.eta,
            generator=generators,
            latents=noise,
            output_type="latent",
            callback_on_step_end=on_step_end,
        )
    latents: torch.Tensor = output.images
    return latents


def _draw_noise(
    loaded: LoadedPipeline,
    jobs: Sequence[Job],
    generators: list[torch.Generator],
    dtype: torch.dtype,
) -> torch.Tensor:
    """Draw as the pipeline would have: image by image, and each generator goes on from there."""
    pipeline, scale = loaded.pipeline, loaded.pipeline.vae_scale_factor
    channels = pipeline.unet.config.in_channels
    shape = (len(jobs), channels, jobs[0].height // scale, jobs[0].width // scale)
    noise: torch.Tensor = randn_tensor(
        shape, generator=generators, device=loaded.device, dtype=dtype
    )
    return noise


def _collect_latents(recorders: Sequence[Recorder], image: int) -> dict[str, Any] | None:
    arrays = {name: a for recorder in recorders for name, a in recorder.results(image).items()}
    return arrays or None


def _check_size(loaded: LoadedPipeline, job: Job) -> None:
    grid = max(8, loaded.pipeline.vae_scale_factor)
    if job.width % grid or job.height % grid:
        raise UsageError(
            f"size: {job.width}x{job.height}, but sides must be multiples of {grid}",
            code="usage.size",
        )


def _check_finite(latents: torch.Tensor, loaded: LoadedPipeline) -> None:
    if torch.isfinite(latents).all():
        return
    narrow = loaded.dtype == torch.float16
    raise NumericsError(
        "UNet: the latents are not finite",
        code="numerics.unet",
        hint="try " + ("--dtype float32" if narrow else "another --scheduler or more --steps"),
    )


def _out_of_memory_error(loaded: LoadedPipeline, job: Job) -> DeviceError:
    return DeviceError(
        f"out of memory on {loaded.device} for one image of {job.width}x{job.height}",
        code="device.memory",
        hint="use a smaller --size, --dtype float16, or --device cpu",
    )


@contextmanager
def _quiet_numpy() -> Iterator[None]:
    """Several schedulers convert tensors as numpy 2 deprecates, hundreds of times a run; torchsde
    tells of every rounding of its times."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Should have t[ab]", UserWarning)
        warnings.filterwarnings("ignore", "__array(_wrap__)?", DeprecationWarning)
        yield


class _Clock:
    """Laps of wall time by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now
