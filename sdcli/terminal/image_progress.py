"""Pictures in a terminal, redrawn in place: as half blocks, or as pixels where it can show them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from sdcli.result import StepEvent
from sdcli.terminal.progress import ProgressBar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WIDEST = 64
"""Cells; a preview is no picture yet."""


class ImageProgress(ProgressBar):
    """The progress of a run as the picture itself, with a line below it. For a terminal."""

    def __init__(self, jobs: int | None, stream: TextIO) -> None:
        super().__init__(jobs, None)
        self._terminal = stream
        self._rows = 0  # of what is on the screen and may be drawn over
        self._finished = 0

    def show(self, pixels: NDArray[np.uint8], step: int, steps: int) -> None:
        """Draw pixels (height, width, 3) over the last ones, in one write."""
        height, width = pixels.shape[:2]
        size = os.get_terminal_size(self._terminal.fileno())
        columns, rows = fit_cells(width, height, size.columns or 80, size.lines or 24)
        if self._rows != rows:
            self._rows = 0
        # The room is made first, so that the picture itself never scrolls.
        top = f"\x1b[{self._rows + 1}A" if self._rows else "\n" * (rows + 1) + f"\x1b[{rows + 1}A"
        of = "" if self._jobs is None else f"/{self._jobs}"
        told = f"image {self._finished + 1}{of}, step {step}/{steps}"
        drawn = render_image(pixels, columns, rows)
        below = f"\x1b[{rows}B\r{told}\x1b[K\n"
        self._terminal.write(f"\r{top}\x1b7{drawn}\x1b8{below}")
        self._terminal.flush()
        self._rows = rows

    def on_step(self, event: StepEvent) -> None:
        """Nothing: the picture tells it."""

    def advance(self, jobs: int) -> None:
        """Count finished images; the next is drawn below what was said of them."""
        self._finished += jobs
        self._rows = 0

    def print_above(self, text: str) -> bool:
        """Print the line; the picture goes on below it."""
        self._terminal.write(text + "\n")
        self._terminal.flush()
        self._rows = 0
        return True


def fit_cells(width: int, height: int, columns: int, lines: int) -> tuple[int, int]:
    """Cells (columns, rows) for a picture of that many pixels; a cell is twice as high as wide."""
    wide = max(2, min(WIDEST, columns - 1, 2 * (lines - 2) * width // height))
    return wide, max(1, round(wide * height / width / 2))


def render_image(pixels: NDArray[np.uint8], columns: int, rows: int) -> str:
    """The text that draws pixels (height, width, 3) into so many cells from the cursor on.

    As pixels by kitty's, iTerm2's or sixel graphics where chafa is installed and knows that this
    terminal has them, else as half blocks.
    """
    return _graphics(pixels, columns, rows) or render_half_blocks(pixels, columns, rows)


def render_half_blocks(pixels: NDArray[np.uint8], columns: int, rows: int) -> str:
    """Two pixels a cell, in full colour where the terminal says so, else in the 216 of the cube."""
    import numpy as np
    from PIL import Image

    full = os.environ.get("COLORTERM") in ("truecolor", "24bit")
    image = Image.fromarray(pixels).resize((columns, 2 * rows), Image.Resampling.BOX)
    colors = [[_color(pixel, full) for pixel in row] for row in np.asarray(image).tolist()]
    lines = (
        "".join(f"\x1b[3{upper};4{lower}m▀" for upper, lower in zip(*pair, strict=True))
        for pair in zip(colors[::2], colors[1::2], strict=True)
    )
    return "\x1b[0m\r\n".join(lines) + "\x1b[0m"


def _color(pixel: Sequence[int], full: bool) -> str:
    """What comes after 3 (the block) or 4 (what is behind it) in an escape sequence."""
    if full:
        red, green, blue = pixel
        return f"8;2;{red};{green};{blue}"
    red, green, blue = (round(level / 51) for level in pixel)
    return f"8;5;{16 + 36 * red + 6 * green + blue}"


def _graphics(pixels: NDArray[np.uint8], columns: int, rows: int) -> str:
    """The picture as real pixels, "" where this terminal or the library for it is not there."""
    try:
        import chafa
    except ImportError:
        return ""
    terminal = chafa.TermDb().detect()  # by the environment: asking would read the user's keys
    mode = _pixel_mode(chafa, terminal)
    if mode is None:
        return ""
    config = chafa.CanvasConfig()
    config.width, config.height, config.pixel_mode = columns, rows, mode
    config.canvas_mode = chafa.CanvasMode.CHAFA_CANVAS_MODE_TRUECOLOR
    canvas = chafa.Canvas(config)
    height, width = pixels.shape[:2]
    data = (ctypes.c_uint8 * pixels.size).from_buffer_copy(pixels.tobytes())
    canvas.draw_all_pixels(chafa.PixelType.CHAFA_PIXEL_RGB8, data, width, height, 3 * width)
    drawn: bytes = canvas.print(terminal, fallback=True)
    before = _KITTY_CLEAR if mode == chafa.PixelMode.CHAFA_PIXEL_MODE_KITTY else ""
    return before + drawn.decode("utf-8", "replace")


_KITTY_CLEAR = "\x1b_Ga=d,q=2\x1b\\"
"""Takes what was drawn before off the screen, where kitty would pile it up."""


def _pixel_mode(chafa: Any, terminal: Any) -> Any:
    sequences, modes = chafa.TermSeq, chafa.PixelMode
    known = (
        (
            sequences.CHAFA_TERM_SEQ_BEGIN_KITTY_IMMEDIATE_IMAGE_V1,
            modes.CHAFA_PIXEL_MODE_KITTY,
        ),
        (sequences.CHAFA_TERM_SEQ_BEGIN_ITERM2_IMAGE, modes.CHAFA_PIXEL_MODE_ITERM2),
        (sequences.CHAFA_TERM_SEQ_BEGIN_SIXELS, modes.CHAFA_PIXEL_MODE_SIXELS),
    )
    return next((mode for begin, mode in known if terminal.have_seq(begin)), None)
