"""Whole files or none: write beside, flush, then take the name in one step."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from sdcli.errors import OutputError, UsageError

STDOUT = "-"


def prepare_folder(folder: Path) -> None:
    """Make the folder and prove that files can be written there. Raises OutputError."""
    with os_errors_as_output_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise OutputError(
                f"{folder} is a file, and a folder is needed there",
                code="output.not_a_folder",
                hint="choose another --out",
            ) from error
        with _temporary(folder, b""):
            pass


def sibling_path(image_path: str, suffix: str) -> Path:
    """The path with another suffix. Raises UsageError when the image went to stdout."""
    if image_path == STDOUT:
        raise UsageError(
            f"a {suffix} file lies beside its image, and this one goes to stdout",
            code="usage.out",
            hint="give --out a file or a folder",
        )
    return Path(image_path).with_suffix(suffix)


def write_atomic(
    path: Path, data: bytes, *, force: bool, announce: Callable[[], None] | None = None
) -> None:
    """Write the file, whole or not at all. Raises OutputError, also when it exists unforced.

    `announce` is called when all bytes are on disk and only the name is missing.
    """
    with os_errors_as_output_errors(path), _temporary(path.parent, data) as temporary:
        if announce:
            announce()
        publish(temporary, path, force=force)


def publish(temporary: Path, path: Path, *, force: bool) -> None:
    """Give a finished file of the same folder its name. Raises OutputError as `write` does."""
    with os_errors_as_output_errors(path):
        if force:
            os.replace(temporary, path)
        else:
            _claim(temporary, path)
            temporary.unlink(missing_ok=True)
        _flush_folder(path.parent)


def write_numbered(folder: Path, before: str, after: str, data: bytes) -> Path:
    """Write `{before}{number:04d}{after}`, the number being the next one free in the folder.

    Several processes may do this at once. Raises OutputError.
    """
    with os_errors_as_output_errors(folder), _temporary(folder, data) as temporary:
        return publish_numbered(temporary, before, after)


def publish_numbered(temporary: Path, before: str, after: str) -> Path:
    """Give a finished file the next number free in its folder, as `write_numbered` does."""
    folder = temporary.parent
    with os_errors_as_output_errors(folder), folder_lock(folder):
        number = _last_number(folder, before)
        while True:
            number += 1
            path = folder / f"{before}{number:04d}{after}"
            with suppress(FileExistsError):
                _claim(temporary, path)
                temporary.unlink(missing_ok=True)
                _flush_folder(folder)
                return path


def remove_stale_temporaries(folder: Path) -> None:
    """Remove the temporary files that dead processes left in the folder."""
    for entry in os.scandir(folder):
        match = _TEMPORARY.fullmatch(entry.name)
        if match and _left_behind(entry, owner=match[1], pid=int(match[2])):
            with suppress(OSError):
                os.unlink(entry.path)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine has that id; one of another user counts."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _left_behind(entry: os.DirEntry[str], *, owner: str, pid: int) -> bool:
    if owner == host():
        return not is_alive(pid)
    with suppress(OSError):
        return time.time() - entry.stat().st_mtime > _LONG_AGO
    return False


@contextmanager
def os_errors_as_output_errors(path: Path | str) -> Iterator[None]:
    """Raise what the system says about `path` as an OutputError with what to do.

    A closed pipe is no error of ours and passes.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except FileExistsError as error:
        raise OutputError(
            f"{path} exists", code="output.exists", hint="choose another name, or add --force"
        ) from error
    except OSError as error:
        raise OutputError(
            f"{path}: {error.strerror or error}",
            code=_CODES.get(error.errno or 0, "output.failed"),
            hint=_HINTS.get(error.errno or 0, "choose another --out"),
        ) from error


_TEMPORARY = re.compile(r"\.sdcli-(.+)-(\d+)-[0-9a-f]{8}\.part")
_LONG_AGO = 24 * 3600.0
"""Seconds after which a temporary file of another machine is nobody's."""

_CODES = {
    errno.ENOSPC: "output.full",
    errno.EDQUOT: "output.full",
    errno.EFBIG: "output.full",
    errno.EACCES: "output.unwritable",
    errno.EPERM: "output.unwritable",
    errno.EROFS: "output.unwritable",
}
_HINTS = {
    errno.ENOSPC: "free some space, or choose an --out on another disk",
    errno.EDQUOT: "free some of your quota, or choose an --out on another disk",
    errno.ENAMETOOLONG: "choose a shorter --out",
}


def fsync(file: IO[bytes]) -> None:
    """Make what was written survive a power cut."""
    file.flush()
    os.fsync(file.fileno())


def temporary_name(folder: Path) -> Path:
    """A name that no other file or process has, hidden until it is published."""
    return folder / f".sdcli-{host()}-{os.getpid()}-{secrets.token_hex(4)}.part"


@contextmanager
def _temporary(folder: Path, data: bytes) -> Iterator[Path]:
    """A flushed file in the same folder, gone again unless it was renamed."""
    temporary = temporary_name(folder)
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            fsync(file)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _claim(temporary: Path, path: Path) -> None:
    """Give the file its name, or raise FileExistsError: a link never overwrites, a rename would."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        # No hard links here (exFAT, some network disks): reserve the name, then rename over it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        os.replace(temporary, path)


def _last_number(folder: Path, before: str) -> int:
    pattern = re.compile(re.escape(before) + r"(\d{4,})(?!\d)")
    numbers = (pattern.match(entry.name) for entry in os.scandir(folder))
    return max((int(match[1]) for match in numbers if match), default=0)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's advisory lock, so that two processes do not take one number twice."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a disk without locks: names stay unique all the same
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def host() -> str:
    """This machine's name, fit for a file name."""
    return re.sub(r"[^\w.]", "_", socket.gethostname())


def _flush_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
