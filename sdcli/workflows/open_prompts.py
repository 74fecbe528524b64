"""Open prompt files and streams as a source of requests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sdcli.errors import ExitCode, SdcliError, UsageError, UsageErrors
from sdcli.inputs.paths import expand_user
from sdcli.prompts.columns import DEFAULT_COLUMNS, Columns
from sdcli.prompts.entry_expander import EntryExpander
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.files import is_stream, read_error
from sdcli.prompts.formats import get_reader, get_separator
from sdcli.prompts.limit import LimitedSource
from sdcli.prompts.loader import (
    KEEP_GOING,
    ValidationReport,
    load_requests,
    load_validated,
    validate_files,
    validated_requests,
)
from sdcli.prompts.sources import IterableSource, RequestSource, StreamSource
from sdcli.runner.input_images import read_image
from sdcli.shard import Shard

if TYPE_CHECKING:
    from sdcli.prompts.wildcards import Wildcards
    from sdcli.request import GenerationRequest
    from sdcli.terminal.console import Console

Planned = TypeVar("Planned")

STDIN = STDOUT = "-"


class PromptSource:
    """A source of requests, with the number of images they make and of entries skipped.

    `images` is None for a stream. `reopen` returns the same requests again, of files only.
    `skipped_code` is the exit code of a run that skipped entries.
    """

    def __init__(
        self,
        source: RequestSource,
        images: int | None,
        skipped: int = 0,
        reopen: Callable[[], RequestSource] = lambda: IterableSource(()),
        skipped_code: ExitCode = ExitCode.PARTIAL,
    ) -> None:
        self.source = source
        self.reopen = reopen
        self.images = images
        self.skipped = skipped
        self._skipped_code = skipped_code

    def plan(
        self,
        jobs: Callable[[Callable[[str], None]], Iterator[Planned]],
        warn: Callable[[str], None],
    ) -> Iterator[Planned]:
        """Yield what `jobs` plans of the source; its warnings go to the function it is given.

        Of files that are validated while they are planned, nothing is told before the end, and
        first all of their errors.
        """
        yield from jobs(warn)

    def limit(self, images: int) -> None:
        """Keep only the first images."""
        reopen = self.reopen
        self.source = LimitedSource(self.source, images)
        self.reopen = lambda: LimitedSource(reopen(), images)
        self.images = None if self.images is None else min(self.images, images)

    def worst(self, code: ExitCode) -> ExitCode:
        """Return the exit code of a run, which isn't OK when entries were skipped."""
        return self._skipped_code if self.skipped and code == ExitCode.OK else code


class UnvalidatedPrompts(PromptSource):
    """Files that are validated while their requests are taken, which takes one pass.

    `report` reports the errors of the files once all requests are taken.
    """

    def __init__(
        self,
        requests: Iterator[GenerationRequest],
        wildcards: Wildcards | None,
        report: Callable[[], int],
    ) -> None:
        super().__init__(IterableSource(requests, wildcards), None)
        self._requests = requests
        self._report = report

    def plan(
        self,
        jobs: Callable[[Callable[[str], None]], Iterator[Planned]],
        warn: Callable[[str], None],
    ) -> Iterator[Planned]:
        """Yield what `jobs` plans of the source; all messages come at the end."""
        warnings: list[str] = []
        try:
            yield from jobs(warnings.append)
        except SdcliError:
            self._finish(warnings, warn)
            raise
        self._finish(warnings, warn)

    def _finish(self, warnings: Sequence[str], warn: Callable[[str], None]) -> None:
        # Errors of later entries come before one that planning raises.
        for _ in self._requests:
            pass
        self.skipped = self._report()
        for warning in warnings:
            warn(warning)


def open_prompts(
    files: list[str],
    format_name: str | None,
    template: RequestTemplate,
    keep_going: bool,
    dry_run: bool,
    console: Console,
    columns: Columns = DEFAULT_COLUMNS,
    *,
    one_pass: bool = False,
) -> PromptSource:
    """Open prompt files, or one stream, with the settings of a template.

    Files are validated completely before the first request, or with `one_pass` while requests are
    taken, for a dry run that prints nothing before the end; a stream is validated entry by entry.
    With `keep_going`, invalid entries are reported and skipped. Raises UsageError, and UsageErrors
    with all errors of the files.
    """
    streams = [name for name in files if name == STDIN or is_stream(name)]
    if not streams:
        open_files = _open_in_one_pass if one_pass else _open_files
        return open_files(files, format_name, template, keep_going, console, columns)
    if len(files) > 1:
        raise UsageError(
            f"{streams[0]} is a stream, and cannot be combined with other files",
            code="usage.file",
            hint=f"cat them together, and give only {STDIN}",
        )
    if not Shard.from_environment().is_whole_run:
        raise UsageError(
            f"{streams[0]} cannot be read by several ranks",
            code="usage.file",
            hint="write it to a file first, and give that file to all ranks",
        )
    return _open_stream(streams[0], format_name, template, keep_going, dry_run, console, columns)


def _open_stream(
    name: str,
    format_name: str | None,
    template: RequestTemplate,
    keep_going: bool,
    dry_run: bool,
    console: Console,
    columns: Columns,
) -> PromptSource:
    from sdcli.planning.validation import RequestValidator

    # The source counts what it skips, so it is needed before its own stream.
    prompts = PromptSource(
        IterableSource(()),
        None,
        skipped_code=ExitCode.PARTIAL if keep_going else ExitCode.USAGE,
    )

    def skip(error: UsageError) -> None:
        prompts.skipped += 1
        for single in error.several if isinstance(error, UsageErrors) else [error]:
            console.error(single)

    is_stdin = name == STDIN
    format_name = format_name or "txt"
    expander = EntryExpander(template, RequestValidator(read_image))
    prompts.source = StreamSource(
        sys.stdin.fileno() if is_stdin else _open_stream_file(name),
        get_reader(format_name, columns),
        partial(validated_requests, expander=expander, warn=console.warn),
        name="stdin" if is_stdin else name,
        separator=get_separator(format_name),
        wildcards=template.wildcards,
        # A dry run reports every error of the stream, not only the first.
        skip=skip if keep_going or dry_run else None,
    )
    return prompts


def _open_stream_file(name: str) -> int:
    """Open a pipe or a device. Raises UsageError."""
    try:
        # Opening a named pipe waits for its writer.
        return os.open(expand_user(name), os.O_RDONLY)
    except OSError as error:  # a socket, or no permission
        raise read_error(name, error) from error


def _open_files(
    files: list[str],
    format_name: str | None,
    template: RequestTemplate,
    keep_going: bool,
    console: Console,
    columns: Columns,
) -> PromptSource:
    from sdcli.planning.validation import RequestValidator

    validator = RequestValidator(read_image)
    report = validate_files(files, format_name, template, validator, columns)
    _tell(report, keep_going, console)

    def reopen() -> RequestSource:
        # Without errors there is nothing to skip, and validating again takes time.
        skip_with = validator if report.errors else None
        requests = load_requests(files, format_name, template, skip_with, columns)
        return IterableSource(requests, template.wildcards)

    return PromptSource(reopen(), report.images, report.total_errors, reopen)


def _open_in_one_pass(
    files: list[str],
    format_name: str | None,
    template: RequestTemplate,
    keep_going: bool,
    console: Console,
    columns: Columns,
) -> PromptSource:
    from sdcli.planning.validation import RequestValidator

    report, validator = ValidationReport(), RequestValidator(read_image)

    def tell() -> int:
        _tell(report, keep_going, console)
        return report.total_errors

    requests = load_validated(files, format_name, template, validator, columns, report)
    return UnvalidatedPrompts(requests, template.wildcards, tell)


def _tell(report: ValidationReport, keep_going: bool, console: Console) -> None:
    """Print the errors and warnings of files. Raises UsageErrors if no request may be taken."""
    if report.errors and (not keep_going or not report.good):
        hint = KEEP_GOING if report.good else "fix them and run again"
        raise UsageErrors(report.errors, report.total_errors, summary_hint=hint)
    for error in report.errors:
        console.error(error)
    for warning in report.warnings:
        console.warn(warning)
