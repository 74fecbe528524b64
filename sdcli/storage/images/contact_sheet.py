"""Draw contact sheets: images in rows and columns with labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sdcli.storage import files
from sdcli.storage.images.codec import encode_image
from sdcli.storage.images.destination import Destination
from sdcli.storage.images.writer import write_bytes
from sdcli.storage.text import one_line, slug

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Cell = NDArray[np.uint8] | None
    Cells = Sequence[Sequence[Cell]]
    Font = FreeTypeFont | ImageFont

_BACKGROUND, _TEXT, _EMPTY_CELL = "#ffffff", "#222222", "#e8e8e8"
_MIN_FONT_SIZE, _MAX_FONT_SIZE = 12, 48
_MIN_ROW_LABEL: Final = 96
"""Pixels that a row label may take, even beside narrower images."""
_MAX_COLUMN_LINES: Final = 3


def labelled_grid(
    cells: Cells, *, rows: Sequence[str], columns: Sequence[str]
) -> NDArray[np.uint8]:
    """Arrange images in one image (height, width, 3).

    Cells are (h, w, 3) uint8, or None for an empty cell, and may differ in size: each is centred in
    a slot of the largest. Labels are wrapped, and shortened if they still do not fit; empty labels
    take no space. Raises ValueError when the labels do not match the cells, or all cells are empty.
    """
    import numpy as np
    from PIL import Image, ImageDraw

    _check_cells(cells, rows, columns)
    layout = _Layout.fit(cells, rows, columns)
    sheet = Image.new("RGB", layout.slot(len(rows), len(columns)), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(layout.column_labels):
        _draw_centred(draw, layout.column_label_centre(column), label, layout.font)
    for row, label in enumerate(layout.row_labels):
        _draw_centred(draw, layout.row_label_centre(row), label, layout.font)
        for column, cell in enumerate(cells[row]):
            _draw_cell(sheet, draw, layout, layout.slot(row, column), cell)
    return np.array(sheet)


def write_contact_sheet(
    pixels: NDArray[np.uint8],
    destination: Destination,
    words: str,
    seed: int,
    *,
    digest: str | None = None,
) -> str:
    """Write a contact sheet atomically, and return its path. Raises OutputError.

    In a folder its name has the next free number, the words and the seed. With a `digest` the name
    has that instead of the number, and the file replaces the sheet of the same name.
    """
    data = encode_image(pixels, destination.suffix, None)
    name = f"grid-{slug(words)}-{seed}"
    if digest is not None:
        path = destination.folder / f"{name}-{digest}{destination.suffix}"
        files.write_atomic(path, data, force=True)
        return str(path)
    return write_bytes(data, destination, name)


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Positions in pixels: slots of `width` x `height`, and the space for labels beside them."""

    font: Font
    width: int
    height: int
    gap: int
    left_margin: int
    top_margin: int
    row_labels: list[str]
    column_labels: list[str]

    @classmethod
    def fit(cls, cells: Cells, rows: Sequence[str], columns: Sequence[str]) -> _Layout:
        """Choose font and margins for the cells and their labels."""
        from PIL import ImageFont

        shapes = [cell.shape for row in cells for cell in row if cell is not None]
        height, width = max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)
        side = min(height, width)
        size = min(max(_MIN_FONT_SIZE, side // 12), _MAX_FONT_SIZE)
        font = ImageFont.load_default(size)
        line = size * 5 // 4
        row_width, row_lines = max(width, _MIN_ROW_LABEL), max(1, height // line)
        row_labels = [_fit_label(label, font, row_width, row_lines) for label in rows]
        column_labels = [_fit_label(label, font, width, _MAX_COLUMN_LINES) for label in columns]
        label_width = max((_text_width(label, font) for label in row_labels), default=0)
        label_lines = max(label.count("\n") + 1 if label else 0 for label in column_labels)
        return cls(
            font=font,
            width=width,
            height=height,
            gap=max(4, side // 32),
            left_margin=label_width + size if label_width else 0,
            top_margin=label_lines * line + size // 2 if label_lines else 0,
            row_labels=row_labels,
            column_labels=column_labels,
        )

    def slot(self, row: int, column: int) -> tuple[int, int]:
        """Left and top of a slot; of the slot after the last one, the size of the sheet."""
        left = self.left_margin + self.gap + column * (self.width + self.gap)
        return left, self.top_margin + self.gap + row * (self.height + self.gap)

    def column_label_centre(self, column: int) -> tuple[float, float]:
        return self.slot(0, column)[0] + self.width / 2, (self.top_margin + self.gap) / 2

    def row_label_centre(self, row: int) -> tuple[float, float]:
        return (self.left_margin + self.gap) / 2, self.slot(row, 0)[1] + self.height / 2


def _check_cells(cells: Cells, rows: Sequence[str], columns: Sequence[str]) -> None:
    if len(cells) != len(rows) or any(len(row) != len(columns) for row in cells):
        raise ValueError(f"the cells are not {len(rows)} rows of {len(columns)} columns")
    if not any(cell is not None for row in cells for cell in row):
        raise ValueError("every cell is empty")


def _draw_cell(
    sheet: Image, draw: ImageDraw, layout: _Layout, slot: tuple[int, int], cell: Cell
) -> None:
    from PIL import Image as pillow  # noqa: N813 - the module, beside its class of that name

    left, top = slot
    if cell is None:
        # Pillow counts both corners as part of a rectangle.
        corner = (left + layout.width - 1, top + layout.height - 1)
        draw.rectangle((*slot, *corner), fill=_EMPTY_CELL)
        return
    height, width = cell.shape[:2]
    centred = left + (layout.width - width) // 2, top + (layout.height - height) // 2
    sheet.paste(pillow.fromarray(cell), centred)


def _draw_centred(draw: ImageDraw, centre: tuple[float, float], label: str, font: Font) -> None:
    if label:
        draw.multiline_text(centre, label, fill=_TEXT, font=font, anchor="mm", align="center")


def _fit_label(label: str, font: Font, width: int, max_lines: int) -> str:
    """Wrap a label to lines of at most `width` pixels, shortened to `max_lines`."""
    lines: list[str] = []
    # Scheduler options are joined by ";" without a space, where a line may break.
    for word in one_line(label).replace(";", "; ").split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.extend(_split_word(word, font, width))
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], _add_ellipsis(lines[max_lines - 1], font, width)]
    return "\n".join(lines)


def _split_word(word: str, font: Font, width: int) -> Iterator[str]:
    """Split a word, such as the name of a class, into pieces that fit."""
    while word:
        length = next((n for n in range(len(word), 1, -1) if font.getlength(word[:n]) <= width), 1)
        yield word[:length]
        word = word[length:]


def _add_ellipsis(line: str, font: Font, width: int) -> str:
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…"


def _text_width(label: str, font: Font) -> int:
    return max((round(font.getlength(line)) for line in label.split("\n")), default=0)
