"""Report a run on stdout: paths as files are saved, one JSON document, or JSON lines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

from sdcli.errors import SdcliError
from sdcli.result import SavedImage, StepEvent
from sdcli.terminal.console import Console
from sdcli.terminal.json_output import (
    DONE_SCHEMA,
    STARTED_SCHEMA,
    error_document,
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

    def add_image(self, entry: ImageEntry) -> None:
        """Report an image."""

    def failed(self, error: SdcliError, indices: tuple[int, ...] = ()) -> None:
        """Report an error, and the indices of the jobs that failed by it."""

    def close(self, summary: Mapping[str, Any]) -> None:
        """End the report with the counts of the run."""


class PathReport:
    """One path per line, flushed as soon as the file is complete; errors go to stderr."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def started(self, images: int | None) -> None:
        pass

    def step(self, event: StepEvent) -> None:
        pass

    def entry(self, image: SavedImage, latents: str | None) -> ImageEntry:
        del latents  # they are beside the image, under its name
        return None if image.path == "-" else image.path

    def add_image(self, entry: ImageEntry) -> None:
        if entry is not None:
            print_data(str(entry))

    def failed(self, error: SdcliError, indices: tuple[int, ...] = ()) -> None:
        self._console.error(error)

    def close(self, summary: Mapping[str, Any]) -> None:
        pass


class JsonReport:
    """One JSON document at the end: the run, or the error if there is nothing else."""

    def __init__(self) -> None:
        self._images: list[Mapping[str, Any]] = []
        self._errors: list[SdcliError] = []

    def started(self, images: int | None) -> None:
        pass

    def step(self, event: StepEvent) -> None:
        pass

    def entry(self, image: SavedImage, latents: str | None) -> ImageEntry:
        return image_document(image, latents=latents)

    def add_image(self, entry: ImageEntry) -> None:
        if isinstance(entry, Mapping):
            self._images.append(entry)

    def failed(self, error: SdcliError, indices: tuple[int, ...] = ()) -> None:
        self._errors.append(error)

    def close(self, summary: Mapping[str, Any]) -> None:
        if len(self._errors) == 1 and not self._images:
            print_json_line(error_document(self._errors[0]))
        else:
            print_json_line({**run_document(self._images, self._errors), **summary})


class JsonLinesReport:
    """One JSON object per line for each event: started, step, image, failed, done."""

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

    def add_image(self, entry: ImageEntry) -> None:
        if isinstance(entry, Mapping):
            print_json_line(entry)

    def failed(self, error: SdcliError, indices: tuple[int, ...] = ()) -> None:
        event = {"event": "failed", "indices": list(indices)}
        print_json_line(error_document(error) | event)

    def close(self, summary: Mapping[str, Any]) -> None:
        print_json_line({"schema": DONE_SCHEMA, "event": "done", **summary})


def make_report(form: Literal["paths", "json", "jsonl"], console: Console) -> Report:
    """Make the report that --json, --jsonl or neither of them selects."""
    match form:
        case "paths":
            return PathReport(console)
        case "json":
            return JsonReport()
        case "jsonl":
            return JsonLinesReport()
