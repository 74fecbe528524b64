"""Report to Python programs: warnings as warnings, errors in a list, progress as a bar."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdcli.errors import SdcliError, SdcliWarning
from sdcli.library.error_messages import python_terms
from sdcli.library.result import GenerationResult
from sdcli.result import DoneImage, SavedImage, StepEvent
from sdcli.terminal.console import Console
from sdcli.terminal.tqdm_progress import TqdmProgress, import_tqdm, is_interactive, is_notebook

if TYPE_CHECKING:
    from sdcli.job import Job
    from sdcli.terminal.progress import ProgressBar
    from sdcli.terminal.reports import ImageEntry


class PythonConsole(Console):
    """Messages of a run in Python. Nothing is printed but the progress bar.

    `progress` True shows the bar, False does not, None does in terminals and notebooks. `errors`
    are those of invalid entries that were skipped.
    """

    def __init__(self, progress: bool | None) -> None:
        super().__init__()
        self.errors: list[SdcliError] = []
        self._shows_bar = is_interactive() if progress is None else progress
        self._is_forced = bool(progress)
        if is_notebook():
            import_tqdm()

    def warn(self, text: str) -> None:
        """Issue a SdcliWarning."""
        warnings.warn(python_terms(text), SdcliWarning, stacklevel=_caller_level())

    def note(self, text: str, level: int = 1) -> None:
        """Do nothing: results have these details."""

    def error(self, error: SdcliError) -> None:
        """Keep the error."""
        self.errors.append(error)

    @contextmanager
    def progress(self, jobs: int | None, *, images: bool = False) -> Iterator[ProgressBar]:
        """A progress bar over so many images, None if unknown."""
        del images  # a terminal's preview, which Python does not have
        if not self._shows_bar:
            with super().progress(jobs) as bar:
                yield bar
            return
        bar = TqdmProgress(jobs, *([0.0] if self._is_forced else []))
        try:
            yield bar
        finally:
            bar.close()

    def _make_bar(self, jobs: int | None, stream: object, images: bool) -> ProgressBar:
        del stream, images
        return super()._make_bar(jobs, None, False)


def _caller_level() -> int:
    """Return the `stacklevel` of the line outside sdcli, which a warning should name."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and str(frame.f_globals.get("__name__")).startswith("sdcli."):
        frame, level = frame.f_back, level + 1
    return level


class PythonReport:
    """A report of a run that keeps the paths, the errors and the counts.

    `on_result` is called with each result once its file is written.
    """

    def __init__(self, on_result: Callable[[GenerationResult], None] | None) -> None:
        self._on_result = on_result
        self.paths: list[str] = []
        self.errors: list[SdcliError] = []
        self.ended_by: SdcliError | None = None
        self.summary: Mapping[str, Any] = {}

    def started(self, images: int | None) -> None:
        pass

    def step(self, event: StepEvent) -> None:
        pass

    def entry(self, image: SavedImage, latents: str | None) -> ImageEntry:
        del latents  # they are next to the image, under its name
        if self._on_result:
            self._on_result(GenerationResult.of(image.result, Path(image.path)))
        return image.path

    def done_entry(self, image: DoneImage) -> ImageEntry:
        return None

    def add_image(self, entry: ImageEntry) -> None:
        if entry is not None:
            self.paths.append(str(entry))

    def add_archive(self, path: str, images: int) -> None:
        pass

    def failed(self, error: SdcliError, jobs: Sequence[Job] = ()) -> None:
        # An error without jobs is the one that ended the run.
        if jobs:
            self.errors.append(error)
        else:
            self.ended_by = error

    def close(self, summary: Mapping[str, Any]) -> None:
        self.summary = summary
