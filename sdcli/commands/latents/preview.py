"""Define `sdcli latents preview`: render latents quickly, without a VAE."""

from __future__ import annotations

from collections.abc import Iterator

from sdcli.commands.latents import options
from sdcli.commands.options import flags
from sdcli.terminal.printing import print_images
from sdcli.workflows.render_latents import linear_renderer, render_frames


def preview(
    files: options.Files,
    model: options.Model = None,
    steps: options.Steps = None,
    kind: options.KindOption = "xt",
    out: flags.Out = "outputs",
    force: flags.Force = False,
    json: flags.Json = False,
) -> None:
    """Render latents as rough images by a linear map to colours, without loading a VAE.

    \b
    Examples:
      sdcli latents preview outputs/0001-a-cat-7.latents.safetensors
      sdcli latents preview cat.png --steps 1,5,9 --kind x0 -o looks
    """
    from sdcli.storage.images.destination import parse_destination
    from sdcli.storage.images.writer import write_pixels
    from sdcli.storage.latents.reader import read_latents_file

    selected = [
        (file, options.parse_steps(steps, file, kind)) for file in map(read_latents_file, files)
    ]
    several = sum(len(file_steps) for _, file_steps in selected) > 1
    destination = parse_destination(out, several=several, force=force, json=json)

    def written() -> Iterator[tuple[str, dict[str, object]]]:
        for file, file_steps in selected:
            frames = render_frames(file, kind, file_steps, linear_renderer(file, model))
            for step, pixels in zip(file_steps, frames, strict=True):
                name = f"{file.name}-preview-{kind}-{step:04d}"
                yield write_pixels(pixels, destination, name), {"step": step, "kind": kind}

    print_images(written(), json)
