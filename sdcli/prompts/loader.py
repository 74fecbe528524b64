"""Load requests from prompt files: one pass to validate them all, one to generate, or both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from sdcli.errors import UsageError, UsageErrors
from sdcli.name_template import CODE as NAME_CODE
from sdcli.prompts import files
from sdcli.prompts.columns import DEFAULT_COLUMNS, Columns
from sdcli.prompts.entry import PromptEntry
from sdcli.prompts.entry_expander import EntryExpander, Validator
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.field_values import PROMPT, entry_values
from sdcli.prompts.sweep import PromptReplacement
from sdcli.request import GenerationRequest, describe_field

KEEP_GOING: Final = "fix them and run again, or skip them with --keep-going"

# A file in another format than its name tells has an error in every line.
_MAX_ERRORS: Final = 100


@dataclass(kw_only=True)
class ValidationReport:
    """The result of validating prompt files.

    `images` is the number of images that valid entries make, None if wildcards decide it; `good`
    is the number of valid entries. At most 100 `errors` are kept, of `total_errors`.
    """

    images: int | None = 0
    good: int = 0
    errors: list[UsageError] = field(default_factory=list)
    total_errors: int = 0
    warnings: list[str] = field(default_factory=list)

    def add_errors(self, *errors: UsageError) -> None:
        """Count errors, and keep them unless there are too many."""
        for error in errors:
            if isinstance(error, UsageErrors):
                self.add_errors(*error.several)
            # An error in the defaults of a file appears again with each of its lines.
            elif not any(_is_repeated(error, known) for known in self.errors):
                self.total_errors += 1
                if len(self.errors) < _MAX_ERRORS:
                    self.errors.append(error)

    def add_valid(self, images: int | None) -> None:
        """Count a valid entry and its images."""
        self.good += 1
        self.images = None if images is None or self.images is None else self.images + images


def _is_repeated(error: UsageError, known: UsageError) -> bool:
    """Whether an error says the same as a known one; of a name's template, in another row."""
    if error.code == known.code == NAME_CODE:
        return error.message.partition("--")[2] == known.message.partition("--")[2]
    return error.message == known.message


class _UnusedOptions:
    """The flags and replacements of a template that have had no effect so far."""

    def __init__(self, template: RequestTemplate) -> None:
        self.flags = set(template.flags)
        self.replacements: list[PromptReplacement] = list(template.replacements)

    def remove_used(self, entry: PromptEntry) -> None:
        """Remove those that have an effect on a valid entry."""
        if not self.flags and not self.replacements:
            return
        line, _ = entry_values(entry)
        if PROMPT not in line:
            return
        prompt = str(line[PROMPT][0])
        self.flags &= line.keys()
        self.replacements = [r for r in self.replacements if r.old not in prompt]

    def add_to(self, report: ValidationReport) -> None:
        """Report them: replacements as errors, flags as warnings."""
        report.add_errors(*(replacement.unused_error() for replacement in self.replacements))
        report.warnings += [
            f"{describe_field(flag)} has no effect: every prompt sets its own value"
            for flag in sorted(self.flags)
        ]


def load_requests(
    file_names: Sequence[str],
    format_name: str | None,
    template: RequestTemplate,
    validator: Validator | None = None,
    columns: Columns = DEFAULT_COLUMNS,
) -> Iterator[GenerationRequest]:
    """Yield the requests of prompt files in their order, reading only as far as needed.

    Raises UsageErrors at the first invalid entry; with a `validator`, skips those that are invalid
    in themselves or for their model.
    """
    for name in file_names:
        expander = EntryExpander(template, validator)
        for entry in files.read_entries(name, format_name, columns):
            if isinstance(entry, UsageError):
                if not validator:
                    raise entry
            elif entry:
                skip = bool(validator and expander.validate(entry))
                expander.advance(entry)
                if not skip:
                    yield from expander.expand(entry)


def validate_files(
    file_names: Sequence[str],
    format_name: str | None,
    template: RequestTemplate,
    validator: Validator,
    columns: Columns = DEFAULT_COLUMNS,
) -> ValidationReport:
    """Read prompt files and report all of their errors, without keeping any request."""
    report = ValidationReport()
    for _ in _valid_entries(file_names, format_name, template, validator, columns, report):
        pass
    return report


def load_validated(
    file_names: Sequence[str],
    format_name: str | None,
    template: RequestTemplate,
    validator: Validator,
    columns: Columns,
    report: ValidationReport,
) -> Iterator[GenerationRequest]:
    """Yield the requests of valid entries while the files are validated, which reads them once.

    The `report` is complete at the end. Raises UsageErrors then if a valid entry did not expand.
    """
    failure: UsageError | None = None
    entries = _valid_entries(file_names, format_name, template, validator, columns, report)
    for expander, entry in entries:
        try:
            if failure is None:
                yield from expander.expand(entry)
        except UsageError as error:
            failure = error
    if failure and not report.errors:
        raise failure


def _valid_entries(
    file_names: Sequence[str],
    format_name: str | None,
    template: RequestTemplate,
    validator: Validator,
    columns: Columns,
    report: ValidationReport,
) -> Iterator[tuple[EntryExpander, PromptEntry]]:
    """Yield the valid entries with their expander, and report all others."""
    report.add_errors(*files.check_readable(file_names, format_name, columns))
    if report.errors:
        return
    unused = _UnusedOptions(template)
    for name in file_names:
        errors_before = report.total_errors
        expander = EntryExpander(template, validator)
        for entry in files.read_entries(name, format_name, columns):
            if isinstance(entry, UsageError):
                report.add_errors(entry)
            elif entry and _validate_entry(entry, expander, report, unused):
                yield expander, entry
        if not expander.has_prompts and report.total_errors == errors_before:
            hint = "the file is empty or has only defaults; add a prompt"
            report.add_errors(UsageError(f"no prompt in {name}", code="usage.prompt", hint=hint))
    if report.good:
        unused.add_to(report)


def _validate_entry(
    entry: PromptEntry, expander: EntryExpander, report: ValidationReport, unused: _UnusedOptions
) -> bool:
    """Report the errors of an entry, or count its images. Returns whether it is valid."""
    if errors := expander.validate(entry):
        report.warnings += entry.notes
        report.add_errors(*errors)
    else:
        report.warnings += [note for note in expander.notes(entry) if note not in report.warnings]
        report.add_valid(expander.count_images(entry))
        unused.remove_used(entry)
    expander.advance(entry)
    return not errors


def validated_requests(
    entry: PromptEntry,
    expander: EntryExpander,
    warn: Callable[[str], None] = lambda note: None,
) -> Iterator[GenerationRequest]:
    """Yield the requests of the next entry of a stream, after validating all of them.

    Raises UsageErrors.
    """
    errors = expander.validate(entry)
    for note in entry.notes if errors else expander.notes(entry):
        warn(note)
    expander.advance(entry)
    if errors:
        raise UsageErrors(
            errors, outcome="no further images were generated", summary_hint=KEEP_GOING
        )
    yield from expander.expand(entry)
