"""Summarise the losses of a training, and plot them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Final

_MOST_POINTS: Final = 60
_SIZE: Final = (960, 540)
_FONT_SIZE: Final = 20


def plot_path(out: Path) -> Path:
    """Return the file of the plot beside a LoRA."""
    return out.with_suffix(".loss.png")


def ends(losses: Sequence[float]) -> tuple[float, float, int]:
    """Return the mean loss of the first and of the last tenth of the steps, and their number.

    A single step says little: its loss depends on how much noise it drew.
    """
    count = max(1, len(losses) // 10)
    return fmean(losses[:count]), fmean(losses[-count:]), count


def smooth(losses: Sequence[float]) -> list[tuple[int, float]]:
    """Return the means of equal parts of the losses, at most 60, with the last step of each."""
    size = max(1, -(-len(losses) // _MOST_POINTS))
    starts = range(0, len(losses), size)
    return [
        (min(start + size, len(losses)), fmean(losses[start : start + size])) for start in starts
    ]


def plot_losses(path: Path, losses: Sequence[float]) -> None:
    """Write a plot of the losses as a PNG. Raises OutputError."""
    from sdcli.storage import files
    from sdcli.storage.images.codec import encode_image
    from sdcli.storage.images.line_chart import Chart, ChartPoint, draw_chart

    points = smooth(losses)
    steps = points[0][0]
    means = f" (means of {steps} steps)" if steps > 1 else ""
    chart = Chart(
        title=f"Loss on {len(losses)} steps{means}",
        x_label="step",
        lines={"loss": [ChartPoint(x=step, y=loss) for step, loss in points]},
        linear=True,
    )
    pixels = draw_chart(chart, _SIZE, _FONT_SIZE)
    files.write_atomic(path, encode_image(pixels, path.suffix, None), force=True)
