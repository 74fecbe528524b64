"""Prompt files to requests: once over all of them to find what is wrong, once more to draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sdcli.asking import Asked, Expander, placed
from sdcli.errors import UsageError, UsageErrors
from sdcli.prompts import files
from sdcli.prompts.entry import Entry
from sdcli.request import GenerationRequest, spelled

_TOLD: Final = 100
"""Errors that are kept to be told; a file of another format has one in every line."""


@dataclass(kw_only=True)
class Findings:
    """What the first look over the files found. `images` is None when wildcards decide it."""

    images: int | None = 0
    good: int = 0
    errors: list[UsageError] = field(default_factory=list)
    total_errors: int = 0
    warnings: list[str] = field(default_factory=list)

    def add(self, error: UsageError) -> None:
        """Count an error, and keep it unless there are too many."""
        for one in error.several if isinstance(error, UsageErrors) else (error,):
            self.total_errors += 1
            if len(self.errors) < _TOLD:
                self.errors.append(one)


def requests(
    file_names: Sequence[str],
    format_name: str | None,
    asked: Asked,
    examine: Callable[[GenerationRequest], None],
    skip: Callable[[UsageError], None] | None = None,
) -> Iterator[GenerationRequest]:
    """The requests of the files, in their order, read as they are asked for.

    Raises UsageError at the first bad entry, or hands it to `skip` and goes on.
    """
    for name in file_names:
        expander = Expander(asked)
        for entry in files.entries(name, format_name):
            try:
                if isinstance(entry, UsageError):
                    raise entry
                if entry:
                    yield from examined(entry, expander, examine)
            except UsageError as error:
                if not skip:
                    raise
                skip(error)


def check(
    file_names: Sequence[str],
    format_name: str | None,
    asked: Asked,
    examine: Callable[[GenerationRequest], None],
) -> Findings:
    """Read all of the files and tell everything that is wrong; holds no request.

    `examine` raises UsageError for what the model could not do.
    """
    findings = Findings()
    for error in files.check_readable(file_names, format_name):
        findings.add(error)
    if findings.errors:
        return findings
    unused_flags, unused_replacements = set(asked.flags), list(asked.replacements)
    for name in file_names:
        expander = Expander(replace(asked, sample=True))
        for entry in files.entries(name, format_name):
            if isinstance(entry, UsageError):
                findings.add(entry)
            elif entry:
                _check_entry(entry, expander, examine, findings)
        unused_flags &= expander.unused_flags
        unused_replacements = [r for r in unused_replacements if r in expander.unused_replacements]
        known = expander.images is not None and findings.images is not None
        findings.images = (findings.images or 0) + (expander.images or 0) if known else None
    for replacement in unused_replacements if findings.good else ():
        findings.add(replacement.unused())
    for flag in sorted(unused_flags) if findings.good else ():
        findings.warnings.append(f"{spelled(flag)} changes nothing: every prompt has its own")
    return findings


def examined(
    entry: Entry, expander: Expander, examine: Callable[[GenerationRequest], None]
) -> Iterator[GenerationRequest]:
    """The requests of an entry that `examine` finds no fault with. Raises UsageError with where."""
    for request in expander.requests(entry):
        try:
            examine(request)
        except UsageError as error:
            raise placed(entry, error) from error
        yield request


def _check_entry(
    entry: Entry,
    expander: Expander,
    examine: Callable[[GenerationRequest], None],
    findings: Findings,
) -> None:
    before = expander.images
    try:
        made = sum(1 for _ in examined(entry, expander, examine))
        findings.good += made > 0
    except UsageError as error:
        expander.images = before
        findings.add(error)
