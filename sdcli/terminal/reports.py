"""Report a run on stdout: paths as files are saved, one JSON document, or JSON lines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from sdcli.errors import SdcliError
from sdcli.job import Job
from sdcli.result import DoneImage, SavedImage, StepEvent
from sdcli.terminal.console import Console
from sdcli.terminal.json_output import (
    DONE_SCHEMA,
    STARTED_SCHEMA,
    archive_document,
    done_document,
    error_document,
    failed_jobs,
    image_document,
    print_json_line,
    run_document,
    step_document,
)
from sdcli.terminal.output import print_data

ImageEntry = str | Mapping[str, Any] | None
"""The entry of an image in a report, without its pixels, so that it can wait for its turn."""

STEP_INTERVAL: Final = 0.5
"""Seconds between two reported steps; the last step of a batch is always reported."""


class Report(Protocol):
    """A report of a run, which receives events as they happen."""

    def started(self, images: int | None) -> None:
        """The run begins; None if the number of images is unknown."""

    def step(self, event: StepEvent) -> None:
        """A batch has made a step."""

    def entry(self, image: SavedImage, latents: str | None) -> ImageEntry:
        """Build the entry of an image; nothing is reported yet."""

    def done_entry(self, image: DoneImage) -> ImageEntry:
        """Build the entry of an image that was done before."""

    def add_image(self, entry: ImageEntry) -> None:
        """Report an image."""

    def add_archive(self, path: str, images: int) -> None:
        """Report an archive into which so many images were packed."""

    def failed(self, error: SdcliError, jobs: Sequence[Job] = ()) -> None:
        """Report an error, and the jobs that failed by it."""

    def close(self, summary: Mapping[str, Any]) -> None:
        """End the report with the counts of the run."""


class PathReport:
    """One path per line, flushed as soon as the file is complete; errors go to stderr.

    With `list_done`, images that were done before are listed, too; without `list_new`, new ones are
    not.
    """

    def __init__(self, console: Console, *, list_done: bool = False, list_new: bool = True) -> None:
        self._console = console
        self._list_done = list_done
        self._list_new = list_new

    def started(self, images: int | None) -> None:
        pass

    def step(self, event: StepEvent) -> None:
        pass

    def entry(self, image: SavedImage, latents: str | None) -> ImageEntry:
        del latents  # they are beside the image, under its name
        return image.path if self._list_new and image.path != "-" else None

    def done_entry(self, image: DoneImage) -> ImageEntry:
        return image.path if self._list_done else None

    def add_image(self, entry: ImageEntry) -> None:
        if entry is not None:
            print_data(str(entry))

    def add_archive(self, path: str, images: int) -> None:
        print_data(path)

    def failed(self, error: SdcliError, jobs: Sequence[Job] = ()) -> None:
        self._console.error(error)

    def close(self, summary: Mapping[str, Any]) -> None:
        pass


class JsonReport:
    """One JSON document at the end: the run, or the error if there is nothing else.

    With `list_done`, images that were done before are among its images.
    """

    def __init__(self, *, list_done: bool = False) -> None:
        self._list_done = list_done
        self._images: list[Mapping[str, Any]] = []
        self._archives: list[Mapping[str, Any]] = []
        self._errors: list[tuple[SdcliError, Sequence[Job]]] = []

    def started(self, images: int | None) -> None:
        pass

    def step(self, event: StepEvent) -> None:
        pass

    def entry(self, image: SavedImage, latents: str | None) -> ImageEntry:
        return image_document(image, latents=latents)

    def done_entry(self, image: DoneImage) -> ImageEntry:
        return done_document(image) if self._list_done else None

    def add_image(self, entry: ImageEntry) -> None:
        if isinstance(entry, Mapping):
            self._images.append(entry)

    def add_archive(self, path: str, images: int) -> None:
        self._archives.append(archive_document(path, images))

    def failed(self, error: SdcliError, jobs: Sequence[Job] = ()) -> None:
        self._errors.append((error, jobs))

    def close(self, summary: Mapping[str, Any]) -> None:
        if len(self._errors) == 1 and not self._images:
            print_json_line(error_document(self._errors[0][0]))
        else:
            document = run_document(self._images, self._errors)
            archives = {"archives": self._archives} if self._archives else {}
            print_json_line({**document, **archives, **summary})


class JsonLinesReport:
    """One JSON object per line for each event: started, step, image, archive, failed, done."""

    def __init__(self) -> None:
        self._last_step = 0.0

    def started(self, images: int | None) -> None:
        print_json_line({"schema": STARTED_SCHEMA, "event": "started", "images": images})

    def step(self, event: StepEvent) -> None:
        now = time.monotonic()
        if event.step == event.steps or now - self._last_step >= STEP_INTERVAL:
            self._last_step = now
            print_json_line({**step_document(event), "event": "step"})

    def entry(self, image: SavedImage, latents: str | None) -> ImageEntry:
        return {**image_document(image, latents=latents), "event": "image"}

    def done_entry(self, image: DoneImage) -> ImageEntry:
        return {**done_document(image), "event": "image"}

    def add_image(self, entry: ImageEntry) -> None:
        if isinstance(entry, Mapping):
            print_json_line(entry)

    def add_archive(self, path: str, images: int) -> None:
        print_json_line({**archive_document(path, images), "event": "archive"})

    def failed(self, error: SdcliError, jobs: Sequence[Job] = ()) -> None:
        print_json_line(error_document(error) | {"event": "failed"} | failed_jobs(jobs))

    def close(self, summary: Mapping[str, Any]) -> None:
        print_json_line({"schema": DONE_SCHEMA, "event": "done", **summary})


def make_report(
    form: Literal["paths", "json", "jsonl"],
    console: Console,
    *,
    list_done: bool = False,
    list_new: bool = True,
) -> Report:
    """Make the report that --json, --jsonl or neither of them selects.

    Without `list_new`, the paths of new images are not printed: their files do not stay.
    """
    match form:
        case "paths":
            return PathReport(console, list_done=list_done, list_new=list_new)
        case "json":
            return JsonReport(list_done=list_done)
        case "jsonl":
            return JsonLinesReport()
