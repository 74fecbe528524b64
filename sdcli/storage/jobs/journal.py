"""Write and read the journal of a folder of images: one JSON line for each finished job.

An image is done when its line is in the journal and a file with that line's hash is at its path.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Final

from sdcli.errors import OutputError
from sdcli.storage import files
from sdcli.storage.jobs.journal_index import JournalEntry, JournalIndex, Key
from sdcli.storage.jobs.journal_lines import BadNameError, parse_entry

NAME: Final = "sdcli-journal.jsonl"
SCHEMA: Final = "sdcli/journal/1"


class Journal:
    """The journal file of `folder`, shared by any number of processes. Opening it creates it.

    `entropy` is drawn once per journal: seeds that nobody chose are derived from it, so that they
    are the same in every run. `serial` counts the lines about jobs. Raises OutputError.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.entropy = ""
        self.serial = 0
        self._ignored = 0
        self._first_ignored = ""
        self._index = JournalIndex()
        self._offset = 0
        self._threads = RLock()
        with files.os_errors_as_output_errors(self.path):
            self._handle = _open_journal(self.path)
            with self._locked():
                self._read_new_lines()
                if not self.entropy:
                    self._append({"event": "opened", "entropy": secrets.token_hex(16)})
                    self._read_new_lines()

    def warning(self) -> str | None:
        """A sentence about lines that are ignored for the names in them; None without any."""
        if not self._ignored:
            return None
        lines = "1 line is" if self._ignored == 1 else f"{self._ignored} lines are"
        return (
            f"{self.path}: {lines} ignored, with names that are no file names of this folder, "
            f"such as {self._first_ignored}"
        )

    def close(self) -> None:
        """Close the file; the journal cannot be used afterwards."""
        os.close(self._handle)
        self._index.close()

    def get(self, key: Key) -> JournalEntry | None:
        """The last entry of a job."""
        with self._threads:
            return self._index.get(key)

    def has_name(self, name: str) -> bool:
        """Whether any job ever had that file name."""
        with self._threads:
            return self._index.has_name(name)

    def next_occurrence(self, job: str) -> int:
        """Count a job's id, and return how often it was counted before."""
        with self._threads:
            return self._index.next_occurrence(job)

    def next_occurrences(self, jobs: Sequence[str]) -> list[int]:
        """Count the ids of jobs, each as `next_occurrence` does."""
        with self._threads, self._index.transaction():
            return [self._index.next_occurrence(job) for job in jobs]

    def refresh(self) -> None:
        """Read the lines that other processes have written since."""
        with files.os_errors_as_output_errors(self.path), self._threads:
            self._read_new_lines()

    def done(self, key: Key, entry: JournalEntry, **facts: object) -> None:
        """Write, flushed to the disk, that the job's file is complete.

        Call it before the file gets its name: a crash between the two then leaves an entry without
        a file, which is made again, and never a file that the journal does not know.
        """
        hashes = {"sha256": entry.sha256, "pixels_sha256": entry.pixels_sha256}
        line = {"event": "image", **_key_fields(key), "name": entry.name, **hashes}
        self._write({**line, "beside": entry.companions, **facts})

    def sharded(self, shard: str, images: int | None) -> None:
        """Write that a process begins its share of a run of so many images, None if unknown."""
        self._write({"event": "shard", "shard": shard, "images": images})

    def failed(self, key: Key, code: str, message: str) -> None:
        """Write that the job failed."""
        self._write({"event": "failed", **_key_fields(key), "error": code, "message": message})

    def _write(self, line: Mapping[str, object]) -> None:
        with files.os_errors_as_output_errors(self.path), self._locked():
            self._append(line)
            self._read_new_lines()

    def _append(self, line: Mapping[str, object]) -> None:
        """Append a line, completely or not at all. The caller holds the lock."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = json.dumps({"schema": SCHEMA, "at": at, **line}) + "\n"
        status = os.fstat(self._handle)
        if not status.st_nlink:
            raise FileNotFoundError(errno.ENOENT, "the journal was removed while it was in use")
        size = status.st_size
        if size and os.pread(self._handle, 1, size - 1) != b"\n":
            # A process was killed in the middle of a line: that one is lost, this one must not be.
            text = "\n" + text
        try:
            self._write_completely(text.encode("ascii"))
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._handle, size)
            raise

    def _write_completely(self, data: bytes) -> None:
        # A full disk is no error to write(): it takes the bytes that still fit.
        if os.write(self._handle, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._handle)

    def _read_new_lines(self) -> None:
        # Not by its path: that may be another file by now.
        with open(os.dup(self._handle), "rb") as file, self._index.transaction():
            file.seek(self._offset)
            for line in file:
                # Another process is still writing the last line; it is read the next time.
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                self._index_line(line)

    def _index_line(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind = event["event"]
            if kind == "opened":
                # Whatever it is, it must be the same text in every start.
                self.entropy = self.entropy or ascii(event["entropy"]).strip("'")
            elif kind in ("image", "failed"):
                key = (str(event["job"]), int(event["occurrence"]))
                entry = parse_entry(event, self._index.get(key), self.serial + 1)
                self._index.put(key, entry)
                self.serial += 1
        except BadNameError as error:
            self._ignored += 1
            self._first_ignored = self._first_ignored or str(error)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return  # torn by a crash, or written by a later version

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._threads:
            # Network file systems may not support locks. A line is then still one write, which
            # O_APPEND keeps in one piece.
            with suppress(OSError):
                fcntl.flock(self._handle, fcntl.LOCK_EX)
            try:
                yield
            finally:
                with suppress(OSError):
                    fcntl.flock(self._handle, fcntl.LOCK_UN)


def _key_fields(key: Key) -> dict[str, object]:
    return {"job": key[0], "occurrence": key[1]}


def _open_journal(path: Path) -> int:
    """Open or create the file. Raises OSError, and OutputError for anything but a file."""
    flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        # Lines would be appended to a file outside of the folder.
        if error.errno == errno.ELOOP or path.is_symlink():
            raise _not_a_file_error(path, "a symbolic link") from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _not_a_file_error(path, "a pipe or a device")
    return handle


def _not_a_file_error(path: Path, kind: str) -> OutputError:
    return OutputError(
        f"{path} is {kind}, but the journal must be a file of its folder",
        code="output.journal",
        hint="replace it by the file itself, or choose another --out",
    )
