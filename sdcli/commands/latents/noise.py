"""Define `sdcli latents noise`: show the forward process on an image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdcli.commands.latents import options
from sdcli.commands.options import flags
from sdcli.commands.options.spec_flags import SpecFlags
from sdcli.commands.options.typer_options import expand_groups
from sdcli.inputs.paths import expand_user
from sdcli.run_flags import OutputFlags
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
    output: OutputFlags,
    json: flags.Json = False,
) -> None:
    """Add noise to an image as the model's training does: a contact sheet, or an animation.

    \b
    Examples:
      sdcli latents noise outputs/0001-a-cat-7.png
      sdcli latents noise cat.png --to 600 --steps 24 -o cat.gif
    """
    from sdcli.storage.images import animation
    from sdcli.storage.images.destination import parse_destination
    from sdcli.storage.images.writer import write_pixels
    from sdcli.terminal.console import Console
    from sdcli.workflows.noise_image import noise_image, noise_timesteps

    timesteps = noise_timesteps(to, steps)
    options.check_fps(fps)
    is_animation = animation.is_animation(output.out)
    target = animation.prepare_animation(output.out, force=output.force) if is_animation else None
    destination = None
    if not is_animation:
        destination = parse_destination(output.out, several=False, force=output.force, json=json)
    noised = noise_image(
        expand_user(image),
        timesteps,
        spec.spec(),
        seed=seed,
        tiling=vae_tiling or "auto",
        warn=Console().warn,
    )
    name = f"{Path(image).stem}-noise"
    if destination:
        path = write_pixels(noised.to_contact_sheet(), destination, name)
    else:
        assert target is not None
        path = animation.write_animation(noised.frames, target, name, fps=fps, force=output.force)
    print_path(path, json, timesteps=list(timesteps))
