"""Talk on stderr: warnings, hints, progress. Never data, never a raw control character."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from sdcli.errors import SdcliError, UsageErrors
from sdcli.output.text import one_line
from sdcli.result import StepEvent

if TYPE_CHECKING:
    from rich.progress import Progress

QUIET, NORMAL, VERBOSE = -1, 0, 1
_PATIENCE = 1.0
"""Seconds of work before a progress bar appears."""


class Console:
    """The talking side of a run; `verbosity` is -1 (errors only), 0, 1 or 2."""

    def __init__(self, *, verbosity: int = NORMAL, stream: TextIO | None = None) -> None:
        self.verbosity = verbosity
        self._stream = stream or sys.stderr
        self._bar: Bar | None = None
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
    def progress(self, jobs: int | None, *, pictures: bool = False) -> Iterator[Bar]:
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

    def _new_bar(self, jobs: int | None, stream: TextIO | None, pictures: bool) -> Bar:
        if not (stream and pictures):
            return Bar(jobs, stream)
        from sdcli.output.picture_bar import PictureBar

        return PictureBar(jobs, stream)

    def _say(self, text: str) -> None:
        if self._bar is None or not self._bar.print_above(text):
            self._stream.write(text + "\n")
            self._stream.flush()


class Bar:
    """Images done, and steps of the batch at work. Appears after a second of work."""

    def __init__(self, jobs: int | None, stream: TextIO | None) -> None:
        self._jobs = jobs
        self._stream = stream
        self._started = time.monotonic()
        self._done = 0.0
        self._progress: Progress | None = None
        self._task: Any = None

    def on_step(self, event: StepEvent) -> None:
        """Move by one step of a batch."""
        self._show(self._done + len(event.job_indices) * event.step / event.steps)

    def done(self, jobs: int) -> None:
        """Count finished images."""
        self._done += jobs
        self._show(self._done)

    def print_above(self, text: str) -> bool:
        """Print a line without tearing the bar; False when none is shown."""
        if self._progress:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
        return self._progress is not None

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._progress:
            self._progress.stop()
            self._progress = None

    def _show(self, completed: float) -> None:
        if self._stream is None or time.monotonic() - self._started < _PATIENCE:
            return
        if self._progress is None:
            self._progress = _rich_progress(self._stream)
            self._task = self._progress.add_task("images", total=self._jobs)
            self._progress.start()
        self._progress.update(self._task, completed=completed)


def _rich_progress(stream: TextIO) -> Progress:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.1f}/{task.total}"),
        TimeRemainingColumn(),
        console=RichConsole(file=stream),
        transient=True,
        # Rich would send stdout, our data, to stderr: right only where both are the terminal.
        redirect_stdout=sys.stdout.isatty(),
        redirect_stderr=False,
    )
