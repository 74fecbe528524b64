"""Expand the entries of a prompt file or a stream, and find their errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sdcli.errors import SdcliError, UsageError, UsageErrors
from sdcli.prompts.entry import PromptEntry, located_error, relocated_error
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.field_values import (
    PROMPT,
    entry_values,
    error_field,
    related_fields,
    value_errors,
    written_name,
)
from sdcli.prompts.known_settings import KnownSettings
from sdcli.prompts.placeholders import placeholder_errors
from sdcli.prompts.sweep import SweepAxes
from sdcli.request import GenerationRequest
from sdcli.row import Row

Validator = Callable[[GenerationRequest], Iterable[tuple[str, SdcliError]]]
"""Finds the errors of a request that depend on its model, each with the field it is about."""


class EntryExpander:
    """Expand the entries of one source, in their order.

    Entries without a prompt, before the first one with a prompt, set defaults for the source.
    `validate` and `expand` change nothing; call `advance` once for each entry, so that they know
    the entries before.
    """

    def __init__(self, template: RequestTemplate, validator: Validator | None = None) -> None:
        self._template = template
        self._sample = replace(template, sample=True)
        self._validator = validator
        self._defaults: dict[str, Sequence[object]] = {}
        self._default_entries: dict[str, PromptEntry] = {}
        self._default_extra: dict[str, Any] = {}
        self._known = KnownSettings()
        self._last: tuple[PromptEntry, GenerationRequest | None] | None = None
        self.has_prompts = False

    def validate(self, entry: PromptEntry) -> list[UsageError]:
        """Return all errors of an entry, its model's included, with their locations.

        Raises the SdcliError of a model that only the command line names.
        """
        if (known := self._find_known(entry)) and self._is_valid(entry, known):
            return []
        line, errors = entry_values(entry)
        if not _has_prompt(entry):
            return self._default_errors(entry, line, errors)
        unique: dict[str, UsageError] = {}
        for error in (
            *errors,
            *self._request_errors(entry, line),
            *self._name_errors(entry),
        ):
            unique.setdefault(error.message, error)
        if not unique:
            self._remember(entry, line)
        return list(unique.values())

    def advance(self, entry: PromptEntry) -> None:
        """Move on to the entries after this one; valid defaults apply to them."""
        if _has_prompt(entry):
            self.has_prompts = True
            return
        line, errors = entry_values(entry)
        if not self._default_errors(entry, line, errors):
            self._known.clear()
            self._last = None
            self._defaults.update(line)
            self._default_extra.update(entry.extra)
            # The command line overrides the file's defaults, so an error in the value of a flag
            # must not be located in the file.
            effective = line.keys() - self._template.flags.keys()
            self._default_entries.update(dict.fromkeys(effective, entry))

    def expand(self, entry: PromptEntry) -> Iterator[GenerationRequest]:
        """Yield the requests of an entry, none for defaults.

        Raises UsageErrors with all errors of the entry that `validate` finds, or with the one of a
        later value of a sweep.
        """
        if known := self._find_known(entry):
            yield known
            return
        line, errors = entry_values(entry)
        if errors or PROMPT not in line:
            if errors := self.validate(entry):
                raise UsageErrors(errors)
            return
        try:
            yield from self._template.expand(line, self._defaults, self._row_of(entry))
        except UsageError as error:
            raise UsageErrors(self.validate(entry) or [self._locate(entry, error)]) from error
        self._remember(entry, line)

    def count_images(self, entry: PromptEntry) -> int | None:
        """Return the number of images of a valid entry, or None if wildcards decide it."""
        if not _has_prompt(entry):
            return 0
        if known := self._find_known(entry):
            return known.count
        line, _ = entry_values(entry)
        return self._template.count_images(line, self._defaults)

    def _find_known(self, entry: PromptEntry) -> GenerationRequest | None:
        """Return the one request of an entry whose settings an earlier one had, or None."""
        last = self._last
        if last is None or last[0] is not entry:
            found = self._known.find(entry, self._row_of(entry)) if self._known else None
            last = self._last = (entry, found)
        return last[1]

    def _remember(self, entry: PromptEntry, line: SweepAxes) -> None:
        """Remember the settings of an entry that has no errors, and makes one request."""
        if request := self._template.expand_once(line, self._defaults):
            self._known.add(entry, request)

    def _is_valid(self, entry: PromptEntry, request: GenerationRequest) -> bool:
        """Whether nothing is wrong with the request of an entry, nor with the name of its image."""
        faults = iter(self._validator(request) if self._validator else ())
        return next(faults, None) is None and next(self._name_errors(entry), None) is None

    def _row_of(self, entry: PromptEntry) -> Row:
        if not entry.extra and not self._default_extra:
            return Row(file=entry.location.file, line=entry.location.line)
        extra = {**self._default_extra, **entry.extra}
        for name, value in self._default_extra.items():
            # An empty cell sets nothing.
            extra[name] = value if extra[name] in ("", None) else extra[name]
        return Row(file=entry.location.file, line=entry.location.line, extra=extra)

    def _name_errors(self, entry: PromptEntry) -> Iterator[UsageError]:
        """Yield the errors of the placeholders that the row has no values for."""
        if template := self._template.name_template:
            for error in placeholder_errors(template, self._row_of(entry).extra):
                yield relocated_error(entry.location, error)

    def notes(self, entry: PromptEntry) -> Sequence[str]:
        """Return warnings about a valid entry."""
        # Without a sweep, all settings are used.
        if self._find_known(entry):
            return ()
        line, _ = entry_values(entry)
        own = self._template.notes(line, self._defaults) if _has_prompt(entry) else ()
        return (*entry.notes, *own)

    def _request_errors(self, entry: PromptEntry, line: SweepAxes) -> Iterator[UsageError]:
        """Yield the errors of the requests of a line."""
        # A prompt that cannot be read must not hide the errors of the other fields.
        line = {PROMPT: ("",), **line}
        try:
            for request in self._sample.expand(line, self._defaults):
                for name, error in self._validator(request) if self._validator else ():
                    yield self._locate(entry, error, name)
        except UsageError as error:
            invalid = value_errors(line)
            for value_error in invalid.values() or [error]:
                yield self._locate(entry, value_error)
            # Nor must an invalid value: try the others without it, also against the model.
            if invalid:
                valid = {name: values for name, values in line.items() if name not in invalid}
                yield from self._request_errors(entry, valid)

    def _default_errors(
        self, entry: PromptEntry, line: SweepAxes, errors: Sequence[UsageError]
    ) -> list[UsageError]:
        """Return the errors of an entry without a prompt."""
        invalid = value_errors(line).values()
        errors = [*errors, *(self._locate(entry, error) for error in invalid)]
        if self.has_prompts:
            hint = "defaults must come before the first prompt"
            errors.append(located_error(entry.location_of(PROMPT), "no prompt", hint=hint))
        return errors

    def _locate(self, entry: PromptEntry, error: SdcliError, name: str | None = None) -> UsageError:
        """Return the error with the location of its field, in the entry or in the defaults.

        Raises the error if it is not a UsageError and neither of them sets the field.
        """
        names = related_fields(name or error_field(error))
        default_entries = [self._default_entries[n] for n in names if n in self._default_entries]
        location = entry.location
        for candidate in (entry, *default_entries):
            if written := written_name(candidate, names):
                location = candidate.location_of(written)
                break
        else:
            if not isinstance(error, UsageError):
                raise error
        return located_error(location, error.message, code=error.code, hint=error.hint)


def _has_prompt(entry: PromptEntry) -> bool:
    """Whether the entry has a prompt, even one that cannot be read."""
    # The usual spelling first: each step of validating an entry needs to know.
    return entry.fields.get(PROMPT) is not None or written_name(entry, [PROMPT]) is not None
