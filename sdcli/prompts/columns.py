"""Tell the columns of a file that are settings from those that are not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, Literal

from sdcli.errors import NearMissError, UsageError, closest, quoted
from sdcli.field_metadata import spelling_key
from sdcli.prompts.entry import (
    EntryIterator,
    PromptEntry,
    Reader,
    SourceLocation,
    located_error,
)
from sdcli.prompts.fields import OPTIONS_HINT, canonical_field

ExtraPolicy = Literal["refuse", "keep", "ignore"]

_PROMPT: Final = "prompt"
_MAX_NAMES: Final = 12
_EXTRA_HINT: Final = "for a column that is no setting, use --extra keep or --extra ignore"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The reading of columns, or of keys: `extra` are those that are no fields.

    `prompt_column` has the prompts in place of the column "prompt".
    """

    extra: ExtraPolicy = "refuse"
    prompt_column: str | None = None

    @classmethod
    def parse(cls, extra: str | None, prompt_column: str | None) -> Columns:
        """Parse --extra and --prompt-column. Raises UsageError."""
        if extra not in (None, "keep", "ignore"):
            raise UsageError(
                f"--extra: {quoted(str(extra))} is not keep or ignore", code="usage.extra"
            )
        if prompt_column is not None and not prompt_column.strip():
            raise UsageError("--prompt-column: the name is empty", code="usage.prompt_column")
        policy: ExtraPolicy = "keep" if extra == "keep" else "ignore" if extra else "refuse"
        return cls(extra=policy, prompt_column=prompt_column)

    @property
    def prompt_name(self) -> str:
        """The name of the column that has the prompts."""
        return self.prompt_column or _PROMPT

    def is_prompt(self, name: str) -> bool:
        """Whether a column has the prompts."""
        return spelling_key(name) == spelling_key(self.prompt_name)

    def field_of(self, name: str) -> str | None:
        """The field that a column sets; None for an extra one. Raises UsageError."""
        if self.is_prompt(name):
            return _PROMPT
        found = _find_field(name)
        if found == _PROMPT:
            found = UsageError(
                f"{quoted(name)} is not the prompt: --prompt-column names another column",
                code="usage.field",
                hint=_EXTRA_HINT,
            )
        if isinstance(found, str):
            return found
        if self.extra == "refuse":
            near = self.prompt_column and closest(self.prompt_column, [name])
            hint = f"did you mean --prompt-column {near}?" if near else _refusal_hint(found)
            raise UsageError(found.message, code=found.code, hint=hint)
        return None

    def convert(self, entry: PromptEntry) -> PromptEntry:
        """Move the extra columns of an entry out of its fields."""
        # Text alone is the prompt, whatever the columns of other entries are called.
        if self == DEFAULT_COLUMNS or entry.is_plain:
            return entry
        split = _SplitEntry(entry, self)
        return replace(
            entry,
            fields=split.fields,
            extra=split.extra,
            faults=(*entry.faults, *split.faults),
            notes=(*entry.notes, *split.notes),
            locate=lambda name: entry.location_of(split.written.get(name, name)),
        )

    def read(self, reader: Reader, *, has_header: bool) -> Reader:
        """A reader that converts the entries of another one, which may check a header itself."""
        if self == DEFAULT_COLUMNS:
            return reader

        def read(lines: Iterable[str], file: str) -> EntryIterator:
            has_prompt, others = False, dict[str, None]()
            for entry in reader(lines, file):
                if isinstance(entry, PromptEntry):
                    has_prompt |= entry.is_plain or any(map(self.is_prompt, entry.fields))
                    if not has_prompt:
                        others |= dict.fromkeys(entry.fields)
                    yield self.convert(entry)
                else:
                    yield entry
            if self.prompt_column and others and not (has_prompt or has_header):
                yield self._no_prompt_error(file, list(others))

        return read

    def _no_prompt_error(self, file: str, names: Sequence[str]) -> UsageError:
        message = f"no entry has the key {quoted(self.prompt_name)}"
        hint = prompt_column_hint(self, names)
        return located_error(SourceLocation(file), message, hint=hint)


DEFAULT_COLUMNS: Final = Columns()


@dataclass
class _SplitEntry:
    """The fields and the extra columns of an entry."""

    entry: PromptEntry
    columns: Columns
    fields: dict[str, object] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    faults: list[UsageError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, value in self.entry.fields.items():
            try:
                self._add(name, value)
            except UsageError as error:
                place = self.entry.location_of(name)
                self.faults.append(
                    located_error(place, error.message, code=error.code, hint=error.hint)
                )

    def _add(self, name: str, value: object) -> None:
        canonical = self.columns.field_of(name)
        if canonical is None:
            self._add_extra(name, value)
        elif canonical == _PROMPT and self.columns.prompt_column:
            if self.entry.is_defaults:
                raise UsageError(f"{quoted(name)} must be inside 'requests'", code="usage.field")
            self.fields[_PROMPT] = value
            self.written[_PROMPT] = name
        else:
            self.fields[name] = value

    def _add_extra(self, name: str, value: object) -> None:
        known = _find_field(name)
        if isinstance(known, NearMissError):
            state = "kept" if self.columns.extra == "keep" else "ignored"
            self.notes.append(f"{quoted(name)} is no setting and is {state}; {known.hint}")
        if self.columns.extra == "keep":
            self.extra[name.strip()] = _to_json(name, value)


@lru_cache(maxsize=1024)
def _find_field(name: str) -> str | UsageError:
    """The field that a name means, or the error of a name that means none."""
    try:
        return canonical_field(name)
    except UsageError as error:
        hint = _EXTRA_HINT if error.hint == OPTIONS_HINT else error.hint
        return type(error)(error.message, code=error.code, hint=hint)


def column_field(name: str) -> str:
    """The field that a column sets where no column may be extra. Raises UsageError."""
    if isinstance(found := _find_field(name), UsageError):
        raise UsageError(found.message, code=found.code, hint=found.hint)
    return found


def prompt_column_hint(columns: Columns, names: Sequence[str]) -> str:
    """Return the hint for a table of these columns, none of which has the prompts."""
    names = [name.strip() for name in names if name.strip()]
    if columns.prompt_column:
        near = closest(columns.prompt_column, names)
        return f"did you mean --prompt-column {near}?" if near else f"it has: {_list(names)}"
    return (
        "the first line must name the columns, for example prompt,steps,seed; "
        "--prompt-column NAME takes the prompts from another column"
    )


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MAX_NAMES])
    return f"{shown} and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else shown


def _refusal_hint(error: UsageError) -> str | None:
    """A word that is close to a setting may still be a column of the table's own."""
    if isinstance(error, NearMissError) and error.hint and error.hint.startswith("did you mean"):
        return f"{error.hint} {_EXTRA_HINT}"
    return error.hint


def _to_json(name: str, value: object) -> object:
    """The value as JSON has it: dates become text. Raises UsageError."""
    try:
        text = json.dumps({name: value}, ensure_ascii=False, default=str)
        text.encode()
        values: Mapping[str, object] = json.loads(text, parse_constant=str)
    except (UnicodeEncodeError, RecursionError, ValueError, TypeError) as error:
        raise UsageError(
            f"{quoted(name)}: its value can't be written as JSON", code="usage.field"
        ) from error
    return values[name]
