"""Handle the results of a run: save, count, and report them in the order of their jobs."""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdcli import signals
from sdcli.errors import ExitCode, Interrupted, SdcliError
from sdcli.job import Job
from sdcli.result import GenerationResult, JobFailure, SavedImage, SortedJobs

if TYPE_CHECKING:
    from sdcli.runner.writer import ResultWriter
    from sdcli.storage.jobs.archive_packer import Archive
    from sdcli.storage.latents.writer import LatentsWriter
    from sdcli.terminal.progress import ProgressBar
    from sdcli.terminal.reports import ImageEntry, Report

_SUMMARY_WORDS: Final = {
    "done": "done before",
    "elsewhere": "made by another process",
    "failed": "failed before (--retry-failed tries again)",
    "lost": "made again for a lost or altered file",
}


@dataclass(kw_only=True)
class ResultHandler:
    """Saves results, and reports jobs that were expected in that order.

    Not thread-safe: its methods are called one at a time. `made` counts saved images.
    """

    writer: ResultWriter
    report: Report
    progress: ProgressBar
    warn: Callable[[str], None]
    on_saved: Sequence[Callable[[SavedImage, GenerationResult], None]] = ()
    on_expected: Callable[[SortedJobs], None] = lambda jobs: None
    made: int = 0
    errors: list[SdcliError] = field(default_factory=list)
    _failed: int = 0
    _expected: deque[int] = field(default_factory=deque)
    _awaited: set[int] = field(default_factory=set)
    _ready: dict[int, Callable[[], None]] = field(default_factory=dict)

    def handle(self, outcome: GenerationResult | JobFailure) -> None:
        """Save an image, or count the failed jobs."""
        if isinstance(outcome, JobFailure):
            self._handle_failure(outcome)
        else:
            self._handle_image(outcome)

    def abort(self, reason: SdcliError | KeyboardInterrupt) -> None:
        """Count and report the error that ended the run early."""
        # A library may have turned the interrupt into an error of its own.
        if isinstance(reason, SdcliError) and not signals.was_interrupted():
            error = reason
        else:
            error = self._salvage_and_interrupt()
        self.errors.append(error)
        self.report.failed(error)

    def exit_code(self) -> ExitCode:
        """PARTIAL when only some of the images exist, otherwise the code of the first failure."""
        if any(isinstance(error, Interrupted) for error in self.errors):
            return ExitCode.INTERRUPTED
        earlier = self._earlier_counts()
        if self.errors:
            has_images = self.made or earlier.get("done")
            return ExitCode.PARTIAL if has_images else self.errors[0].exit_code
        return ExitCode.PARTIAL if earlier.get("failed") else ExitCode.OK

    def counts(self) -> dict[str, int]:
        """The numbers of images that were made, skipped because they were done, and failed."""
        earlier = self._earlier_counts()
        return {
            "made": self.made,
            "skipped": earlier.get("done", 0) + earlier.get("elsewhere", 0),
            "failed": self._failed + earlier.get("failed", 0),
        }

    def summary(self) -> str:
        """The counts of the run in one line."""
        parts = [f"{self.made} image{'' if self.made == 1 else 's'} made"]
        earlier = self._earlier_counts()
        parts += [
            f"{earlier[state]} {words}"
            for state, words in _SUMMARY_WORDS.items()
            if earlier.get(state)
        ]
        return ", ".join(parts + ([f"{self._failed} failed"] if self._failed else []))

    def expect(self, jobs: SortedJobs) -> None:
        """Report the pending jobs next, in the order of the run, among those that are done."""
        indices = [job.index for job in jobs.pending] + [image.job.index for image in jobs.done]
        self._expected.extend(sorted(indices))
        self._awaited.update(indices)
        self.on_expected(jobs)
        self.progress.skip(len(jobs.done) + jobs.others)
        for image in jobs.done:
            entry = self.report.done_entry(image)
            self._report_in_order(image.job.index, partial(self.report.add_image, entry))

    def add_image(self, index: int, entry: ImageEntry) -> None:
        """Count an image that is saved and journaled, and report it in its turn."""
        self.made += 1
        self._report_in_order(index, lambda: self.report.add_image(entry))
        self.progress.advance(1)
        if self.writer.packer:
            self._report_archives(self.writer.packer.pack_full())

    def pack_rest(self) -> None:
        """Pack the images that are left at the end of a run, if it has archives."""
        if self.writer.packer:
            self._report_archives(self.writer.packer.pack_rest())

    def add_failure(self, error: SdcliError, jobs: Sequence[Job]) -> None:
        """Count and report an error that is journaled; without jobs, it ends the run."""
        self.errors.append(error)
        self.report.failed(error, jobs)
        self._failed += len(jobs)
        self.skip(jobs)
        self.progress.advance(len(jobs))

    def skip(self, jobs: Sequence[Job]) -> None:
        """Do not wait for these jobs: they do not come, or not in their order."""
        for job in jobs:
            self._report_in_order(job.index, lambda: None)

    def flush(self) -> None:
        """Report everything that still waits for its turn."""
        self._expected.clear()
        self._awaited.clear()
        for index in sorted(self._ready):
            self._ready.pop(index)()

    def _handle_image(self, result: GenerationResult) -> None:
        image, latents = self.writer.save(result)
        # Only the entry waits for its turn: the pixels of many images would fill the memory.
        entry = self.report.entry(image, latents)
        for notify in self.on_saved:
            notify(image, result)
        for event in result.events:
            self.warn(event)
        if latents and not Path(latents).name.startswith(Path(image.path).stem):
            self.warn(f"the latents of {image.path} are in {latents}: their own name was taken")
        self.add_image(result.job.index, entry)

    def _handle_failure(self, failure: JobFailure) -> None:
        if self.writer.jobs:
            self.writer.jobs.record_failure(failure.jobs, failure.error)
        self.add_failure(_salvage_latents(failure, self.writer.latents), failure.jobs)

    def _report_archives(self, archives: Sequence[Archive]) -> None:
        for archive in archives:
            self.report.add_archive(archive.path, archive.images)

    def _report_in_order(self, index: int, report: Callable[[], None]) -> None:
        self._ready[index] = report
        # Not in the queue itself: that takes longer the more there are.
        if index not in self._awaited:
            self._ready.pop(index)()
        while self._expected and (ready := self._ready.pop(self._expected[0], None)):
            self._awaited.discard(self._expected.popleft())
            ready()

    def _earlier_counts(self) -> dict[str, int]:
        return dict(self.writer.jobs.counts) if self.writer.jobs else {}

    def _salvage_and_interrupt(self) -> Interrupted:
        """Keep the latents of unfinished images; returns the error that names them."""
        latents = self.writer.latents.salvage_all()
        finished = "1 image is" if self.made == 1 else f"{self.made} images are"
        kept = f"; the steps so far are in {', '.join(latents)}" if latents else ""
        return Interrupted(
            f"interrupted; {finished} finished{kept}",
            code="interrupted",
            hint="run the same command again to continue" if self.writer.jobs else None,
        )


def _salvage_latents(failure: JobFailure, latents: LatentsWriter) -> SdcliError:
    """Keep the latents that were complete; returns the failure's error, naming their files."""
    error = failure.error
    paths = [path for job in failure.jobs if (path := latents.salvage(job.index))]
    if not paths:
        return error
    return type(error)(
        f"{error.message}; the latents are kept in {', '.join(paths)}",
        code=error.code,
        hint=_salvage_hint(error, " ".join(map(shlex.quote, paths))),
    )


def _salvage_hint(error: SdcliError, paths: str) -> str | None:
    # Latents that are not finite cannot be decoded by any VAE.
    if error.code in ("numerics.unet", "model.defective"):
        return error.hint
    is_vae = error.code in ("numerics.vae", "model.defective_vae")
    vae = " --vae NAME (sdcli vae list)" if is_vae else ""
    return f"sdcli latents decode {paths}{vae}"
