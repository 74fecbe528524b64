"""Generate the images of one batch with a pipeline from the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from sdcli import signals
from sdcli.errors import CorruptError, ModelError, OutputError, SdcliError, UnsafeError
from sdcli.job import Job
from sdcli.latents import LatentsSelection, LatentsSink, LatentsSource, ResumePoint
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.resolve import resolve_jobs
from sdcli.request import GenerationRequest
from sdcli.result import GenerationResult, JobFailure, StepEvent
from sdcli.runner.input_images import (
    insert_result,
    prepare_controls,
    prepare_images,
    read_image,
    read_image_prompts,
)
from sdcli.runner.pipeline_cache import DEFAULT_CACHE, PipelineCache

if TYPE_CHECKING:
    from sdcli.engine import LoadedPipeline

_MAX_FAILED_TOGETHER: Final = 1000
"""Jobs of a model that does not load are reported as failed in batches of this size."""


@dataclass(frozen=True, kw_only=True)
class ResumeSource:
    """Saved latents to continue from: those after `step` steps of the `request` they belong to."""

    latents: LatentsSource
    request: GenerationRequest
    step: int


@dataclass(kw_only=True)
class BatchGenerator:
    """Generates batches with the pipelines of a cache.

    `batch_size` None lets the memory decide. With `skip_unloadable` a model that does not load
    fails its own jobs, otherwise it ends the run. `recorders` are those of `engine.generate_batch`.
    """

    batch_size: int | None = 1
    save_latents: LatentsSelection | str | None = None
    sinks: Sequence[LatentsSink] = ()
    resume: ResumeSource | None = None
    on_step: Callable[[StepEvent], None] | None = None
    warn: Callable[[str], None] | None = None
    recorders: Sequence[Callable[[Any], Any]] = ()
    skip_unloadable: bool = False
    cache: PipelineCache = DEFAULT_CACHE
    _load_errors: dict[PipelineSpec, SdcliError] = field(default_factory=dict)

    def max_images(self, job: Job) -> int:
        """How many jobs like this one to generate together, after loading its pipeline."""
        with self._load(job) as pipeline:
            from sdcli import engine

            if pipeline is None:
                return _MAX_FAILED_TOGETHER
            return self.batch_size or engine.auto_batch_size(pipeline, job)

    def generate(self, batch: Sequence[Job]) -> Sequence[GenerationResult | JobFailure]:
        """The results of a batch, or its failure.

        Raises OutputError, since no later job could be saved either, and SdcliError for a pipeline
        that does not load unless that may be skipped.
        """
        spec = batch[0].spec
        with self._load(batch[0]) as pipeline:
            if pipeline is None:
                return [JobFailure(jobs=tuple(batch), error=self._load_errors[spec])]
            try:
                return self._generate(pipeline, batch)
            except OutputError:
                raise
            except SdcliError as error:
                # Ctrl-C within a library may come out as an error of the job.
                signals.raise_if_interrupted()
                return [JobFailure(jobs=tuple(batch), error=error)]

    def _generate(
        self, pipeline: LoadedPipeline, batch: Sequence[Job]
    ) -> Sequence[GenerationResult]:
        from sdcli import engine

        prepared = prepare_images(pipeline, batch[0])
        controls = prepare_controls(pipeline, batch[0], prepared)
        prompts = read_image_prompts(batch[0])
        results = engine.generate_batch(
            pipeline,
            batch,
            on_step=self.on_step,
            save_latents=self.save_latents,
            sinks=self.sinks,
            start=_find_start(pipeline, batch[0], self.resume) if self.resume else None,
            inputs=prepared.pixels if prepared else None,
            controls=controls.pixels if controls else None,
            image_prompts=prompts.pixels,
            warn=self.warn,
            recorders=self.recorders,
        )
        if prepared:
            results = [insert_result(prepared, result) for result in results]
        notes = (*(controls.notes if controls else ()), *prompts.notes)
        return [replace(result, events=(*notes, *result.events)) for result in results]

    @contextmanager
    def _load(self, job: Job) -> Iterator[LoadedPipeline | None]:
        """Lend the pipeline; None for one that does not load and may be skipped."""
        from sdcli import engine

        # Only torch knows the device, but the model need not be loaded for that.
        engine.check_execution(job)
        spec = job.spec
        with ExitStack() as stack:
            pipeline = None
            if spec not in self._load_errors:
                try:
                    pipeline = stack.enter_context(self.cache.load(spec, self.warn))
                except (ModelError, UnsafeError, CorruptError) as error:
                    signals.raise_if_interrupted()
                    if not self.skip_unloadable:
                        raise
                    self._load_errors[spec] = error
            yield pipeline


def _find_start(pipeline: LoadedPipeline, job: Job, resume: ResumeSource) -> ResumePoint:
    from sdcli import engine
    from sdcli.checkpoints.refiner import fetch_defaults

    defaults = fetch_defaults(job.spec)
    [recorded_job] = resolve_jobs(resume.request, defaults, 0, read_image=read_image)
    return engine.find_resume_point(pipeline, job, recorded_job, resume.latents, resume.step)
