"""Draw a comparison of schedulers: a sheet of images over a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from sdcli.run_flags import SheetFlags
from sdcli.workflows.scheduler_comparison import SchedulerComparison, SchedulerRun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MIN_CHART_WIDTH: Final = 720
_CHARACTERS_PER_CHART: Final = 44


def draw_comparison(
    comparison: SchedulerComparison,
    lines: Mapping[str, Sequence[tuple[float, float, float]]],
    sheet: SheetFlags,
) -> NDArray[np.uint8]:
    """Draw the first image of each run with its PSNR, and a chart of the means of all images.

    The reference stands in the last column. `lines` are x, y and spread of the chart's points by
    scheduler; without any point there is no chart.
    """
    import numpy as np

    grid = _draw_images(comparison, sheet)
    if not any(lines.values()):
        return grid
    height, width = grid.shape[:2]
    # Beside a tall sheet, on a wide screen, both are larger.
    axis = 1 if height > width else 0
    chart_width = max(width, _MIN_CHART_WIDTH)
    chart = _draw_chart(comparison, lines, (chart_width, chart_width * (3 if axis else 2) // 5))
    return np.concatenate(_padded([grid, chart], 1 - axis), axis=axis)


def _draw_images(comparison: SchedulerComparison, sheet: SheetFlags) -> NDArray[np.uint8]:
    from sdcli.storage.images.contact_sheet import labelled_grid
    from sdcli.storage.images.sheet_layout import SheetLabels

    names = list(dict.fromkeys(run.scheduler for run in comparison.runs))
    steps = sorted({run.steps for run in comparison.runs})
    runs = {(run.scheduler, run.steps): run for run in comparison.runs}
    reference, images = comparison.reference, len(comparison.reference.images)
    rows = [[*(runs[name, n] for n in steps), reference] for name in names]
    first = f", the first of {images} images" if images > 1 else ""
    labels = SheetLabels(
        rows=names,
        columns=[
            *(f"{n} steps" for n in steps),
            f"converged · {reference.scheduler} · {reference.steps} steps",
        ],
        captions=[[_caption(run, reference) for run in row] for row in rows],
        title=f"{comparison.prompt} · seed {comparison.seed}{first}",
    )
    pixels = [[run.pixels for run in row] for row in rows]
    return labelled_grid(pixels, labels, sheet, is_table=True)


def _caption(run: SchedulerRun, reference: SchedulerRun) -> str:
    if run is reference:
        return ""
    if run.pixels is None:
        return "failed"
    psnr = run.images[0].psnr
    return f"{run.unet_calls} calls · " + ("identical" if psnr is None else f"{psnr:.1f} dB")


def _draw_chart(
    comparison: SchedulerComparison,
    lines: Mapping[str, Sequence[tuple[float, float, float]]],
    size: tuple[int, int],
) -> NDArray[np.uint8]:
    from sdcli.storage.images.line_chart import Chart, ChartPoint, draw_chart

    images = len(comparison.reference.images)
    means = f" (mean of {images} images ± standard deviation)" if images > 1 else ""
    chart = Chart(
        title=f"PSNR in dB to the converged picture{means}",
        x_label="UNet calls",
        lines={
            name: [ChartPoint(x=x, y=y, spread=spread) for x, y, spread in points]
            for name, points in lines.items()
        },
        level=comparison.target,
        level_label=f"{comparison.target:g} dB",
    )
    return draw_chart(chart, size, max(size[0] // _CHARACTERS_PER_CHART, 14))


def _padded(images: Sequence[NDArray[np.uint8]], axis: int) -> list[NDArray[np.uint8]]:
    """Give images the same size along an axis, by white margins on both sides."""
    import numpy as np

    side = max(image.shape[axis] for image in images)
    padded = []
    for image in images:
        margins = [(0, 0)] * 3
        space = side - image.shape[axis]
        margins[axis] = (space // 2, space - space // 2)
        padded.append(np.pad(image, margins, constant_values=255))
    return padded
