"""`sdcli latents noise`: the forward process, a picture walked into noise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdcli.commands.latents import options
from sdcli.commands.options import flags
from sdcli.commands.options.parsing import build_pipeline_spec
from sdcli.errors import UsageError
from sdcli.request import EMBEDDED
from sdcli.terminal.printing import print_path

Image = Annotated[str, typer.Argument(metavar="IMAGE", help="A picture.")]
To = Annotated[int, typer.Option("--to", help="Trained time to walk to; 1000 is all noise.")]
Frames = Annotated[
    int | None,
    typer.Option("--steps", help="Pictures after the first, evenly in time; 8 if left out."),
]
_FRAMES = 8
Seed = Annotated[int, typer.Option("--seed", help="Of the noise.")]


def noise(
    image: Image,
    to: To = 1000,
    steps: Frames = None,
    seed: Seed = 0,
    model: flags.Model = EMBEDDED,
    vae: flags.Vae = None,
    force_vae: flags.ForceVae = False,
    vae_tiling: flags.VaeTiling = None,
    fps: options.Fps = 8.0,
    device: flags.Device = "auto",
    out: flags.Out = "outputs",
    force: flags.Force = False,
    offline: flags.Offline = False,
    json: flags.Json = False,
) -> None:
    """Walk a picture into noise, as the model's training did: a contact sheet, or a GIF.

    \b
    Examples:
      sdcli latents noise outputs/0001-a-cat-7.png
      sdcli latents noise cat.png --to 600 --steps 24 -o cat.gif
    """
    from sdcli import engine
    from sdcli.engine.preview import loaded_vae_renderer
    from sdcli.engine.schedulers.add_noise import add_noise
    from sdcli.engine.vae.encode import encode_image
    from sdcli.storage.images import animation
    from sdcli.storage.images.contact_sheet import labelled_grid
    from sdcli.storage.images.destination import parse_destination
    from sdcli.storage.images.pixels import read_pixels
    from sdcli.storage.images.writer import write_pixels
    from sdcli.terminal.console import Console

    if not 0 <= to <= 1000:
        raise UsageError(f"--to: {to} is not between 0 and 1000", code="usage.to")
    frames_after = min(_FRAMES, to) if steps is None else steps
    if not min(1, to) <= frames_after <= to:
        raise UsageError(
            f"--steps: {steps} is not between 1 and {to}, the time to walk",
            code="usage.steps",
            hint="a step is at least 1 of it; leave --steps out",
        )
    options.check_fps(fps)
    moving = Path(out).suffix.lower() in animation.SUFFIXES
    target = animation.prepare_animation(out, force=force) if moving else None
    destination = None if moving else parse_destination(out, several=False, force=force, json=json)
    warn = Console().warn
    loaded = engine.load_vae(
        build_pipeline_spec(model, vae, None, None, device, offline, force_vae)
    )
    picture, notes = read_pixels(Path(image).expanduser(), grid=loaded.facts.vae_scale_factor)
    tiling = vae_tiling or "auto"
    latents, rungs = encode_image(loaded, picture, tiling=tiling)
    for note in (*loaded.notes, *notes, *rungs):
        warn(note)
    times = [round(to * i / max(1, frames_after)) for i in range(frames_after + 1)]
    walked = add_noise(loaded.spec, latents, times, seed)
    frames = list(map(loaded_vae_renderer(loaded, warn, tiling), walked))
    name = f"{Path(image).stem}-noise"
    if target:
        path = animation.write_animation(frames, target, name, fps=fps, force=force)
    else:
        assert destination is not None
        sheet = labelled_grid([frames], rows=[""], columns=[f"t={t}" for t in times])
        path = write_pixels(sheet, destination, name)
    print_path(path, json, timesteps=times)
