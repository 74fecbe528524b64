"""Write text to stdout and stderr: the one place where anything is printed.

Control characters never reach a terminal, and no library formats or wraps the text. While a
progress bar is on the terminal, it makes room for every line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import TextIO

from sdcli.storage import files
from sdcli.storage.text import one_line, printable

_pause_bar: Callable[[], AbstractContextManager[None]] = nullcontext


@contextmanager
def bar_above(pause: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Within, `pause` removes the progress bar from the terminal while a line is written."""
    global _pause_bar
    previous, _pause_bar = _pause_bar, pause
    try:
        yield
    finally:
        _pause_bar = previous


def has_styles(stream: TextIO) -> bool:
    """Whether a stream is a terminal that shows bold and colored text, and shall."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not is_plain


def print_data(line: str) -> None:
    """Print a line for programs on stdout, such as a path: unchanged unless it is a terminal."""
    with files.os_errors_as_output_errors("stdout"):
        write_line(one_line(line) if sys.stdout.isatty() else line, sys.stdout)


def print_lines(lines: Iterable[str], stream: TextIO | None = None) -> None:
    """Print lines for people, by default on stdout, with control characters escaped."""
    with files.os_errors_as_output_errors("stdout"):
        write_line("\n".join(map(one_line, lines)), stream or sys.stdout)


def print_styled_lines(lines: Iterable[str]) -> None:
    """Print lines on stdout that are safe already, and have the control characters of a style."""
    with files.os_errors_as_output_errors("stdout"):
        write_line("\n".join(lines), sys.stdout)


def print_text(text: str) -> None:
    """Print text of several lines for people on stdout, with control characters escaped."""
    with files.os_errors_as_output_errors("stdout"):
        write_line(printable(text), sys.stdout)


def print_traceback(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Print an exception that is a bug, as Python does: an `excepthook`."""
    import traceback as tracebacks

    text = "".join(tracebacks.format_exception(kind, error, traceback))
    sys.stderr.write(printable(text))


def write_line(text: str, stream: TextIO) -> None:
    """Write safe text and a line end, and flush. Raises OSError."""
    with _pause_bar():
        stream.write(text + "\n")
        stream.flush()
