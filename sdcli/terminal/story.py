"""Print an explanation: text, tables, plots, and pictures where the terminal can show them."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from sdcli.storage.text import one_line
from sdcli.story import Chapter, Picture, Plot, Story, Table
from sdcli.terminal.output import print_lines, print_styled_lines
from sdcli.terminal.plot import plot
from sdcli.terminal.series_plot import plot_series
from sdcli.terminal.tables import print_columns, terminal_width

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_TEXT: Final = 88
"""Longer lines are hard to read."""
_MIN_PICTURE, _MAX_PICTURE, _GAP = 14, 28, 2
_NO_BREAK: Final = "\u00a0"
_SIDE: Final = 192
"""Height of pictures before they are drawn into cells."""


def print_story(story: Story) -> None:
    """Print all chapters on stdout."""
    print_lines([*_wrap(story.title), *_wrap(story.subtitle)])
    for number, chapter in enumerate(story.chapters, 1):
        print_lines([""])
        _print_heading(f"{number}. {chapter.title}" if len(story.chapters) > 1 else chapter.title)
        print_chapter(chapter)
    if story.command:
        print_lines(["", "The command that generates this image:"])
        print_lines([f"  {story.command}"])


def print_chapter(chapter: Chapter) -> None:
    """Print the text of a chapter, then its pictures, table and plots."""
    for text in chapter.texts:
        print_lines(["", *_wrap(text)])
    if chapter.pictures and _shows_pictures():
        print_lines([""])
        print_pictures(chapter.pictures)
    if chapter.table:
        print_lines([""])
        _print_table(chapter.table)
    for each in chapter.curves:
        print_lines(["", *_draw(each)])


def _wrap(text: str) -> list[str]:
    width = min(max(terminal_width(), 20), _MAX_TEXT)
    # A number and its percent sign stay in one line.
    joined = one_line(text).replace(" %", _NO_BREAK + "%")
    lines = textwrap.wrap(joined, width, break_on_hyphens=False) or [""]
    return [line.replace(_NO_BREAK, " ") for line in lines]


def _is_styled() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _shows_pictures() -> bool:
    return _is_styled() and not os.environ.get("NO_COLOR")


def _print_heading(text: str) -> None:
    lines = _wrap(text)
    if _is_styled():
        print_styled_lines(f"\x1b[1m{line}\x1b[0m" for line in lines)
    else:
        print_lines(lines)


def _print_table(table: Table) -> None:
    print_columns(table.header, table.rows)


def _draw(drawn: Plot) -> list[str]:
    width = min(terminal_width(), _MAX_TEXT)
    if len(drawn.lines) == 1:
        [line] = drawn.lines.values()
        lines = plot("", [y for _, y in line], log=drawn.log, height=7, width=min(50, width - 12))
        margin = len(lines[-1]) - len(lines[-1].lstrip())
        return [*_wrap(drawn.title), *lines[1:], f"{'':{margin}}{drawn.x_label}"]
    return plot_series(drawn.title, drawn.lines, x_label=drawn.x_label, linear=True)


def print_pictures(pictures: Sequence[Picture]) -> None:
    """Print pictures side by side, as many in a row as fit, with their labels below."""
    width = min(terminal_width() - 1, 4 * (_MAX_PICTURE + _GAP))
    fitting = max(1, (width + _GAP) // (_MIN_PICTURE + _GAP))
    # As many in each row, instead of one left over.
    rows = -(-len(pictures) // fitting)
    count = -(-len(pictures) // rows)
    columns = min(_MAX_PICTURE, max(2, (width + _GAP) // count - _GAP))
    for start in range(0, len(pictures), count):
        print_styled_lines(_draw_row(pictures[start : start + count], columns))


def _draw_row(pictures: Sequence[Picture], columns: int) -> Iterator[str]:
    from sdcli.terminal.image_progress import render_graphics, render_half_blocks

    rows = max(1, round(columns * _aspect(pictures[0].pixels) / 2))
    joined = _join([picture.pixels for picture in pictures], columns)
    cells = len(pictures) * (columns + _GAP) - _GAP
    if image := render_graphics(joined, cells, rows):
        # The rows first: an image that scrolled while it is drawn would be torn.
        yield "\n" * rows + f"\x1b[{rows}A\x1b7{image}\x1b8\x1b[{rows - 1}B"
    else:
        drawn = [
            render_half_blocks(picture.pixels, columns, rows).split("\r\n") for picture in pictures
        ]
        yield from ((" " * _GAP).join(parts) for parts in zip(*drawn, strict=True))
    yield from _labels([one_line(picture.label) for picture in pictures], columns)


def _labels(labels: Sequence[str], columns: int) -> Iterator[str]:
    wrapped = [textwrap.wrap(label, columns) or [""] for label in labels]
    for row in range(max(map(len, wrapped))):
        cells = [lines[row] if row < len(lines) else "" for lines in wrapped]
        yield (" " * _GAP).join(f"{cell:<{columns}}" for cell in cells).rstrip()


def _aspect(pixels: NDArray[np.uint8]) -> float:
    height, width = pixels.shape[:2]
    return float(height / width)


def _join(pictures: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """One image of several, of equal height, with black between them."""
    import numpy as np

    from sdcli.storage.images.pixels import resize_pixels

    width = round(_SIDE / _aspect(pictures[0]))
    gap = np.zeros((_SIDE, width * _GAP // columns, 3), np.uint8)
    parts = [part for p in pictures for part in (gap, resize_pixels(p, width, _SIDE))]
    return np.concatenate(parts[1:], axis=1)
