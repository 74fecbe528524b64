"""A1111's "parameters" text as data; Forge, SD.Next and stable-diffusion.cpp write it too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdcli.catalog.schedulers.resolve import a1111_names
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.request import EMBEDDED, REQUEST_FIELDS

_FIELD = re.compile(r'\s*([\w][\w \-/.()]*?):\s*("(?:\\.|[^"\\])*"|\{[^{}]*\}|[^,]*)(?:,|$)')
_NEGATIVE = re.compile(r"^[ \t]*Negative prompt:", re.MULTILINE)
_FEWEST = 3

A1111_FIELDS = {name: info for name, info in REQUEST_FIELDS.items() if info.a1111}
"""Fields that A1111's text has under one key of its own."""


def parse_parameters(text: str) -> tuple[str, str, dict[str, str]]:
    """(prompt, negative prompt, the last line's names and values); quoted values are unquoted.

    A text without such a last line is all prompt.
    """
    lines = text.strip().split("\n")
    fields = _fields(lines[-1])
    if len(fields) < _FEWEST and not lines[-1].startswith("Steps:"):
        fields = {}
    else:
        lines.pop()
    prompt, *negative = _NEGATIVE.split("\n".join(lines), maxsplit=1)
    return prompt.strip(), "".join(negative).strip(), fields


def _fields(line: str) -> dict[str, str]:
    """The names that have values; A1111 writes a name alone, too, when its value is the same."""
    fields: dict[str, str] = {}
    at = 0
    while at < len(line):
        if match := _FIELD.match(line, at):
            fields.setdefault(match[1].strip(), _unquoted(match[2].strip()))
            at = match.end()
        else:
            at = line.find(",", at) + 1 or len(line)
    return fields


def _unquoted(value: str) -> str:
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value


def format_parameters(record: Mapping[str, Any]) -> str:
    """The record as A1111's "parameters" text: prompts, then one line of names and values."""
    request = record["request"]
    lines = [request["prompt"]]
    if request["negative_prompt"]:
        lines.append(f"Negative prompt: {request['negative_prompt']}")
    fields = ((name, value) for name, value in _a1111_fields(record) if value not in (None, ""))
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in fields))
    return "\n".join(lines)


def _a1111_fields(record: Mapping[str, Any]) -> list[tuple[str, object]]:
    request, weights = record["request"], record["weights"]
    scheduler = record["scheduler"]
    sampler, schedule = a1111_names(scheduler["class"], scheduler["config"])
    numbers = {info.a1111: _number(name, request[name]) for name, info in A1111_FIELDS.items()}
    return [
        ("Steps", numbers.pop("Steps")),  # A1111 looks for it to find the line
        ("Sampler", sampler),
        ("Schedule type", schedule),
        ("CFG scale", numbers.pop("CFG scale")),
        ("Seed", numbers.pop("Seed")),
        ("Size", f"{request['width']}x{request['height']}"),
        # Without "Model hash": A1111's is of a checkpoint file, and we have folders of parts.
        ("Model", _model_name(request["model"])),
        ("VAE hash", weights.get("vae", "")[:10] if request["vae"] else None),
        ("VAE", Path(request["vae"]).name if request["vae"] else None),
        *((str(name), number) for name, number in numbers.items()),
        ("RNG", "CPU"),  # what draws our noise, on every device
        ("Version", f"sdcli {record['versions'].get('sdcli', '')}".strip()),
    ]


def _number(name: str, value: Any) -> object:
    """The value of a field as A1111 writes it; None for one that changes nothing."""
    resolved = A1111_FIELDS[name].resolved
    if name != "seed" and value == resolved:
        return None
    if name == "clip_skip":
        return value + 1  # A1111 counts the layer that is used, from the end
    return f"{value:g}" if isinstance(value, float) else value


def _model_name(model: str) -> str:
    """What A1111 calls a model: the name of its file or folder, without the ending of a file."""
    if model == EMBEDDED:
        return EMBEDDED_FOLDER.name
    path = Path(model)
    return path.stem if path.suffix in (".safetensors", ".ckpt") else path.name


def _quoted(value: object) -> str:
    """A1111's rule: JSON quotes around a value that would end early."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ",:\n") else text
