"""The one loop: requests arrive, are planned, drawn in batches, and handed on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from sdcli.errors import CorruptError, ExitCode, ModelError, OutputError, SdcliError, UnsafeError
from sdcli.latents import LatentsSelection, LatentsSink, LatentsSource, ResumePoint
from sdcli.planning.batching import BatchObserver, claimed_batches, same_base_model
from sdcli.planning.planner import Planner, fetch_defaults
from sdcli.planning.resolve import Job, batch_key, random_seed, resolve_jobs
from sdcli.prompts.sources import IterableSource, RequestSource
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import GenerationRequest, PipelineSpec
from sdcli.result import GenerationResult, JobFailure, StepEvent
from sdcli.runner.interrupts import InterruptHandler
from sdcli.runner.results import ResultHandler
from sdcli.runner.writer import ResultWriter, build_preview
from sdcli.runner.writer import RunOptions as RunOptions
from sdcli.runner.writer_thread import WriterThread

if TYPE_CHECKING:
    from sdcli.engine import LoadedPipeline
    from sdcli.storage.jobs.store import JobStore

ResumeHook = Callable[["LoadedPipeline", Job], ResumePoint]

_FAILED_TOGETHER: Final = 1000
"""How many jobs of a model that does not load fail by one line."""

_FINISHING_MESSAGE: Final = "the images in flight are finished first; Ctrl-C again stops at once"

_loaded: dict[PipelineSpec, LoadedPipeline] = {}


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
        batches = claimed_batches(source, planner.jobs, ledger, limit, order)
    else:
        batches = _batches(source, planner.jobs, limit)
    patience = patience or InterruptHandler(lambda: None)
    for batch in batches:
        pipeline = loaded(batch[0].spec)
        if pipeline is None:
            yield JobFailure(jobs=tuple(batch), error=broken[batch[0].spec])
            continue
        with patience.busy():
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
        patience.check()


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


def _pipeline(spec: PipelineSpec, warn: Callable[[str], None]) -> LoadedPipeline:
    """The loaded pipeline; one at a time, since two may not fit into memory."""
    from sdcli import engine

    if spec not in _loaded:
        before = [loaded for known, loaded in _loaded.items() if same_base_model(known, spec)]
        _loaded.clear()
        _loaded[spec] = engine.load(spec, like=before[0] if before else None)
        for note in _loaded[spec].notes:
            warn(note)
    return _loaded[spec]


def run(
    source: RequestSource,
    delivery: RunOptions,
    *,
    batch_size: int | None = 1,
    begin: ResumeHook | None = None,
) -> ExitCode:
    """Draw what arrives, write every image and report it at once. A failed job stops no other.

    Returns PARTIAL when only some of the images were made, else the first failure's own code.
    Raises OutputError or UsageError before anything is loaded when `out` cannot be.
    """
    from sdcli.terminal import console, reports

    started = time.monotonic()
    shelf = ResultWriter(delivery)
    talk = console.Console(verbosity=delivery.verbosity)
    report = reports.make_report(delivery.report, talk)
    patience = InterruptHandler(lambda: talk.warn(_FINISHING_MESSAGE))
    watching = delivery.watching
    pictures = watching is not None and watching.terminal
    with shelf.dumps, talk.progress(delivery.images, pictures=pictures) as progress:
        counter = ResultHandler(shelf=shelf, report=report, progress=progress, warn=talk.warn)
        sinks: list[LatentsSink] = [shelf.dumps]
        if watching:
            sinks.append(build_preview(watching, delivery, progress, talk.warn))
        try:
            report.started(delivery.images)
            with patience.installed() if shelf.ledger else nullcontext():
                _run_and_save(source, counter, sinks, batch_size, patience, begin)
        except (SdcliError, KeyboardInterrupt) as stop:
            counter.stopped(stop)
        finally:
            shelf.close()
    if delivery.journal:
        talk.summary(counter.summary())
    seconds = round(time.monotonic() - started, 3)
    report.close({**counter.counts(), "exit_code": int(counter.exit_code()), "seconds": seconds})
    return counter.exit_code()


def _run_and_save(
    source: RequestSource,
    counter: ResultHandler,
    sinks: Sequence[LatentsSink],
    batch_size: int | None,
    patience: InterruptHandler,
    begin: ResumeHook | None,
) -> None:
    """Draw here, and write beside it; what was drawn is written whatever happens."""
    beside = WriterThread()

    def on_step(event: StepEvent) -> None:
        counter.progress.on_step(event)
        counter.report.step(event)

    try:
        for outcome in iter_results(
            source,
            batch_size=batch_size,
            sinks=sinks,
            begin=begin,
            on_step=on_step,
            warn=counter.warn,
            ledger=counter.shelf.ledger,
            order=_ThreadedObserver(beside, counter),
            patience=patience,
            wildcards=counter.shelf.wildcards,
        ):
            beside.do(partial(counter.take, outcome))
    except (SdcliError, KeyboardInterrupt):
        with patience.busy():
            beside.finish()
        raise
    else:
        beside.finish()
    finally:
        counter.close()


class _ThreadedObserver:
    """Tells the counter which jobs come, in its own thread."""

    def __init__(self, beside: WriterThread, counter: ResultHandler) -> None:
        self._beside, self._counter = beside, counter

    def expect(self, jobs: Sequence[Job]) -> None:
        self._beside.do(partial(self._counter.expect, jobs))

    def skip(self, jobs: Sequence[Job]) -> None:
        self._beside.do(partial(self._counter.skip, jobs))


def resume_from(dump: LatentsSource, was: GenerationRequest, step: int) -> ResumeHook:
    """How to go on after `step` steps of the run that `was` asked for and `dump` recorded."""

    def begin(pipeline: LoadedPipeline, job: Job) -> ResumePoint:
        from sdcli import engine

        [before] = resolve_jobs(was, fetch_defaults(job.spec), 0)
        return engine.find_resume_point(pipeline, job, before, dump, step)

    return begin
