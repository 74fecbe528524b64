"""Print warnings, errors, hints and progress on stderr, without raw control characters."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from sdcli.errors import SdcliError, UsageErrors
from sdcli.storage.text import one_line
from sdcli.terminal.output import bar_above, write_line
from sdcli.terminal.progress import ProgressBar

NORMAL, VERBOSE = 0, 1


@contextmanager
def _ignoring_lost_messages() -> Iterator[None]:
    # A message that a full disk or a closed terminal does not take must not end the run whose
    # images still fit.
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO):
            raise


class Console:
    """Messages of a run on a stream, by default stderr.

    `verbosity` is -1 (errors only), 0, 1 or 2 (more detail).
    """

    def __init__(self, *, verbosity: int = NORMAL, stream: TextIO | None = None) -> None:
        self.verbosity = verbosity
        self._stream = stream or sys.stderr
        self._warned: set[str] = set()

    def warn(self, text: str) -> None:
        """Print a warning, each text once."""
        if self.verbosity >= NORMAL and text not in self._warned:
            self._warned.add(text)
            self._print(f"sdcli: warning: {one_line(text)}")

    def note(self, text: str, level: int = VERBOSE) -> None:
        """Print a detail if the verbosity is at least `level`."""
        if self.verbosity >= level:
            self._print(f"sdcli: {one_line(text)}")

    def summary(self, text: str) -> None:
        """Print the last line of a run, unless only errors are wanted."""
        self.note(text, level=NORMAL)

    def error(self, error: SdcliError) -> None:
        """Print an error in one line, and its hint in another, at any verbosity."""
        if isinstance(error, UsageErrors) and len(error.several) > 1:
            for each in error.several:
                self.error(each)
            error = error.summary()
        self._print(f"sdcli: error: {one_line(error.message)}")
        if error.hint:
            self._print(f"sdcli: hint: {one_line(error.hint)}")

    @contextmanager
    def progress(self, jobs: int | None, *, images: bool = False) -> Iterator[ProgressBar]:
        """A progress bar over so many images (None if unknown); lines where there is no terminal.

        With `images`, the images themselves are drawn instead of a bar.
        """
        is_visible = self.verbosity >= NORMAL and self._stream.isatty()
        bar = self._make_bar(jobs, self._stream if is_visible else None, images)
        with bar_above(bar.paused):
            try:
                yield bar
            finally:
                bar.close()

    def _make_bar(self, jobs: int | None, stream: TextIO | None, images: bool) -> ProgressBar:
        if not (stream and images):
            return ProgressBar(jobs, stream, self.summary)
        from sdcli.terminal.image_progress import ImageProgress

        return ImageProgress(jobs, stream)

    def _print(self, text: str) -> None:
        with _ignoring_lost_messages():
            write_line(text, self._stream)
