"""Which images of a batch are still to be made, by whom, and under which names.

Journal, claims and files together: a second start makes what is missing, several processes share
the work, and whatever dies, each image is there once and whole.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Literal

from sdcli.errors import SdcliError
from sdcli.job import Job, job_id, timing_key
from sdcli.result import GenerationResult
from sdcli.storage import files
from sdcli.storage.images.codec import read_image_info
from sdcli.storage.images.destination import Destination
from sdcli.storage.images.writer import job_file_name
from sdcli.storage.jobs.journal import Journal
from sdcli.storage.jobs.journal_index import JournalEntry, Key
from sdcli.storage.jobs.leases import JobLeases
from sdcli.storage.metadata import record

Rerun = Literal["failed", "all"]

_SETTLED = ("done", "failed")

_POLL = 0.25
"""Seconds between two looks at what another process is making."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The share of one of `of` processes that were started together: every `of`-th job."""

    rank: int = 0
    world_size: int = 1


class JobStore:
    """The state of one batch in one folder.

    `again` makes failed jobs, or all, a second time. Opening it removes the temporary files of dead
    processes. Raises OutputError.
    """

    def __init__(
        self, destination: Destination, *, again: Rerun | None = None, part: Shard | None = None
    ) -> None:
        self._destination = destination
        self._again = again
        self._part = part or Shard()
        self.folder = destination.path if destination.kind == "folder" else destination.path.parent
        self.counts: Counter[str] = Counter()
        with files.os_errors_as_output_errors(self.folder):
            files.remove_stale_temporaries(self.folder)
        self._journal = Journal(self.folder)
        self._claims = JobLeases(self.folder)
        self._opened = self._journal.serial

    def close(self) -> None:
        """Let go of all that was claimed."""
        self._claims.close()
        self._journal.close()

    def draw_seed(self, job: Job) -> int:
        """The seed of a job that was given none: any, but the same in every start here."""
        drawn = self._numbered(replace(job, seed=0, prompt=f"unseeded\n{job.prompt}"))
        text = f"{self._journal.entropy} {job_id(job)} {drawn.occurrence}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")

    def pending(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs of this process's share that are not done; equal ones are told apart."""
        numbered = [self._numbered(job) for job in jobs]
        share = [job for job in numbered if job.index % self._part.world_size == self._part.rank]
        states = {job.index: self._state(job) for job in share}
        self.counts.update(states.values())
        return [job for job in share if states[job.index] not in _SETTLED]

    def completed(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Path]]:
        """The jobs whose images are there and whole, and where; all shares are looked at."""
        for job in map(self._numbered, jobs):
            if self._state(job) == "done" and (entry := self._journal.get(_key(job))):
                yield job, self.folder / entry.name

    def lease(self, jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
        """The jobs that are this process's to make now, and those that another is making."""
        mine = [job for job in jobs if self._claims.acquire(_key(job))]
        self._journal.refresh()  # another may have finished one before it could be claimed
        todo = [job for job in mine if self._state(job) not in _SETTLED]
        settled = [job for job in mine if job not in todo]
        self.release(settled)
        self.counts["elsewhere"] += len(settled)
        return todo, [job for job in jobs if job not in mine]

    def wait_for_others(self, jobs: Sequence[Job]) -> Iterator[list[Job]]:
        """Wait for what others are making; yield what they left undone, claimed."""
        while jobs:
            todo, jobs = self.lease(jobs)
            if todo:
                yield todo
            elif jobs:
                time.sleep(_POLL)

    def record_failure(self, jobs: Sequence[Job], error: SdcliError) -> None:
        """Remember that the jobs cannot be made."""
        for job in jobs:
            self._journal.failed(_key(job), error.code, error.message)
        self.release(jobs)

    def release(self, jobs: Sequence[Job]) -> None:
        """Let jobs go without a word."""
        self._claims.release(map(_key, jobs))

    def save_image(self, result: GenerationResult, data: bytes, beside: Sequence[str] = ()) -> Path:
        """Journal the file's bytes, then give them their name, in one step. Raises OutputError."""
        key = _key(result.job)
        path, ours = self._path(result.job)
        entry = JournalEntry(
            name=path.name,
            sha256=hashlib.sha256(data).hexdigest(),
            pixels_sha256=record.pixels_sha256(result.pixels),
            beside=tuple(beside),
        )
        more = {
            "index": result.job.index,
            "seed": result.job.seed,
            "kind": timing_key(result.job),
            "seconds": _seconds(result),
        }
        files.write_atomic(
            path, data, force=ours, announce=lambda: self._journal.done(key, entry, **more)
        )
        self._claims.release([key])
        return path

    def path_for(self, job: Job) -> Path:
        """Where the job's image will go."""
        return self._path(job)[0]

    def _numbered(self, job: Job) -> Job:
        """The job with its occurrence: how many equal ones came before."""
        return replace(job, occurrence=self._journal.next_occurrence(job_id(job)))

    def _state(self, job: Job) -> str:
        """What the journal and the disk say of a job: done, failed, lost or new."""
        entry = self._journal.get(_key(job))
        if entry is None:
            return "done" if self._again != "all" and self._is_adopted(job) else "new"
        is_old = entry.serial <= self._opened
        if is_old and self._again == "all":
            return "again"
        if entry.error:
            return "again" if is_old and self._again == "failed" else "failed"
        return "done" if self._is_whole(entry) else "lost"

    def _is_whole(self, entry: JournalEntry) -> bool:
        path = self.folder / entry.name
        if not all((self.folder / name).is_file() for name in entry.beside):
            return False
        return _sha256(path) == entry.sha256 or _pixels(path) == entry.pixels_sha256

    def _is_adopted(self, job: Job) -> bool:
        """Whether the image is there though the journal was lost; then it says so again."""
        path = self.folder / job_file_name(job, self._destination)
        if self._journal.has_name(path.name) or not path.is_file():
            return False
        with suppress(SdcliError):
            document = read_image_info(path)
            found = document["record"] or {}
            pixels = document["pixels_sha256"]
            if found.get("job") == job_id(job) and found.get("pixels", {}).get("sha256") == pixels:
                entry = JournalEntry(name=path.name, sha256=_sha256(path), pixels_sha256=pixels)
                self._journal.done(_key(job), entry, index=job.index, seed=job.seed)
                return True
        return False

    def _path(self, job: Job) -> tuple[Path, bool]:
        """Where the job's image goes, and whether what lies there is ours to replace."""
        entry = self._journal.get(_key(job)) or JournalEntry()
        for name in self._names(job, entry):
            path = self.folder / name
            own = name == entry.name
            if not path.exists():
                if own or not self._journal.has_name(name):
                    return path, False
            elif self._destination.force or (own and _is_of(path, entry)):
                return path, True
        raise AssertionError("names never end")

    def _names(self, job: Job, entry: JournalEntry) -> Iterator[str]:
        first = Path(job_file_name(job, self._destination))
        if entry.name:
            yield entry.name
        yield first.name
        for number in count(1):
            ending = f"-{number}" if number > 1 else ""
            yield f"{first.stem}-{job_id(job)[:8]}{ending}{first.suffix}"


def _seconds(result: GenerationResult) -> float:
    """What the image took of its batch's time; loading is not part of it."""
    spent = sum(result.seconds.get(phase, 0.0) for phase in ("encode", "denoise", "decode"))
    return round(spent / result.run.batch_size, 4)


def _key(job: Job) -> Key:
    return job_id(job), job.occurrence


def _is_of(path: Path, entry: JournalEntry) -> bool:
    """Whether the file is one that the job wrote; an empty one was reserved before a crash."""
    return not path.stat().st_size or _sha256(path) in entry.former | {entry.sha256}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _pixels(path: Path) -> str:
    try:
        return str(read_image_info(path)["pixels_sha256"])
    except SdcliError:
        return ""
