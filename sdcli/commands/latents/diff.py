"""Define `sdcli latents diff`: compare two runs step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sdcli.commands.latents.options import File
from sdcli.commands.options import flags

if TYPE_CHECKING:
    from sdcli.workflows.compare_latents import StepDistance


def diff(
    first: File,
    second: File,
    kind: Annotated[
        Literal["xt", "x0", "eps"], typer.Option("--kind", help="What to compare.")
    ] = "xt",
    json: flags.Json = False,
) -> None:
    """Compare two runs step by step, to find where they part.

    `relative` is the RMSE divided by the root mean square of the second run's latents. Noisy
    latents of schedulers that work with sigmas are first scaled like those of the others.

    \b
    Examples:
      sdcli latents diff a.latents.safetensors b.latents.safetensors
      sdcli latents diff a.png b.png --kind x0 --json
    """
    from sdcli.storage.latents.reader import read_latents_file
    from sdcli.terminal.json_output import print_json_line
    from sdcli.terminal.output import print_lines
    from sdcli.terminal.tables import wrap_text
    from sdcli.workflows.compare_latents import compare_latents, describe_comparison

    a, b = read_latents_file(first), read_latents_file(second)
    comparison = compare_latents(a, b, kind)
    if json:
        print_json_line(
            {
                "schema": "sdcli/latents-diff/1",
                "first": str(a.path),
                "second": str(b.path),
                "kind": kind,
                "steps": [asdict(distance) for distance in comparison.distances],
                "parting": comparison.parting,
            }
        )
        return
    _print_distances(comparison.distances)
    for sentence in describe_comparison(comparison):
        print_lines(wrap_text(sentence))


def _print_distances(distances: Sequence[StepDistance]) -> None:
    from sdcli.terminal.tables import print_columns
    from sdcli.workflows.compare_latents import format_timesteps

    print_columns(
        ("step", "t", "rmse", "relative", "cosine"),
        [
            (
                str(distance.step),
                format_timesteps(distance.timesteps),
                f"{distance.rmse:.5f}",
                f"{distance.relative:.1%}",
                f"{distance.cosine:.5f}",
            )
            for distance in distances
        ],
        bars=[distance.relative for distance in distances],
    )
