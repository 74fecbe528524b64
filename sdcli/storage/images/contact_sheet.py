"""Labelled contact sheets: pictures in rows and columns, with words beside and above them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdcli.storage import files
from sdcli.storage.images.codec import encode_image
from sdcli.storage.images.destination import Destination
from sdcli.storage.images.writer import write_bytes
from sdcli.storage.text import one_line, slug

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Cell = NDArray[np.uint8] | None

_PAPER, _INK, _HOLE = "#ffffff", "#222222", "#e8e8e8"
_SMALLEST, _LARGEST = 12, 48
_COLUMN_LINES = 3


def labelled_grid(
    cells: Sequence[Sequence[Cell]], *, rows: Sequence[str], columns: Sequence[str]
) -> NDArray[np.uint8]:
    """One picture (height, width, 3) of all the cells, each (h, w, 3) uint8 or None for a hole.

    Cells may differ in size: each is centred in a slot of the largest. Labels are wrapped, and
    cut with an ellipsis when they still do not fit; empty ones take no room. Raises ValueError
    when the labels do not match the cells, or no cell holds a picture.
    """
    import numpy as np
    from PIL import Image, ImageDraw

    _check(cells, rows, columns)
    layout = _layout(cells, rows, columns)
    sheet = Image.new("RGB", layout.size(len(rows), len(columns)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(layout.column_labels):
        _centred(draw, layout.above(column), label, layout.font)
    for row, label in enumerate(layout.row_labels):
        _centred(draw, layout.beside(row), label, layout.font)
        for column, cell in enumerate(cells[row]):
            left, top = layout.slot(row, column)
            if cell is None:
                box = (left, top, left + layout.width - 1, top + layout.height - 1)
                draw.rectangle(box, fill=_HOLE)
            else:
                height, width = cell.shape[:2]
                offset = (layout.width - width) // 2, (layout.height - height) // 2
                sheet.paste(Image.fromarray(cell), (left + offset[0], top + offset[1]))
    return np.array(sheet)


def write_contact_sheet(
    pixels: NDArray[np.uint8], target: Destination, words: str, seed: int, *, own: str | None = None
) -> str:
    """Write a sheet where `--out` said, whole or not at all; the path. Raises OutputError.

    In a folder it takes the next number, and a name of the words and the seed; or with `own` that
    instead of a number, and the place of the sheet that had it.
    """
    data = encode_image(pixels, target.suffix, None)
    if own is not None:
        path = target.folder / f"grid-{slug(words)}-{seed}-{own}{target.suffix}"
        files.write_atomic(path, data, force=True)
        return str(path)
    return write_bytes(data, target, f"grid-{slug(words)}-{seed}")


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where things go, in pixels: slots of `width` x `height`, labels in `gutter` and `header`."""

    font: FreeTypeFont | ImageFont
    width: int
    height: int
    gap: int
    gutter: int
    header: int
    row_labels: list[str]
    column_labels: list[str]

    def slot(self, row: int, column: int) -> tuple[int, int]:
        left = self.gutter + self.gap + column * (self.width + self.gap)
        return left, self.header + self.gap + row * (self.height + self.gap)

    def size(self, rows: int, columns: int) -> tuple[int, int]:
        return self.slot(rows, columns)

    def above(self, column: int) -> tuple[float, float]:
        return self.slot(0, column)[0] + self.width / 2, (self.header + self.gap) / 2

    def beside(self, row: int) -> tuple[float, float]:
        return (self.gutter + self.gap) / 2, self.slot(row, 0)[1] + self.height / 2


def _check(cells: Sequence[Sequence[Cell]], rows: Sequence[str], columns: Sequence[str]) -> None:
    if len(cells) != len(rows) or any(len(row) != len(columns) for row in cells):
        raise ValueError(f"the cells are not {len(rows)} rows of {len(columns)} columns")
    if not any(cell is not None for row in cells for cell in row):
        raise ValueError("no cell holds a picture")


def _layout(
    cells: Sequence[Sequence[Cell]], rows: Sequence[str], columns: Sequence[str]
) -> _Layout:
    from PIL import ImageFont

    shapes = [cell.shape for row in cells for cell in row if cell is not None]
    height, width = max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)
    side = min(height, width)
    size = min(max(_SMALLEST, side // 12), _LARGEST)
    font = ImageFont.load_default(size)
    line = size * 5 // 4
    row_labels = [_fitted(label, font, max(width, 96), max(1, height // line)) for label in rows]
    column_labels = [_fitted(label, font, width, _COLUMN_LINES) for label in columns]
    gutter = max((_width(label, font) for label in row_labels), default=0)
    header = max(label.count("\n") + 1 for label in column_labels) if any(column_labels) else 0
    return _Layout(
        font=font,
        width=width,
        height=height,
        gap=max(4, side // 32),
        gutter=gutter + size if gutter else 0,
        header=header * line + size // 2 if header else 0,
        row_labels=row_labels,
        column_labels=column_labels,
    )


def _fitted(label: str, font: FreeTypeFont | ImageFont, width: int, most_lines: int) -> str:
    """The label in lines of at most `width` pixels, cut where there are too many."""
    lines: list[str] = []
    for word in one_line(label).replace(";", "; ").split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.extend(_broken(word, font, width))
    if len(lines) > most_lines:
        lines = [*lines[: most_lines - 1], _cut(lines[most_lines - 1], font, width)]
    return "\n".join(lines)


def _broken(word: str, font: FreeTypeFont | ImageFont, width: int) -> Iterator[str]:
    """A word in pieces that fit; a class name has no spaces."""
    while word:
        length = next((n for n in range(len(word), 1, -1) if font.getlength(word[:n]) <= width), 1)
        yield word[:length]
        word = word[length:]


def _cut(line: str, font: FreeTypeFont | ImageFont, width: int) -> str:
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…"


def _width(label: str, font: FreeTypeFont | ImageFont) -> int:
    return max((round(font.getlength(line)) for line in label.split("\n")), default=0)


def _centred(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    label: str,
    font: FreeTypeFont | ImageFont,
) -> None:
    if label:
        draw.multiline_text(at, label, fill=_INK, font=font, anchor="mm", align="center")
