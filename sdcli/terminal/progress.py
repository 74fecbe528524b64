"""Show the progress of a run on stderr: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, TextIO

from sdcli.result import StepEvent

if TYPE_CHECKING:
    from rich.progress import Progress

_DELAY_SECONDS = 1.0
"""Seconds of work before a progress bar appears."""

_LINE_SECONDS: Final = 60.0
_TENTH_SECONDS: Final = 1.0
"""Seconds between two lines: a minute, or less where a tenth of the images was made since."""

_FEWEST_FOR_TENTHS: Final = 10


class RunProgress:
    """The counts of a run, which never decrease, and the time left.

    `jobs` is None while their number is unknown. `clock` returns seconds. `detail` is added to the
    words.
    """

    def __init__(self, jobs: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.jobs = jobs
        self.done = 0
        self._clock = clock
        self.skipped = 0
        self.detail = ""
        self._completed = 0.0
        self._begun: float | None = None

    @property
    def completed(self) -> float:
        """The finished images, and the part that is done of those in progress."""
        return self._completed if self.jobs is None else min(self._completed, self.jobs)

    @property
    def percent(self) -> int:
        """The whole percent of the images that are finished; 0 if their number is unknown."""
        return 100 * self.done // self.jobs if self.jobs else 0

    def begin(self) -> None:
        """Start the clock, unless it runs already."""
        # The time to load the model and to encode the prompts says nothing about later images.
        if self._begun is None:
            self._begun = self._clock()

    def on_step(self, event: StepEvent) -> None:
        """Count a step of the current batch."""
        self.begin()
        self._raise_to(self.done + len(event.job_indices) * event.step / event.steps)

    def advance(self, jobs: int) -> None:
        """Count finished images."""
        self.done += jobs
        self._raise_to(self.done)

    def skip(self, jobs: int) -> None:
        """Count images that need no work."""
        self.skipped += jobs
        self.advance(jobs)

    def describe(self) -> str:
        """The progress in words: "152/2000 · 7 % · 1:54 left"."""
        if self.jobs is None:
            return f"{self.done} image{'' if self.done == 1 else 's'}"
        left = self._seconds_left()
        time_left = [] if left is None else [f"{format_duration(left)} left"]
        detail = [self.detail] if self.detail else []
        return " · ".join([f"{self.done}/{self.jobs}", f"{self.percent} %", *time_left, *detail])

    def _raise_to(self, completed: float) -> None:
        # Steps of the next batch come before the last image of this one is saved.
        self._completed = max(self._completed, completed)

    def _seconds_left(self) -> float | None:
        made = self.completed - self.skipped
        if self._begun is None or self.jobs is None or made < 1 or self.done >= self.jobs:
            return None
        return (self._clock() - self._begun) / made * (self.jobs - self.completed)


def format_duration(seconds: float) -> str:
    """Format a duration as minutes and seconds, "1:54", or with hours, "3:01:54"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class ProgressBar:
    """A bar of finished images, including the steps of the current batch.

    It appears after a second, and never without a `stream`. Without one, `note` gets a line every
    minute, or when a tenth of the images is done. `unit` names what is counted.
    """

    def __init__(
        self,
        jobs: int | None,
        stream: TextIO | None,
        note: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.unit = "images"
        self._state = RunProgress(jobs, clock)
        self._stream = stream
        self._note = note
        self._clock = clock
        self._started = clock()
        self._last_note: float | None = None
        self._last_tenth = 0
        self._progress: Progress | None = None
        self._task: Any = None
        # Images are reported by the thread that saves them.
        self._lock = RLock()

    def begin(self) -> None:
        """Start the clock for the time left: what comes before is no part of the work."""
        with self._lock:
            self._state.begin()

    def tell(self, detail: str) -> None:
        """Set what is shown behind the numbers from now on."""
        with self._lock:
            self._state.detail = detail

    def on_step(self, event: StepEvent) -> None:
        """Move the bar to a step of the current batch."""
        with self._lock:
            self._state.on_step(event)
            self._show()

    def advance(self, jobs: int) -> None:
        """Count finished images."""
        with self._lock:
            self._state.advance(jobs)
            self._show()

    def skip(self, jobs: int) -> None:
        """Count images that need no work."""
        with self._lock:
            self._state.skip(jobs)

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

    def _show(self) -> None:
        if self._stream is None:
            self._show_line()
            return
        if self._clock() - self._started < _DELAY_SECONDS:
            return
        if self._progress is None:
            self._progress = _rich_progress(self._stream)
            self._task = self._progress.add_task(self.unit, total=self._state.jobs, text="")
            self._progress.start()
        text = self._state.describe()
        self._progress.update(self._task, completed=self._state.completed, text=text)

    def _show_line(self) -> None:
        now, tenth = self._clock(), self._state.percent // 10
        if self._last_note is None:
            # Loading the model is no progress, however long it takes.
            self._last_note = now
        if self._note is None or self._state.done == self._state.jobs:
            return
        has_tenths = (self._state.jobs or 0) >= _FEWEST_FOR_TENTHS
        is_next = has_tenths and tenth > self._last_tenth
        wait = _TENTH_SECONDS if is_next else _LINE_SECONDS
        if now - self._last_note >= wait:
            self._last_note, self._last_tenth = now, tenth
            self._note(self._state.describe())


def _rich_progress(stream: TextIO) -> Progress:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[text]}"),
        console=RichConsole(file=stream),
        transient=True,
        # Rich would send stdout, our data, to stderr, and wrap it: `terminal.output` makes room.
        redirect_stdout=False,
        redirect_stderr=False,
    )
