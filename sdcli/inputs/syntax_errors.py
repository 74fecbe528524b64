"""Say in plain words what a JSON, YAML or TOML parser rejects, and at which line and column.

The parsers' own sentences speak of tokens and namespaces, and change with their versions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

FALLBACK: Final = "syntax error"
TOO_DEEP: Final = "nested too deeply"

JSON: Final[Mapping[str, str]] = {
    "Expecting value": "a value is missing here",
    "Expecting property name": "a key in double quotes is missing here",
    "Illegal trailing comma": "remove the comma after the last item",
    "Expecting ':'": "a colon is missing after the key",
    "Expecting ','": "a comma is missing here",
    "Unterminated string": "the quote is not closed",
    "Invalid control character": "write the line end or control character in this text as \\n or "
    "\\u…",
    "Invalid \\\\escape": "unknown escape; a backslash is written \\\\",
    "Invalid \\escape": "unknown escape; a backslash is written \\\\",
    "Invalid \\uXXXX": "\\u needs four hexadecimal digits",
    "Extra data": "more text after the end of the value",
}

TOML: Final[Mapping[str, str]] = {
    "Invalid statement": "expected a key, a [table] or a comment",
    "Expected newline": "more text after the value",
    "Expected '='": "no = after the key",
    "Expected ']": "the bracket of the table name is not closed",
    "Expected ": "a quote is not closed",
    "Found invalid character": "control characters are not allowed",
    "Cannot declare": "the table is defined twice",
    "Cannot overwrite": "the key is set twice",
    "Cannot mutate": "the table is complete already; it can't be extended here",
    "Cannot redefine": "the table is complete already; it can't be extended here",
    "Invalid initial character": "a key is missing, or needs quotes",
    "Unclosed array": "the bracket [ is not closed",
    "Duplicate inline table key": "the key is set twice",
    "Unclosed inline table": "the brace { is not closed, or the table has a line end",
    "Unescaped '\\'": "unknown escape; write a backslash as \\\\, or use single quotes",
    "Invalid hex value": "\\u needs four hexadecimal digits, \\U eight",
    "Escaped character": "the escape is not a Unicode character",
    "Unterminated string": "the quote is not closed",
    "Illegal character": "line ends and control characters need three quotes or an escape",
    "Invalid date": "not a date or time",
    "Invalid value": "a value is missing, or text without quotes",
}

YAML: Final[Mapping[str, str]] = {
    "mapping values are not allowed": "a colon is not allowed here; quote text that contains it",
    "mapping keys are not allowed": "a key is not allowed here",
    "sequence entries are not allowed": "a list item is not allowed here",
    "tab character": "tabs are not allowed as indentation; use spaces",
    "cannot start any token": "text can't begin with this character; quote it",
    "could not find expected ':'": "a colon is missing after the key",
    "',' or ']'": "the bracket [ is not closed, or a comma is missing",
    "',' or '}'": "the brace { is not closed, or a comma is missing",
    "expected key": "the indentation does not match the lines above",
    "expected '-'": "the indentation does not match the list above",
    "<block end>": "the indentation does not match the lines above",
    "unexpected end of stream": "the quote is not closed",
    "unexpected document": "the quote is not closed before the end of the document",
    "unknown escape": "unknown escape; use single quotes for text with backslashes",
    "hex": "the escape needs hexadecimal digits",
    "escape code": "the escape is not a Unicode character",
    "undefined alias": "unknown alias; its anchor must come before it",
    "duplicate anchor": "the anchor is defined twice",
    "tag handle": "unknown tag",
    "tag": "invalid tag",
    "'!'": "invalid tag",
    "document start": "expected --- before the next document",
    "node content": "a value is missing, or text that begins with this character needs quotes",
    "alphabetic": "text that begins with * or & needs quotes",
    "indentation indicator": "the number after | or > must be 1 to 9",
    "comment or": "more text after | or >",
    "directive": "invalid % directive",
    "YAML document": "YAML version 1.1 or 1.2 is required",
    "not allowed": "control characters are not allowed",
}

# tomllib's errors have no attributes, only this text (Python 3.14 adds them).
_TOML_LOCATION = re.compile(r"(?P<what>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)", re.S)
_LONG_NUMBER = re.compile(r"[0-9_]{4301,}")  # more digits than int() takes


def plain_words(sentence: str, table: Mapping[str, str]) -> str:
    """Return the words of a table for the first of its keys that is in a parser's sentence."""
    return next((words for key, words in table.items() if key in sentence), FALLBACK)


def describe_toml_error(text: str, error: Exception) -> tuple[str, int, int]:
    """Return what tomllib rejects, its line and column. Line 0 is the end of the text."""
    if isinstance(error, RecursionError):
        return TOO_DEEP, 1, 1
    sentence = str(error)
    if match := _TOML_LOCATION.fullmatch(sentence):
        return plain_words(match["what"], TOML), int(match["line"]), int(match["column"])
    # The error of int() has no location at all.
    if digits := _LONG_NUMBER.search(text):
        before = text[: digits.start()]
        column = digits.start() - (before.rfind("\n") + 1) + 1
        message = f"number with {len(digits[0])} digits is too large"
        return message, before.count("\n") + 1, column
    return plain_words(sentence, TOML), 0, 0
