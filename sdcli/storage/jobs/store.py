"""Keep track of the jobs of a folder: which are left to do, who makes them, under which names.

Journal, leases and files work together: a second start makes what is missing, several processes
share the work, and after any crash each image is there once and complete.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

from sdcli.errors import SdcliError
from sdcli.job import Job, Rerun
from sdcli.result import DoneImage, GenerationResult, SortedJobs
from sdcli.shard import WHOLE_RUN, Shard
from sdcli.storage.images.destination import Destination
from sdcli.storage.images.file_names import first_file_name, new_names
from sdcli.storage.jobs.archive_packer import REDO_ERROR, ArchivePacker
from sdcli.storage.jobs.drawn_seeds import UNSEEDED_SHARD, draw_seed
from sdcli.storage.jobs.journal_index import JournalEntry, Key
from sdcli.storage.jobs.leases import name_key
from sdcli.storage.jobs.output_folder import OutputFolder
from sdcli.storage.jobs.places import done_image, open_place
from sdcli.storage.jobs.saved_files import TakenPath
from sdcli.storage.jobs.timings import seconds_per_image
from sdcli.storage.metadata.record import pixels_sha256, without_paths

_SETTLED: Final = ("done", "failed")
_POLL_SECONDS: Final = 0.25
"""Seconds between two checks of the jobs that another process is making."""


class JobStore:
    """The jobs of one folder of images.

    `rerun` makes failed jobs, or all, a second time; `shard` is this process's share of the jobs.
    Entries up to `opening_serial` are from earlier runs, by default all. `counts` counts jobs by
    their state when they were taken: new, done, failed, again or lost, and those made by others
    since as "elsewhere". Raises OutputError, and UsageError for a rerun of archived images.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        rerun: Rerun | None = None,
        shard: Shard = WHOLE_RUN,
        opening_serial: int | None = None,
    ) -> None:
        self._destination = destination
        self._rerun = rerun
        self.shard = shard
        self.place = open_place(destination)
        self.folder = self.place.path
        self.counts: Counter[str] = Counter()
        self._journal = self.place.open_journal()
        self._leases = self.place.open_leases()
        if rerun == "all" and next(self._journal.archived(), None):
            raise REDO_ERROR
        self.opening_serial = self._journal.serial if opening_serial is None else opening_serial
        self._warns_unseeded = False
        self._names: dict[Key, Key] = {}
        self._warn: Callable[[str], None] = lambda text: None

    def report_to(self, warn: Callable[[str], None]) -> None:
        """Report ignored lines of the journal to `warn`, and later the processes to wait for."""
        self._warn = warn
        if warning := self._journal.warning():
            warn(warning)

    def begin_shard(self, images: int | None, *, warn_unseeded: bool) -> None:
        """Write to the journal which share of a run of so many images this process makes.

        With `warn_unseeded`, jobs without a seed are warned of.
        """
        self._warns_unseeded = warn_unseeded
        self._journal.sharded(str(self.shard), images)

    def close(self) -> None:
        """Release all leases and close the journal."""
        self._leases.close()
        self._journal.close()
        self.place.close()

    def open_packer(self, size: int) -> ArchivePacker:
        """Open what packs the images of the folder into archives of so many."""
        assert isinstance(self.place, OutputFolder)
        return ArchivePacker(self.place, self._journal, self._leases, size)

    def draw_seed(self, job: Job) -> int:
        """Draw a random seed of 32 bits for a job without one, the same in every start."""
        if self._warns_unseeded:
            self._warn(UNSEEDED_SHARD)
        return draw_seed(self._journal, job)

    def number_jobs(self, jobs: Sequence[Job]) -> list[Job]:
        """Give each job its occurrence: how many equal ones this store has numbered before."""
        numbers = self._journal.next_occurrences([job.id for job in jobs])
        pairs = zip(jobs, numbers, strict=True)
        return [j if j.occurrence == n else replace(j, occurrence=n) for j, n in pairs]

    def take_pending(self, jobs: Sequence[Job]) -> list[Job]:
        """Number the jobs; returns those of this shard that are left to do."""
        return self.sort_jobs(jobs).pending

    def sort_jobs(self, jobs: Sequence[Job]) -> SortedJobs:
        """Number the jobs, and sort those of this shard by what is left to do."""
        share = [job for job in self.number_jobs(jobs) if self.shard.contains(job.index)]
        known = self._journal.get_many([*map(_key, share)])
        if self._rerun != "all" and (adopted := self._adopt_images(share, known)):
            known |= self._journal.get_many(adopted)
        entries = [known.get(_key(job)) for job in share]
        states = [self._state_of(entry) for entry in entries]
        self.counts.update(states)
        found = list(zip(share, entries, states, strict=True))
        return SortedJobs(
            pending=[job for job, _, state in found if state not in _SETTLED],
            done=[done_image(self.place, job, e) for job, e, state in found if state == "done"],
            others=len(jobs) - sum(state != "failed" for state in states),
        )

    def completed(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Path]]:
        """The numbered jobs, of all shards, whose images are complete, and their paths."""
        for job in jobs:
            if self._state(job) == "done" and (entry := self._journal.get(_key(job))):
                yield job, Path(self.place.location(entry))

    def lease(self, jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
        """Lease the jobs; returns those to make now, and those that another process is making."""
        leased = [job for job in jobs if self._leases.acquire(_key(job))]
        # Another process may have finished a job, and released it, before it was leased here.
        self._journal.refresh()
        unfinished = [job for job in leased if self._state(job) not in _SETTLED]
        settled = [job for job in leased if job not in unfinished]
        self.release(settled)
        self.counts["elsewhere"] += len(settled)
        return unfinished, [job for job in jobs if job not in leased]

    def wait_for_others(self, jobs: Sequence[Job]) -> Iterator[list[Job]]:
        """Wait for jobs that other processes are making; yield leased those they did not finish."""
        owners: set[str] = set()
        while jobs:
            unfinished, jobs = self.lease(jobs)
            if unfinished:
                yield unfinished
            elif jobs:
                current = self.owners(jobs)
                for owner in sorted(current - owners):
                    self._warn(f"waiting for images that are leased to {owner}")
                owners |= current
                time.sleep(_POLL_SECONDS)

    def owners(self, jobs: Sequence[Job]) -> set[str]:
        """The processes that make these jobs, in words."""
        return {self._leases.describe_owner(_key(job)) for job in jobs} - {""}

    def is_free(self, job: Job) -> bool:
        """Whether no living process has leased the job."""
        if is_free := self._leases.acquire(_key(job)):
            self.release([job])
        return is_free

    def find_outcome(self, job: Job) -> DoneImage | str | None:
        """The image that is complete by now, the message of a failure, or None."""
        self._journal.refresh()
        entry = self._journal.get(_key(job))
        if self._state_of(entry) == "done":
            return done_image(self.place, job, entry)
        return entry.error if entry else None

    def record_failure(self, jobs: Sequence[Job], error: SdcliError) -> None:
        """Write to the journal that the jobs failed, and release them."""
        for job in jobs:
            message = without_paths(error.message, job.spec)
            self._journal.failed(_key(job), error.code, message)
        self.release(jobs)

    def release(self, jobs: Sequence[Job]) -> None:
        """Release the leases of the jobs; the journal does not change."""
        self._leases.release(map(_key, jobs))

    def take_path(self, job: Job) -> TakenPath:
        """Take a free name for the job's image and its companions, away from other processes."""
        if lease := self._names.pop(_key(job), None):
            self._leases.release([lease])
        for name in self._candidate_names(job):
            lease = name_key(name)
            if not self._leases.acquire(lease):
                continue
            # Another process may have used the name, and released it, since the journal was read.
            self._journal.refresh()
            if (replaceable := self._find_replaceable(name, job)) is not None:
                self._names[_key(job)] = lease
                return TakenPath(self.folder / name, replaceable)
            self._leases.release([lease])
        raise AssertionError("there is always another name")

    def save_image(
        self,
        result: GenerationResult,
        data: bytes,
        taken: TakenPath,
        companions: Sequence[str] = (),
    ) -> None:
        """Save an image: first its line in the journal, then its file, which appears complete.

        `companions` are the names of a sidecar and latents, which must be complete already. Raises
        OutputError.
        """
        job, key = result.job, _key(result.job)
        entry = JournalEntry(
            name=taken.path.name,
            sha256=hashlib.sha256(data).hexdigest(),
            pixels_sha256=pixels_sha256(result.pixels),
            companions=tuple(companions),
        )
        facts = {"index": job.index, "seed": job.seed, "kind": job.timing_key}
        facts["seconds"] = seconds_per_image(result)
        self.place.save(
            taken.path,
            data,
            companions,
            force=taken.path in taken.replaceable,
            done=lambda size, modified: self._journal.done(
                key, entry._replace(size=size, modified=modified), **facts
            ),
        )
        self._leases.release([key, self._names.pop(key)])

    def _state(self, job: Job) -> str:
        state = self._state_of(self._journal.get(_key(job)))
        if state == "lost":
            # Another process may have packed the image, and removed the file.
            self._journal.refresh()
            state = self._state_of(self._journal.get(_key(job)))
        return state

    def _state_of(self, entry: JournalEntry | None) -> str:
        """The state of a job by the journal and the disk: done, failed, again, lost or new."""
        if entry is None:
            return "new"
        # Only the entries of earlier runs can be asked to run again.
        is_old = entry.serial <= self.opening_serial
        if is_old and self._rerun == "all":
            return "again"
        if entry.error:
            return "again" if is_old and self._rerun == "failed" else "failed"
        return "done" if self.place.is_complete(entry) else "lost"

    def _adopt_images(self, jobs: Sequence[Job], known: Mapping[Key, JournalEntry]) -> list[Key]:
        """Journal the images that are complete although the journal, since lost, has no entry."""
        adopted = []
        for job in jobs:
            entry = known.get(_key(job))
            if entry and (entry.error or entry.has_hash()):
                continue
            names = [*islice(new_names(job, self._destination), 2)]
            names.append(first_file_name(job, self._destination))
            if any(self._adopt_image(job, name) for name in dict.fromkeys(names)):
                adopted.append(_key(job))
        return adopted

    def _adopt_image(self, job: Job, name: str) -> bool:
        entry = self._journal.get(_key(job))
        # An image of another name may have been adopted just now.
        if entry and (entry.has_hash() or entry.name != name):
            return False
        if not entry and self._journal.has_name(name):
            return False
        if adopted := self.place.find_entry(name, job):
            self._journal.done(_key(job), adopted, index=job.index, seed=job.seed)
            return True
        return False

    def _find_replaceable(self, name: str, job: Job) -> frozenset[Path] | None:
        """The files in the way of a name that may be replaced; None if another's are there."""
        present = self.place.in_the_way(name)
        if not self._destination.force:
            entry = self._journal.get(_key(job)) or JournalEntry()
            if name != entry.name and self._journal.has_name(name):
                return None
            own = entry if name == entry.name else JournalEntry()
            if not all(self.place.is_own(other, own, job) for other in present):
                return None
        return frozenset(present)

    def _candidate_names(self, job: Job) -> Iterator[str]:
        if (entry := self._journal.get(_key(job))) and entry.name:
            yield entry.name
        yield from new_names(job, self._destination)


def _key(job: Job) -> Key:
    return job.id, job.occurrence
