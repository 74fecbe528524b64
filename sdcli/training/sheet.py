"""A contact sheet: pictures with their prompts below."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Levels = NDArray[np.uint8]


def contact_sheet(pictures: list[tuple[str, Levels]], target: Path, columns: int = 6) -> None:
    """Pictures with their prompts below, as one PNG."""
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * 136, rows * 164), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (prompt, picture) in enumerate(pictures):
        left, top = index % columns * 136 + 4, index // columns * 164 + 4
        sheet.paste(Image.fromarray(picture), (left, top))
        words, line, lines = prompt.split(), "", []
        for word in words:
            if len(line) + len(word) > 22:
                lines.append(line)
                line = ""
            line = f"{line} {word}".strip()
        draw.multiline_text(
            (left, top + 130), "\n".join([*lines, line]), fill="black", font_size=10, spacing=1
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(255).save(target, optimize=True)
