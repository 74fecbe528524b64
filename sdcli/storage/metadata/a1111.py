"""A1111's "parameters" text as data; Forge, SD.Next and stable-diffusion.cpp write it too."""

from __future__ import annotations

import json
import re

_FIELD = re.compile(r'\s*([\w][\w \-/.()]*?):\s*("(?:\\.|[^"\\])*"|\{[^{}]*\}|[^,]*)(?:,|$)')
_NEGATIVE = re.compile(r"^[ \t]*Negative prompt:", re.MULTILINE)
_FEWEST = 3


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
