"""Show the progress of Python's functions, in notebooks and in terminals."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sdcli.result import StepEvent
from sdcli.terminal.progress import ProgressBar

_DELAY_SECONDS: Final = 1.0
_FORMAT: Final = "{desc} {percentage:3.0f}% |{bar}| {elapsed}<{remaining}"


class TqdmProgress(ProgressBar):
    """A bar of tqdm: a widget in notebooks that have ipywidgets, text anywhere else.

    It appears after `delay` seconds of work and is removed at the end.
    """

    def __init__(self, jobs: int | None, delay: float = _DELAY_SECONDS) -> None:
        super().__init__(jobs, None)
        self._delay = delay
        self._step = ""
        self._first_step: float | None = None
        self._bar: Any = None

    def on_step(self, event: StepEvent) -> None:
        """Move the bar to a step of the current batch."""
        self._step = f"step {event.step}/{event.steps}"
        super().on_step(event)

    def advance(self, jobs: int) -> None:
        """Count finished images."""
        self._step = ""
        super().advance(jobs)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Clear the bar within, so that lines can be written where it is."""
        with self._lock:
            if self._bar is not None:
                self._bar.clear()
            yield

    def close(self) -> None:
        """Remove the bar."""
        with self._lock:
            if self._bar is not None:
                self._bar.close()
                self._bar = None

    def _show(self) -> None:
        # Loading a model is no part of the time per image.
        self._first_step = self._first_step or time.time()
        if self._clock() - self._started < self._delay:
            return
        state = self._state
        total = "" if state.jobs is None else f"/{state.jobs}"
        words = ", ".join(filter(None, (f"{state.done}{total} images", self._step)))
        if self._bar is None:
            self._bar = _open_bar(state.jobs, words)
            self._bar.start_t = self._first_step
        # Images that needed no work are no part of it either.
        self._bar.initial = state.skipped
        self._bar.n = state.completed
        self._bar.set_description_str(words)


def is_interactive() -> bool:
    """Whether somebody watches: stderr is a terminal, or Python runs in a notebook."""
    return sys.stderr.isatty() or is_notebook()


def is_notebook() -> bool:
    """Whether this is the kernel of a notebook, such as Jupyter's or Colab's."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


def import_tqdm() -> Any:
    """Import tqdm without its warning in notebooks that lack ipywidgets, where its bar is text.

    Diffusers imports it, too: the warning is about the first import of a process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

        return tqdm


def _open_bar(total: int | None, words: str) -> Any:
    options = {} if total is None else {"bar_format": _FORMAT}
    return import_tqdm()(total=total, desc=words, leave=False, dynamic_ncols=True, **options)
