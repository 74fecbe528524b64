"""Report a comparison of schedulers: a table, a plot, a verdict, or JSON."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from sdcli.workflows.scheduler_comparison import SchedulerComparison, SchedulerRun

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sdcli.workflows.scheduler_comparison import ImageDistance

SCHEMA = "sdcli/comparison/1"


def print_comparison(comparison: SchedulerComparison, path: str) -> None:
    """Print the table, the plot, the verdict, and the path of the sheet."""
    from sdcli.terminal.output import print_data, print_lines
    from sdcli.terminal.series_plot import plot_series
    from sdcli.terminal.tables import print_columns, wrap_text

    print_columns(*_table(comparison))
    series = {
        name: [(x, y) for x, y, _ in points] for name, points in chart_lines(comparison).items()
    }
    title = "PSNR in dB to the converged picture: higher is nearer"
    plot = plot_series(title, series, x_label="UNet calls", level=comparison.target)
    print_lines(["", *plot, ""])
    for note in _notes(comparison):
        print_lines(wrap_text(note, hanging=2))
    if comparison.fewest:
        _print_fewest(comparison)
    print_lines(_fitted_verdict(comparison))
    print_lines([_describe_images(comparison)])
    print_data(f"grid: {path}")


def _table(comparison: SchedulerComparison) -> tuple[list[str], list[list[object]]]:
    several = len(comparison.reference.images) > 1
    is_judged = comparison.reference.prompt_match is not None
    header = ["scheduler", "steps", "UNet calls", "seconds", "latent RMSE", "PSNR dB"]
    header += ["±"] if several else []
    header += ["prompt match"] if is_judged else []
    rows = [_cells(run, several) for run in (*comparison.runs, comparison.reference)]
    matches = [run.prompt_match for run in (*comparison.runs, comparison.reference)]
    if is_judged:
        rows = [
            [*row, None if match is None else f"{match:.2f}"]
            for row, match in zip(rows, matches, strict=True)
        ]
    return header, rows


def chart_lines(
    comparison: SchedulerComparison,
) -> dict[str, list[tuple[float, float, float]]]:
    """UNet calls, mean PSNR in dB and its standard deviation of each scheduler's runs.

    Failed runs and images that are identical to the reference have no place on the axis.
    """
    lines: dict[str, list[tuple[float, float, float]]] = {}
    for run in comparison.runs:
        points = lines.setdefault(run.scheduler, [])
        if run.unet_calls and run.psnr is not None and not run.error:
            points.append((run.unet_calls, run.psnr, run.psnr_spread or 0.0))
    return lines


def verdict(comparison: SchedulerComparison) -> tuple[str, str]:
    """The options to use and the similarity that they reach, or two halves of the reason."""
    target, fastest = comparison.target, comparison.fastest
    if fastest:
        return f"use {_options(fastest)}", f"{_decibels(fastest)} to the converged picture"
    nearest = comparison.nearest
    if nearest is None:
        return f"none reached {target:g} dB PSNR", "every run failed"
    near = f"the nearest is {_options(nearest)} at {_decibels(nearest, 1)}; try more --steps"
    return f"none reached {target:g} dB PSNR", near


def comparison_document(comparison: SchedulerComparison, path: str) -> dict[str, Any]:
    """The comparison as JSON; a PSNR of null with an RMSE of 0 means equal images."""
    fastest = comparison.fastest
    return {
        "schema": SCHEMA,
        "prompt": comparison.prompt,
        "seed": comparison.seed,
        "grid": path,
        "reference": _run_document(comparison.reference, comparison.target),
        "runs": [_run_document(run, comparison.target) for run in comparison.runs],
        "fastest": {"scheduler": fastest.scheduler, "steps": fastest.steps} if fastest else None,
        "target_psnr_db": comparison.target,
        "fewest": [
            {
                "scheduler": name,
                "run": run and _run_document(run, comparison.target),
            }
            for name, run in comparison.fewest
        ],
        "verdict": ": ".join(verdict(comparison)),
    }


def _run_document(run: SchedulerRun, target: float) -> dict[str, Any]:
    return {
        "scheduler": run.scheduler,
        "stochastic": run.stochastic,
        "steps": run.steps,
        "unet_calls": run.unet_calls,
        "seconds": _rounded(run.seconds),
        "latent_rmse": run.latent_rmse,
        "latent_rmse_sd": run.latent_rmse_spread,
        "psnr_db": run.psnr,
        "psnr_sd_db": run.psnr_spread,
        "prompt_match": run.prompt_match,
        "converged": run.reaches(target),
        "error": _error_document(run),
        "images": [_image_document(image) for image in run.images],
    }


def _image_document(image: ImageDistance) -> dict[str, Any]:
    return {
        "prompt": image.prompt,
        "seed": image.seed,
        "seconds": _rounded(image.seconds),
        "latent_rmse": image.latent_rmse,
        "psnr_db": image.psnr,
        "prompt_match": image.prompt_match,
        "error": _error_document(image),
    }


def _error_document(owner: SchedulerRun | ImageDistance) -> dict[str, str] | None:
    error = owner.error
    return None if error is None else {"code": error.code, "message": str(error)}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def _cells(run: SchedulerRun, several: bool) -> list[object]:
    name = f"{run.scheduler} *" if run.stochastic else run.scheduler
    if run.error:
        return [name, run.steps, "failed", *([None] * (4 if several else 3))]
    cells = [name, run.steps, run.unet_calls, f"{run.seconds:.2f}", f"{run.latent_rmse:.4f}"]
    spread = None if run.psnr_spread is None else f"{run.psnr_spread:.1f}"
    psnr = "inf" if run.psnr is None else f"{run.psnr:.1f}"
    return [*cells, psnr, *([spread] if several else [])]


def _notes(comparison: SchedulerComparison) -> Iterable[str]:
    for run in comparison.runs:
        if run.error:
            yield f"{run.scheduler}, {run.steps} steps: {run.error}"
    if any(run.stochastic for run in comparison.runs):
        yield "* adds noise at every step, so it converges to another image"


def _print_fewest(comparison: SchedulerComparison) -> None:
    """Print how soon each scheduler reaches the target, the soonest first."""
    from sdcli.terminal.output import print_lines
    from sdcli.terminal.tables import print_columns

    def calls(row: tuple[str, SchedulerRun | None]) -> float:
        return float("inf") if row[1] is None else row[1].unet_calls or 0

    most = max(run.steps for run in comparison.runs)
    print_lines([f"the fewest UNet calls that reach {comparison.target:g} dB"])
    print_columns(
        ("scheduler", "UNet calls", "steps", "PSNR"),
        [
            (name, run.unet_calls, run.steps, _decibels(run))
            if run
            else (name, None, None, f"not within {most} steps")
            for name, run in sorted(comparison.fewest, key=calls)
        ],
    )
    print_lines([""])


def _fitted_verdict(comparison: SchedulerComparison) -> list[str]:
    """The verdict in a line, or in two so that its options can be copied in one piece."""
    from sdcli.terminal.tables import terminal_width, wrap_text

    first, second = verdict(comparison)
    line = f"{first}: {second}"
    return [line] if len(line) <= terminal_width() else [f"{first}:", *wrap_text(second, 2)]


def _options(run: SchedulerRun) -> str:
    return f"-s {shlex.quote(run.scheduler)} --steps {run.steps}"


def _decibels(run: SchedulerRun, digits: int = 0) -> str:
    """The mean PSNR and its spread, such as "38 dB ± 2"."""
    if run.psnr is None:
        return "identical"
    if run.psnr_spread is None:
        return f"{run.psnr:.{digits}f} dB"
    # A spread of less than a decibel is not none.
    spread = f"{run.psnr_spread:.{digits if run.psnr_spread >= 1 else 1}f}"
    return f"{run.psnr:.{digits}f} dB ± {spread}"


def _describe_images(comparison: SchedulerComparison) -> str:
    images = comparison.reference.images
    if len(images) == 1:
        return f"seed: {comparison.seed}"
    prompts = len({image.prompt for image in images})
    seeds = sorted({image.seed for image in images})
    span = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return f"means of {len(images)} images: {prompts} prompts, seeds {span}"
