"""Define `sdcli latents path`: measure the trajectory of a run through latent space."""

from __future__ import annotations

from typing import Any

from sdcli.commands.latents.options import File
from sdcli.commands.options import flags


def path(file: File, json: flags.Json = False) -> None:
    """Show each step's distance from the final latents, and how straight the trajectory is.

    Distances are the RMSE of latents. The angle, in degrees, is between the segments before and
    after a step: 0 is straight on. `x0 error` is the distance of the model's prediction from the
    final latents. Noisy latents of schedulers that work with sigmas are first scaled like those
    of the others. If an image has no saved latents, it is regenerated.

    \b
    Examples:
      sdcli latents path outputs/0001-a-cat-7.latents.safetensors
      sdcli latents path outputs/0001-a-cat-7.png --json
    """
    from sdcli.terminal.console import Console
    from sdcli.terminal.json_output import print_json_line
    from sdcli.workflows.measure_trajectory import measure_trajectory

    document = measure_trajectory(file, Console().warn)
    if json:
        print_json_line(document)
    else:
        _print_trajectory(document)


def _print_trajectory(document: dict[str, Any]) -> None:
    from sdcli.terminal.output import print_lines
    from sdcli.terminal.tables import print_columns

    rows = document["steps"]
    print_columns(
        ("step", "t", "distance", "angle", "x0 error"),
        [
            (
                str(row["step"]),
                _format_number(row["timestep"], ".0f"),
                f"{row['distance']:.4f}",
                _format_number(row["angle"], ".1f"),
                _format_number(row["x0_distance"], ".4f"),
            )
            for row in rows
        ],
        bars=[row["distance"] for row in rows],
    )
    print_lines([f"straightness {document['straightness']:.3f} (1 is a straight line)"])


def _format_number(value: float | None, spec: str) -> str:
    return "" if value is None else format(value, spec)
