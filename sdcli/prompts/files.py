"""Open prompt files and read their entries line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final

from sdcli.errors import UsageError
from sdcli.inputs.paths import expand_user
from sdcli.inputs.regular_file import NotAFileError, is_open_stream, open_regular, special_kind
from sdcli.inputs.similar_paths import similar_path_hint
from sdcli.inputs.text_decoding import decode_lines
from sdcli.prompts.columns import DEFAULT_COLUMNS, Columns
from sdcli.prompts.entry import EntryIterator, SourceLocation, located_error
from sdcli.prompts.formats import format_of, get_reader, get_separator

_CHUNK_BYTES: Final = 65_536


def read_entries(
    file: str, format_name: str | None, columns: Columns = DEFAULT_COLUMNS
) -> EntryIterator:
    """Read the entries of a file, in its own format unless `format_name` is given.

    Raises UsageError if the file cannot be opened or its format is unknown.
    """
    format_name = format_name or format_of(file)
    reader = get_reader(format_name, columns)
    with open_file(file) as stream:
        lines = decode_lines(_read_chunks(stream, file), get_separator(format_name))
        yield from reader(lines, file)


def is_stream(file: str) -> bool:
    """Whether a file can be read only once: a process substitution or another open pipe."""
    return is_open_stream(file)


def open_file(file: str) -> BinaryIO:
    """Open a file for reading. Raises UsageError, with a similar name as its hint."""
    path = expand_user(file)
    try:
        return open(path, "rb") if is_stream(file) else open_regular(path)
    except NotAFileError as error:
        raise located_error(
            SourceLocation(file),
            f"cannot be read: it is {special_kind(path)}, not a file",
            code=error.code,
            hint="give a file, or pipe the data to `sdcli batch -`",
        ) from error
    # ValueError: a name with a NUL character
    except (OSError, ValueError) as error:
        raise read_error(file, error) from error


def read_error(file: str, error: OSError | ValueError) -> UsageError:
    """Build the error of a file that cannot be opened or read, with a similar name as its hint."""
    reason = "its name has a NUL character"
    if isinstance(error, OSError):
        reason = error.strerror or "unknown error"
    return located_error(
        SourceLocation(file),
        f"cannot be read: {reason}",
        code="usage.file",
        hint=similar_path_hint(file),
    )


def check_readable(
    files: Sequence[str], format_name: str | None, columns: Columns = DEFAULT_COLUMNS
) -> list[UsageError]:
    """Return the errors of all files that cannot be opened or have no known format."""
    errors = []
    for file in files:
        try:
            get_reader(format_name or format_of(file), columns)
            # Opening a pipe could wait for its writer, and closing it would lose what was written.
            if not is_stream(file):
                open_file(file).close()
        except UsageError as error:
            errors.append(error)
    return errors


def _read_chunks(stream: BinaryIO, file: str) -> Iterator[bytes]:
    """Yield the bytes of a file. Raises UsageError, for example for a disk that fails."""
    while True:
        try:
            chunk = stream.read(_CHUNK_BYTES)
        except OSError as error:
            raise read_error(file, error) from error
        if not chunk:
            return
        yield chunk
