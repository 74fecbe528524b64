"""Define `sdcli latents blend`: interpolate between the latents of two runs."""

from __future__ import annotations

from typing import Annotated

import typer

from sdcli.commands.latents import options
from sdcli.commands.options import flags
from sdcli.commands.options.typer_options import expand_groups
from sdcli.errors import UsageError
from sdcli.run_flags import OutputFlags
from sdcli.terminal.printing import print_path

Slerp = Annotated[
    bool, typer.Option("--slerp", help="Interpolate spherically, which keeps the contrast.")
]
Frames = Annotated[
    int, typer.Option("--frames", help="Number of images, both ends included: 2 to 1000.")
]


@expand_groups
def blend(
    *,
    first: options.File,
    second: options.File,
    slerp: Slerp = False,
    frames: Frames = 9,
    renderer: options.DecoderFlags,
    fps: options.Fps = 8.0,
    output: OutputFlags,
    jsonl: flags.JsonLines = False,
) -> None:
    """Interpolate between the final latents of two runs, and decode every frame.

    \b
    Examples:
      sdcli latents blend a.png b.png --frames 5
      sdcli latents blend a.png b.png --slerp --frames 16 -o morph.gif
    """
    from sdcli.storage.images import animation
    from sdcli.storage.images.destination import parse_destination
    from sdcli.storage.images.writer import write_pixels
    from sdcli.storage.latents.reader import read_latents_file
    from sdcli.terminal.console import Console
    from sdcli.workflows.blend_latents import LatentsBlend

    if not 2 <= frames <= 1000:
        raise UsageError(f"--frames: {frames} is not between 2 and 1000", code="usage.frames")
    options.check_fps(fps)
    blended = LatentsBlend(
        read_latents_file(first), read_latents_file(second), renderer.options(), slerp=slerp
    )
    warn = Console().warn
    if animation.is_animation(output.out):
        target = animation.prepare_animation(output.out, force=output.force)
        pixels = list(blended.frames(frames, warn))
        path = animation.write_animation(pixels, target, blended.name, fps=fps, force=output.force)
        print_path(path, jsonl, frames=frames)
        return
    destination = parse_destination(output.out, several=True, force=output.force, json=jsonl)
    for index, image in enumerate(blended.frames(frames, warn)):
        print_path(write_pixels(image, destination, blended.name), jsonl, frame=index)
