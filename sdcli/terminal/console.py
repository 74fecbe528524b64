"""Talk on stderr: warnings, hints, progress. Never data, never a raw control character."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from sdcli.errors import SdcliError, UsageErrors
from sdcli.storage.text import one_line
from sdcli.terminal.progress import ProgressBar

QUIET, NORMAL, VERBOSE = -1, 0, 1


@contextmanager
def _where_there_is_room() -> Iterator[None]:
    """What a full disk behind stderr does not take is lost, and the run is not."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


class Console:
    """The talking side of a run; `verbosity` is -1 (errors only), 0, 1 or 2."""

    def __init__(self, *, verbosity: int = NORMAL, stream: TextIO | None = None) -> None:
        self.verbosity = verbosity
        self._stream = stream or sys.stderr
        self._bar: ProgressBar | None = None
        self._warned: set[str] = set()

    def warn(self, text: str) -> None:
        """Something the user should know of a result that was made all the same, said once."""
        if self.verbosity >= NORMAL and text not in self._warned:
            self._warned.add(text)
            self._say(f"sdcli: warning: {one_line(text)}")

    def note(self, text: str, level: int = VERBOSE) -> None:
        """Detail, shown from that verbosity on."""
        if self.verbosity >= level:
            self._say(f"sdcli: {one_line(text)}")

    def summary(self, text: str) -> None:
        """The last line of a run."""
        self.note(text, level=NORMAL)

    def error(self, error: SdcliError) -> None:
        """One line with what, value and where; one with the next thing to type. Never silenced."""
        if isinstance(error, UsageErrors) and len(error.several) > 1:
            for one in error.several:
                self.error(one)
            error = error.summary()
        self._say(f"sdcli: error: {one_line(error.message)}")
        if error.hint:
            self._say(f"sdcli: hint: {one_line(error.hint)}")

    @contextmanager
    def progress(self, jobs: int | None, *, pictures: bool = False) -> Iterator[ProgressBar]:
        """A bar over the images of a run (None: how many is not known), on a terminal only.

        With `pictures`, the bar is the pictures themselves.
        """
        shown = self.verbosity >= NORMAL and self._stream.isatty()
        self._bar = bar = self._new_bar(jobs, self._stream if shown else None, pictures)
        try:
            yield bar
        finally:
            bar.close()
            self._bar = None

    def _new_bar(self, jobs: int | None, stream: TextIO | None, pictures: bool) -> ProgressBar:
        if not (stream and pictures):
            return ProgressBar(jobs, stream)
        from sdcli.terminal.image_progress import ImageProgress

        return ImageProgress(jobs, stream)

    def _say(self, text: str) -> None:
        if self._bar is None or not self._bar.print_above(text):
            with _where_there_is_room():
                self._stream.write(text + "\n")
                self._stream.flush()
