"""Define `sdcli vae decode`: decode latents to images."""

from __future__ import annotations

from typing import Annotated

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_verbosity
from sdcli.commands.options.typer_options import expand_groups
from sdcli.commands.vae.options import DecoderFlags, Tensor
from sdcli.commands.vae.per_file import FileResults
from sdcli.errors import ExitCode
from sdcli.inputs.paths import expand_user
from sdcli.run_flags import MessageFlags, OutputFlags
from sdcli.workflows.decode_latents import LatentsDecoder

Files = Annotated[list[str], typer.Argument(metavar="LATENTS", help="Latents files.")]


@expand_groups
def decode(
    *,
    files: Files,
    loading: DecoderFlags,
    vae_tiling: flags.VaeTiling = None,
    tensor: Tensor = None,
    output: OutputFlags,
    no_metadata: flags.NoMetadata = False,
    json: flags.Json = False,
    messages: MessageFlags,
) -> ExitCode:
    """Decode latents to images and print their paths.

    The model, VAE and dtype default to those recorded in the file, so that the final latents of a
    run give exactly its image.

    \b
    Examples:
      sdcli vae decode outputs/0001-a-cat-7.latents.safetensors
      sdcli vae decode cat.latents.safetensors --vae tiny -o tiny.png
    """
    overrides = loading.overrides()
    from sdcli.storage.images.destination import parse_destination

    destination = parse_destination(
        output.out, several=len(files) > 1, force=output.force, json=json
    )
    verbosity = parse_verbosity(messages.quiet, messages.verbose)
    results = FileResults("sdcli/vae-decode/1", "images", json=json, verbosity=verbosity)
    decoder = LatentsDecoder(overrides, vae_tiling, tensor, destination, metadata=not no_metadata)
    return results.run((expand_user(file) for file in files), decoder.decode)
