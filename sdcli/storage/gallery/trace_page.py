"""Render the trace of a run as one HTML page: its steps to go through, and the maps of words."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.numerics.color_ramp import color_ramp
from sdcli.storage.gallery.page import content_policy, render_template
from sdcli.storage.images.thumbnail import encode_thumbnail
from sdcli.storage.story.page import PLOT_BOX, describe_plot
from sdcli.storage.text import one_line
from sdcli.story import Plot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True, kw_only=True, eq=False)
class TracedWord:
    """A word, the part of the attention it gets, and its maps (steps, height, width) of 0 to 1."""

    text: str
    share: str
    maps: NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class TracePage:
    """What the page shows. `noisy` and `predicted` have the pixels of each step.

    `facts` has a sentence about each step.
    """

    title: str
    subtitle: str
    command: str
    noisy: Sequence[NDArray[np.uint8]]
    predicted: Sequence[NDArray[np.uint8]]
    facts: Sequence[str]
    words: Sequence[TracedWord]
    plots: Sequence[Plot]
    side: int


def render_trace(page: TracePage) -> str:
    """Render the page."""
    style, script = ((_FOLDER / name).read_text("utf-8") for name in ("trace.css", "trace.js"))
    return render_template(
        _FOLDER,
        "trace.html.jinja",
        title=one_line(page.title),
        subtitle=one_line(page.subtitle),
        command=page.command,
        policy=content_policy(style, script, links=False),
        style=style,
        script=script,
        plots=[describe_plot(plot) for plot in page.plots],
        run=_run_data(page),
        steps=len(page.predicted),
        width=page.predicted[0].shape[1],
        height=page.predicted[0].shape[0],
    )


def _run_data(page: TracePage) -> dict[str, Any]:
    """The data of the page's script."""
    return {
        "noisy": [_webp(pixels, page.side) for pixels in page.noisy],
        "predicted": [_webp(pixels, page.side) for pixels in page.predicted],
        "facts": [one_line(text) for text in page.facts],
        "words": [_word_data(word) for word in page.words],
        "ramp": base64.b64encode(color_ramp().tobytes()).decode(),
        "plot": {"left": PLOT_BOX.left, "right": PLOT_BOX.right},
    }


def _webp(pixels: NDArray[np.uint8], side: int) -> str:
    return base64.b64encode(encode_thumbnail(pixels, side)).decode()


def _word_data(word: TracedWord) -> dict[str, Any]:
    # A byte for each patch: more levels than the ramp has colours cannot be seen.
    levels = (word.maps.clip(0, 1) * 255).round().astype("uint8")
    return {
        "text": one_line(word.text),
        "share": word.share,
        "rows": word.maps.shape[1],
        "columns": word.maps.shape[2],
        "maps": base64.b64encode(levels.tobytes()).decode(),
        "peaks": [_place(maps) for maps in word.maps],
    }


def _place(heat: NDArray[Any]) -> str:
    """Where a map is highest, in words for a screen reader."""
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    vertical = ("top", "middle", "bottom")[3 * row // heat.shape[0]]
    horizontal = ("left", "centre", "right")[3 * column // heat.shape[1]]
    return f"{vertical} {horizontal}"
