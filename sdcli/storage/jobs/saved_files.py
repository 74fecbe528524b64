"""Compare the files of a folder with the journal's entries about them."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from sdcli.errors import SdcliError
from sdcli.job import Job
from sdcli.storage.images.codec import read_image_info
from sdcli.storage.jobs.journal_index import JournalEntry

_CHUNK_BYTES: Final = 65_536


class TakenPath(NamedTuple):
    """The path of an image, and those files at it and its companions' paths that it replaces."""

    path: Path
    replaceable: frozenset[Path]


def is_complete(folder: Path, entry: JournalEntry) -> bool:
    """Whether the entry's image is in the folder, unaltered, with all its companions."""
    # A path that is put together here would take longer than to look at the file.
    if not entry.name or not (status := _file_status(f"{folder}/{entry.name}")):
        return False
    if not all((folder / name).is_file() for name in entry.companions):
        return False
    # A run of 100,000 images would read them all before it draws: a file that nobody has touched
    # since its hash was taken is not read again.
    if entry.has_hash() and modification(status) == (entry.size, entry.modified):
        return True
    path = folder / entry.name
    # The pixels decide: other programs rewrite files to compress them, or to add a comment.
    if entry.sha256 and _file_sha256(path) == entry.sha256:
        return True
    return bool(entry.pixels_sha256) and _pixels_sha256(path) == entry.pixels_sha256


def modification(status: os.stat_result) -> tuple[int, int]:
    """The bytes of a file, and when it was modified, in nanoseconds."""
    return status.st_size, status.st_mtime_ns


def at_file(entry: JournalEntry, path: Path) -> JournalEntry:
    """The entry with the size and the time of the file at a path."""
    size, modified = modification(path.stat())
    return entry._replace(size=size, modified=modified)


def _file_status(path: str) -> os.stat_result | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def entry_from_image(path: Path, job: Job) -> JournalEntry | None:
    """The entry of an image whose own record says that it is the job's, and unaltered."""
    with suppress(SdcliError):
        document = read_image_info(path)
        facts = document["record"] or {}
        pixels = document["pixels_sha256"]
        if facts.get("job") == job.id and facts.get("pixels", {}).get("sha256") == pixels:
            return JournalEntry(
                name=path.name, sha256=_file_sha256(path) or "", pixels_sha256=pixels
            )
    return None


def was_written_for(path: Path, entry: JournalEntry) -> bool:
    """Whether the job of the entry wrote the file; an empty one was reserved before a crash."""
    if not path.is_file():
        return False
    hashes = entry.former | {entry.sha256}
    return not path.stat().st_size or _file_sha256(path) in hashes - {""}


def _file_sha256(path: Path) -> str | None:
    """The hash of a file, None for one that cannot be read."""
    try:
        # `file_digest` clears a buffer of 256 kB for each file, which takes longer than the hash.
        digest = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()
    except OSError:
        return None


def _pixels_sha256(path: Path) -> str | None:
    """The hash of an image's pixels, None for a file that is no image."""
    try:
        return str(read_image_info(path)["pixels_sha256"])
    except SdcliError:
        return None
