"""Runs of several processes whose other processes are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sdcli.distributed.job_queue import JobQueue
from sdcli.distributed.messages import WorkerSettings
from sdcli.distributed.outcomes import Outcomes
from sdcli.distributed.run import DistributedRun
from sdcli.prompts.sources import IterableSource, RequestSource
from sdcli.runner.interrupts import InterruptHandler
from sdcli.runner.options import RunOptions
from sdcli.runner.results import ResultHandler
from sdcli.runner.writer import ResultWriter
from sdcli.terminal.console import Console
from sdcli.terminal.progress import ProgressBar
from sdcli.terminal.reports import make_report


def make_settings(folder: Path, **changes: Any) -> WorkerSettings:
    """The settings of a worker that writes to `folder`; the changes are options of the run."""
    options = RunOptions(**{"out": str(folder), "expected_images": None, "journal": True} | changes)
    return WorkerSettings(options=options, batch_size=2, opening_serial=0, folder=str(folder))


@contextmanager
def opened_run(
    folder: Path, source: RequestSource | None = None, warn: Callable[[str], None] = print
) -> Iterator[DistributedRun]:
    """The side of a run that plans and reports."""
    settings = make_settings(folder)
    writer = ResultWriter(settings.options)
    assert writer.jobs
    console = Console(verbosity=-1)
    report = make_report("paths", console, list_done=False)
    results = ResultHandler(
        writer=writer, report=report, progress=ProgressBar(None, None), warn=warn
    )
    queue = JobQueue(source or IterableSource([]), writer.jobs, warn=warn, expect=results.expect)
    outcomes = Outcomes(results, writer.jobs, "paths", warn, warn)
    try:
        yield DistributedRun(
            settings=settings, queue=queue, outcomes=outcomes, interrupts=InterruptHandler()
        )
    finally:
        writer.close()
