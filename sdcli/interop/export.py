"""How to make an image again: as a line of a prompt file, and as a command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.errors import UsageError
from sdcli.interop.foreign_record import ForeignRecord, shorten
from sdcli.prompts import sweep
from sdcli.request import FIELD_TYPES, REQUEST_FIELDS, SIZE_INFO, GenerationRequest, describe_field
from sdcli.storage.text import printable

_SIDES: Final = frozenset({"width", "height"})
_NUMBER_TYPES: Final = {"int": int, "float": float}


def to_request_fields(reading: ForeignRecord) -> tuple[dict[str, Any], dict[str, object]]:
    """(the fields that our own requests can take, what was left out) of a stranger's record.

    A model's name there is no path or hub id here, so models and VAEs are always left out.
    """
    taken: dict[str, Any] = {"prompt": ""}
    left: dict[str, object] = {}
    for name, value in reading.fields.items():
        if value in (None, ""):
            continue
        if name in ("model", "vae") or not _is_valid_field(name, plain := _plain(name, value)):
            left[name] = shorten(value)
        else:
            taken[name] = plain
    for name in _orphaned_fields(taken):
        left[name] = taken.pop(name)
    return taken, left


def unmapped_fields(reading: ForeignRecord) -> dict[str, str]:
    """The rest of a stranger's record, which has no place in a request."""
    return {name: shorten(value) for name, value in reading.extra.items()}


def _orphaned_fields(taken: Mapping[str, Any]) -> list[str]:
    """Fields that say nothing without another that could not be taken."""
    sides = _SIDES & taken.keys()
    alone = sorted(sides) if len(sides) == 1 else []
    sampler = resolve_scheduler(taken["scheduler"]).sampler if "scheduler" in taken else None
    if "eta" in taken and not (sampler and sampler.takes_eta):
        alone.append("eta")  # A1111's other eta, of ancestral samplers
    return alone


def to_prompt_line(request: Mapping[str, Any]) -> str:
    """One line of a .jsonl prompt file, with nothing in it that would be so anyway."""
    return json.dumps(_explicit_fields(request))  # ASCII: no terminal acts on it


def to_command(request: Mapping[str, Any]) -> str:
    """A `sdcli generate` command, quoted for a shell. Raises UsageError for what it cannot say."""
    said = _explicit_fields(request)
    for name, value in said.items():
        if not _fits_command_line(name, value) or _SIDES & said.keys() == {name}:
            raise UsageError(
                f"{describe_field(name)}: {value!r} cannot be said on a command line",
                code=f"usage.{name}",
                hint="--as-prompt-line says it for sdcli batch",
            )
    prompt = said.pop("prompt")
    words = ["sdcli", "generate"]
    if "width" in said:
        said["size"] = f"{said.pop('width')}x{said.pop('height')}"
    for name, value in said.items():
        flag = SIZE_INFO.flag if name == "size" else REQUEST_FIELDS[name].flag
        words += [flag] if value is True else [f"{flag}={value}"]
    words += ["--", prompt] if prompt.startswith("-") else [prompt]
    return " ".join(map(_quoted, words))


def _fits_command_line(name: str, value: object) -> bool:
    """Whether `generate` reads the value as itself: no list or range of others, and not stdin."""
    if isinstance(value, bool):
        return True
    if "\0" in str(value) or (name == "prompt" and value == "-"):
        return False
    try:
        [same] = sweep.parse_values(name, str(value))
    except (UsageError, ValueError):
        return False
    return same == value


def _quoted(word: str) -> str:
    """One word for a shell; bash's $'…' keeps from the terminal what would act on it."""
    if printable(word) == word and "\n" not in word:
        return shlex.quote(word)
    return "$'" + "".join(_escaped(char) for char in word) + "'"


def _escaped(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    if char == "\n" or printable(char) != char:
        return f"\\u{ord(char):04x}"
    return char


def _explicit_fields(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request without what is the default anyway. Raises UsageError for one that is none."""
    plain = GenerationRequest(prompt="").to_dict()
    full = GenerationRequest.from_dict(request).to_dict()
    return {k: v for k, v in full.items() if k == "prompt" or v != plain[k]}


def _plain(name: str, value: object) -> object:
    """The value as the type of its field, as it is where it cannot be that."""
    if name == "scheduler" and isinstance(value, str):
        return value.strip()
    kind = _NUMBER_TYPES.get(FIELD_TYPES.get(name, ""))
    try:
        return kind(str(value)) if kind and isinstance(value, str | int | float) else value
    except ValueError:
        return value


def _is_valid_field(name: str, value: object) -> bool:
    """Whether a request can have that value of that field."""
    if name not in FIELD_TYPES or isinstance(value, list | dict):
        return False
    try:
        GenerationRequest.from_dict({"prompt": "", name: value})
        if name == "scheduler":
            resolve_scheduler(str(value))
    except UsageError:
        return False
    return True
