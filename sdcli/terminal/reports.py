"""What stdout says about a run: paths as files become whole, one JSON document, or JSON lines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

from sdcli.errors import SdcliError
from sdcli.result import SavedImage, StepEvent
from sdcli.storage import files
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

ImageEntry = str | Mapping[str, Any] | None
"""An image as a report will tell it: no pixels are in it, so it may wait for its turn."""

STEP_INTERVAL: Final = 0.5
"""Seconds between two step events; the last step of a batch is always told."""


class Report(Protocol):
    """Told of every outcome as it comes, and of the end."""

    def started(self, images: int | None) -> None: ...
    def step(self, event: StepEvent) -> None: ...
    def entry(self, written: SavedImage, latents: str | None) -> ImageEntry: ...
    def add_image(self, line: ImageEntry) -> None: ...
    def failed(self, error: SdcliError, indices: tuple[int, ...] = ()) -> None: ...
    def close(self, summary: Mapping[str, Any]) -> None: ...


class PathReport:
    """One path a line, flushed as soon as the file is whole; errors go to stderr."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def started(self, images: int | None) -> None:
        pass

    def step(self, event: StepEvent) -> None:
        pass

    def entry(self, written: SavedImage, latents: str | None) -> ImageEntry:
        del latents  # beside the image, with its name
        return None if written.path == "-" else written.path

    def add_image(self, line: ImageEntry) -> None:
        if line is not None:
            with files.os_errors_as_output_errors("stdout"):
                print(line, flush=True)

    def failed(self, error: SdcliError, indices: tuple[int, ...] = ()) -> None:
        self._console.error(error)

    def close(self, summary: Mapping[str, Any]) -> None:
        pass


class JsonReport:
    """One JSON document at the end: the run, or the error when that is all there is."""

    def __init__(self) -> None:
        self._images: list[Mapping[str, Any]] = []
        self._errors: list[SdcliError] = []

    def started(self, images: int | None) -> None:
        pass

    def step(self, event: StepEvent) -> None:
        pass

    def entry(self, written: SavedImage, latents: str | None) -> ImageEntry:
        return image_document(written, latents=latents)

    def add_image(self, line: ImageEntry) -> None:
        if isinstance(line, Mapping):
            self._images.append(line)

    def failed(self, error: SdcliError, indices: tuple[int, ...] = ()) -> None:
        self._errors.append(error)

    def close(self, summary: Mapping[str, Any]) -> None:
        if len(self._errors) == 1 and not self._images:
            print_json_line(error_document(self._errors[0]))
        else:
            print_json_line({**run_document(self._images, self._errors), **summary})


class JsonLinesReport:
    """A JSON line an event, as it comes: started, step, image, failed, done."""

    def __init__(self) -> None:
        self._last_step = 0.0

    def started(self, images: int | None) -> None:
        print_json_line({"schema": STARTED_SCHEMA, "event": "started", "images": images})

    def step(self, event: StepEvent) -> None:
        now = time.monotonic()
        if event.step == event.steps or now - self._last_step >= STEP_INTERVAL:
            self._last_step = now
            print_json_line({**step_document(event), "event": "step"})

    def entry(self, written: SavedImage, latents: str | None) -> ImageEntry:
        return {**image_document(written, latents=latents), "event": "image"}

    def add_image(self, line: ImageEntry) -> None:
        if isinstance(line, Mapping):
            print_json_line(line)

    def failed(self, error: SdcliError, indices: tuple[int, ...] = ()) -> None:
        told = {"event": "failed", "indices": list(indices)}
        print_json_line(error_document(error) | told)

    def close(self, summary: Mapping[str, Any]) -> None:
        print_json_line({"schema": DONE_SCHEMA, "event": "done", **summary})


def make_report(form: Literal["paths", "json", "jsonl"], console: Console) -> Report:
    """The report that --json, --jsonl or neither asks for."""
    match form:
        case "paths":
            return PathReport(console)
        case "json":
            return JsonReport()
        case "jsonl":
            return JsonLinesReport()
