"""A1111's "parameters" text as data; Forge, SD.Next and stable-diffusion.cpp write it too."""

from __future__ import annotations

import json
import re

_FIELD = re.compile(r'\s*([\w][\w \-/.()]*?):\s*("(?:\\.|[^"\\])*"|\{[^{}]*\}|[^,]*)(?:,|$)')
_NEGATIVE = "Negative prompt:"


def parse(text: str) -> tuple[str, str, dict[str, str]]:
    """(prompt, negative prompt, the last line's names and values); quoted values are unquoted.

    A text without such a last line is all prompt.
    """
    lines = text.strip().split("\n")
    fields = _fields(lines[-1])
    if "Steps" not in fields and len(fields) < 3:
        fields = {}
    else:
        lines.pop()
    prompt, _, negative = "\n".join(lines).partition(_NEGATIVE)
    return prompt.strip(), negative.strip(), fields


def _fields(line: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    at = 0
    while match := _FIELD.match(line, at):
        fields.setdefault(match[1].strip(), _unquoted(match[2].strip()))
        at = match.end()
        if at >= len(line):
            break
    return fields


def _unquoted(value: str) -> str:
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value
