"""Draw images in a terminal, in place: as half blocks, or as pixels if it supports them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from sdcli.result import StepEvent
from sdcli.terminal.progress import ProgressBar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_COLUMNS = 64
"""A preview needs no more cells: it has little detail yet."""


class ImageProgress(ProgressBar):
    """Shows progress as the image itself, with a line of text below it. Needs a terminal."""

    def __init__(self, jobs: int | None, stream: TextIO) -> None:
        super().__init__(jobs, None)
        self._terminal = stream
        self._rows = 0  # of the last image, if nothing was printed below it

    def show(self, pixels: NDArray[np.uint8], step: int, steps: int) -> None:
        """Draw pixels (height, width, 3) in place of the last ones."""
        height, width = pixels.shape[:2]
        size = os.get_terminal_size(self._terminal.fileno())
        columns, rows = fit_cells(width, height, size.columns or 80, size.lines or 24)
        if self._rows != rows:
            self._rows = 0
        # Blank lines first: an image that scrolled while it is drawn would be torn.
        top = f"\x1b[{self._rows + 1}A" if self._rows else "\n" * (rows + 1) + f"\x1b[{rows + 1}A"
        jobs = self._state.jobs
        total = "" if jobs is None else f"/{jobs}"
        text = f"image {self._state.done + 1}{total}, step {step}/{steps}"
        image = render_image(pixels, columns, rows)
        below = f"\x1b[{rows}B\r{text}\x1b[K\n"
        # One write, or the terminal would flicker.
        self._terminal.write(f"\r{top}\x1b7{image}\x1b8{below}")
        self._terminal.flush()
        self._rows = rows

    def on_step(self, event: StepEvent) -> None:
        """Do nothing: the image itself shows the step."""

    def advance(self, jobs: int) -> None:
        """Count finished images; the next one is drawn below the messages about them."""
        self._state.advance(jobs)
        self._rows = 0

    def skip(self, jobs: int) -> None:
        """Count images that were done before."""
        self._state.skip(jobs)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let lines be written within; the image is drawn again below them."""
        yield
        self._rows = 0


def fit_cells(width: int, height: int, columns: int, lines: int) -> tuple[int, int]:
    """Cells (columns, rows) for an image of that many pixels, in a terminal of columns x lines."""
    # A cell is twice as high as it is wide.
    cells = max(2, min(MAX_COLUMNS, columns - 1, 2 * (lines - 2) * width // height))
    return cells, max(1, round(cells * height / width / 2))


def render_image(pixels: NDArray[np.uint8], columns: int, rows: int) -> str:
    """The text that draws pixels (height, width, 3) into so many cells, from the cursor on.

    Uses kitty, iTerm2 or sixel graphics if chafa is installed and the environment says that the
    terminal supports them, and half blocks otherwise.
    """
    return render_graphics(pixels, columns, rows) or render_half_blocks(pixels, columns, rows)


def render_half_blocks(pixels: NDArray[np.uint8], columns: int, rows: int) -> str:
    """The text of two pixels per cell.

    In 24-bit colour if COLORTERM says so, else in the nearest of the 216 colours that any terminal
    with 256 colours has.
    """
    from sdcli.storage.images.pixels import resize_pixels

    is_truecolor = os.environ.get("COLORTERM") in ("truecolor", "24bit")
    cells = resize_pixels(pixels, columns, 2 * rows).tolist()
    colors = [[_color_code(pixel, is_truecolor) for pixel in row] for row in cells]
    lines = (
        "".join(f"\x1b[3{upper};4{lower}m▀" for upper, lower in zip(*pair, strict=True))
        for pair in zip(colors[::2], colors[1::2], strict=True)
    )
    return "\x1b[0m\r\n".join(lines) + "\x1b[0m"


def _color_code(pixel: Sequence[int], is_truecolor: bool) -> str:
    """The colour in an escape sequence, after 3 for the foreground or 4 for the background."""
    if is_truecolor:
        red, green, blue = pixel
        return f"8;2;{red};{green};{blue}"
    red, green, blue = (round(level / 51) for level in pixel)
    return f"8;5;{16 + 36 * red + 6 * green + blue}"


def render_graphics(pixels: NDArray[np.uint8], columns: int, rows: int) -> str:
    """Return the image as real pixels, "" without the library or the terminal's support."""
    try:
        import chafa
    except ImportError:
        return ""
    # By the environment alone: a query to the terminal would swallow keys that the user types.
    terminal = chafa.TermDb().detect()
    mode = _find_pixel_mode(chafa, terminal)
    if mode is None:
        return ""
    config = chafa.CanvasConfig()
    config.width, config.height, config.pixel_mode = columns, rows, mode
    config.canvas_mode = chafa.CanvasMode.CHAFA_CANVAS_MODE_TRUECOLOR
    canvas = chafa.Canvas(config)
    height, width = pixels.shape[:2]
    data = (ctypes.c_uint8 * pixels.size).from_buffer_copy(pixels.tobytes())
    canvas.draw_all_pixels(chafa.PixelType.CHAFA_PIXEL_RGB8, data, width, height, 3 * width)
    output: bytes = canvas.print(terminal, fallback=True)
    prefix = _KITTY_CLEAR if mode == chafa.PixelMode.CHAFA_PIXEL_MODE_KITTY else ""
    return prefix + output.decode("utf-8", "replace")


# Kitty keeps every image that was drawn in one place, on top of each other, until it is deleted.
_KITTY_CLEAR = "\x1b_Ga=d,q=2\x1b\\"


def _find_pixel_mode(chafa: Any, terminal: Any) -> Any:
    """The graphics that the terminal supports, the best ones first; None if there are none."""
    sequences, modes = chafa.TermSeq, chafa.PixelMode
    candidates = (
        (
            sequences.CHAFA_TERM_SEQ_BEGIN_KITTY_IMMEDIATE_IMAGE_V1,
            modes.CHAFA_PIXEL_MODE_KITTY,
        ),
        (sequences.CHAFA_TERM_SEQ_BEGIN_ITERM2_IMAGE, modes.CHAFA_PIXEL_MODE_ITERM2),
        (sequences.CHAFA_TERM_SEQ_BEGIN_SIXELS, modes.CHAFA_PIXEL_MODE_SIXELS),
    )
    return next((mode for begin, mode in candidates if terminal.have_seq(begin)), None)
