"""Read the values of fields from prompt entries and from the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sdcli.errors import SdcliError, UsageError
from sdcli.field_validation import refuse_separator
from sdcli.fields.embedding import EMBEDDING
from sdcli.inputs.paths import expand_user
from sdcli.prompts import embedding_sweep, lora_sweep, relative_paths, sweep
from sdcli.prompts.columns import column_field
from sdcli.prompts.entry import PromptEntry, located_error
from sdcli.prompts.fields import SIZE, canonical_field
from sdcli.prompts.lora_sweep import LORA
from sdcli.prompts.sweep import SweepAxes
from sdcli.request import OWN_VALUES, REQUEST_FIELDS, GenerationRequest
from sdcli.row import NO_ROW, Row

PROMPT: Final = "prompt"
_NO_OWN_VALUES: Final[Mapping[str, Any]] = {**dict.fromkeys(OWN_VALUES), PROMPT: ""}

_RELATED_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "width": ("width", SIZE),
    "height": ("height", SIZE),
    SIZE: (SIZE, "width", "height"),
    "model": ("model", "variant", "offline"),
    "vae": ("vae", "model", "variant", "offline"),
    "wildcard": (PROMPT,),
}
"""The fields that may cause an error of a field, the likeliest first; else the field itself."""

EntryValues = tuple[dict[str, Sequence[object]], list[UsageError]]


class _LastEntry:
    """The values of the entry that was read last: each step of validating an entry needs them."""

    def __init__(self) -> None:
        self._last: tuple[PromptEntry, EntryValues] | None = None

    def __call__(self, entry: PromptEntry) -> EntryValues:
        # One attribute, read once: threads may disturb each other's cache, not its content.
        last = self._last
        if last is None or last[0] is not entry:
            last = self._last = (entry, _read_values(entry))
        return last[1]


def _read_values(entry: PromptEntry) -> EntryValues:
    axes: dict[str, Sequence[object]] = {}
    faults = list(entry.faults)
    for written, value in entry.fields.items():
        try:
            name = column_field(written)
            if name in axes:
                raise UsageError(f"{name} is set twice, under two names", code="usage.field")
            if value is None:
                continue
            shared = name not in OWN_VALUES and isinstance(value, str | int | float)
            parse = _parse_shared if shared else _parse_value
            values = parse(name, value, entry.is_text)
            axes[name] = _beside(entry, values, name)
        except UsageError as error:
            faults.append(
                located_error(
                    entry.location_of(written), error.message, code=error.code, hint=error.hint
                )
            )
    try:
        return separate_size(axes), faults
    except UsageError as error:
        del axes[SIZE]
        place = entry.location_of(written_name(entry, (SIZE,)) or SIZE)
        return axes, [*faults, located_error(place, error.message, code=error.code)]


def _parse_value(name: str, value: object, is_text: bool) -> Sequence[object]:
    if is_text and isinstance(value, str):
        return sweep.parse_values(name, value)
    return sweep.values_from_data(name, value)


def _beside(entry: PromptEntry, values: Sequence[object], name: str) -> Sequence[object]:
    """Return paths relative to the folder of the entry's file; those on stdin stay as they are."""
    is_path = name in REQUEST_FIELDS and REQUEST_FIELDS[name].is_path
    join = _JOINS.get(name) or (_join if is_path else None)
    if join is None:
        return values
    file = expand_user(entry.location.file)
    if not file.is_file():
        return values
    joined = [join(file.parent, value) if isinstance(value, str) else value for value in values]
    # A semicolon in the name of the folder would separate more of them than there are.
    if name in _JOINS and str(joined).count(";") > str(values).count(";"):
        refuse_separator(name, str(file.parent))
    return joined


def _join(folder: Path, value: str) -> str:
    # "~" is expanded later, and an absolute path replaces the folder.
    return value if value.startswith("~") else str(folder / value)


_JOINS: Final[Mapping[str, Callable[[Path, str], str]]] = {
    LORA: lora_sweep.relative_to,
    EMBEDDING: embedding_sweep.relative_to,
    **relative_paths.RELATIVE,
}
"""Fields whose text has paths among other things."""

# With the types of the arguments: 1 and True are equal.
_parse_shared: Final = lru_cache(maxsize=4096, typed=True)(_parse_value)

entry_values: Final = _LastEntry()
"""Returns the values of an entry's fields, and the errors of those that cannot be read."""


def flag_values(said: Mapping[str, object]) -> dict[str, Sequence[object]]:
    """Return the values of options: text, True for a switch, None for one left out."""
    axes: dict[str, Sequence[object]] = {}
    for name, value in said.items():
        if value is None:
            continue
        field = canonical_field(name)
        if value is False and not REQUEST_FIELDS[field].off_flag:
            continue
        if isinstance(value, list):
            if value:
                axes[field] = sweep.combine_repeated(field, value)
            continue
        is_word = isinstance(value, str)
        axes[field] = sweep.parse_values(field, str(value)) if is_word else (value,)
    return separate_size(axes)


def separate_size(axes: SweepAxes) -> dict[str, Sequence[object]]:
    """Replace a single size by width and height, so that each can be overridden alone."""
    if SIZE not in axes:
        return dict(axes)
    if "width" in axes or "height" in axes:
        raise UsageError("size can't be used together with width or height", code=f"usage.{SIZE}")
    if len(axes[SIZE]) > 1:
        return dict(axes)
    [size] = axes[SIZE]
    assert isinstance(size, tuple)
    width, height = size
    rest = {name: values for name, values in axes.items() if name != SIZE}
    return {**rest, "width": (width,), "height": (height,)}


def build_request(values: Mapping[str, object], row: Row = NO_ROW) -> GenerationRequest:
    """Build the request of a row that has one value for each field. Raises UsageError."""
    own = {name: values[name] for name in OWN_VALUES if name in values}
    shared = {name: value for name, value in values.items() if name not in own}
    try:
        # With their types: 1 and True are equal.
        template = _shared_request(tuple(shared.items()), tuple(map(type, shared.values())))
    except TypeError:  # a value that cannot be a key, and is no value of a field either
        return replace(_new_request(values), row=row)
    return with_own_values(template, {**_NO_OWN_VALUES, **own, "row": row})


def with_own_values(template: GenerationRequest, own: Mapping[str, object]) -> GenerationRequest:
    """Return a copy with another row and other OWN_VALUES; only these are checked.

    Raises UsageError.
    """
    # `replace` would check everything again, which takes most of the time of planning a file.
    copy = object.__new__(GenerationRequest)
    copy.__dict__.update(template.__dict__, **own)
    copy.check_own_values()
    return copy


@lru_cache(maxsize=1024)
def _shared_request(
    values: tuple[tuple[str, object], ...], types: tuple[type, ...]
) -> GenerationRequest:
    """Return the request of all images that share these values. Raises UsageError."""
    del types
    request = _new_request({PROMPT: "", **dict(values)})
    _ = request.settings  # computed once for all copies
    return request


def _new_request(values: Mapping[str, object]) -> GenerationRequest:
    if SIZE not in values:
        return GenerationRequest.from_dict(values)
    size = values[SIZE]
    assert isinstance(size, tuple)
    width, height = size
    rest = {name: value for name, value in values.items() if name != SIZE}
    return GenerationRequest.from_dict({**rest, "width": width, "height": height})


def value_errors(axes: SweepAxes) -> dict[str, UsageError]:
    """Return the error of each field that is invalid with any model."""
    errors = {}
    for name, values in axes.items():
        for value in _sample_values(values):
            try:
                build_request({PROMPT: "", name: value})
                if name == "scheduler" and value is not None:
                    _check_scheduler(str(value))
            except UsageError as error:
                errors[name] = error
                break
    return errors


def _check_scheduler(name: str) -> None:
    # The table of schedulers takes longer to import than everything else that --help needs.
    from sdcli.catalog.schedulers.resolve import resolve_scheduler

    # The model may decide whether an option has an effect; planning judges them together.
    resolve_scheduler(name, None)


def error_field(error: SdcliError) -> str:
    """The field that an error is about, taken from its code."""
    return error.code.removeprefix("usage.").partition(".")[0]


def written_name(entry: PromptEntry, fields: Sequence[str]) -> str | None:
    """The name that the entry uses for the first of the fields that it sets, or None."""
    written = {
        _canonical_or_none(name): name for name, value in entry.fields.items() if value is not None
    }
    return next((written[field] for field in fields if field in written), None)


def related_fields(field: str) -> tuple[str, ...]:
    """The fields that may cause an error of this one."""
    return _RELATED_FIELDS.get(field, (field,))


def _canonical_or_none(written: str) -> str | None:
    try:
        return canonical_field(written)
    except UsageError:
        return None


def _sample_values(values: Sequence[object]) -> Sequence[object]:
    """All values, or the two ends of a range."""
    return (values[0], values[-1]) if isinstance(values, range) else values
