"""Measure the trajectory of a run through latent space."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sdcli.errors import UsageError
from sdcli.latents import NOISE, X0, XT, LatentsSelection

if TYPE_CHECKING:
    from sdcli.storage.latents.latents_file import LatentsFile


def measure_trajectory(path: str, warn: Callable[[str], None]) -> dict[str, Any]:
    """Measure the trajectory of a file of latents, or of an image.

    An image without saved latents is regenerated; `warn` is called when it comes out different.
    Returns the document of `latents path`. Raises UsageError for fewer than three steps.
    """
    from sdcli.storage.latents.reader import has_latents, read_latents_file

    if has_latents(path):
        trajectory = _measure(read_latents_file(path))
    else:
        from sdcli.workflows.replay import regenerate_latents

        selection = LatentsSelection(kinds=(NOISE, XT, X0), every=1)
        with regenerate_latents(path, selection, warn) as latents:
            trajectory = _measure(latents)
    return {"schema": "sdcli/latents-path/1", "path": path, **trajectory}


def _measure(file: LatentsFile) -> dict[str, Any]:
    from sdcli.numerics.latents import angles, straightness
    from sdcli.numerics.metrics import rmse

    final, steps = file.final(), file.steps(XT)
    if len(steps) < 3:
        raise UsageError(
            f"{file.path}: {len(steps)} steps are too few for a trajectory",
            code="latents.no_step",
            hint="save them with --save-latents all",
        )
    points = [file.unit_variance(XT, step) for step in steps]
    predicted = set(file.steps(X0))
    rows = [
        {
            "step": step,
            "timestep": file.timestep(step),
            "distance": rmse(point, final),
            "angle": angle,
            "x0_distance": rmse(file.tensor(X0, step), final) if step in predicted else None,
        }
        # There is no angle at either end.
        for step, point, angle in zip(steps, points, [None, *angles(points), None], strict=True)
    ]
    return {"straightness": straightness(points), "steps": rows}
