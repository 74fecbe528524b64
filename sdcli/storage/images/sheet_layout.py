"""Lay out contact sheets: places of images and labels, in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Final

from sdcli.run_flags import SheetFlags
from sdcli.storage.images.label_text import (
    MIN_FONT_SIZE,
    count_lines,
    fit_label,
    fit_title,
    fitting_size,
    line_height,
    load_font,
    text_width,
    widest_word,
)

if TYPE_CHECKING:
    from sdcli.storage.images.label_text import Font

SCREEN: Final = (1920, 1080)
"""Width and height of a projector, on which labels must be readable."""

_SCREEN_FONT_SIZE: Final = 20
_MAX_FONT_SIZE: Final = 96
_MIN_LABEL: Final = 96
"""Pixels that a label may take, even beside narrower images."""
_MAX_COLUMN_LINES: Final = 3
_MAX_CAPTION_LINES: Final = 6
_MAX_TITLE_LINES: Final = 3
_WIDE: Final = 8
"""Columns that stay side by side unless a limit is given."""


@dataclass(frozen=True, kw_only=True)
class SheetLabels:
    """The texts of a sheet; empty ones take no space.

    `captions` has a text for each cell, to stand below it; or it is empty.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    captions: Sequence[Sequence[str]] = field(default=())
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class RowTexts:
    """The fitted labels of rows, with the space that they take on the left."""

    font: Font
    labels: list[str]
    margin: int

    @classmethod
    def fit(cls, labels: Sequence[str], width: int, height: int, size: int) -> RowTexts:
        """Wrap labels beside slots of a width and height, in a font of up to `size` pixels."""
        width = max(width, _MIN_LABEL)
        row_size = fitting_size(labels, width, size)
        font, lines = load_font(row_size), max(1, height // line_height(row_size))
        fitted = [fit_label(label, font, width, lines) for label in labels]
        widest = max((text_width(label, font) for label in fitted), default=0)
        return cls(font=font, labels=fitted, margin=widest + size if widest else 0)


@dataclass(frozen=True, kw_only=True)
class ColumnTexts:
    """The fitted labels above columns, and the captions below slots, with their heights."""

    font: Font
    labels: list[str]
    captions: list[list[str]]
    label_height: int
    caption_height: int

    @classmethod
    def fit(cls, texts: SheetLabels, width: int, size: int) -> ColumnTexts:
        """Wrap texts to slots of a width, in a font of up to `size` pixels."""
        # Labels of neighbours must not touch.
        width -= size // 2
        size = fitting_size([*texts.columns, *_flat(texts.captions)], width, size)
        font, line = load_font(size), line_height(size)
        labels = [fit_label(label, font, width, _MAX_COLUMN_LINES) for label in texts.columns]
        captions = [
            [fit_label(caption, font, width, _MAX_CAPTION_LINES) for caption in row]
            for row in texts.captions
        ]
        return cls(
            font=font,
            labels=labels,
            captions=captions,
            label_height=_block(labels, line),
            caption_height=_block(_flat(captions), line),
        )


@dataclass(frozen=True, kw_only=True)
class SheetLayout:
    """Positions of slots of `width` x `height` pixels, and of the labels beside them.

    A band is as many columns as stand side by side, under their labels; it has all rows.
    """

    scale: int
    width: int
    height: int
    gap: int
    bands: int
    band_columns: int
    rows: RowTexts
    columns: ColumnTexts
    title: str
    title_font: Font
    title_height: int

    @classmethod
    def fit(
        cls, cell: tuple[int, int], labels: SheetLabels, sheet: SheetFlags, *, is_table: bool
    ) -> SheetLayout:
        """Choose fonts, margins and bands for cells of one width and height, and their labels."""
        words = widest_word([*labels.columns, *_flat(labels.captions)]) + _MIN_LABEL // 8
        # Small images stand apart rather than break the words between them.
        width = max(cell[0] * sheet.scale, min(words, _MIN_LABEL))
        height, gap = cell[1] * sheet.scale, max(4, min(cell) * sheet.scale // 32)
        columns, row_count = len(labels.columns), len(labels.rows)
        across = min(sheet.columns or columns, columns)
        if sheet.columns is None and columns > _WIDE and not is_table:
            across = _best_columns(columns, width, row_count * height)
        bands = ceil(columns / across)
        size = _font_size(width, height, across, bands * row_count)
        rows, font = RowTexts.fit(labels.rows, width, height, size), load_font(size)
        title_width = rows.margin + across * (width + gap)
        title = fit_title(labels.title, font, title_width, _MAX_TITLE_LINES)
        return cls(
            scale=sheet.scale,
            width=width,
            height=height,
            gap=gap,
            bands=bands,
            band_columns=across,
            rows=rows,
            columns=ColumnTexts.fit(labels, width, size),
            title=title,
            title_font=font,
            title_height=_block([title], line_height(size)),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        width = self.rows.margin + self.gap + self.band_columns * (self.width + self.gap)
        return width, self._band_top(self.bands) + (0 if self.columns.label_height else self.gap)

    def slot(self, row: int, column: int) -> tuple[int, int]:
        """Left and top of a slot."""
        band, column = divmod(column, self.band_columns)
        left = self.rows.margin + self.gap + column * (self.width + self.gap)
        return left, self._row_top(row, band)

    def title_centre(self) -> tuple[float, float]:
        """The middle of the space for the title."""
        return self.size[0] / 2, self.title_height / 2

    def column_label_centre(self, column: int) -> tuple[float, float]:
        """The middle of the space for a column's label, above its slots."""
        top = self._band_top(column // self.band_columns)
        return self.slot(0, column)[0] + self.width / 2, top + (
            self.columns.label_height + self.gap
        ) / 2

    def caption_centre(self, row: int, column: int) -> tuple[float, float]:
        """The middle of the space below a slot."""
        left, top = self.slot(row, column)
        return left + self.width / 2, top + self.height + self.columns.caption_height / 2

    def row_label_centre(self, row: int, band: int) -> tuple[float, float]:
        """The middle of the space for a row's label, before its slots."""
        return (self.rows.margin + self.gap) / 2, self._row_top(row, band) + self.height / 2

    def _row_top(self, row: int, band: int) -> int:
        return self._band_top(band) + self.columns.label_height + self.gap + row * self._row_height

    def _band_top(self, band: int) -> int:
        rows = len(self.rows.labels) * self._row_height
        space = self.gap if self.columns.label_height else 0
        return self.title_height + band * (self.columns.label_height + rows + space)

    @property
    def _row_height(self) -> int:
        return self.height + self.columns.caption_height + self.gap


def _best_columns(columns: int, width: int, height: int) -> int:
    """Return the columns side by side that make the images largest on a screen."""

    def magnification(across: int) -> float:
        return min(SCREEN[0] / (across * width), SCREEN[1] / (ceil(columns / across) * height))

    # Of equal ones the fullest: 10 and 10 rather than 11 and 9.
    best = max(range(1, columns + 1), key=magnification)
    return ceil(columns / ceil(columns / best))


def _font_size(width: int, height: int, columns: int, rows: int) -> int:
    """Return the size of labels that can be read when the whole sheet is shown on a screen."""
    shrink = min(1.0, SCREEN[0] / (columns * width), SCREEN[1] / (rows * height))
    side = min(width, height)
    readable = max(side // 12, ceil(_SCREEN_FONT_SIZE / shrink))
    # Larger text would leave no word in one piece.
    return max(MIN_FONT_SIZE, min(readable, side // 5, _MAX_FONT_SIZE))


def _flat(captions: Sequence[Sequence[str]]) -> list[str]:
    return [caption for row in captions for caption in row]


def _block(labels: Sequence[str], line: int) -> int:
    """Height of the tallest label, with some space."""
    lines = max(map(count_lines, labels), default=0)
    return lines * line + line // 3 if lines else 0
