"""Export requests, also those of other programs, as prompt file lines and commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Set
from typing import Any, Final

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.errors import UsageError
from sdcli.interop.foreign_record import ForeignRecord, shorten
from sdcli.interop.scheduler_names import nearest_scheduler
from sdcli.prompts import sweep
from sdcli.request import FIELD_TYPES, REQUEST_FIELDS, SIZE_INFO, GenerationRequest, describe_field
from sdcli.storage.text import printable

_SIDES: Final = frozenset({"width", "height"})
_NUMBER_TYPES: Final = {"int": int, "float": float}


def to_request_fields(foreign: ForeignRecord) -> tuple[dict[str, Any], dict[str, object]]:
    """Split a foreign record into the valid fields of a request, and the values left out.

    Models and VAEs are always left out: their names in other programs are neither paths nor hub
    ids. An empty prompt is kept; one that is not in the metadata is in neither of them.
    """
    is_empty = foreign.fields.get("prompt") == ""
    fields: dict[str, Any] = {"prompt": ""} if is_empty else {}
    left_out: dict[str, object] = {}
    for name, text in foreign.fields.items():
        if text in (None, ""):
            continue
        if name in ("scheduler", "schedule"):
            continue
        value = _convert(name, text)
        if name in ("model", "vae") or not _is_valid_field(name, value):
            left_out[name] = shorten(text)
        else:
            fields[name] = value
    _add_scheduler(foreign, fields, left_out)
    for name in _orphaned_fields(fields):
        left_out[name] = fields.pop(name)
    return fields, left_out


def _add_scheduler(
    foreign: ForeignRecord, fields: dict[str, Any], left_out: dict[str, object]
) -> None:
    """Add the nearest scheduler to the fields, and what it lacks to the values left out."""
    sampler, schedule = (foreign.fields.get(name) for name in ("scheduler", "schedule"))
    if sampler in (None, ""):
        return
    schedule = schedule if isinstance(schedule, str) else ""
    name, dropped = nearest_scheduler(sampler, schedule) if isinstance(sampler, str) else (None, "")
    if name is None:
        left_out["scheduler"] = shorten(f"{sampler} {schedule}" if schedule else sampler)
        return
    fields["scheduler"] = name
    if dropped:
        left_out["schedule"] = shorten(dropped)


def missing_prompt(foreign: ForeignRecord) -> str | None:
    """Describe a prompt that the metadata does not tell, None if it does."""
    if isinstance(foreign.fields.get("prompt"), str):
        return None
    place = foreign.not_found.get("prompt")
    return f"prompt not found: {place or f'the metadata of {foreign.generator} has none'}"


def unmapped_fields(foreign: ForeignRecord) -> dict[str, str]:
    """Return the values of a foreign record that have no field of sdcli, shortened."""
    return {name: shorten(value) for name, value in foreign.extra.items()}


def _orphaned_fields(fields: Mapping[str, Any]) -> list[str]:
    """Fields that have no meaning without another field, which could not be used."""
    sides = _SIDES & fields.keys()
    orphans = set(sides) if len(sides) == 1 else set()
    sampler = resolve_scheduler(fields["scheduler"]).sampler if "scheduler" in fields else None
    if "eta" in fields and not (sampler and sampler.takes_eta):
        # A1111 uses the same name for a setting of ancestral samplers.
        orphans.add("eta")
    # What a field needs may itself be left out. Other programs do not name an input image.
    while alone := _find_alone(fields.keys() - orphans):
        orphans |= alone
    return [name for name in fields if name in orphans]


def _find_alone(names: Set[str]) -> Set[str]:
    needs = {name: REQUEST_FIELDS[name].needs for name in names & REQUEST_FIELDS.keys()}
    return {name for name, needed in needs.items() if needed and names.isdisjoint(needed)}


def to_prompt_line(request: Mapping[str, Any]) -> str:
    """Format a request as a line of a .jsonl prompt file, without default values.

    The line is ASCII, so that no character of it can control a terminal.
    """
    return json.dumps(_explicit_fields(request))


def to_command(request: Mapping[str, Any]) -> str:
    """Format a request as a `sdcli generate` command, quoted for a shell.

    Raises UsageError for values that a command line can't express.
    """
    values = _explicit_fields(request)
    values.pop("name", None)  # the name of its file is no option
    for name, value in values.items():
        if not _fits_command_line(name, value) or _SIDES & values.keys() == {name}:
            raise UsageError(
                f"{describe_field(name)}: a command line can't express {value!r}",
                code=f"usage.{name}",
                hint="use --as-prompt-line, and sdcli batch",
            )
    prompt = values.pop("prompt")
    words = ["sdcli", "generate"]
    if "width" in values:
        values["size"] = f"{values.pop('width')}x{values.pop('height')}"
    for name, value in values.items():
        flag = SIZE_INFO.flag if name == "size" else REQUEST_FIELDS[name].flag
        # With "=" a value may begin with a dash.
        if value is False:
            flag = str(REQUEST_FIELDS[name].off_flag)
        words += [flag] if isinstance(value, bool) else [f"{flag}={value}"]
    words += ["--", prompt] if prompt.startswith("-") else [prompt]
    return " ".join(map(_quote, words))


def _fits_command_line(name: str, value: object) -> bool:
    """Whether `generate` would parse a value back to itself."""
    if isinstance(value, bool):
        return True
    # Arguments end at NUL, and the prompt "-" stands for stdin.
    if "\0" in str(value) or (name == "prompt" and value == "-"):
        return False
    try:
        # Commas and ".." would make it a list or a range.
        [parsed] = sweep.parse_values(name, str(value))
    except (UsageError, ValueError):
        return False
    return parsed == value


def _quote(word: str) -> str:
    if printable(word) == word and "\n" not in word:
        return shlex.quote(word)
    # Bash's $'…' has escapes, so that no character can control the terminal.
    return "$'" + "".join(map(_escape, word)) + "'"


def _escape(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    if char == "\n" or printable(char) != char:
        return f"\\u{ord(char):04x}"
    return char


def _explicit_fields(request: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt, and values other than the defaults. Raises UsageError for invalid requests."""
    defaults = GenerationRequest(prompt="").to_dict()
    values = GenerationRequest.from_dict(request).to_dict()
    return {k: v for k, v in values.items() if k == "prompt" or v != defaults[k]}


def _convert(name: str, value: object) -> object:
    """Convert a value to the type of its field; return it unchanged if that is impossible."""
    number_type = _NUMBER_TYPES.get(FIELD_TYPES.get(name, ""))
    if number_type is None or not isinstance(value, str | int | float):
        return value
    try:
        return number_type(str(value))
    except ValueError:
        return value


def _is_valid_field(name: str, value: object) -> bool:
    """Whether a request accepts a value for a field."""
    if name not in FIELD_TYPES or isinstance(value, list | dict):
        return False
    try:
        GenerationRequest.from_dict({"prompt": "", name: value})
    except UsageError:
        return False
    return True
