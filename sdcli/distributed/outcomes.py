"""Keep account of the jobs that workers make, and report on them as a run in one process does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from sdcli.distributed.messages import (
    MOST_ATTEMPTS,
    Busy,
    Failed,
    Made,
    Message,
    Noted,
    Settled,
    Stepped,
    Warned,
    fatal_error,
)
from sdcli.errors import Interrupted, SdcliError
from sdcli.job import Job
from sdcli.result import DoneImage
from sdcli.runner.options import ReportForm
from sdcli.runner.results import ResultHandler
from sdcli.storage.jobs.store import JobStore
from sdcli.terminal.json_output import done_document
from sdcli.terminal.reports import ImageEntry


class Outcomes:
    """The jobs of a run by what became of them.

    `jobs` are handed out and not settled yet; `busy` are those that another run is making. `ended`
    tells that an error has ended the run. Without a `form`, images have no entry in the report.
    """

    def __init__(
        self,
        results: ResultHandler,
        store: JobStore,
        form: ReportForm | None,
        warn: Callable[[str], None],
        note: Callable[[str], None],
    ) -> None:
        self.results = results
        self._note = note
        self.warn = warn
        self.jobs: dict[int, Job] = {}
        self.busy: list[Job] = []
        self.ended = False
        self._store = store
        self._form = form
        self._deaths: Counter[int] = Counter()
        self._may_be_done: set[int] = set()

    def hand_out(self, jobs: Sequence[Job], *, may_repeat: bool = False) -> None:
        """Count jobs as being made; with `may_repeat`, perhaps twice, of which one tells."""
        self.jobs |= {job.index: job for job in jobs}
        if may_repeat:
            self._may_be_done.update(job.index for job in jobs)

    def handle(self, message: Message) -> None:
        """Count and report what a worker says; twice the same is once."""
        match message:
            case Made() if self.jobs.pop(message.index, None):
                self.results.add_image(message.index, self._entry(message.document))
            case Failed():
                self._add_failure(message)
            case Settled():
                for job in self._take(message.indices):
                    self._settle(job)
            case Busy():
                for owner in message.owners:
                    self.warn(f"waiting for images that are leased to {owner}")
                self.busy += self._take(message.indices)
            case Warned():
                self.warn(message.text)
            case Noted():
                self._note(message.text)
            case Stepped():
                self.results.progress.on_step(message.event)
                self.results.report.step(message.event)

    def lose(self, begun: Sequence[Job], rest: Sequence[Job], reason: str) -> list[Job]:
        """Count the jobs that a worker had begun when it ended; returns those to make again."""
        self._may_be_done.update(job.index for job in (*begun, *rest))
        self._deaths.update(job.index for job in begun)
        fatal = [job for job in begun if self._deaths[job.index] >= MOST_ATTEMPTS]
        for job in fatal:
            self._give_up(job, reason)
        return [job for job in begun if job not in fatal]

    def take_free(self) -> list[Job]:
        """Remove and return the busy jobs that no other run is making any longer."""
        busy, self.busy, free = self.busy, [], list[Job]()
        for job in busy:
            (free if self._store.is_free(job) else self.busy).append(job)
        return free

    def _take(self, indices: Sequence[int]) -> list[Job]:
        return [job for index in indices if (job := self.jobs.pop(index, None))]

    def _add_failure(self, message: Failed) -> None:
        error, jobs = message.error(), self._take(message.indices)
        if isinstance(error, Interrupted):
            # A signal to the worker alone, or by its parent, which reports that itself.
            if "; " in error.message.removeprefix("interrupted; "):
                self.warn(f"a worker process was {error.message}")
            return
        if not message.indices:
            # The first error of several workers tells the cause.
            if self.ended:
                return
            self.ended = True
        elif not jobs:
            return
        self.results.add_failure(error, jobs)

    def _settle(self, job: Job) -> None:
        """Count a job that was done when a worker came to it: by another run, or by a dead worker.

        The dead one may have saved the image without living to tell.
        """
        outcome = self._store.find_outcome(job) if job.index in self._may_be_done else None
        if isinstance(outcome, DoneImage):
            self.results.add_image(job.index, self._entry(done_document(outcome)))
        elif outcome:
            code, _, message = outcome.partition(": ")
            self.results.add_failure(SdcliError(message, code=code), [job])
        else:
            self._store.counts["elsewhere"] += 1
            self.results.skip([job])
            self.results.progress.skip(1)

    def _give_up(self, job: Job, reason: str) -> None:
        error = fatal_error(job.prompt, f", the last with {reason}")
        self.jobs.pop(job.index, None)
        self._store.record_failure([job], error)
        self.results.add_failure(error, [job])

    def _entry(self, document: object) -> ImageEntry:
        """The entry of a report from an image's document."""
        assert isinstance(document, dict)
        match self._form:
            case None:
                return None
            case "paths":
                return str(document["path"])
            case "json":
                return document
            case "jsonl":
                return {**document, "event": "image"}
