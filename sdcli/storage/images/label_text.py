"""Fit labels into pictures: choose a font size, and wrap between words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from typing import TYPE_CHECKING, Final

from sdcli.storage.text import one_line

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont

MIN_FONT_SIZE: Final = 12
_ACCEPTED_SHRINKING: Final = 0.9
_SEPARATOR: Final = " · "
_PIECES: Final = re.compile(r"(?<=[-_/=,])|(?<=[a-z0-9])(?=[A-Z])")
"""Places where a word may be broken: after a joining character, and inside CamelCase."""


def load_font(size: int) -> Font:
    """Load the font that Pillow brings, at a size in pixels."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def line_height(size: int) -> int:
    """Pixels from one line of text to the next."""
    return size * 5 // 4


def fitting_size(labels: Sequence[str], width: int, size: int) -> int:
    """Return the largest font size up to `size` at which no word is wider than `width`.

    If a little less lets every label stand in one line, it is that. It is never below
    MIN_FONT_SIZE, where `fit_label` breaks words instead.
    """
    font = load_font(size)
    one_line_each = _size_for(labels, font, width, size)
    if one_line_each >= size * _ACCEPTED_SHRINKING:
        return max(MIN_FONT_SIZE, one_line_each)
    return max(MIN_FONT_SIZE, _size_for(_all_pieces(labels), font, width, size))


def widest_word(labels: Sequence[str]) -> int:
    """Pixels that the longest word of labels takes in the smallest font."""
    font = load_font(MIN_FONT_SIZE)
    return max((ceil(font.getlength(word)) for word in _all_pieces(labels)), default=0)


def _all_pieces(labels: Sequence[str]) -> set[str]:
    return {piece for label in labels for word in _words(label) for piece in _PIECES.split(word)}


def _size_for(texts: Iterable[str], font: Font, width: int, size: int) -> int:
    widest = max((font.getlength(text) for text in texts), default=0.0)
    return min(size, int(size * width / widest)) if widest else size


def fit_label(label: str, font: Font, width: int, max_lines: int) -> str:
    """Wrap a label to lines of at most `width` pixels, shortened to `max_lines`."""
    lines: list[str] = []
    for part in one_line(label).split(_SEPARATOR):
        # Parts stay whole where they can: "step 8 · t 615" breaks at the dot first.
        if lines and font.getlength(f"{lines[-1]}{_SEPARATOR}{part}") <= width:
            lines[-1] += f"{_SEPARATOR}{part}"
        else:
            lines += _wrap_words(part, font, width)
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], _add_ellipsis(lines[max_lines - 1], font, width)]
    return "\n".join(lines)


def fit_title(title: str, font: Font, width: int, max_lines: int) -> str:
    """Wrap a title like a label, but shorten the parts before its last one, such as the seed."""
    lines = fit_label(title, font, width, len(title))
    before, separator, last = title.rpartition(_SEPARATOR)
    if count_lines(lines) <= max_lines or not separator:
        return fit_label(title, font, width, max_lines)
    return f"{fit_label(before, font, width, max_lines - 1)}\n{fit_label(last, font, width, 1)}"


def text_width(label: str, font: Font) -> int:
    """Width in pixels of the longest line of a label."""
    return max((round(font.getlength(line)) for line in label.split("\n")), default=0)


def count_lines(label: str) -> int:
    """Lines of a fitted label; an empty one has none."""
    return label.count("\n") + 1 if label else 0


def _words(label: str) -> list[str]:
    # Scheduler options are joined by ";" without a space, where a line may break.
    return one_line(label).replace(";", "; ").split()


def _wrap_words(text: str, font: Font, width: int) -> list[str]:
    lines: list[str] = []
    for word in _words(text):
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.extend(_split_word(word, font, width))
    return lines


def _split_word(word: str, font: Font, width: int) -> Iterator[str]:
    """Split a word, such as the name of a class, into lines that fit."""
    line = ""
    for piece in _PIECES.split(word):
        if line and font.getlength(line + piece) > width:
            yield line
            line = ""
        line += piece
        while font.getlength(line) > width and len(line) > 1:
            fits = (n for n in range(len(line) - 1, 1, -1) if font.getlength(line[:n]) <= width)
            length = next(fits, 1)
            yield line[:length]
            line = line[length:]
    if line:
        yield line


def _add_ellipsis(line: str, font: Font, width: int) -> str:
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…"
