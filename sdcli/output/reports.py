"""What stdout says about a run: paths as files become whole, one JSON document, or JSON lines."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from sdcli.errors import SdcliError
from sdcli.output import events, files
from sdcli.output.console import Console
from sdcli.result import Written


class Report(Protocol):
    """Told of every outcome as it comes, and of the end."""

    def image(self, written: Written, latents: str | None) -> None: ...
    def failed(self, error: SdcliError) -> None: ...
    def close(self) -> None: ...


class Paths:
    """One path a line, flushed as soon as the file is whole; errors go to stderr."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def image(self, written: Written, latents: str | None) -> None:
        del latents  # beside the image, with its name
        if written.path != "-":
            with files.translated("stdout"):
                print(written.path, flush=True)

    def failed(self, error: SdcliError) -> None:
        self._console.error(error)

    def close(self) -> None:
        pass


class Document:
    """One JSON document at the end: the run, or the error when that is all there is."""

    def __init__(self) -> None:
        self._images: list[dict[str, Any]] = []
        self._errors: list[SdcliError] = []

    def image(self, written: Written, latents: str | None) -> None:
        self._images.append(events.image_document(written, latents=latents))

    def failed(self, error: SdcliError) -> None:
        self._errors.append(error)

    def close(self) -> None:
        if len(self._errors) == 1 and not self._images:
            events.emit(events.error_document(self._errors[0]))
        else:
            events.emit(events.run_document(self._images, self._errors))


class Lines:
    """A JSON line an outcome, as it comes."""

    def image(self, written: Written, latents: str | None) -> None:
        events.emit(events.image_document(written, latents=latents))

    def failed(self, error: SdcliError) -> None:
        events.emit(events.error_document(error))

    def close(self) -> None:
        pass


def of_form(form: Literal["paths", "json", "jsonl"], console: Console) -> Report:
    """The report that --json, --jsonl or neither asks for."""
    match form:
        case "paths":
            return Paths(console)
        case "json":
            return Document()
        case "jsonl":
            return Lines()
