"""Label the frames of an animation with a strip of text below each."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Final

from sdcli.storage.images.contact_sheet import BACKGROUND, draw_centred, enlarge
from sdcli.storage.images.label_text import (
    MIN_FONT_SIZE,
    count_lines,
    fit_label,
    fitting_size,
    line_height,
    load_font,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_LINES: Final = 2
_LINES_PER_FRAME: Final = 16
"""Frames are that many lines of text high: text is read beside the image, at any size of both."""


def label_frames(
    frames: Sequence[NDArray[np.uint8]], labels: Sequence[str], *, scale: int = 1
) -> list[NDArray[np.uint8]]:
    """Enlarge frames (height, width, 3) by a whole number, and add a strip with a label to each.

    The strips of all frames are equally high. A frame with an empty label has an empty strip; with
    no label at all there is none.
    """
    enlarged = [enlarge(frame, scale) for frame in frames]
    if not any(labels):
        return enlarged
    height, width = enlarged[0].shape[:2]
    size = max(MIN_FONT_SIZE, ceil(min(height, width) / _LINES_PER_FRAME))
    size = fitting_size(labels, width, size)
    font = load_font(size)
    fitted = [fit_label(label, font, width, _MAX_LINES) for label in labels]
    strip = max(map(count_lines, fitted)) * line_height(size) + size // 2
    return [_add_strip(*pair, strip, size) for pair in zip(enlarged, fitted, strict=True)]


def _add_strip(frame: NDArray[np.uint8], label: str, strip: int, size: int) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import Image, ImageDraw

    height, width = frame.shape[:2]
    image = Image.new("RGB", (width, height + strip), BACKGROUND)
    image.paste(Image.fromarray(frame), (0, 0))
    centre = (width / 2, height + strip / 2)
    draw_centred(ImageDraw.Draw(image), centre, label, load_font(size))
    return np.array(image)
