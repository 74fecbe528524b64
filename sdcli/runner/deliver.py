"""Run requests and save every image: drawing, writing, reporting, interrupts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Final

from sdcli.errors import ExitCode, SdcliError
from sdcli.job import Job
from sdcli.latents import LatentsSink
from sdcli.prompts.sources import RequestSource
from sdcli.result import StepEvent
from sdcli.runner.interrupts import InterruptHandler
from sdcli.runner.loop import ResumeHook, iter_results
from sdcli.runner.options import RunOptions as RunOptions
from sdcli.runner.preview import build_preview
from sdcli.runner.results import ResultHandler
from sdcli.runner.writer import ResultWriter
from sdcli.runner.writer_thread import WriterThread

_FINISHING_MESSAGE: Final = "the images in flight are finished first; Ctrl-C again stops at once"


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
    watching = delivery.preview
    pictures = watching is not None and watching.terminal
    with shelf.latents, talk.progress(delivery.expected_images, pictures=pictures) as progress:
        counter = ResultHandler(writer=shelf, report=report, progress=progress, warn=talk.warn)
        sinks: list[LatentsSink] = [shelf.latents]
        if watching:
            sinks.append(build_preview(watching, delivery, progress, talk.warn))
        try:
            report.started(delivery.expected_images)
            with patience.handling() if shelf.jobs else nullcontext():
                _run_and_save(source, counter, sinks, batch_size, patience, begin)
        except (SdcliError, KeyboardInterrupt) as stop:
            counter.abort(stop)
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
            ledger=counter.writer.jobs,
            order=_ThreadedObserver(beside, counter),
            patience=patience,
            wildcards=counter.writer.wildcards,
        ):
            beside.submit(partial(counter.handle, outcome))
    except (SdcliError, KeyboardInterrupt):
        with patience.deferred():
            beside.close()
        raise
    else:
        beside.close()
    finally:
        counter.flush()


class _ThreadedObserver:
    """Tells the counter which jobs come, in its own thread."""

    def __init__(self, beside: WriterThread, counter: ResultHandler) -> None:
        self._beside, self._counter = beside, counter

    def expect(self, jobs: Sequence[Job]) -> None:
        self._beside.submit(partial(self._counter.expect, jobs))

    def skip(self, jobs: Sequence[Job]) -> None:
        self._beside.submit(partial(self._counter.skip, jobs))
