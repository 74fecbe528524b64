"""Draw contact sheets: images in rows and columns with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdcli.errors import UsageError
from sdcli.run_flags import SheetFlags
from sdcli.storage import files
from sdcli.storage.images.codec import encode_image
from sdcli.storage.images.destination import Destination
from sdcli.storage.images.label_text import text_width
from sdcli.storage.images.pixel_limit import exceeds_limit
from sdcli.storage.images.sheet_layout import SheetLabels, SheetLayout
from sdcli.storage.images.writer import write_bytes
from sdcli.storage.text import slug

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from sdcli.storage.images.label_text import Font

    Cell = NDArray[np.uint8] | None
    Cells = Sequence[Sequence[Cell]]

BACKGROUND, TEXT, _EMPTY_CELL = "#ffffff", "#222222", "#e8e8e8"
_DEFAULT_SHEET = SheetFlags()


def labelled_grid(
    cells: Cells,
    labels: SheetLabels,
    sheet: SheetFlags = _DEFAULT_SHEET,
    *,
    is_table: bool = False,
) -> NDArray[np.uint8]:
    """Arrange images in one image (height, width, 3).

    Cells are (h, w, 3) uint8, or None for an empty cell, and may differ in size: each is centred in
    a slot of the largest. `sheet` enlarges them by whole numbers, and limits the columns: the rest
    continue below, with their labels. Without a limit, more than 8 columns are divided so that the
    sheet is largest on a screen, but for an `is_table`, whose columns must stay aligned.

    Labels are wrapped, and shortened if they still do not fit. Raises ValueError when the labels do
    not match the cells, or all cells are empty, and UsageError when scaling makes the sheet larger
    than the limit of pixels.
    """
    import numpy as np
    from PIL import Image, ImageDraw

    _check_cells(cells, labels)
    layout = SheetLayout.fit(_largest_cell(cells), labels, sheet, is_table=is_table)
    _check_size(layout, sheet.scale)
    image = Image.new("RGB", layout.size, BACKGROUND)
    draw = ImageDraw.Draw(image)
    _draw_labels(draw, layout)
    for row, row_cells in enumerate(cells):
        for column, cell in enumerate(row_cells):
            _draw_cell(image, draw, layout, layout.slot(row, column), cell)
    return np.array(image)


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


def _check_cells(cells: Cells, labels: SheetLabels) -> None:
    rows, columns = len(labels.rows), len(labels.columns)
    for name, table in (("cells", cells), ("captions", labels.captions or cells)):
        if len(table) != rows or any(len(row) != columns for row in table):
            raise ValueError(f"the {name} are not {rows} rows of {columns} columns of cells")
    if not any(cell is not None for row in cells for cell in row):
        raise ValueError("every cell is empty")


def _check_size(layout: SheetLayout, scale: int) -> None:
    width, height = layout.size
    # At their own size, images make a sheet of any size: they are there already.
    if scale > 1 and exceeds_limit(width, height):
        raise UsageError(
            f"scale {scale}: the sheet would have {width} x {height} pixels",
            code="usage.scale",
            hint="use a smaller scale",
        )


def _largest_cell(cells: Cells) -> tuple[int, int]:
    """Width and height of a slot that any of the cells fits."""
    shapes = [cell.shape for row in cells for cell in row if cell is not None]
    return max(shape[1] for shape in shapes), max(shape[0] for shape in shapes)


def _draw_labels(draw: ImageDraw, layout: SheetLayout) -> None:
    rows, columns = layout.rows, layout.columns
    draw_centred(draw, layout.title_centre(), layout.title, layout.title_font)
    for column, label in enumerate(columns.labels):
        draw_centred(draw, layout.column_label_centre(column), label, columns.font)
        for row, captions in enumerate(columns.captions):
            centre = layout.caption_centre(row, column)
            draw_centred(draw, centre, captions[column], columns.font)
    for band in range(layout.bands):
        for row, label in enumerate(rows.labels):
            draw_centred(draw, layout.row_label_centre(row, band), label, rows.font)


def _draw_cell(
    image: Image, draw: ImageDraw, layout: SheetLayout, slot: tuple[int, int], cell: Cell
) -> None:
    from PIL import Image as pillow  # noqa: N813 - the module, beside its class of that name

    left, top = slot
    if cell is None:
        # Pillow counts both corners as part of a rectangle.
        corner = (left + layout.width - 1, top + layout.height - 1)
        draw.rectangle((*slot, *corner), fill=_EMPTY_CELL)
        return
    enlarged = enlarge(cell, layout.scale)
    height, width = enlarged.shape[:2]
    centred = left + (layout.width - width) // 2, top + (layout.height - height) // 2
    image.paste(pillow.fromarray(enlarged), centred)


def enlarge(pixels: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Make each pixel of an image a square of `scale` pixels."""
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def draw_centred(draw: ImageDraw, centre: tuple[float, float], label: str, font: Font) -> None:
    """Draw a label of any number of lines around a point."""
    if text_width(label, font):
        draw.multiline_text(centre, label, fill=TEXT, font=font, anchor="mm", align="center")
