"""Make blocks of planned jobs, and tell the process that planned them what became of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sdcli.distributed.messages import (
    Began,
    Busy,
    Failed,
    Made,
    Message,
    Noted,
    Settled,
    Stepped,
    Verdict,
    Warned,
    WorkerSettings,
    fatal_error,
)
from sdcli.errors import SdcliError
from sdcli.job import Job
from sdcli.result import DoneImage, GenerationResult, JobFailure, SavedImage, StepEvent
from sdcli.runner.batch_generator import BatchGenerator
from sdcli.runner.details import RunDetails
from sdcli.runner.options import RunOptions
from sdcli.runner.results import ResultHandler
from sdcli.runner.writer import ResultWriter
from sdcli.runner.writer_thread import WriterThread
from sdcli.shard import WHOLE_RUN
from sdcli.terminal.json_output import image_document
from sdcli.terminal.progress import ProgressBar
from sdcli.terminal.reports import ImageEntry


class MessageReport:
    """A report that sends messages instead of printing."""

    def __init__(self, tell: Callable[[Message], None], *, steps: bool) -> None:
        self._tell = tell
        self._steps = steps

    def started(self, images: int | None) -> None:
        pass

    def step(self, event: StepEvent) -> None:
        if self._steps:
            self._tell(Stepped(event))

    def entry(self, image: SavedImage, latents: str | None) -> ImageEntry:
        return image_document(image, latents=latents)

    def done_entry(self, image: DoneImage) -> ImageEntry:
        return None

    def add_image(self, entry: ImageEntry) -> None:
        if isinstance(entry, Mapping):
            self._tell(Made(entry))

    def add_archive(self, path: str, images: int) -> None:
        pass

    def failed(self, error: SdcliError, jobs: Sequence[Job] = ()) -> None:
        self._tell(Failed.from_error(error, _indices(jobs)))

    def close(self, summary: Mapping[str, Any]) -> None:
        pass


class BlockWorker:
    """Generates, saves and journals the images of blocks of jobs.

    `tell` gets the messages, also from a second thread. `is_stopping` is asked before each batch,
    and `begin` for the indices of those jobs of a batch that have ended too many workers, and of
    those that must be made one at a time, because they may have ended one. Raises OutputError when
    the output can't be written, or is not the folder of the run.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        tell: Callable[[Message], None],
        is_stopping: Callable[[], bool] = lambda: False,
        begin: Callable[[Sequence[int]], Verdict] = lambda indices: ((), ()),
    ) -> None:
        if settings.journal:
            settings.journal.check()
        options = worker_options(settings.options)
        self._tell = tell
        self._is_stopping = is_stopping
        self._begin = begin
        self._writer = ResultWriter(options, opening_serial=settings.opening_serial, is_worker=True)
        assert self._writer.jobs is not None
        self._jobs = self._writer.jobs
        report = MessageReport(tell, steps=options.report == "jsonl")
        self._results = ResultHandler(
            writer=self._writer,
            report=report,
            progress=ProgressBar(None, None),
            warn=self._warn,
            on_saved=(RunDetails(self._note).add,) if options.verbosity > 0 else (),
        )
        self._generator = BatchGenerator(
            batch_size=settings.batch_size,
            sinks=[self._writer.latents],
            on_step=report.step,
            warn=self._warn,
            skip_unloadable=True,
        )
        self._saving = WriterThread()

    def make(self, jobs: Sequence[Job]) -> None:
        """Make the jobs of a block, those that no other process makes; saving may go on after."""
        rest = list(jobs)
        while rest and not self._is_stopping():
            size = self._generator.max_images(rest[0])
            self._make_batch(rest[:size])
            rest = rest[size:]

    def flush(self) -> None:
        """Wait until everything is saved. Raises the error of that."""
        self._saving.close()
        self._saving = WriterThread()

    def abort(self, reason: SdcliError | KeyboardInterrupt) -> None:
        """Save what is done, keep the latents of the rest, and report the error of the run."""
        try:
            self._saving.close()
        except SdcliError as error:
            reason = error
        self._results.abort(reason)

    def close(self) -> None:
        """Save what is done, and release the jobs."""
        try:
            self._saving.close()
        finally:
            self._writer.latents.__exit__(None, None, None)
            self._writer.close()

    def _make_batch(self, jobs: Sequence[Job]) -> None:
        # Not before: a lease that waits for its turn would keep other processes from the job.
        leased, busy = self._jobs.lease(jobs)
        if busy:
            owners = tuple(sorted(self._jobs.owners(busy)))
            self._tell(Busy(_indices(busy), owners))
        if settled := {*_indices(jobs)} - {*_indices(leased), *_indices(busy)}:
            self._tell(Settled(tuple(settled)))
        if leased:
            self._make_leased(leased)

    def _make_leased(self, jobs: Sequence[Job]) -> None:
        refused, alone = self._begin(_indices(jobs))
        for job in (job for job in jobs if job.index in refused):
            self._save(JobFailure(jobs=(job,), error=fatal_error(job.prompt)))
        if together := [job for job in jobs if job.index not in (*refused, *alone)]:
            self._tell(Began(_indices(together)))
            for outcome in self._generator.generate(together):
                self._save(outcome)
        for job in (job for job in jobs if job.index in alone):
            # The next one may end this process, and must not take what is made with it.
            self.flush()
            self._make_leased([job])

    def _save(self, outcome: GenerationResult | JobFailure) -> None:
        self._saving.submit(partial(self._results.handle, outcome))

    def _note(self, text: str) -> None:
        self._tell(Noted(text))

    def _warn(self, text: str) -> None:
        self._tell(Warned(text))


def worker_options(options: RunOptions) -> RunOptions:
    """The options of a run for one of its workers, which gets its jobs from another process."""
    return replace(options, preview=None, on_result=None, shard=WHOLE_RUN)


def _indices(jobs: Sequence[Job]) -> tuple[int, ...]:
    return tuple(job.index for job in jobs)
