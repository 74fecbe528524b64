"""Expand prompt entries into requests, combining all levels of settings.

A setting takes its value from the first of these that has one:

1. the line, row, object or table of the prompt itself
2. the command line
3. the defaults at the top of the prompt file
4. sdcli.toml, the chosen profile in it, and SDCLI_* variables
5. the model

A1111 and kohya's scripts let a line override the command line, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from sdcli.errors import SdcliError, UsageError, UsageErrors
from sdcli.name_template import NameTemplate
from sdcli.prompts import sweep
from sdcli.prompts.entry import PromptEntry, located_error, relocated_error
from sdcli.prompts.field_values import (
    PROMPT,
    build_request,
    entry_values,
    error_field,
    related_fields,
    value_errors,
    written_name,
)
from sdcli.prompts.fields import SIZE
from sdcli.prompts.guidance_sweep import guidance_notes, without_guidance
from sdcli.prompts.placeholders import placeholder_errors
from sdcli.prompts.sweep import PromptReplacement, SweepAxes
from sdcli.prompts.wildcard_syntax import has_wildcards
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import PROMPT_FIELDS, GenerationRequest
from sdcli.row import NO_ROW, Row

Validator = Callable[[GenerationRequest], Iterable[tuple[str, SdcliError]]]
"""Finds the errors of a request that depend on its model, each with the field it is about."""


@dataclass(frozen=True, kw_only=True)
class RequestTemplate:
    """The settings that all requests of a command share. Raises UsageError for invalid ones.

    `flags` come from the command line, `settings` from configuration files and variables. A
    `sample` expands only as many seeds and wildcards as it takes to validate the rest. The keys of
    `name_template` must be in every row.
    """

    flags: SweepAxes = field(default_factory=dict)
    settings: SweepAxes = field(default_factory=dict)
    replacements: Sequence[PromptReplacement] = ()
    wildcards: Wildcards | None = None
    sample: bool = False
    name_template: NameTemplate | None = None

    def __post_init__(self) -> None:
        for axes in (self.flags, self.settings):
            for error in value_errors(axes).values():
                raise error

    def expand(
        self, line: SweepAxes, defaults: SweepAxes | None = None, row: Row = NO_ROW
    ) -> Iterator[GenerationRequest]:
        """Yield the requests of one prompt: replacements, times the sweep, times wildcards.

        `line` has the prompt and its own settings, `defaults` those of its file. Raises
        UsageError.
        """
        axes = self._merge(line, defaults)
        if varied := _varied_fields(axes):
            row = replace(row, varied=varied)
        if self.sample:
            axes["seed"] = _first_and_last(axes.get("seed", (None,)))
        swept = {name: values for name, values in axes.items() if name != PROMPT}
        for prompt in self._replace(str(axes[PROMPT][0])):
            for values in sweep.combinations(swept):
                used = {**values, **without_guidance(values, swept), PROMPT: prompt}
                yield from self._fill_wildcards(build_request(used, row))

    def count_images(self, line: SweepAxes, defaults: SweepAxes | None = None) -> int | None:
        """Return the number of images of one prompt, or None if wildcards decide it."""
        axes = self._merge(line, defaults)
        prompt = str(axes[PROMPT][0])
        texts = [str(axes.get(name, ("",))[0]) for name in PROMPT_FIELDS]
        is_all = self.wildcards and self.wildcards.mode == "all"
        if is_all and any(map(has_wildcards, texts)):
            return None
        count = int(str(axes.get("count", (1,))[0]))
        return len(self._replace(prompt)) * sweep.count_combinations(axes) * count

    def notes(self, line: SweepAxes, defaults: SweepAxes | None = None) -> Sequence[str]:
        """Return warnings about settings that only a part of a sweep uses."""
        return guidance_notes(self._merge(line, defaults))

    def _merge(self, line: SweepAxes, defaults: SweepAxes | None) -> dict[str, Sequence[object]]:
        return _merge_levels(line, self.flags, defaults or {}, self.settings)

    def _replace(self, prompt: str) -> Sequence[str]:
        prompts: Sequence[str] = (prompt,)
        for replacement in self.replacements:
            prompts = [new for old in prompts for new in replacement.apply(old)]
        return prompts

    def _fill_wildcards(self, request: GenerationRequest) -> Iterable[GenerationRequest]:
        if not self.wildcards:
            return (request,)
        requests = self.wildcards.expand(request)
        return islice(requests, 1) if self.sample else requests


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
        self.has_prompts = False

    def validate(self, entry: PromptEntry) -> list[UsageError]:
        """Return all errors of an entry, its model's included, with their locations.

        Raises the SdcliError of a model that only the command line names.
        """
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
        return list(unique.values())

    def advance(self, entry: PromptEntry) -> None:
        """Move on to the entries after this one; valid defaults apply to them."""
        if _has_prompt(entry):
            self.has_prompts = True
            return
        line, errors = entry_values(entry)
        if not self._default_errors(entry, line, errors):
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
        line, errors = entry_values(entry)
        if errors or PROMPT not in line:
            if errors := self.validate(entry):
                raise UsageErrors(errors)
            return
        try:
            yield from self._template.expand(line, self._defaults, self._row_of(entry))
        except UsageError as error:
            raise UsageErrors(self.validate(entry) or [self._locate(entry, error)]) from error

    def count_images(self, entry: PromptEntry) -> int | None:
        """Return the number of images of a valid entry, or None if wildcards decide it."""
        if not _has_prompt(entry):
            return 0
        line, _ = entry_values(entry)
        return self._template.count_images(line, self._defaults)

    def _row_of(self, entry: PromptEntry) -> Row:
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


def _merge_levels(*levels: SweepAxes) -> dict[str, Sequence[object]]:
    """Merge levels of settings, the first one that sets a field winning. Raises UsageError."""
    merged = {name: values for level in reversed(levels) for name, values in level.items()}
    if SIZE not in merged:
        return merged
    # A sweep of sizes and a width or height exclude each other: the level nearer to the prompt
    # wins, but half a size leaves the other half open.
    sides: set[str] = set()
    for level in levels:
        if SIZE in level:
            break
        sides |= {"width", "height"} & level.keys()
    if len(sides) == 1:
        [side] = sides
        raise UsageError(
            f"{side} can't be set alone while sizes are swept",
            code=f"usage.{side}",
            hint="set width and height, or size",
        )
    overridden = (SIZE,) if sides else ("width", "height")
    return {name: values for name, values in merged.items() if name not in overridden}


def _first_and_last(values: Sequence[object]) -> Sequence[object]:
    return (values[0], values[-1]) if len(values) > 2 else values


def _varied_fields(axes: SweepAxes) -> tuple[str, ...]:
    """The fields, the prompt apart, that differ between the images of one prompt."""
    varied = {name for name, values in axes.items() if len(values) > 1}
    if axes.get("count", (1,)) != (1,):
        varied.add("seed")
    return tuple(sorted(varied - {PROMPT}, key=lambda name: sweep.SWEPT.get(name, -1)))
