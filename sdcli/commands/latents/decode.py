"""Define `sdcli latents decode`: decode latents to images through a VAE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdcli.commands.latents import options
from sdcli.commands.options import flags
from sdcli.commands.options.typer_options import expand_groups
from sdcli.latents import XT
from sdcli.run_flags import OutputFlags
from sdcli.terminal.printing import print_images
from sdcli.workflows.render_latents import decode_steps

if TYPE_CHECKING:
    from sdcli.storage.latents.latents_file import LatentsFile


@expand_groups
def decode(
    *,
    files: options.Files,
    renderer: options.DecoderFlags,
    steps: options.Steps = None,
    kind: options.KindOption = "xt",
    output: OutputFlags,
    json: flags.Json = False,
) -> None:
    """Decode latents to images, with the VAE of their run or another one.

    The final latents give exactly the image of the run.

    \b
    Examples:
      sdcli latents decode outputs/0001-a-cat-7.latents.safetensors
      sdcli latents decode outputs/*.latents.safetensors --vae tiny -o tiny
      sdcli latents decode outputs/0001-a-cat-7.png --steps all --kind x0 -o steps
    """
    from sdcli.storage.images.destination import parse_destination
    from sdcli.storage.latents.reader import read_latents_file
    from sdcli.terminal.console import Console

    selected = [(file, _select_steps(file, steps, kind)) for file in map(read_latents_file, files)]
    several = sum(len(file_steps) for _, file_steps in selected) > 1
    destination = parse_destination(output.out, several=several, force=output.force, json=json)
    written = decode_steps(selected, kind, renderer.options(), destination, Console().warn)
    print_images(written, json)


def _select_steps(file: LatentsFile, steps: str | None, kind: str) -> list[int]:
    if steps is None and kind == XT:
        file.final()  # raises for an interrupted run, whose last x_t is not the image
        return [file.num_steps]
    return options.parse_steps(steps, file, kind)
