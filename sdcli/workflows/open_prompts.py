"""Open prompt files and streams as a source of requests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sdcli.errors import ExitCode, UsageError, UsageErrors
from sdcli.prompts.expansion import EntryExpander, RequestTemplate
from sdcli.prompts.files import is_stream
from sdcli.prompts.formats import Format, get_reader
from sdcli.prompts.loader import KEEP_GOING, load_requests, validate_files, validated_requests
from sdcli.prompts.sources import IterableSource, RequestSource, StreamSource
from sdcli.shard import Shard

if TYPE_CHECKING:
    from sdcli.terminal.console import Console


STDIN = STDOUT = "-"


class PromptSource:
    """A source of requests, how many images it makes if that is known, and what was left out."""

    def __init__(
        self,
        source: RequestSource,
        images: int | None,
        left_out: int = 0,
        again: Callable[[], RequestSource] = lambda: IterableSource(()),
        lacking: ExitCode = ExitCode.PARTIAL,
    ) -> None:
        self.source = source
        self.reopen = again  # the same requests once more, of files
        self.images = images
        self.skipped = left_out
        self._lacking = lacking

    def worst(self, code: ExitCode) -> ExitCode:
        """The exit code of a run that left entries out."""
        return self._lacking if self.skipped and code == ExitCode.OK else code


def open_prompts(
    files: list[str],
    format_name: Format | None,
    asked: RequestTemplate,
    keep_going: bool,
    dry_run: bool,
    talk: Console,
) -> PromptSource:
    streams = [name for name in files if name == STDIN or is_stream(name)]
    if not streams:
        return _open_files(files, format_name, asked, keep_going, talk)
    if len(files) > 1:
        raise UsageError(
            f"{streams[0]} is read as it comes, and cannot stand beside other files",
            code="usage.file",
            hint=f"cat them together, and give only {STDIN}",
        )
    from sdcli.planning.validation import RequestValidator

    [name] = streams
    if not Shard.from_environment().is_whole_run:
        raise UsageError(
            f"{name} cannot be read by several ranks",
            code="usage.file",
            hint="write it to a file first, and give that to all",
        )
    stdin = name == STDIN
    descriptor = sys.stdin.fileno() if stdin else os.open(name, os.O_RDONLY)
    lacking = ExitCode.PARTIAL if keep_going else ExitCode.USAGE
    prompts = PromptSource(IterableSource(()), None, lacking=lacking)

    def leave_out(error: UsageError) -> None:
        prompts.skipped += 1
        for one in error.several if isinstance(error, UsageErrors) else [error]:
            talk.error(one)

    prompts.source = StreamSource(
        descriptor,
        get_reader(format_name or "txt"),
        partial(validated_requests, expander=EntryExpander(asked, RequestValidator())),
        name="stdin" if stdin else name,
        skip=leave_out if keep_going or dry_run else None,
        wildcards=asked.wildcards,
    )
    return prompts


def _open_files(
    files: list[str],
    format_name: Format | None,
    asked: RequestTemplate,
    keep_going: bool,
    talk: Console,
) -> PromptSource:
    """The files, after a look at all that is in them. Raises UsageErrors."""
    from sdcli.planning.validation import RequestValidator

    examine = RequestValidator()
    findings = validate_files(files, format_name, asked, examine)
    if findings.errors and (not keep_going or not findings.good):
        hint = KEEP_GOING if findings.good else "fix them and run again"
        raise UsageErrors(findings.errors, findings.total_errors, summary_hint=hint)
    for error in findings.errors:
        talk.error(error)
    for warning in findings.warnings:
        talk.warn(warning)

    def requests() -> RequestSource:
        return IterableSource(
            load_requests(files, format_name, asked, examine if findings.errors else None),
            asked.wildcards,
        )

    return PromptSource(requests(), findings.images, findings.total_errors, requests)
