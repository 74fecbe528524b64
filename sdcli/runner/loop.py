"""The one loop: requests arrive, are planned, drawn in batches, and handed on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from sdcli.errors import CorruptError, ModelError, OutputError, SdcliError, UnsafeError
from sdcli.job import Job, batch_key
from sdcli.latents import LatentsSelection, LatentsSink, LatentsSource, ResumePoint
from sdcli.planning.batching import BatchObserver, claimed_batches
from sdcli.planning.planner import Planner, fetch_defaults
from sdcli.planning.resolve import random_seed, resolve_jobs
from sdcli.prompts.sources import IterableSource, RequestSource
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import GenerationRequest, PipelineSpec
from sdcli.result import GenerationResult, JobFailure, StepEvent
from sdcli.runner.interrupts import InterruptHandler
from sdcli.runner.options import RunOptions as RunOptions
from sdcli.runner.pipeline_cache import _pipeline

if TYPE_CHECKING:
    from sdcli.engine import LoadedPipeline
    from sdcli.storage.jobs.store import JobStore

ResumeHook = Callable[["LoadedPipeline", Job], ResumePoint]

_FAILED_TOGETHER: Final = 1000
"""How many jobs of a model that does not load fail by one line."""


def generate(
    requests: GenerationRequest | Iterable[GenerationRequest],
    *,
    batch_size: int | None = 1,
    save_latents: LatentsSelection | str | None = None,
    on_step: Callable[[StepEvent], None] | None = None,
) -> list[GenerationResult]:
    """Draw the images of one or several requests, in their order, and write nothing.

    At batch size 1 every image is exact; larger ones are faster and equal to rounding; None lets
    the memory decide. `save_latents` ("final", "all", "every:5", "steps:1,5") fills the results'
    `latents`. The pipeline stays loaded for the next call with an equal spec. Raises the
    first SdcliError that any of the images meets.
    """
    given = [requests] if isinstance(requests, GenerationRequest) else requests
    results = []
    for outcome in iter_results(
        IterableSource(given), batch_size=batch_size, save_latents=save_latents, on_step=on_step
    ):
        if isinstance(outcome, JobFailure):
            raise outcome.error
        results.append(outcome)
    return results


def iter_results(
    source: RequestSource,
    *,
    batch_size: int | None = 1,
    save_latents: LatentsSelection | str | None = None,
    sinks: Sequence[LatentsSink] = (),
    begin: ResumeHook | None = None,
    on_step: Callable[[StepEvent], None] | None = None,
    warn: Callable[[str], None] | None = None,
    ledger: JobStore | None = None,
    order: BatchObserver | None = None,
    patience: InterruptHandler | None = None,
    wildcards: Wildcards | None = None,
) -> Iterator[GenerationResult | JobFailure]:
    """What becomes of each request, in order: its images, or the failure of the batch it was in.

    A batch is what has already arrived, up to `batch_size` (None: as many as fit). With a `ledger`
    only what is missing is drawn, group by group; `order` hears what to expect. With `begin` each
    goes on from where that says; `wildcards` fill prompts that had no seed to fill them by. Raises
    SdcliError for what no later job could survive: a bad request, a device that is not there, and
    without a ledger a model that does not load.
    """
    from sdcli import engine

    broken: dict[PipelineSpec, SdcliError] = {}
    draw = ledger.draw_seed if ledger else random_seed
    planner = Planner(warn or (lambda text: None), draw, wildcards)

    def loaded(spec: PipelineSpec) -> LoadedPipeline | None:
        """None for what does not load, when a prompt file may name others that do."""
        try:
            return None if spec in broken else _pipeline(spec, planner.warn)
        except (ModelError, UnsafeError, CorruptError) as error:
            if not ledger:
                raise
            broken[spec] = error
            return None

    def limit(job: Job) -> int:
        pipeline = loaded(job.spec)
        if pipeline is None:
            return _FAILED_TOGETHER
        return batch_size or engine.auto_batch_size(pipeline, job)

    if ledger and order:
        batches = claimed_batches(source, planner.plan, ledger, limit, order)
    else:
        batches = _batches(source, planner.plan, limit)
    patience = patience or InterruptHandler(lambda: None)
    for batch in batches:
        pipeline = loaded(batch[0].spec)
        if pipeline is None:
            yield JobFailure(jobs=tuple(batch), error=broken[batch[0].spec])
            continue
        with patience.deferred():
            try:
                yield from engine.generate_batch(
                    pipeline,
                    batch,
                    on_step=on_step,
                    save_latents=save_latents,
                    sinks=sinks,
                    start=begin(pipeline, batch[0]) if begin else None,
                )
            except OutputError:  # the latents have no room: no later job has any, either
                raise
            except SdcliError as error:
                yield JobFailure(jobs=tuple(batch), error=error)
        patience.raise_if_interrupted()


def _batches(
    source: RequestSource,
    plan: Callable[[Sequence[GenerationRequest]], list[Job]],
    limit: Callable[[Job], int],
) -> Iterator[list[Job]]:
    held = plan(source.take(1, wait=True))
    while held:
        size = limit(held[0])
        held += plan(source.take(max(0, size - len(held)), wait=False))
        batch = _leading_jobs(held[:size])
        yield batch
        held = held[len(batch) :] or plan(source.take(1, wait=True))


def _leading_jobs(jobs: Sequence[Job]) -> list[Job]:
    """The first jobs, as far as they may share a batch."""
    key = batch_key(jobs[0])
    return list(takewhile(lambda job: batch_key(job) == key, jobs))


def resume_from(dump: LatentsSource, was: GenerationRequest, step: int) -> ResumeHook:
    """How to go on after `step` steps of the run that `was` asked for and `dump` recorded."""

    def begin(pipeline: LoadedPipeline, job: Job) -> ResumePoint:
        from sdcli import engine

        [before] = resolve_jobs(was, fetch_defaults(job.spec), 0)
        return engine.find_resume_point(pipeline, job, before, dump, step)

    return begin
