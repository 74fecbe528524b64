"""Hints for the usual slips in JSON, YAML and TOML: quotes, commas, backslashes and comments."""

from __future__ import annotations

import re
from typing import Final

_QUOTE_NAMES: Final = "write names and text in double quotes"
_STRAIGHT_QUOTES: Final = 'use straight double quotes: "'
_NO_COMMENTS: Final = "JSON has no comments: remove the line, or use YAML"
_TRAILING_COMMA: Final = "remove the comma before the closing bracket"
_LOWER_CASE: Final = "write true, false and null in lower case"
_JSON_BACKSLASH: Final = r"write a backslash as \\, or use / in paths"
_BY_CHARACTER: Final = {
    **dict.fromkeys("'", _QUOTE_NAMES),
    **dict.fromkeys("“”„«»‘’", _STRAIGHT_QUOTES),
    **dict.fromkeys("/#;", _NO_COMMENTS),
    **dict.fromkeys("]}", _TRAILING_COMMA),
}
_JSON_MESSAGES: Final = {
    "Invalid \\": _JSON_BACKSLASH,
    "Invalid control character": r"write a line break in text as \n",
    "Unterminated string": "close the quote",
    "Illegal trailing comma": _TRAILING_COMMA,
    "Expecting ':'": "put a colon between a name and its value",
    "duplicate key": "name each setting once",
}
_YAML_MESSAGES: Final = {
    "mapping values are not allowed": 'put text that contains ": " in quotes',
    "unexpected end of stream": "close the quote",
    "unknown escape character": r"write a backslash as \\, or use single quotes",
    "alias": "put text that begins with * in quotes",
}
_YAML_QUOTES: Final = "put text with any of : # [ ] { } & * ! | > ' \" % @ ` in quotes"
_TOML_MESSAGES: Final = {
    "Invalid value": "put text in quotes",
    "Expected '=' after a key": "write = between a name and its value",
    "Invalid statement": "write = between a name and its value; comments begin with #",
    "Unescaped '\\'": r"write a backslash as \\, or use single quotes",
    "Illegal character '\\n'": "close the quote; text of several lines is in three quotes",
    "Expected newline": r"""escape quotes inside text as \", or put it in single quotes""",
    "Unterminated string": "close the quote",
    """Expected "'\"""": "close the quote",
    "Cannot overwrite": "name each setting once; every prompt needs its own [[requests]]",
    "Cannot declare": "every prompt needs its own [[requests]], with two brackets",
}


def json_hint(text: str, offset: int, message: str) -> str | None:
    """Return the hint for the parser's message about the text at an offset."""
    if hint := _find(message, _JSON_MESSAGES):
        return hint
    rest = text[offset:].lstrip()
    if message.startswith("Expecting ',' delimiter"):
        if rest[:1] in ('"', "{", "["):
            return "a comma is missing before it"
        return _BY_CHARACTER.get(rest[:1]) if rest[:1] in "/#" else r"escape quotes in text as \""
    if message.startswith("Extra data"):
        return "put the requests into a list, or use --input-format jsonl for one per line"
    if re.match(r"True|False|None\b", rest):
        return _LOWER_CASE
    # In Python 3.11 the error of a comma at the end is located at the bracket behind it.
    return _BY_CHARACTER.get(rest[:1]) or (_QUOTE_NAMES if rest[:1].isalpha() else None)


def json_line_hint(line: str, offset: int, message: str) -> str | None:
    """Return the hint for a line of JSON Lines."""
    is_part = not line[offset:].strip() or line.strip(" \t[]{},") == ""
    if is_part and not message.startswith(("Unterminated", "Invalid")):
        return "each line is one object; for a document of several lines use --input-format json"
    if message.startswith("Extra data"):
        return "write one object per line"
    return json_hint(line, offset, message)


def yaml_hint(message: str, line: str) -> str:
    """Return the hint for PyYAML's message about a line."""
    indent = line[: len(line) - len(line.lstrip())]
    if "tab character" in message or ("cannot start any token" in message and "\t" in indent):
        return "indent with spaces, not with tabs"
    return _find(message, _YAML_MESSAGES) or _YAML_QUOTES


def toml_hint(message: str) -> str | None:
    """Return the hint for tomllib's message."""
    return _find(message, _TOML_MESSAGES)


def _find(message: str, hints: dict[str, str]) -> str | None:
    return next((hint for words, hint in hints.items() if words in message), None)
