"""Prompt files from their names: opened, read line by line, never held as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from sdcli.errors import UsageError, did_you_mean
from sdcli.prompts.entry import EntryIterator, SourceLocation, located_error
from sdcli.prompts.formats import format_of, get_reader
from sdcli.prompts.sources import decode_line


def read_entries(file: str, format_name: str | None) -> EntryIterator:
    """The entries of a file. Raises UsageError when it cannot be opened or has no known format."""
    read = get_reader(format_name or format_of(file))
    with open_file(file) as source:
        yield from read(_lines(source), file)


def is_stream(file: str) -> bool:
    """Whether it can be read only once: a pipe, a process substitution, a device."""
    path = Path(file)
    return path.exists() and not path.is_file() and not path.is_dir()


def open_file(file: str) -> BinaryIO:
    """The open file. Raises UsageError."""
    try:
        return open(Path(file).expanduser(), "rb")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise located_error(
            SourceLocation(file),
            f"cannot be read: {why}",
            code="usage.file",
            hint=_similar_files(file),
        ) from error


def check_readable(files: Sequence[str], format_name: str | None) -> list[UsageError]:
    """What is wrong with the files themselves, all at once."""
    errors = []
    for file in files:
        try:
            get_reader(format_name or format_of(file))
            if not is_stream(file):
                open_file(file).close()
        except UsageError as error:
            errors.append(error)
    return errors


def _lines(source: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(source):
        yield decode_line(line, first=not number)


def _similar_files(file: str) -> str | None:
    folder = Path(file).parent
    try:
        return did_you_mean(Path(file).name, (path.name for path in folder.iterdir()))
    except (OSError, ValueError):
        return None
