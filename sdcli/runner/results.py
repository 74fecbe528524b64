"""Where results are handed in: written, counted, and told of in the order of their jobs."""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdcli.errors import ExitCode, Interrupted, SdcliError
from sdcli.job import Job
from sdcli.result import GenerationResult, JobFailure

if TYPE_CHECKING:
    from sdcli.runner.writer import ResultWriter
    from sdcli.storage.latents.writer import LatentsWriter
    from sdcli.terminal.progress import ProgressBar
    from sdcli.terminal.reports import Report

_SUMMARY_WORDS: Final = {
    "done": "done before",
    "elsewhere": "made by another process",
    "failed": "failed before (--retry-failed tries again)",
    "lost": "made anew for a lost or altered file",
}


@dataclass(kw_only=True)
class ResultHandler:
    """Takes outcomes as they come. Jobs that were expected are told of in that order.

    Its methods are called one at a time.
    """

    writer: ResultWriter
    report: Report
    progress: ProgressBar
    warn: Callable[[str], None]
    made: int = 0
    errors: list[SdcliError] = field(default_factory=list)
    _failed: int = 0
    _expected: deque[int] = field(default_factory=deque)
    _ready: dict[int, Callable[[], None]] = field(default_factory=dict)

    def handle(self, outcome: GenerationResult | JobFailure) -> None:
        """Write an image, or count jobs that came to nothing."""
        if isinstance(outcome, JobFailure):
            self._fail(outcome)
        else:
            self._image(outcome)

    def abort(self, stop: SdcliError | KeyboardInterrupt) -> None:
        """Count what ended the run before its time."""
        error = stop if isinstance(stop, SdcliError) else self._interrupted()
        self.errors.append(error)
        self.report.failed(error)

    def exit_code(self) -> ExitCode:
        """PARTIAL when only some of the images are there, else the first failure's own code."""
        if any(isinstance(error, Interrupted) for error in self.errors):
            return ExitCode.INTERRUPTED
        before = self._before()
        if self.errors:
            made = self.made or before.get("done")
            return ExitCode.PARTIAL if made else self.errors[0].exit_code
        return ExitCode.PARTIAL if before.get("failed") else ExitCode.OK

    def counts(self) -> dict[str, int]:
        """How many images were made, done before, and failed."""
        before = self._before()
        skipped = before.get("done", 0) + before.get("elsewhere", 0)
        return {
            "made": self.made,
            "skipped": skipped,
            "failed": self._failed + before.get("failed", 0),
        }

    def summary(self) -> str:
        """The run in one line."""
        told = [f"{self.made} image{'' if self.made == 1 else 's'} made"]
        before = self._before()
        told += [
            f"{before[key]} {words}" for key, words in _SUMMARY_WORDS.items() if before.get(key)
        ]
        return ", ".join(told + ([f"{self._failed} failed"] if self._failed else []))

    def expect(self, jobs: Sequence[Job]) -> None:
        """These jobs come next, in this order."""
        self._expected.extend(job.index for job in jobs)

    def skip(self, jobs: Sequence[Job]) -> None:
        """These jobs do not come, or not in their turn."""
        for job in jobs:
            self._report_in_order(job.index, lambda: None)

    def _image(self, result: GenerationResult) -> None:
        written, latents = self.writer.save(result)
        line = self.report.entry(written, latents)
        self.made += 1
        for event in result.events:
            self.warn(event)
        if latents and not Path(latents).name.startswith(Path(written.path).stem):
            self.warn(f"the latents of {written.path} are in {latents}: their name was taken")
        self._report_in_order(result.job.index, lambda: self.report.add_image(line))
        self.progress.advance(1)

    def _fail(self, failure: JobFailure) -> None:
        if self.writer.jobs:
            self.writer.jobs.record_failure(failure.jobs, failure.error)
        error = _with_salvaged_latents(failure, self.writer.latents)
        self.errors.append(error)
        self.report.failed(error, tuple(job.index for job in failure.jobs))
        self._failed += len(failure.jobs)
        self.skip(failure.jobs)
        self.progress.advance(len(failure.jobs))

    def flush(self) -> None:
        """Tell of what still waits for its turn."""
        self._expected.clear()
        for index in sorted(self._ready):
            self._ready.pop(index)()

    def _report_in_order(self, index: int, telling: Callable[[], None]) -> None:
        self._ready[index] = telling
        if index not in self._expected:
            self._ready.pop(index)()
        while self._expected and (ready := self._ready.pop(self._expected[0], None)):
            self._expected.popleft()
            ready()

    def _before(self) -> dict[str, int]:
        return dict(self.writer.jobs.counts) if self.writer.jobs else {}

    def _interrupted(self) -> Interrupted:
        finished = "1 image is" if self.made == 1 else f"{self.made} images are"
        latents = self.writer.latents.salvage_all()
        kept = f"; the steps so far are in {', '.join(latents)}" if latents else ""
        return Interrupted(
            f"interrupted; {finished} finished and whole{kept}",
            code="interrupted",
            hint="the same command goes on from here" if self.writer.jobs else None,
        )


def _with_salvaged_latents(failure: JobFailure, dumps: LatentsWriter) -> SdcliError:
    """The failure's error, with where its latents are when they were whole already."""
    error = failure.error
    paths = [path for job in failure.jobs if (path := dumps.salvage(job.index))]
    if not paths:
        return error
    return type(error)(
        f"{error.message}; its latents are kept in {', '.join(paths)}",
        code=error.code,
        hint=_salvage_hint(error, " ".join(map(shlex.quote, paths))),
    )


def _salvage_hint(error: SdcliError, paths: str) -> str | None:
    """What to type next, now that there are latents; none that are not finite can be decoded."""
    if error.code == "numerics.unet":
        return error.hint
    vae = " --vae NAME (sdcli vae list)" if error.code == "numerics.vae" else ""
    return f"sdcli latents decode {paths}{vae}"
