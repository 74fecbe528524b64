"""Define `sdcli latents noise`: show the forward process on an image."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sdcli.commands.latents import options
from sdcli.commands.options import flags
from sdcli.commands.options.spec_flags import SpecFlags
from sdcli.commands.options.typer_options import expand_groups
from sdcli.errors import UsageError
from sdcli.inputs.paths import expand_user
from sdcli.run_flags import OutputFlags, SheetFlags
from sdcli.terminal.console import Console
from sdcli.terminal.printing import print_path

Image = Annotated[str, typer.Argument(metavar="IMAGE", help="An image file.")]
To = Annotated[int, typer.Option("--to", help="Last timestep, 0 to 1000; 1000 is pure noise.")]
Frames = Annotated[
    int | None,
    typer.Option("--steps", help="Noisy images, evenly spaced in time. Default: 8."),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the noise.")]


@expand_groups
def noise(
    *,
    image: Image,
    to: To = 1000,
    steps: Frames = None,
    seed: Seed = 0,
    spec: SpecFlags,
    vae_tiling: flags.VaeTiling = None,
    fps: options.Fps = 8.0,
    sheet: SheetFlags,
    no_labels: options.NoLabels = False,
    output: OutputFlags,
    json: flags.Json = False,
) -> None:
    """Add noise to an image as the model's training does: a contact sheet, or an animation.

    Shown are the latents as colours, where noise looks like noise, and as the VAE decodes them.

    \b
    Examples:
      sdcli latents noise outputs/0001-a-cat-7.png
      sdcli latents noise cat.png --to 600 --steps 24 -o cat.gif
      sdcli latents noise cat.png --scale 2 --columns 5
    """
    from sdcli.storage.images import animation
    from sdcli.storage.images.destination import parse_destination
    from sdcli.storage.images.writer import write_pixels
    from sdcli.workflows.noise_image import noise_image, noise_timesteps

    timesteps = noise_timesteps(to, steps)
    is_animation = animation.is_animation(output.out)
    _check_form(sheet, fps, no_labels, is_animation)
    noised_image = partial(
        noise_image,
        expand_user(image),
        timesteps,
        spec.spec(),
        seed=seed,
        tiling=vae_tiling or "auto",
        warn=Console().warn,
    )
    name = f"{Path(image).stem}-noise"
    if is_animation:
        target = animation.prepare_animation(output.out, force=output.force)
        frames = noised_image().to_frames(scale=sheet.scale, labels=not no_labels)
        path = animation.write_animation(frames, target, name, fps=fps, force=output.force)
    else:
        destination = parse_destination(output.out, several=False, force=output.force, json=json)
        path = write_pixels(noised_image().to_contact_sheet(sheet), destination, name)
    print_path(path, json, timesteps=list(timesteps))


def _check_form(sheet: SheetFlags, fps: float, no_labels: bool, is_animation: bool) -> None:
    """Raise UsageError for an option of a sheet on an animation, or the other way round."""
    options.check_fps(fps)
    if is_animation and sheet.columns is not None:
        raise UsageError(
            "--columns has no effect on an animation",
            code="usage.columns",
            hint="leave it out, or write a sheet: -o noise.png",
        )
    if no_labels and not is_animation:
        raise UsageError(
            "--no-labels has no effect on a sheet",
            code="usage.no_labels",
            hint="leave it out, or write an animation: -o noise.gif",
        )
