"""Write a contact sheet of images with their prompts."""

import textwrap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Levels = NDArray[np.uint8]
WIDTH, HEIGHT = 136, 178  # of an image with a margin and three lines of text


def contact_sheet(images: list[tuple[str, Levels]], target: Path, columns: int = 6) -> None:
    """Write (128, 128, 3) images with their prompts below them as one PNG file."""
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * WIDTH, rows * HEIGHT), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (prompt, image) in enumerate(images):
        left, top = index % columns * WIDTH + 4, index // columns * HEIGHT + 4
        sheet.paste(Image.fromarray(image), (left, top))
        text = textwrap.fill(prompt, 23)
        draw.multiline_text((left, top + 130), text, fill="black", font_size=10, spacing=1)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A palette keeps the file small; the images have few colors.
    sheet.quantize(255).save(target, optimize=True)
