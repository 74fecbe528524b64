"""Append lines to the file of a journal, which several processes share, and read new ones."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sdcli.errors import OutputError


class JournalFile:
    """The open file of a journal, created if it is missing. Raises OSError and OutputError."""

    def __init__(self, path: Path) -> None:
        self.path: Path | str = path
        self._offset = 0
        self._handle = _open_journal(path)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)

    def new_lines(self, *, refresh: bool = True) -> Iterator[bytes]:
        """Yield the complete lines since the last call, those of other processes among them."""
        del refresh  # reading a file is cheap
        # Not by its path: that may be another file by now.
        with open(os.dup(self._handle), "rb") as file:
            file.seek(self._offset)
            for line in file:
                # Another process is still writing the last line; it is read the next time.
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                yield line

    def append(self, line: str) -> None:
        """Append a line, completely or not at all. The caller holds the lock."""
        status = os.fstat(self._handle)
        if not status.st_nlink:
            raise FileNotFoundError(errno.ENOENT, "the journal was removed while it was in use")
        size = status.st_size
        if size and os.pread(self._handle, 1, size - 1) != b"\n":
            # A process was killed in the middle of a line: that one is lost, this one must not be.
            line = "\n" + line
        try:
            self._write_completely(line.encode("ascii"))
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._handle, size)
            raise

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the file among processes."""
        # Network file systems may not support locks. A line is then still one write, which O_APPEND
        # keeps in one piece.
        with suppress(OSError):
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(self._handle, fcntl.LOCK_UN)

    def _write_completely(self, data: bytes) -> None:
        # A full disk is no error to write(): it takes the bytes that still fit.
        if os.write(self._handle, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._handle)


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
