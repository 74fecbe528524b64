"""Prompt files to requests: once over all of them to find what is wrong, once more to draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from sdcli.errors import UsageError, UsageErrors
from sdcli.prompts import files
from sdcli.prompts.entry import PromptEntry
from sdcli.prompts.expansion import EntryExpander, RequestTemplate, Validator
from sdcli.request import GenerationRequest, describe_field

KEEP_GOING: Final = "mend them, or draw the rest with --keep-going"

_MAX_ERRORS: Final = 100
"""Errors that are kept to be told; a file of another format has one in every line."""


@dataclass(kw_only=True)
class ValidationReport:
    """What the first look over the files found. `images` is None when wildcards decide it."""

    images: int | None = 0
    good: int = 0
    errors: list[UsageError] = field(default_factory=list)
    total_errors: int = 0
    warnings: list[str] = field(default_factory=list)

    def add(self, *errors: UsageError) -> None:
        """Count errors, and keep them unless there are too many. What a file's defaults have
        wrong comes again with every line."""
        for error in errors:
            if isinstance(error, UsageErrors):
                self.add(*error.several)
            elif not any(error.message == kept.message for kept in self.errors):
                self.total_errors += 1
                if len(self.errors) < _MAX_ERRORS:
                    self.errors.append(error)


def load_requests(
    file_names: Sequence[str],
    format_name: str | None,
    asked: RequestTemplate,
    examine: Validator | None = None,
) -> Iterator[GenerationRequest]:
    """The requests of the files, in their order, read as they are asked for.

    Raises UsageErrors at the first bad entry; with `examine`, leaves out those that it or `check`
    finds bad.
    """
    for name in file_names:
        expander = EntryExpander(asked, examine) if examine else EntryExpander(asked)
        for entry in files.read_entries(name, format_name):
            if isinstance(entry, UsageError):
                if not examine:
                    raise entry
            elif entry and not (examine and expander.validate(entry)):
                yield from expander.expand(entry)


def validate_files(
    file_names: Sequence[str], format_name: str | None, asked: RequestTemplate, examine: Validator
) -> ValidationReport:
    """Read all of the files and tell everything that is wrong; holds no request."""
    findings = ValidationReport()
    findings.add(*files.check_readable(file_names, format_name))
    if findings.errors:
        return findings
    unused_flags, unused_replacements = set(asked.flags), list(asked.replacements)
    for name in file_names:
        expander = EntryExpander(asked, examine)
        _validate_file(name, format_name, expander, findings)
        unused_flags &= expander.unused_flags
        unused_replacements = [r for r in unused_replacements if r in expander.unused_replacements]
        known = expander.images is not None and findings.images is not None
        findings.images = (findings.images or 0) + (expander.images or 0) if known else None
    for replacement in unused_replacements if findings.good else ():
        findings.add(replacement.unused_error())
    for flag in sorted(unused_flags) if findings.good else ():
        findings.warnings.append(
            f"{describe_field(flag)} changes nothing: every prompt has its own"
        )
    return findings


def _validate_file(
    name: str, format_name: str | None, expander: EntryExpander, findings: ValidationReport
) -> None:
    before = findings.total_errors
    for entry in files.read_entries(name, format_name):
        if isinstance(entry, UsageError):
            findings.add(entry)
        elif entry:
            faults = expander.validate(entry)
            findings.add(*faults)
            findings.good += not faults
    if not expander.has_prompts and findings.total_errors == before:
        findings.add(
            UsageError(
                f"no prompt in {name}",
                code="usage.prompt",
                hint="it is empty, or has defaults only: add a prompt",
            )
        )


def validated_requests(entry: PromptEntry, expander: EntryExpander) -> Iterator[GenerationRequest]:
    """The requests of an entry, once all of them are found good. Raises UsageErrors."""
    if faults := expander.validate(entry):
        raise UsageErrors(faults, outcome="no more was drawn", summary_hint=KEEP_GOING)
    yield from expander.expand(entry)
