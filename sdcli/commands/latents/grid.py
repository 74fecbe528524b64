"""Define `sdcli latents grid`: show the steps of a run as a contact sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdcli.commands.latents import options
from sdcli.commands.options import flags
from sdcli.commands.options.typer_options import expand_groups
from sdcli.errors import UsageError
from sdcli.latents import X0, XT
from sdcli.run_flags import OutputFlags, SheetFlags
from sdcli.terminal.printing import print_path
from sdcli.workflows.render_latents import choose_renderer, render_grid

if TYPE_CHECKING:
    from sdcli.storage.latents.latents_file import LatentsFile


@expand_groups
def grid(
    *,
    file: options.File,
    steps: options.AllSteps = "all",
    renderer: options.RendererFlags,
    sheet: SheetFlags,
    output: OutputFlags,
    json: flags.Json = False,
) -> None:
    """Show the steps of a run side by side: noisy x_t above, the predicted x_0 below.

    \b
    Examples:
      sdcli latents grid outputs/0001-a-cat-7.latents.safetensors
      sdcli latents grid outputs/0001-a-cat-7.png --vae own --steps 1,5,10,20 -o cat-grid.png
      sdcli latents grid outputs/0001-a-cat-7.png --scale 2 --columns 5
    """
    from sdcli.storage.images.destination import parse_destination
    from sdcli.storage.images.writer import write_pixels
    from sdcli.storage.latents.reader import read_latents_file
    from sdcli.terminal.console import Console

    latents = read_latents_file(file)
    kinds = [kind for kind in (XT, X0) if _steps_after_noise(latents, kind)]
    selected = _select_steps(latents, kinds, steps)
    destination = parse_destination(output.out, several=False, force=output.force, json=json)
    render = choose_renderer(latents, renderer.options(), Console().warn)
    pixels = render_grid(latents, kinds, selected, render, sheet)
    path = write_pixels(pixels, destination, f"{latents.name}-grid")
    print_path(path, json, steps=selected, kinds=kinds)


def _steps_after_noise(file: LatentsFile, kind: str) -> list[int]:
    return [step for step in file.steps(kind) if step > 0]


def _select_steps(file: LatentsFile, kinds: list[str], steps: str | None) -> list[int]:
    """The steps to show, of any of the kinds. Raises UsageError when there are none."""
    available = sorted({step for kind in kinds for step in _steps_after_noise(file, kind)})
    if not available:
        raise UsageError(
            f"{file.path}: no steps to show",
            code="latents.no_step",
            hint="save them with --save-latents all",
        )
    if steps in (None, "all"):
        return available
    return sorted({step for kind in kinds for step in options.parse_steps(steps, file, kind)})
