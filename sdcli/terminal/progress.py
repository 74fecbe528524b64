"""Show the progress of a run in a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any, TextIO

from sdcli.result import StepEvent

if TYPE_CHECKING:
    from rich.progress import Progress

_DELAY_SECONDS = 1.0
"""Seconds of work before a progress bar appears."""


class ProgressBar:
    """A bar of finished images, including the steps of the current batch.

    It appears after a second, and never without a `stream`.
    """

    def __init__(self, jobs: int | None, stream: TextIO | None) -> None:
        self._jobs = jobs
        self._stream = stream
        self._started = time.monotonic()
        self._done = 0.0
        self._progress: Progress | None = None
        self._task: Any = None
        # Images are reported by the thread that saves them.
        self._lock = RLock()

    def on_step(self, event: StepEvent) -> None:
        """Move the bar to a step of the current batch."""
        self._show(self._done + len(event.job_indices) * event.step / event.steps)

    def advance(self, jobs: int) -> None:
        """Count finished images."""
        self._done += jobs
        self._show(self._done)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Remove the bar within, so that lines can be written where it is."""
        with self._lock:
            if self._progress:
                self._progress.stop()
            try:
                yield
            finally:
                if self._progress:
                    self._progress.start()

    def close(self) -> None:
        """Remove the bar."""
        with self._lock:
            if self._progress:
                self._progress.stop()
                self._progress = None

    def _show(self, completed: float) -> None:
        if self._stream is None or time.monotonic() - self._started < _DELAY_SECONDS:
            return
        with self._lock:
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
        # Rich would send stdout, our data, to stderr, and wrap it: `terminal.output` makes room.
        redirect_stdout=False,
        redirect_stderr=False,
    )
