"""One image to be made, with nothing left to choose."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable
from dataclasses import dataclass, fields, replace
from typing import Final

from sdcli.catalog.schedulers.resolve import SchedulerConfig as SchedulerConfig
from sdcli.request import REQUEST_FIELDS, GenerationRequest, PipelineSpec

TimingKey = tuple[object, ...]
"""What decides how long an image takes, on one machine."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One image to be made, with nothing left to choose. `index` counts from 0 over the run.

    `scheduler_label` names the scheduler for people and resolves to it again. `fingerprint` tells
    the model's and VAE's files apart, "" when nobody asked. `occurrence` counts equal jobs of one
    run from 0.
    """

    index: int
    prompt: str
    negative_prompt: str
    spec: PipelineSpec
    scheduler: SchedulerConfig
    scheduler_label: str
    num_inference_steps: int
    guidance_scale: float
    guidance_rescale: float
    eta: float
    clip_skip: int | None
    width: int
    height: int
    seed: int
    vae_tiling: str = "auto"
    fingerprint: str = ""
    occurrence: int = 0

    def to_request(self, *, dtype: str) -> GenerationRequest:
        """The request for this image alone, with nothing left to choose."""
        values = {name: getattr(self, name) for name in JOB_SETTINGS}
        return GenerationRequest(
            prompt=self.prompt,
            spec=replace(self.spec, dtype=dtype),
            scheduler=self.scheduler_label,
            **{**values, "negative_prompt": self.negative_prompt or None},
        )


JOB_SETTINGS: Final = tuple(
    f.name for f in fields(Job) if f.name in REQUEST_FIELDS and f.name != "scheduler"
)
"""The fields that a job takes over from its request."""


_IRRELEVANT_TO_PIXELS: Final = frozenset({"index", "occurrence", "scheduler_label", "spec"})
"""Fields of a job that do not decide its pixels, or (the spec) not as they are written."""


_FIRST_DEFAULTS: Final = frozenset({"vae_tiling", "fingerprint"})
"""Fields with a default that version 0.1.0 had."""


def job_id(job: Job) -> str:
    """32 hex digits of all that decides the pixels: an edited job is another, a moved one is not.

    Models count by their files where `fingerprint` is known, never by path; `dtype` counts as asked
    for, and the device not at all, so that a run may go on elsewhere.
    """
    facts = {
        f.name: value
        for f in fields(job)
        if f.name not in _IRRELEVANT_TO_PIXELS
        # A field that came after 0.1.0 is left out at its default: the ids of old journals stay.
        and ((value := getattr(job, f.name)) != f.default or f.name in _FIRST_DEFAULTS)
    }
    choice = job.scheduler
    facts["scheduler"] = [choice.class_name, choice.config]
    facts["dtype"] = job.spec.dtype
    if not job.fingerprint:
        facts["files"] = [job.spec.model, job.spec.vae, job.spec.variant]
    text = json.dumps(facts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def timing_key(job: Job) -> TimingKey:
    """Model, size, scheduler, steps, and whether the UNet sees each step twice."""
    guided = job.guidance_scale > 1
    size = (job.width, job.height)
    return (job.spec.model, *size, job.scheduler_label, job.num_inference_steps, guided)


def batch_key(job: Job) -> Hashable:
    """Jobs with equal keys may be denoised in one batch."""
    return replace(job, index=0, prompt="", negative_prompt="", seed=0, occurrence=0)
