"""Tell the wildcards of a prompt from its text, and protect the text from dynamicprompts.

The library takes every $, %, # and // for syntax, also in "price $5" or "100% wool".
"""

from __future__ import annotations

import re
from typing import Final

LIST_NAME = re.compile(r"__([^\s_](?:[^\n]*?[^\s_])?)__")
_EMPTY_GROUP = re.compile(r"\{\s*\}")
_GROUP_OR_LIST = re.compile(rf"\{{(?!\s*\}})|{LIST_NAME.pattern}")

# Noncharacters of Unicode, which are in no text, stand for the characters that the library must
# not see.
_PROTECTED: Final = "#$%/{}_*|\t"  # the library would expand tabs
_TO_STAND_IN: Final = {ord(c): 0xFDD0 + i for i, c in enumerate(_PROTECTED)}
_FROM_STAND_IN: Final = {stand_in: character for character, stand_in in _TO_STAND_IN.items()}
_STAND_INS: Final = re.compile("[\ufdd0-\ufdd9]")

_COMMENT = re.compile(r"#|//|/\*")
_TOKEN = re.compile(
    rf"{_EMPTY_GROUP.pattern}|[$%]?\{{|\}}|\$\$|[$%#\t]|//+|/\*|{LIST_NAME.pattern}|__+", re.DOTALL
)


def has_wildcards(prompt: str) -> bool:
    """Whether the prompt has a wildcard: {a|b}, ${a=b}, %{a$$b} or __name__."""
    return bool(_GROUP_OR_LIST.search(prompt)) and not _STAND_INS.search(prompt)


def protect_text(template: str) -> str:
    """Replace the characters of a template that the library would misread as syntax."""
    depth = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal depth
        token = match[0]
        if token.endswith("{"):
            depth += 1
            return token
        if token == "}" and depth:
            depth -= 1
            return token
        # In braces, $$ follows a number of choices and a separator.
        is_syntax = (token == "$$" and depth) or LIST_NAME.fullmatch(token)
        return _protect_comments(token) if is_syntax else token.translate(_TO_STAND_IN)

    return _TOKEN.sub(replace, template)


def restore_text(prompt: str) -> str:
    """Undo `protect_text` in a prompt that the library filled."""
    return prompt.translate(_FROM_STAND_IN)


def _protect_comments(token: str) -> str:
    return _COMMENT.sub(lambda match: match[0].translate(_TO_STAND_IN), token)
