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
    "unknown escape": _JSON_BACKSLASH,
    "control character": r"write a line break in text as \n",
    "quote is not closed": "close the quote",
    "comma after the last": _TRAILING_COMMA,
    "a colon is missing": "put a colon between a name and its value",
    "duplicate key": "name each setting once",
}
_YAML_MESSAGES: Final = {
    "a colon is not allowed": 'put text that contains ": " in quotes',
    "tabs are not allowed": "indent with spaces, not with tabs",
    "quote is not closed": "close the quote",
    "unknown escape": r"write a backslash as \\, or use single quotes",
    "alias": "put text that begins with * in quotes",
}
_YAML_QUOTES: Final = "put text with any of : # [ ] { } & * ! | > ' \" % @ ` in quotes"
_TOML_MESSAGES: Final = {
    "without quotes": "put text in quotes",
    "no = after": "write = between a name and its value",
    "expected a key": "write = between a name and its value; comments begin with #",
    "unknown escape": r"write a backslash as \\, or use single quotes",
    "line ends": "close the quote; text of several lines is in three quotes",
    "more text after the value": r"""escape quotes inside text as \", or put it in single quotes""",
    "quote is not closed": "close the quote",
    "the key is set twice": "name each setting once; every prompt needs its own [[requests]]",
    "the table is defined twice": "every prompt needs its own [[requests]], with two brackets",
}


def json_hint(text: str, offset: int, message: str) -> str | None:
    """Return the hint for the message about the text at an offset."""
    if hint := _find(message, _JSON_MESSAGES):
        return hint
    rest = text[offset:].lstrip()
    if message.startswith("a comma is missing"):
        if rest[:1] in ('"', "{", "["):
            return "a comma is missing before it"
        return _BY_CHARACTER.get(rest[:1]) if rest[:1] in "/#" else r"escape quotes in text as \""
    if message.startswith("more text after"):
        return "put the requests into a list, or use --input-format jsonl for one per line"
    if re.match(r"True|False|None\b", rest):
        return _LOWER_CASE
    # In Python 3.11 the error of a comma at the end is located at the bracket behind it.
    return _BY_CHARACTER.get(rest[:1]) or (_QUOTE_NAMES if rest[:1].isalpha() else None)


def json_line_hint(line: str, offset: int, message: str) -> str | None:
    """Return the hint for a line of JSON Lines."""
    is_part = not line[offset:].strip() or line.strip(" \t[]{},") == ""
    if is_part and "quote is not closed" not in message:
        return "each line is one object; for a document of several lines use --input-format json"
    if message.startswith("more text after"):
        return "write one object per line"
    return json_hint(line, offset, message)


def yaml_hint(message: str, line: str) -> str:
    """Return the hint for the message about a line."""
    indent = line[: len(line) - len(line.lstrip())]
    if "can't begin with this" in message and "\t" in indent:
        return "indent with spaces, not with tabs"
    return _find(message, _YAML_MESSAGES) or _YAML_QUOTES


def toml_hint(message: str) -> str | None:
    """Return the hint for the message."""
    return _find(message, _TOML_MESSAGES)


def _find(message: str, hints: dict[str, str]) -> str | None:
    return next((hint for words, hint in hints.items() if words in message), None)
