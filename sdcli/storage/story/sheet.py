"""Draw an explanation as one image, in two columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from sdcli.numerics.plot_layout import Box, lay_out
from sdcli.storage.images.contact_sheet import BACKGROUND, TEXT
from sdcli.storage.images.label_text import fit_label, line_height, load_font
from sdcli.storage.images.pixels import to_image
from sdcli.storage.text import one_line
from sdcli.story import Chapter, Picture, Plot, Story, Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

_WIDTH, _MARGIN, _GAP = 780, 28, 14
_TITLE, _HEADING, _BODY, _SMALL = 26, 21, 17, 14
_QUIET, _LEVEL = "#5e5d58", "#dddddd"
_COLORS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c564b", "#56b4e9")
# Five of them fit into a column.
_PICTURE: Final = 144
_PLOT_HEIGHT: Final = 190
_SMOOTHING: Final = 2


def draw_sheet(story: Story) -> NDArray[np.uint8]:
    """Return the sheet as pixels (height, width, 3)."""
    import numpy as np
    from PIL import Image

    blocks = [
        _stack(_draw_chapter(number, chapter, numbered=len(story.chapters) > 1))
        for number, chapter in enumerate(story.chapters, 1)
    ]
    columns = [_stack(part, gap=2 * _GAP) for part in _halves(blocks) if part]
    width = len(columns) * (_WIDTH + _MARGIN) + _MARGIN
    head = _stack(
        [
            _draw_text(one_line(story.title), _TITLE, width - 2 * _MARGIN),
            _draw_text(one_line(story.subtitle), _SMALL, width - 2 * _MARGIN, _QUIET),
        ]
    )
    top = head.height + 2 * _MARGIN
    height = top + max(column.height for column in columns) + _MARGIN
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    sheet.paste(head, (_MARGIN, _MARGIN))
    for number, column in enumerate(columns):
        sheet.paste(column, (_MARGIN + number * (_WIDTH + _MARGIN), top))
    return np.array(sheet)


def _halves(blocks: Sequence[Image]) -> tuple[Sequence[Image], Sequence[Image]]:
    """Divide blocks in their order into two columns of heights as equal as can be."""
    if len(blocks) == 1:
        return blocks, ()
    heights = list(accumulate(block.height for block in blocks))
    split = min(range(1, len(blocks)), key=lambda i: abs(2 * heights[i - 1] - heights[-1]))
    return blocks[:split], blocks[split:]


def _stack(parts: Iterator[Image] | Sequence[Image], gap: int = _GAP) -> Image:
    from PIL import Image

    several = list(parts)
    height = sum(part.height for part in several) + gap * (len(several) - 1)
    image = Image.new("RGB", (max(part.width for part in several), height), BACKGROUND)
    top = 0
    for part in several:
        image.paste(part, (0, top))
        top += part.height + gap
    return image


def _draw_chapter(number: int, chapter: Chapter, *, numbered: bool) -> Iterator[Image]:
    title = f"{number}. {chapter.title}" if numbered else chapter.title
    yield _draw_text(title, _HEADING)
    for text in chapter.texts:
        yield _draw_text(text, _BODY)
    if chapter.pictures:
        yield _draw_pictures(chapter.pictures)
    if chapter.table:
        yield _draw_table(chapter.table)
    for plot in chapter.curves:
        if any(plot.lines.values()):
            yield _draw_plot(plot)


def _draw_text(text: str, size: int, width: int = _WIDTH, color: str = TEXT) -> Image:
    from PIL import Image, ImageDraw

    font = load_font(size)
    lines = fit_label(one_line(text), font, width, len(text) + 1).split("\n")
    image = Image.new("RGB", (width, len(lines) * line_height(size)), BACKGROUND)
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        draw.text((0, row * line_height(size)), line, fill=color, font=font)
    return image


def _draw_pictures(pictures: Sequence[Picture]) -> Image:
    """Pictures side by side, as many as fit, with their labels below."""
    fitting = (_WIDTH + _GAP) // (_PICTURE + _GAP)
    rows = [pictures[i : i + fitting] for i in range(0, len(pictures), fitting)]
    return _stack([_draw_picture_row(row) for row in rows])


def _draw_picture_row(pictures: Sequence[Picture]) -> Image:
    from PIL import Image

    cells = []
    for picture in pictures:
        image = to_image(picture.pixels)
        factor = _PICTURE / max(image.size)
        size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
        method = Image.Resampling.LANCZOS
        label = _draw_text(picture.label, _SMALL, _PICTURE, _QUIET)
        cells.append(_stack([image.resize(size, method), label], gap=4))
    row = Image.new("RGB", (_WIDTH, max(cell.height for cell in cells)), BACKGROUND)
    for number, cell in enumerate(cells):
        row.paste(cell, (number * (_PICTURE + _GAP), 0))
    return row


def _draw_table(table: Table) -> Image:
    from PIL import Image, ImageDraw

    font, height = load_font(_SMALL), line_height(_SMALL) + 4
    cells = [["–" if cell is None else one_line(str(cell)) for cell in row] for row in table.rows]
    rows = [list(table.header), *cells]
    widths = [max(font.getlength(row[i]) for row in rows) for i in range(len(table.header))]
    # A very long word must not push the other columns out of the sheet.
    limit = (_WIDTH - 2 * _GAP * len(widths)) / len(widths)
    widths = [w if sum(widths) <= limit * len(widths) else min(w, limit) for w in widths]
    image = Image.new("RGB", (_WIDTH, len(rows) * height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    for number, row in enumerate(rows):
        left = 0.0
        for cell, width in zip(row, widths, strict=True):
            text = fit_label(cell, font, int(width) + 1, 1)
            draw.text((left, number * height), text, fill=TEXT if number else _QUIET, font=font)
            left += width + 2 * _GAP
    return image


def _draw_plot(plot: Plot) -> Image:
    from PIL import Image, ImageDraw

    scale, font = _SMOOTHING, load_font(_SMALL * _SMOOTHING)
    size = _WIDTH * scale, _PLOT_HEIGHT * scale
    box = Box(left=60 * scale, top=8 * scale, right=size[0] * 0.8, bottom=size[1] - 40 * scale)
    layout = lay_out(plot.lines, box, log=plot.log)
    image = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(image)
    for row, label in layout.rows:
        draw.line((box.left, row, box.right, row), fill=_LEVEL, width=scale)
        draw.text((box.left - 6 * scale, row), label, fill=_QUIET, font=font, anchor="rm")
    for column, label in layout.columns:
        draw.text((column, box.bottom + 12 * scale), label, fill=_QUIET, font=font, anchor="mm")
    below = ((box.left + box.right) / 2, box.bottom + 28 * scale)
    draw.text(below, plot.x_label, fill=_QUIET, font=font, anchor="mm")
    for number, (name, points) in enumerate(layout.lines.items()):
        color = _COLORS[number % len(_COLORS)]
        _draw_line(draw, points, color)
        if len(layout.lines) > 1:
            place = box.right + 16 * scale, box.top + (number + 0.5) * line_height(_SMALL) * scale
            label = fit_label(name, font, int(size[0] - place[0]), 1)
            draw.text(place, label, fill=color, font=font, anchor="lm")
    drawn = image.resize((_WIDTH, _PLOT_HEIGHT), Image.Resampling.BOX)
    return _stack([_draw_text(plot.title, _SMALL, color=_QUIET), drawn], gap=4)


def _draw_line(draw: ImageDraw, points: Sequence[tuple[float, float]], color: str) -> None:
    if len(points) > 1:
        draw.line(list(points), fill=color, width=2 * _SMOOTHING, joint="curve")
    for point in points:
        draw.regular_polygon((*point, 3 * _SMOOTHING), 32, fill=color)
