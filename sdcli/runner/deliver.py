"""Run requests to the end: generate, save and report every image."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Final

from sdcli import signals
from sdcli.errors import ExitCode, SdcliError
from sdcli.job import Job
from sdcli.latents import LatentsSink
from sdcli.prompts.sources import RequestSource
from sdcli.result import GenerationResult, JobFailure, SortedJobs, StepEvent
from sdcli.runner.batch_generator import ResumeSource
from sdcli.runner.details import RunDetails
from sdcli.runner.estimate import RunEstimate
from sdcli.runner.interrupts import InterruptHandler
from sdcli.runner.loop import iter_results
from sdcli.runner.options import RunOptions
from sdcli.runner.pipeline_cache import DEFAULT_CACHE, PipelineCache
from sdcli.runner.preview import build_preview
from sdcli.runner.results import ResultHandler
from sdcli.runner.trace import RunTrace, opened_trace
from sdcli.runner.writer import ResultWriter
from sdcli.runner.writer_thread import WriterThread

if TYPE_CHECKING:
    from sdcli.terminal.console import Console
    from sdcli.terminal.progress import ProgressBar
    from sdcli.terminal.reports import Report

DEFERRED_MESSAGE: Final = "finishing the images in progress; press Ctrl-C again to stop immediately"


def run(
    source: RequestSource,
    options: RunOptions,
    *,
    batch_size: int | None = 1,
    resume: ResumeSource | None = None,
    cache: PipelineCache = DEFAULT_CACHE,
    console: Console | None = None,
    report: Report | None = None,
) -> ExitCode:
    """Generate the requests as they arrive; save and report each image as soon as it is done.

    Messages and the report are printed unless a `console` and a `report` are given. A failed job
    does not stop the others. Returns PARTIAL when only some of the images were made, otherwise the
    exit code of the first failure. Raises OutputError or UsageError before anything is loaded when
    `options.out` cannot be written.
    """
    from sdcli.terminal.console import Console

    start = time.monotonic()
    writer = ResultWriter(options)
    console = console or Console(verbosity=options.verbosity)
    report = report or open_report(options, console)
    writer.report_to(console.warn)
    estimate = RunEstimate(writer.jobs, options.expected_images, console.summary)
    progress = console.progress(options.expected_images, images=options.draws_in_terminal)
    with opened_trace(options) as trace, estimate, writer.latents, progress as bar:
        results = ResultHandler(
            writer=writer,
            report=report,
            progress=bar,
            warn=console.warn,
            on_saved=(RunDetails(console.note).add, estimate.add, trace.finish),
            on_expected=estimate.expect,
        )
        generate = partial(
            iter_results,
            source,
            batch_size=batch_size,
            sinks=_open_sinks(writer, options, bar, console, trace),
            resume=resume,
            cache=cache,
            recorders=trace.recorders,
        )
        _generate_all(generate, results, options.expected_images)
    return finish_run(results, time.monotonic() - start, console if options.journal else None)


def open_report(options: RunOptions, console: Console) -> Report:
    """The report that the options ask for; files that go to an archive are not listed."""
    from sdcli.terminal.reports import make_report

    list_done, list_new = options.list_done, not options.archive_size
    return make_report(options.report, console, list_done=list_done, list_new=list_new)


def _generate_all(
    generate: Callable[..., Iterator[GenerationResult | JobFailure]],
    results: ResultHandler,
    expected_images: int | None,
) -> None:
    """Save the results, and report what ends the run early."""
    try:
        results.report.started(expected_images)
        _save_results(generate, results)
        results.pack_rest()
    except (SdcliError, KeyboardInterrupt) as error:
        results.abort(error)
    finally:
        results.writer.close()


def _open_sinks(
    writer: ResultWriter,
    options: RunOptions,
    bar: ProgressBar,
    console: Console,
    trace: RunTrace,
) -> list[LatentsSink]:
    if options.preview is None:
        return [writer.latents, *trace.sinks]
    preview = build_preview(options.preview, options, bar, console.warn)
    return [writer.latents, *trace.sinks, preview]


def finish_run(results: ResultHandler, seconds: float, console: Console | None) -> ExitCode:
    """Close the report, after a summary on the console if there is one."""
    if console:
        console.summary(results.summary())
    code = results.exit_code()
    facts = {"exit_code": int(code), "seconds": round(seconds, 3)}
    results.report.close({**results.counts(), **facts})
    return code


def _save_results(
    generate: Callable[..., Iterator[GenerationResult | JobFailure]], results: ResultHandler
) -> None:
    """Generate in this thread and save in another one, with Ctrl-C deferred to the next image."""
    writer_thread = WriterThread()
    interrupts = InterruptHandler(partial(results.warn, DEFERRED_MESSAGE))

    def on_step(event: StepEvent) -> None:
        results.progress.on_step(event)
        results.report.step(event)

    outcomes = generate(
        on_step=on_step,
        warn=results.warn,
        jobs=results.writer.jobs,
        observer=_ThreadedObserver(writer_thread, results),
        interrupts=interrupts,
    )
    # Without a journal a run cannot be continued, so Ctrl-C ends it immediately.
    with interrupts.handling() if results.writer.jobs else nullcontext():
        try:
            for outcome in outcomes:
                writer_thread.submit(partial(results.handle, outcome))
        except (SdcliError, KeyboardInterrupt):
            # Images that are done are saved, whatever ended the run.
            with interrupts.deferred():
                writer_thread.close()
            # A library may have turned the interrupt into an error of its own.
            signals.raise_if_interrupted()
            raise
        else:
            writer_thread.close()
        finally:
            results.flush()


class _ThreadedObserver:
    """Passes the expected order of jobs to the result handler, in the writer's thread."""

    def __init__(self, writer_thread: WriterThread, results: ResultHandler) -> None:
        self._writer_thread = writer_thread
        self._results = results

    def expect(self, jobs: SortedJobs) -> None:
        self._writer_thread.submit(partial(self._results.expect, jobs))

    def skip(self, jobs: Sequence[Job]) -> None:
        self._writer_thread.submit(partial(self._results.skip, jobs))
