"""Find the lists of texts that compel blends, or puts one after the other."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sdcli.prompts.syntax.compel_text import LARGEST, syntax_error
from sdcli.prompts.syntax.source import SourceText

_OPERATOR: Final = re.compile(r"\.(blend|and|add)\(([^()]*)\)\s*\Z")
_TOKEN: Final = re.compile(r'\\.|[()",]|[^\\()",]+|\\', re.DOTALL)
_WORD: Final = re.compile(r'[^\s()",]+')
_WEIGHT: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)")
_NO_NORMALIZE: Final = "no_normalize"


@dataclass(frozen=True)
class TextList:
    """A list of texts without its commas, its operator, and where the operator is."""

    items: tuple[SourceText, ...]
    operator: str
    arguments: str
    place: int


@dataclass(frozen=True)
class Arguments:
    """The weights of the texts of a list."""

    weights: tuple[float, ...]
    is_normalized: bool


def find_list(source: SourceText) -> TextList | None:
    """Return the list that is the whole prompt, None for any other. Raises UsageError."""
    text = source.text
    start = len(text) - len(text.lstrip())
    commas, end = _find_places(text, start)
    match = _OPERATOR.match(text, end) if end else None
    if match is None:
        return None
    starts, ends = [start + 1, *(comma + 1 for comma in commas)], [*commas, end - 1]
    items = (source.slice(a, b) for a, b in zip(starts, ends, strict=True))
    place = source.position(match.start())
    return TextList(
        tuple(_check(item, match[1], place) for item in items), match[1], match[2], place
    )


def _find_places(text: str, start: int) -> tuple[list[int], int]:
    """Return the commas of the first bracket, and the offset after it; 0 if there is none."""
    commas: list[int] = []
    depth, is_quoted = 0, False
    for match in _TOKEN.finditer(text, start):
        token = match[0]
        if token == '"':
            is_quoted = not is_quoted
        elif is_quoted:
            continue
        elif token == "," and depth == 1:
            commas.append(match.start())
        elif token in "()":
            depth += 1 if token == "(" else -1
        # Text before the first bracket, or its end.
        if depth <= 0:
            return commas, match.end() if token == ")" and depth == 0 else 0
    return commas, 0


def _check(item: SourceText, operator: str, place: int) -> SourceText:
    """Return an item, which has to be one word, or all of it in brackets or quotes."""
    text = item.text.strip()
    is_enclosed = text[:1] in ('"', "(") and _encloses(text)
    # Compel draws a list with any other text as words, commas and weights included.
    if not (is_enclosed or _WORD.fullmatch(text)) or _ends_weighted(text):
        shown = text or "nothing"
        raise syntax_error(
            f".{operator}() needs texts in quotes, or single words: {shown[:40]}",
            item.position(0) if item.text else place,
            f'e.g. ("a cat++", "a dog").{operator}(0.7, 0.3)',
        )
    return item


def _ends_weighted(text: str) -> bool:
    return text[-1:] in ("+", "-")


def _encloses(text: str) -> bool:
    """Return whether the quote or bracket at the start of a text ends with it."""
    depth, is_quoted = 0, False
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == '"':
            is_quoted = not is_quoted
        elif token in "()" and not is_quoted:
            depth += 1 if token == "(" else -1
        if depth == 0 and not is_quoted:
            return match.end() == len(text)
    return False


def read_arguments(found: TextList) -> Arguments:
    """Return the weights of a list, each 1 if it has none. Raises UsageError."""
    words = [word.strip() for word in found.arguments.split(",")] if found.arguments.strip() else []
    # Compel knows the word at the end only.
    is_normalized = not (found.operator == "blend" and words[-1:] == [_NO_NORMALIZE])
    words = words if is_normalized else words[:-1]
    weights = tuple(_weights(words, found)) if words else (1.0,) * len(found.items)
    if len(weights) != len(found.items):
        raise syntax_error(
            f".{found.operator}() has {len(weights)} weights for {len(found.items)} texts",
            found.place,
            "give one weight for each text, or none",
        )
    if found.operator == "blend" and is_normalized and math.isclose(sum(weights), 0, abs_tol=1e-6):
        raise syntax_error(
            "the weights of .blend() add up to 0",
            found.place,
            f"add {_NO_NORMALIZE} to the weights, so that they are not divided by their sum",
        )
    return Arguments(weights, is_normalized)


def _weights(words: list[str], found: TextList) -> Iterator[float]:
    for word in words:
        if not _WEIGHT.fullmatch(word) or abs(float(word)) > LARGEST:
            raise syntax_error(
                f".{found.operator}() has a weight that is no number up to {LARGEST:g}: "
                f"{word[:40] or 'nothing'}",
                found.place,
                f"e.g. .{found.operator}(0.7, 0.3)",
            )
        yield float(word)
