"""Report the results of a command that works on several files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from sdcli.errors import ExitCode, SdcliError
from sdcli.terminal.printing import print_path

T = TypeVar("T")


class FileResults:
    """Report each file as soon as it is written. A file that fails does not stop the others.

    Prints a path per file; with `json` one document of `schema` at the end, its results under
    `key`. Events are printed as warnings.
    """

    def __init__(self, schema: str, key: str, *, json: bool, verbosity: int) -> None:
        from sdcli.terminal.console import Console

        self._console = Console(verbosity=verbosity)
        self._json = json
        self._schema = schema
        self._key = key
        self._results: list[Mapping[str, Any]] = []
        self._errors: list[SdcliError] = []

    def run(self, items: Iterable[T], work: Callable[[T], Iterable[Mapping[str, Any]]]) -> ExitCode:
        """Do the work on every item, report its results, and return the exit code.

        The results of the work are JSON-able and have the written "path".
        """
        for item in items:
            try:
                for result in work(item):
                    self._report(result)
            except SdcliError as error:
                self._errors.append(error)
                if not self._json:
                    self._console.error(error)
        if self._json:
            self._print_document()
        if not self._errors:
            return ExitCode.OK
        return ExitCode.PARTIAL if self._results else self._errors[0].exit_code

    def _report(self, result: Mapping[str, Any]) -> None:
        self._results.append(result)
        for event in result.get("events", ()):
            self._console.warn(event)
        if not self._json:
            print_path(result["path"], json=False)

    def _print_document(self) -> None:
        from sdcli.terminal.json_output import error_document, print_json_line

        if len(self._errors) == 1 and not self._results:
            print_json_line(error_document(self._errors[0]))
            return
        errors = [error_document(error)["error"] for error in self._errors]
        print_json_line({"schema": self._schema, self._key: self._results, "errors": errors})
