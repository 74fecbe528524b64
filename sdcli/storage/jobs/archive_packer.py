"""Pack the finished images of a folder into tar archives, in the layout of WebDataset.

A sample is an image KEY.png, its record KEY.json, its prompt KEY.txt, and latents if there are any.
Images are files until enough of them are complete, so that an interrupted run loses none.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

from sdcli.errors import SdcliError, UsageError
from sdcli.storage import files
from sdcli.storage.companions import LATENTS, SIDECAR, file_suffix
from sdcli.storage.images.codec import FORMATS, read_image_info
from sdcli.storage.jobs.journal import Journal
from sdcli.storage.jobs.journal_index import JournalEntry, Key
from sdcli.storage.jobs.leases import Leases, name_key
from sdcli.storage.jobs.output_folder import OutputFolder

_LEASE: Final = name_key("sdcli archives")
_PROMPT: Final = ".txt"


REDO_ERROR: Final = UsageError(
    "--redo can't replace images in archives",
    code="usage.archive",
    hint="choose another --out, or remove the archives",
)


class Archive(NamedTuple):
    """A new archive and its number of images."""

    path: str
    images: int


@dataclass(frozen=True, kw_only=True)
class _Sample:
    job: Key
    entry: JournalEntry
    record: Mapping[str, Any]


class ArchivePacker:
    """Packs what the journal says to be complete, `size` images at a time, in the order made.

    One process packs at a time. Files are removed once their archive is complete. Raises
    OutputError.
    """

    def __init__(self, folder: OutputFolder, journal: Journal, leases: Leases, size: int) -> None:
        self._folder = folder
        self._journal = journal
        self._leases = leases
        self._size = size
        self._needed = size
        self._stranded: list[Key] = []
        self._remove_leftovers()

    def pack_full(self) -> list[Archive]:
        """Write the archives that can be filled."""
        self._journal.refresh()
        # Counting them takes no time, even for archives of thousands.
        if self._journal.count_loose() + len(self._find_stranded()) < self._needed:
            return []
        return [*self._pack(is_end=False)]

    def pack_rest(self) -> list[Archive]:
        """Write all archives, at the end of a run; the last one may have fewer images.

        While other processes make images, the rest stays files: the last of them packs it.
        """
        if self._leases.has_others():
            return self.pack_full()
        return [*self._pack(is_end=True)]

    def _pack(self, *, is_end: bool) -> Iterator[Archive]:
        if not self._leases.acquire(_LEASE):
            return
        try:
            self._journal.refresh()
            candidates = self._candidates()
            left, samples = len(candidates), list[_Sample]()
            for job, entry in candidates:
                if sample := self._read_sample(job, entry):
                    samples.append(sample)
                if len(samples) == self._size:
                    yield self._write(samples)
                    left, samples = left - self._size, []
            if samples and is_end:
                yield self._write(samples)
            # Some are still being written, or have no record: not before there are more.
            self._needed = left + self._size - len(samples)
        finally:
            self._leases.release([_LEASE])

    def _candidates(self) -> list[tuple[Key, JournalEntry]]:
        """The images that are in no archive."""
        return [*self._find_stranded(), *self._journal.loose()]

    def _find_stranded(self) -> list[tuple[Key, JournalEntry]]:
        """The images of an archive that a crash prevented."""
        found = [(job, entry) for job in self._stranded if (entry := self._journal.get(job))]
        return [(job, entry) for job, entry in found if not self._folder.is_packed(entry)]

    def _read_sample(self, job: Key, entry: JournalEntry) -> _Sample | None:
        """The files of an image that is complete; None without a record in it or beside it."""
        if not self._folder.is_complete(entry):
            return None
        with suppress(SdcliError, OSError, ValueError, RecursionError):
            sidecars = [name for name in entry.companions if name.endswith(SIDECAR)]
            for name in sidecars:
                return _Sample(job=job, entry=entry, record=json.loads(self._read(name)))
            info = read_image_info(self._folder.path / entry.name, with_hash=False)
            if info["record"]:
                return _Sample(job=job, entry=entry, record=info["record"])
        return None

    def _write(self, samples: Sequence[_Sample]) -> Archive:
        """Write an archive: first its line in the journal, then the file, which appears complete.

        The files that it has are removed last.
        """
        path = self._free_path()
        temporary = files.temporary_name(self._folder.path)
        keyed = [*zip(_make_keys(samples), samples, strict=True)]
        with files.os_errors_as_output_errors(path):
            try:
                digest = _write_tar(temporary, self._members(keyed))
                names = [(sample.job, key) for key, sample in keyed]
                self._journal.packed(path.name, digest, names)
                files.publish(temporary, path, force=False)
            finally:
                temporary.unlink(missing_ok=True)
        for sample in samples:
            self._folder.remove_files(sample.entry, sample.job[0])
        return Archive(str(path), len(samples))

    def _members(self, keyed: Iterable[tuple[str, _Sample]]) -> Iterator[tuple[str, bytes]]:
        for key, sample in keyed:
            entry, request = sample.entry, sample.record.get("request") or {}
            record = json.dumps(sample.record, ensure_ascii=False)
            yield f"{key}{Path(entry.name).suffix}", self._read(entry.name)
            yield f"{key}{SIDECAR}", record.encode("utf-8", "surrogatepass")
            prompt = str(request.get("prompt", ""))
            yield f"{key}{_PROMPT}", prompt.encode("utf-8", "surrogatepass")
            for name in entry.companions:
                if name.endswith(LATENTS):
                    yield f"{key}{file_suffix(name)}", self._read(name)

    def _read(self, name: str) -> bytes:
        return (self._folder.path / name).read_bytes()

    def _free_path(self) -> Path:
        paths = (self._folder.path / f"{number:06d}.tar" for number in count())
        return next(path for path in paths if not os.path.lexists(path))

    def _remove_leftovers(self) -> None:
        """Remove the files that are in an archive, but were not removed before a crash.

        Those of an archive that the crash prevented are to be packed again.
        """
        with files.os_errors_as_output_errors(self._folder.path):
            names = {entry.name for entry in os.scandir(self._folder.path)}
        if not any(Path(name).suffix.lower() in FORMATS for name in names):
            return
        for job, entry in self._journal.archived():
            if not {entry.name, *entry.companions} & names:
                continue
            if self._folder.is_packed(entry):
                self._folder.remove_files(entry, job[0])
            else:
                self._stranded.append(job)


def _make_keys(samples: Sequence[_Sample]) -> Iterator[str]:
    """Yield a key for each sample; readers take what follows the first dot for the suffix."""
    taken: set[str] = set()
    for sample in samples:
        stem = Path(sample.entry.name).stem.replace(".", "_")
        endings = (f"-{number}" if number > 1 else "" for number in count(1))
        key = next(key for ending in endings if (key := f"{stem}{ending}") not in taken)
        taken.add(key)
        yield key


def _write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> str:
    """Write a flushed archive, the same bytes for the same members; returns its hash."""
    with path.open("x+b") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, data in members:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        files.fsync(file)
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()
