"""A contact sheet: pictures with their prompts below."""

import textwrap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Levels = NDArray[np.uint8]
WIDTH, HEIGHT = 136, 178  # of a picture with a margin and three lines of text


def contact_sheet(pictures: list[tuple[str, Levels]], target: Path, columns: int = 6) -> None:
    """Pictures with their prompts below, as one PNG."""
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * WIDTH, rows * HEIGHT), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (prompt, picture) in enumerate(pictures):
        left, top = index % columns * WIDTH + 4, index // columns * HEIGHT + 4
        sheet.paste(Image.fromarray(picture), (left, top))
        text = textwrap.fill(prompt, 23)
        draw.multiline_text((left, top + 130), text, fill="black", font_size=10, spacing=1)
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(255).save(target, optimize=True)
