"""Open regular files only: a pipe or a device where a file should be is never waited for."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO, Final

from sdcli.errors import SdcliError, UsageError
from sdcli.inputs.similar_paths import similar_path_hint

_KINDS: Final[tuple[tuple[Callable[[int], bool], str], ...]] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_STREAM_FOLDERS: Final = ("/dev/fd/", "/proc/self/fd/")
_STREAMS: Final = ("/dev/stdin",)


class NotAFileError(UsageError):
    """A path that names something other than a regular file."""

    def __init__(self, path: Path | str, kind: str) -> None:
        super().__init__(
            f"{path} is {kind}, not a file",
            code="usage.file",
            hint="give the path of a file"
            if kind == "a folder"
            else "copy its data to a file first, and give that file",
        )


def special_kind(path: Path | str) -> str | None:
    """Name the kind of a path that is no regular file ("a named pipe"); None for any other path.

    A path that does not exist or cannot be examined has no kind.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return None
    return _kind(mode)


def check_regular(path: Path | str) -> None:
    """Raise UsageError unless a path is a regular file, which may also be unreadable."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UsageError(
            f"no file at {path}", code="usage.file", hint=similar_path_hint(path)
        ) from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}", code="usage.file") from error
    if kind := _kind(mode):
        raise NotAFileError(path, kind)


def open_regular(path: Path | str) -> BinaryIO:
    """Open a regular file for reading. Raises OSError, and UsageError for anything else."""
    # Opening some devices has effects, so they are not opened at all.
    if kind := special_kind(path):
        raise NotAFileError(path, kind)
    # O_NONBLOCK: the path may have become a pipe in the meantime. It has no effect on files.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if kind := _kind(os.fstat(handle).st_mode):
        os.close(handle)
        raise NotAFileError(path, kind)
    return os.fdopen(handle, "rb")


def read_regular(path: Path | str) -> bytes:
    """Return the bytes of a regular file. Raises the errors of `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def is_open_stream(path: Path | str) -> bool:
    """Whether a path names an open pipe of this process: a process substitution, or stdin."""
    name = os.fspath(path)
    return (name in _STREAMS or name.startswith(_STREAM_FOLDERS)) and special_kind(name) in (
        "a named pipe",
        "a socket",
        "a device",
    )


def refuse_special_files(
    folder: Path, suffixes: Collection[str], error_type: type[SdcliError], code: str
) -> None:
    """Raise `error_type` if a folder has a pipe, socket or device with one of the suffixes."""
    for entry in sorted(folder.iterdir()):
        kind = special_kind(entry) if entry.suffix in suffixes else None
        if kind and kind != "a folder":
            raise error_type(
                f"{entry} is {kind}, not a file",
                code=code,
                hint="replace it with the file, or remove it",
            )


def _kind(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    return next((name for test, name in _KINDS if test(mode)), "a special file")
