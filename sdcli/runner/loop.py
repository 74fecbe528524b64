"""Run the one loop of sdcli: plan requests as they arrive, and generate them batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sdcli.latents import LatentsSelection, LatentsSink
from sdcli.planning.batching import (
    ArrivalBatchPlanner,
    BatchObserver,
    BatchPlanner,
    LeasedBatchPlanner,
)
from sdcli.planning.planner import Planner
from sdcli.planning.prompt_syntax import WordPlaces
from sdcli.prompts.sources import IterableSource, RequestSource
from sdcli.request import GenerationRequest
from sdcli.result import GenerationResult, JobFailure, StepEvent
from sdcli.runner.batch_generator import BatchGenerator, ResumeSource
from sdcli.runner.input_images import read_image
from sdcli.runner.interrupts import InterruptHandler
from sdcli.runner.pipeline_cache import DEFAULT_CACHE, PipelineCache
from sdcli.runner.word_recorder import word_places_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sdcli.storage.jobs.store import JobStore


def generate(
    requests: GenerationRequest | Iterable[GenerationRequest],
    *,
    batch_size: int | None = 1,
    save_latents: LatentsSelection | str | None = None,
    on_step: Callable[[StepEvent], None] | None = None,
) -> list[GenerationResult]:
    """Generate the images of one or several requests, in their order, without writing files.

    At batch size 1 every image is exact; larger batches are faster and equal up to floating-point
    rounding; None lets the memory decide. `save_latents` ("final", "all", "every:5", "steps:1,5")
    fills the results' `latents`.

    The pipeline stays loaded for the next call with an equal spec. Threads may call this at the
    same time; they take turns. `on_step` must neither call it nor wait for a thread that does.
    Raises the first SdcliError of any image.
    """
    several = [requests] if isinstance(requests, GenerationRequest) else requests
    results = []
    for outcome in iter_results(
        IterableSource(several), batch_size=batch_size, save_latents=save_latents, on_step=on_step
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
    resume: ResumeSource | None = None,
    on_step: Callable[[StepEvent], None] | None = None,
    warn: Callable[[str], None] | None = None,
    jobs: JobStore | None = None,
    observer: BatchObserver | None = None,
    interrupts: InterruptHandler | None = None,
    cache: PipelineCache = DEFAULT_CACHE,
    recorders: Sequence[Callable[[Any], Any]] = (),
) -> Iterator[GenerationResult | JobFailure]:
    """Yield the images of each request in order, or the failure of their batch.

    A batch is what has already arrived, up to `batch_size` (None: as many as fit). With a job store
    `jobs`, only what is left to do is generated, grouped by model, and `observer` learns which jobs
    to expect. With `resume`, each job continues from there. `recorders` are those of
    `engine.generate_batch`.

    Raises SdcliError for what ends the run: an invalid request, a missing device, a full disk, and
    without a job store a model that does not load.
    """
    generator = BatchGenerator(
        batch_size=batch_size,
        save_latents=save_latents,
        sinks=sinks,
        resume=resume,
        on_step=on_step,
        warn=warn,
        # A prompt file may name other models, which do load.
        skip_unloadable=jobs is not None,
        cache=cache,
        recorders=recorders,
    )
    planner = _batch_planner(source, warn, jobs, observer, word_places_of(recorders))
    interrupts = interrupts or InterruptHandler()
    while job := planner.wait_for_job():
        batch = planner.next_batch(generator.max_images(job))
        if not batch:
            continue
        with interrupts.deferred():
            # No lock is held while results are yielded: the caller may never ask for the next one.
            yield from generator.generate(batch)
        interrupts.raise_if_interrupted()


def _batch_planner(
    source: RequestSource,
    warn: Callable[[str], None] | None,
    jobs: JobStore | None,
    observer: BatchObserver | None,
    word_places: WordPlaces | None,
) -> BatchPlanner:
    draw_seed = jobs.draw_seed if jobs else None
    planner = Planner(
        warn or (lambda text: None),
        draw_seed,
        source.wildcards,
        read_image=read_image,
        word_places=word_places,
    )
    if jobs and observer:
        return LeasedBatchPlanner(source, planner, jobs, observer)
    return ArrivalBatchPlanner(source, planner)
