"""`sdcli latents grid`: the steps of a run as a contact sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdcli.commands.latents import options
from sdcli.commands.options import flags
from sdcli.errors import UsageError
from sdcli.latents import X0, XT
from sdcli.terminal.printing import print_path
from sdcli.workflows.render_latents import RendererOptions, choose_renderer, render_frames

if TYPE_CHECKING:
    from sdcli.latents import LatentsRenderer
    from sdcli.storage.latents.reader import LatentsFile


def grid(
    file: options.File,
    steps: options.Steps = "all",
    vae: options.DecodeVae = None,
    force_vae: flags.ForceVae = False,
    vae_tiling: flags.VaeTiling = None,
    model: options.Model = None,
    device: flags.Device = "auto",
    out: flags.Out = "outputs",
    force: flags.Force = False,
    offline: flags.Offline = False,
    json: flags.Json = False,
) -> None:
    """Draw the steps of a run side by side: x_t above, the x_0 that the model saw in it below.

    \b
    Examples:
      sdcli latents grid outputs/0001-a-cat-7.latents.safetensors
      sdcli latents grid outputs/0001-a-cat-7.png --vae own --steps 1,5,10,20 -o cat-grid.png
    """
    from sdcli.storage.images.contact_sheet import labelled_grid
    from sdcli.storage.images.destination import parse_destination
    from sdcli.storage.images.writer import write_pixels
    from sdcli.storage.latents.reader import read_latents_file

    dump = read_latents_file(file)
    kinds = [kind for kind in (XT, X0) if _steps(dump, kind)]
    shown = _shown(dump, kinds, steps)
    destination = parse_destination(out, several=False, force=force, json=json)
    through = RendererOptions(
        model=model, vae=vae, force_vae=force_vae, tiling=vae_tiling, device=device, offline=offline
    )
    look = choose_renderer(dump, through)
    cells = [[_cell(dump, kind, step, look) for step in shown] for kind in kinds]
    columns = [_label(dump, step) for step in shown]
    rows = [{XT: "x_t", X0: "x_0"}[kind] for kind in kinds]
    sheet = labelled_grid(cells, rows=rows, columns=columns)
    path = write_pixels(sheet, destination, f"{dump.name}-grid")
    print_path(path, json, steps=shown, kinds=kinds)


def _steps(dump: LatentsFile, kind: str) -> list[int]:
    return [step for step in dump.steps(kind) if step]


def _shown(dump: LatentsFile, kinds: list[str], steps: str | None) -> list[int]:
    there = sorted({step for kind in kinds for step in _steps(dump, kind)})
    if not there:
        raise UsageError(
            f"{dump.path}: no steps to show",
            code="latents.no_step",
            hint="dump them with --save-latents all",
        )
    if steps in (None, "all"):
        return there
    wanted = {step for k in kinds for step in options.parse_steps(steps, dump, k)}
    return sorted(wanted)


def _cell(dump: LatentsFile, kind: str, step: int, look: LatentsRenderer) -> Any:
    if step not in dump.steps(kind):
        return None
    return render_frames(dump, kind, [step], look)[0]


def _label(dump: LatentsFile, step: int) -> str:
    timestep = dump.timestep(step)
    return f"{step}" if timestep is None else f"{step} t={timestep:.0f}"
