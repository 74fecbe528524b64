"""Run a batch whose images other processes make: plan, report, and end as one process would."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sdcli.distributed.job_queue import JobQueue
from sdcli.distributed.messages import WorkerSettings
from sdcli.distributed.outcomes import Outcomes
from sdcli.errors import ExitCode, SdcliError
from sdcli.inputs.paths import is_url
from sdcli.prompts.sources import RequestSource
from sdcli.runner.deliver import DEFERRED_MESSAGE, finish_run, open_report
from sdcli.runner.estimate import RunEstimate
from sdcli.runner.interrupts import InterruptHandler
from sdcli.runner.options import RunOptions
from sdcli.runner.results import ResultHandler
from sdcli.runner.writer import ResultWriter
from sdcli.storage.jobs.journal_mark import JournalMark
from sdcli.terminal.console import Console


@dataclass(frozen=True, kw_only=True)
class DistributedRun:
    """The settings, the queue and the account of a run, for the function that has its jobs made.

    A first Ctrl-C sets `interrupts.interrupted`.
    """

    settings: WorkerSettings
    queue: JobQueue
    outcomes: Outcomes
    interrupts: InterruptHandler

    @property
    def batch_size(self) -> int | None:
        """The number of images of a batch; None if the worker chooses."""
        return self.settings.batch_size

    @property
    def is_complete(self) -> bool:
        """Whether no job is left, neither here nor at a worker."""
        return self.queue.is_empty and not self.outcomes.jobs and not self.outcomes.busy

    @property
    def is_ending(self) -> bool:
        """Whether no further job is to begin."""
        return self.outcomes.ended or self.interrupts.interrupted


def run_distributed(
    source: RequestSource,
    options: RunOptions,
    make_all: Callable[[DistributedRun], None],
    *,
    workers: int,
    batch_size: int | None,
) -> ExitCode:
    """Plan the requests, have them made by `make_all`, and report as `runner.deliver.run` does."""
    start = time.monotonic()
    writer = ResultWriter(options)
    store = writer.jobs
    # Only stdout has none, and the options of several processes can't be used with that.
    assert store is not None
    console = Console(verbosity=options.verbosity)
    report = open_report(options, console)
    writer.report_to(console.warn)
    estimate = RunEstimate(store, options.expected_images, console.summary, workers)
    interrupts = InterruptHandler(partial(console.warn, DEFERRED_MESSAGE))
    settings = WorkerSettings(
        options=options,
        batch_size=batch_size,
        opening_serial=store.opening_serial,
        folder=os.getcwd(),
        journal=None if is_url(options.out) else JournalMark.of_folder(store.folder),
    )
    # The files of images that go to an archive are not listed.
    form = None if options.archive_size and options.report == "paths" else options.report
    with console.progress(options.expected_images) as bar:
        results = ResultHandler(
            writer=writer,
            report=report,
            progress=bar,
            warn=console.warn,
            on_expected=estimate.expect,
        )
        run = DistributedRun(
            settings=settings,
            queue=JobQueue(source, store, warn=console.warn, expect=results.expect),
            outcomes=Outcomes(results, store, form, console.warn, console.note),
            interrupts=interrupts,
        )
        _make_all(make_all, run, options.expected_images)
    return finish_run(results, time.monotonic() - start, console)


def _make_all(
    make_all: Callable[[DistributedRun], None], run: DistributedRun, expected_images: int | None
) -> None:
    """Make the images, and report what ends the run early."""
    results = run.outcomes.results
    try:
        results.report.started(expected_images)
        with run.interrupts.handling(), run.interrupts.deferred():
            make_all(run)
        # Everything in progress was finished; what is left makes the run an interrupted one.
        run.interrupts.raise_if_interrupted()
        if not run.outcomes.ended:
            results.pack_rest()
    except (SdcliError, KeyboardInterrupt) as error:
        results.flush()
        results.abort(error)
    finally:
        try:
            results.flush()
        finally:
            results.writer.close()
