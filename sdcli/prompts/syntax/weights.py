r"""Read the weights of a prompt's words: (a), (a:1.3), [a], and BREAK, which ends a chunk.

A round bracket multiplies the weight by 1.1 or by its own number, a square one divides it by 1.1.
Brackets of the two kinds may overlap. One that is never closed counts to the end, one that was
never opened is text, as is one within a hundred others. A backslash before a bracket or a backslash
makes it text; any other backslash is dropped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sdcli.prompts.syntax.source import SourceText, join

ROUND_WEIGHT: Final = 1.1
SQUARE_WEIGHT: Final = 1 / 1.1
_MOST_OPEN: Final = 100
"""Open brackets of one kind that are read, so that the time grows with the length only."""

_TOKEN: Final = re.compile(
    r"\\(?P<escaped>[()\[\]\\]?)|:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)"
    r"|[()\[\]]|[^\\()\[\]:]+|:"
)
_BREAK: Final = re.compile(r"\s*\bBREAK\b\s*")
_SPECIAL: Final = re.compile(r"[()\[\]\\]")
_OPENING: Final = {")": "(", "]": "["}
_FACTORS: Final = {"(": ROUND_WEIGHT, "[": SQUARE_WEIGHT}


@dataclass(frozen=True)
class WeightedText:
    """Text without syntax, whose tokens all have one weight."""

    source: SourceText
    weight: float

    @property
    def text(self) -> str:
        """The text that the tokenizer gets."""
        return self.source.text


Section = tuple[WeightedText, ...]
"""The text between two BREAKs."""


def read_weights(prompt: SourceText | str) -> tuple[Section, ...]:
    """Return the sections of a prompt, at least one. Never raises."""
    source = SourceText.of(prompt) if isinstance(prompt, str) else prompt
    reader = _Reader()
    for match in _TOKEN.finditer(source.text):
        reader.read(match, source)
    return tuple(map(_merge, reader.finish()))


class _Reader:
    """Pieces of text with their weights, None for a BREAK, and where open brackets began."""

    def __init__(self) -> None:
        self._pieces: list[tuple[SourceText, float] | None] = []
        self._open: dict[str, list[int]] = {"(": [], "[": []}

    def read(self, match: re.Match[str], source: SourceText) -> None:
        token = match[0]
        weight = float(match["weight"]) if match["weight"] else math.inf
        if token.startswith("\\"):
            self._pieces.append((source.slice(match.start() + 1, match.end()), 1.0))
        elif token in self._open and len(self._open[token]) < _MOST_OPEN:
            self._open[token].append(len(self._pieces))
        # A number with too many digits is infinite, too, and stays text.
        elif math.isfinite(weight) and self._open["("]:
            self._multiply(self._open["("].pop(), weight)
        elif token in _OPENING and self._open[_OPENING[token]]:
            opening = _OPENING[token]
            self._multiply(self._open[opening].pop(), _FACTORS[opening])
        else:
            self._add_text(source.slice(match.start(), match.end()))

    def finish(self) -> list[list[tuple[SourceText, float]]]:
        """Close the open brackets, and return the pieces of each section."""
        for opening, starts in self._open.items():
            for start in starts:
                self._multiply(start, _FACTORS[opening])
        sections: list[list[tuple[SourceText, float]]] = [[]]
        for piece in self._pieces:
            if piece is None:
                sections.append([])
            else:
                sections[-1].append(piece)
        return sections

    def _add_text(self, text: SourceText) -> None:
        end = 0
        for match in _BREAK.finditer(text.text):
            self._pieces += [(text.slice(end, match.start()), 1.0), None]
            end = match.end()
        self._pieces.append((text.slice(end, len(text.text)), 1.0))

    def _multiply(self, start: int, factor: float) -> None:
        for index, piece in enumerate(self._pieces[start:], start):
            if piece is not None:
                self._pieces[index] = piece[0], piece[1] * factor


def _merge(pieces: Iterable[tuple[SourceText, float]]) -> Section:
    """Join neighbours of one weight, so that an escaped bracket does not split a word."""
    runs: list[tuple[list[SourceText], float]] = []
    for text, weight in pieces:
        if not text.text:
            continue
        if runs and runs[-1][1] == weight:
            runs[-1][0].append(text)
        else:
            runs.append(([text], weight))
    return tuple(WeightedText(join(texts), weight) for texts, weight in runs)


def escape(text: str) -> str:
    """Return a prompt that means the text itself, with its brackets and backslashes."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def write_weights(section: Iterable[tuple[str, float]]) -> str:
    """Return a prompt with these texts and weights."""
    return "".join(
        escape(text) if weight == 1 else f"({escape(text)}:{weight:.12g})"
        for text, weight in section
    )
