"""Enlarge the images of a batch, and redraw them in a second pass that starts from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from sdcli.engine.denoise.control import Control
from sdcli.engine.denoise.decode_images import decode_images
from sdcli.engine.denoise.loop import OnStep, denoise
from sdcli.engine.denoise.pipeline_arguments import BatchInputs
from sdcli.engine.denoise.run_part import plan_parts
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.loading.pipeline_classes import mode_of
from sdcli.engine.schedulers.describe import run_sigmas, timesteps
from sdcli.engine.schedulers.job_scheduler import build_for_jobs
from sdcli.engine.schedulers.late_start import skipped_calls
from sdcli.fields.hires import LATENT
from sdcli.job import Job
from sdcli.result import SecondPass


@dataclass(frozen=True, kw_only=True, eq=False)
class HiresPass:
    """The second pass of a batch, planned before the first one begins.

    `jobs` are those of the second pass; `scheduler` is built for them, and `description` has its
    schedule.
    """

    first_job: Job
    jobs: Sequence[Job]
    scheduler: Any
    description: SecondPass

    @classmethod
    def plan(cls, loaded: LoadedPipeline, jobs: Sequence[Job]) -> HiresPass | None:
        """Return the second pass of the jobs, None without one. Raises UsageError."""
        second = [again for job in jobs if (again := job.second_pass())]
        if not second:
            return None
        scheduler = build_for_jobs(loaded, second)
        description = _describe(scheduler, second[0])
        return cls(first_job=jobs[0], jobs=second, scheduler=scheduler, description=description)

    def before(self, on_step: OnStep | None) -> OnStep | None:
        """Return an `on_step` for the first pass that counts the calls of this one, too."""
        calls = len(self.description.timesteps)
        return on_step and (lambda event: on_step(replace(event, steps=event.steps + calls)))

    def run(
        self,
        loaded: LoadedPipeline,
        latents: torch.Tensor,
        on_step: OnStep | None,
        earlier_calls: int,
        controls: Sequence[Control] = (),
    ) -> tuple[torch.Tensor, list[str]]:
        """Redraw the latents of the first pass, enlarged, guided by `controls`.

        Returns the last latents, (batch, 4, height/8, width/8) at the new size, and descriptions of
        what went wrong in between.
        """
        events: list[str] = []
        if self.first_job.hires_upscaler == LATENT:
            images: Any = self._enlarge_latents(loaded, latents)
        else:
            images, events = self._enlarge_pixels(loaded, latents)
        loaded.pipeline_for(mode_of(self.jobs[0])).scheduler = self.scheduler
        redrawn = denoise(
            loaded,
            self.jobs,
            plan_parts(loaded, self.jobs, self.scheduler),
            # As a run of its own from the enlarged image: its noise is that of the seed, too.
            generators=seeded_generators(self.jobs),
            recorders=(),
            on_step=on_step and _continued(on_step, earlier_calls),
            start=None,
            inputs=BatchInputs(images=images),
            controls=controls,
        )
        return redrawn, events

    def _enlarge_latents(self, loaded: LoadedPipeline, latents: torch.Tensor) -> torch.Tensor:
        _, cell = loaded.latent_shape
        size = self.jobs[0].height // cell, self.jobs[0].width // cell
        return interpolate(latents, size=size, mode="bilinear")

    def _enlarge_pixels(
        self, loaded: LoadedPipeline, latents: torch.Tensor
    ) -> tuple[np.ndarray[Any, Any], list[str]]:
        """Return pixels (batch, height, width, 3) from 0 to 1, and the events of decoding."""
        job, processor = self.jobs[0], loaded.pipeline.image_processor
        pixels, events = decode_images(
            loaded, latents, job.vae_tiling, seeded_generators(self.jobs)
        )
        images = processor.numpy_to_pil(pixels.astype(np.float32) / 255)
        # Pillow's Lanczos filter is the processor's default.
        enlarged = [processor.resize(image, job.height, job.width) for image in images]
        return processor.pil_to_numpy(enlarged), events


def _describe(scheduler: Any, job: Job) -> SecondPass:
    skipped = skipped_calls(scheduler, job)
    return SecondPass(
        width=job.width,
        height=job.height,
        timesteps=timesteps(scheduler)[skipped:],
        sigmas=run_sigmas(scheduler, skipped),
    )


def _continued(on_step: OnStep, calls: int) -> OnStep:
    """Return an `on_step` that goes on counting after the calls of the first pass."""
    return lambda event: on_step(replace(event, step=event.step + calls, steps=event.steps + calls))


def seeded_generators(jobs: Sequence[Job]) -> list[torch.Generator]:
    """Return a generator for each job, at the beginning of what its seed gives."""
    # On the CPU, so that a seed gives the same noise on every device.
    return [torch.Generator("cpu").manual_seed(job.seed) for job in jobs]
