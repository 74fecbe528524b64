"""Open prompt files and streams as a source of requests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sdcli.errors import ExitCode, UsageError, UsageErrors
from sdcli.inputs.paths import expand_user
from sdcli.prompts.columns import DEFAULT_COLUMNS, Columns
from sdcli.prompts.expansion import EntryExpander, RequestTemplate
from sdcli.prompts.files import is_stream, read_error
from sdcli.prompts.formats import get_reader, get_separator
from sdcli.prompts.limit import LimitedSource
from sdcli.prompts.loader import KEEP_GOING, load_requests, validate_files, validated_requests
from sdcli.prompts.sources import IterableSource, RequestSource, StreamSource
from sdcli.runner.input_images import read_image
from sdcli.shard import Shard

if TYPE_CHECKING:
    from sdcli.terminal.console import Console

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

    def limit(self, images: int) -> None:
        """Keep only the first images."""
        reopen = self.reopen
        self.source = LimitedSource(self.source, images)
        self.reopen = lambda: LimitedSource(reopen(), images)
        self.images = None if self.images is None else min(self.images, images)

    def worst(self, code: ExitCode) -> ExitCode:
        """Return the exit code of a run, which isn't OK when entries were skipped."""
        return self._skipped_code if self.skipped and code == ExitCode.OK else code


def open_prompts(
    files: list[str],
    format_name: str | None,
    template: RequestTemplate,
    keep_going: bool,
    dry_run: bool,
    console: Console,
    columns: Columns = DEFAULT_COLUMNS,
) -> PromptSource:
    """Open prompt files, or one stream, with the settings of a template.

    Files are validated completely before the first request; a stream is validated entry by entry.
    With `keep_going`, invalid entries are reported and skipped. Raises UsageError, and UsageErrors
    with all errors of the files.
    """
    streams = [name for name in files if name == STDIN or is_stream(name)]
    if not streams:
        return _open_files(files, format_name, template, keep_going, console, columns)
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
    if report.errors and (not keep_going or not report.good):
        hint = KEEP_GOING if report.good else "fix them and run again"
        raise UsageErrors(report.errors, report.total_errors, summary_hint=hint)
    for error in report.errors:
        console.error(error)
    for warning in report.warnings:
        console.warn(warning)

    def reopen() -> RequestSource:
        # Without errors there is nothing to skip, and validating again takes time.
        skip_with = validator if report.errors else None
        requests = load_requests(files, format_name, template, skip_with, columns)
        return IterableSource(requests, template.wildcards)

    return PromptSource(reopen(), report.images, report.total_errors, reopen)
