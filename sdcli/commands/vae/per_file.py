"""What becomes of several files: a path or a JSON entry for each, errors beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from sdcli.errors import ExitCode, SdcliError

T = TypeVar("T")


class FileResults:
    """Tells of each file as it is written. A failed one stops no other."""

    def __init__(self, schema: str, what: str, *, json: bool, verbosity: int) -> None:
        from sdcli.terminal.console import Console

        self.console = Console(verbosity=verbosity)
        self._json = json
        self._schema = schema
        self._what = what
        self._made: list[Mapping[str, Any]] = []
        self._errors: list[SdcliError] = []

    def run(self, items: Iterable[T], work: Callable[[T], Iterable[Mapping[str, Any]]]) -> ExitCode:
        """Do the work on every item; its documents have the "path" that was written."""
        for item in items:
            try:
                for document in work(item):
                    self._done(document)
            except SdcliError as error:
                self._errors.append(error)
                if not self._json:
                    self.console.error(error)
        return self._close()

    def _done(self, document: Mapping[str, Any]) -> None:
        self._made.append(document)
        for event in document.get("events", ()):
            self.console.warn(event)
        if not self._json and document["path"] != "-":
            from sdcli.storage import files

            with files.os_errors_as_output_errors("stdout"):
                print(document["path"], flush=True)

    def _close(self) -> ExitCode:
        if self._json:
            from sdcli.terminal.json_output import error_document, print_json_line

            if len(self._errors) == 1 and not self._made:
                print_json_line(error_document(self._errors[0]))
            else:
                errors = [error_document(error)["error"] for error in self._errors]
                print_json_line({"schema": self._schema, self._what: self._made, "errors": errors})
        if not self._errors:
            return ExitCode.OK
        return ExitCode.PARTIAL if self._made else self._errors[0].exit_code
