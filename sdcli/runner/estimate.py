"""Say before the first image of a run how long it will take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Self

from sdcli.result import GenerationResult, SavedImage, SortedJobs

if TYPE_CHECKING:
    from sdcli.job import Job
    from sdcli.storage.jobs.store import JobStore

_SHORT_SECONDS: Final = 60.0
_FEW_IMAGES: Final = 50
"""A run of less time, or of unknown time and fewer images, begins without an estimate."""


class RunEstimate:
    """Estimates the time of a run by earlier ones.

    As a context manager it also remembers the time of the images that it is told of. A run of
    several processes only estimates: beside others, an image takes longer than alone.

    `jobs` is the job store of the run's folder, and `images` the number of its images, None if that
    is unknown. So many `workers` are taken to make them together.
    """

    def __init__(
        self,
        jobs: JobStore | None,
        images: int | None,
        note: Callable[[str], None],
        workers: int = 1,
    ) -> None:
        from sdcli.storage.jobs.user_timings import RunTimings

        self._folder = jobs.folder if jobs else None
        self._shares = jobs.shard.world_size if jobs else 1
        self._images = images
        self._note = note
        self._planned = 0
        self._workers = workers
        self._is_done = False
        self._run_timings = RunTimings()

    def expect(self, jobs: SortedJobs) -> None:
        """Print the estimate, by the first jobs of the run."""
        if self._is_done:
            return
        # Those before may have been done all, and count no more.
        self._planned += len(jobs.pending) + len(jobs.done) + jobs.others
        if not jobs.pending:
            return
        self._is_done = True
        unplanned = max(0, (self._images or 0) - self._planned)
        left = unplanned // self._shares + len(jobs.pending)
        known = self._known_seconds(jobs.pending)
        # An average of only some of the jobs would mislead.
        if len(known) < len(jobs.pending):
            if left >= _FEW_IMAGES:
                self._note(
                    f"{left} images, time unknown; generate the first two to know: --limit 2"
                )
            return
        total = sum(known) / len(known) * left / self._workers
        if total >= _SHORT_SECONDS:
            from sdcli.terminal.progress import format_duration

            self._note(f"{left} images, about {format_duration(total)} according to earlier runs")

    def add(self, image: SavedImage, result: GenerationResult) -> None:
        """Remember the time of a saved image."""
        from sdcli.storage.jobs.timings import seconds_per_image

        del image
        self._run_timings.add(result.job, result.run.device, seconds_per_image(result))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Write the times to the user's file."""
        self._run_timings.save()

    def _known_seconds(self, jobs: Sequence[Job]) -> list[float]:
        """The expected seconds of those jobs that are like earlier ones."""
        from sdcli.storage.jobs.timings import known_timings
        from sdcli.storage.jobs.user_timings import UserTimings

        folder, user = known_timings(self._folder) if self._folder else {}, UserTimings()
        seconds = (folder.get(job.timing_key) or user.seconds(job) for job in jobs)
        return [one for one in seconds if one is not None]
