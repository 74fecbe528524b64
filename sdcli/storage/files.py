"""Write files atomically: to a hidden name first, then renamed when all bytes are on disk."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from sdcli.errors import OutputError, UsageError
from sdcli.storage.process_owner import ProcessOwner, current_owner

STDOUT = "-"

_TEMPORARY: Final = re.compile(
    r"\.sdcli-(?P<host>.+?)(-(?P<place>[0-9a-f]{16})-(?P<start>\d+))?-(?P<pid>\d+)-[0-9a-f]{8}\.part"
)
"""Names of temporary files. Version 0.1.0 wrote neither a place nor a start time."""
_STALE_SECONDS: Final = 24 * 3600.0
"""Age after which a temporary file is abandoned, if its process cannot be looked up."""

_CODES: Final = {
    errno.ENOSPC: "output.full",
    errno.EDQUOT: "output.full",
    errno.EFBIG: "output.full",
    errno.EACCES: "output.unwritable",
    errno.EPERM: "output.unwritable",
    errno.EROFS: "output.unwritable",
}
_OTHER_PLACE: Final = "choose another --out"
_HINTS: Final = {
    errno.ENOSPC: "free some space, or choose an --out on another disk",
    errno.EDQUOT: "free some of your quota, or choose an --out on another disk",
    errno.ENAMETOOLONG: "choose a shorter --out",
}


def prepare_folder(folder: Path) -> None:
    """Create a folder for new files, and check that files can be written there.

    Removes the temporary files of dead processes. Raises OutputError.
    """
    with os_errors_as_output_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise OutputError(
                f"{folder} is a file, but a folder is needed",
                code="output.not_a_folder",
                hint=_OTHER_PLACE,
            ) from error
        # Permissions alone don't tell: the disk may be full or read-only.
        with _temporary(folder, b""):
            remove_stale_temporaries(folder)


def sibling_path(image_path: str, suffix: str) -> Path:
    """Return the path of an image with another suffix. Raises UsageError for stdout."""
    if image_path == STDOUT:
        raise UsageError(
            f"a {suffix} file is written next to its image, but this image goes to stdout",
            code="usage.out",
            hint="give --out a file or a folder",
        )
    return Path(image_path).with_suffix(suffix)


def write_atomic(
    path: Path, data: bytes, *, force: bool, announce: Callable[[Path], None] | None = None
) -> None:
    """Write a file atomically.

    `announce` is called with a temporary path when all bytes are on disk, before the file gets its
    name. Raises OutputError, also when the file exists and `force` is False.
    """
    with os_errors_as_output_errors(path), _temporary(path.parent, data) as temporary:
        if announce:
            announce(temporary)
        publish(temporary, path, force=force)


def publish(temporary: Path, path: Path, *, force: bool) -> None:
    """Rename a finished file within its folder. Raises OutputError as `write_atomic` does."""
    with os_errors_as_output_errors(path):
        if force:
            os.replace(temporary, path)
        else:
            rename_to_new(temporary, path)
            temporary.unlink(missing_ok=True)
        _fsync_folder(path.parent)


def write_numbered(
    folder: Path, before: str, after: str, data: bytes, companions: Sequence[str] = ()
) -> Path:
    """Write `{before}{number:04d}{after}` with the next free number, and return its path.

    A number is free when no file has the name with one of the suffixes `companions` either. Safe
    with several processes writing to one folder. Raises OutputError.
    """
    with os_errors_as_output_errors(folder), _temporary(folder, data) as temporary:
        return publish_numbered(temporary, before, after, companions)


def publish_numbered(
    temporary: Path, before: str, after: str, companions: Sequence[str] = ()
) -> Path:
    """Rename a finished file to the next free number, as `write_numbered` does."""
    folder = temporary.parent
    with os_errors_as_output_errors(folder), folder_lock(folder):
        number = _last_number(folder, before)
        while True:
            number += 1
            path = folder / f"{before}{number:04d}{after}"
            if any(os.path.lexists(path.with_suffix(suffix)) for suffix in companions):
                continue
            # Another process may have taken the number where the lock has no effect.
            with suppress(FileExistsError):
                rename_to_new(temporary, path)
                temporary.unlink(missing_ok=True)
                _fsync_folder(folder)
                return path


def remove_stale_temporaries(folder: Path, *, max_age: float = _STALE_SECONDS) -> None:
    """Remove the temporary files that dead processes left in a folder.

    Those of processes that cannot be looked up are removed at `max_age` seconds.
    """
    for entry in os.scandir(folder):
        match = _TEMPORARY.fullmatch(entry.name)
        if match and _is_stale(entry, _parse_owner(match), max_age):
            with suppress(OSError):
                os.unlink(entry.path)


def _parse_owner(match: re.Match[str]) -> ProcessOwner:
    return ProcessOwner(
        host=match["host"],
        place=match["place"] or "",
        pid=int(match["pid"]),
        start=match["start"] or "",
    )


def _is_stale(entry: os.DirEntry[str], owner: ProcessOwner, max_age: float) -> bool:
    if owner.may_be_looked_up():
        return owner.is_known_dead()
    with suppress(OSError):
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > max_age
    return False


@contextmanager
def os_errors_as_output_errors(path: Path | str) -> Iterator[None]:
    """Translate OSError about `path` to OutputError, with a hint.

    BrokenPipeError passes, because the reader of stdout may close it at any time.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except FileExistsError as error:
        raise OutputError(
            f"{path} exists", code="output.exists", hint="choose another name, or add --force"
        ) from error
    except FileNotFoundError as error:
        raise _missing_error(path, error) from error
    except OSError as error:
        raise OutputError(
            f"{path}: {error.strerror or error}",
            code=_CODES.get(error.errno or 0, "output.failed"),
            hint=_HINTS.get(error.errno or 0, _OTHER_PLACE),
        ) from error


def _missing_error(path: Path | str, error: FileNotFoundError) -> OutputError:
    # Not for URLs and "stdout", which are text.
    parents = path.parents if isinstance(path, Path) else ()
    missing = [folder for folder in parents if not folder.exists()]
    if not missing:
        return OutputError(f"{path}: {error.strerror}", code="output.failed", hint=_OTHER_PLACE)
    return OutputError(
        f"the folder {missing[-1]} is not there",
        code="output.failed",
        hint="was it moved or removed while sdcli was running?",
    )


def fsync(file: IO[bytes]) -> None:
    """Flush a file to disk, so that its contents survive a power failure."""
    file.flush()
    os.fsync(file.fileno())


def temporary_name(folder: Path) -> Path:
    """Return a hidden name that no other file or process uses."""
    # `remove_stale_temporaries` finds the owner in the name.
    owner = current_owner()
    place = f"-{owner.place}-{owner.start}" if owner.place and owner.start else ""
    return folder / f".sdcli-{owner.host}{place}-{owner.pid}-{secrets.token_hex(4)}.part"


@contextmanager
def _temporary(folder: Path, data: bytes) -> Iterator[Path]:
    """A flushed file in the same folder, which is deleted unless it was renamed."""
    temporary = temporary_name(folder)
    # Unlike the tempfile module, this gives the permissions that the umask asks for.
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            fsync(file)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def rename_to_new(temporary: Path, path: Path) -> None:
    """Give a file its name. Raises FileExistsError when the name is taken."""
    try:
        # Unlike a rename, a link never overwrites.
        os.link(temporary, path)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        # No hard links (exFAT, some network disks), which each system says by an error of its own.
        _reserve_and_rename(temporary, path)


def _reserve_and_rename(temporary: Path, path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    try:
        os.replace(temporary, path)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _last_number(folder: Path, before: str) -> int:
    pattern = re.compile(re.escape(before) + r"(\d{4,})(?!\d)")
    matches = (pattern.match(entry.name) for entry in os.scandir(folder))
    return max((int(match[1]) for match in matches if match), default=0)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the advisory lock of a folder, so that processes don't race for a number."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network disks have no locks. Names are unique even without.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _fsync_folder(folder: Path) -> None:
    """Flush a new name itself to disk, on systems that can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
