"""Define `sdcli vae decode`: decode latents to images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_dtype, parse_verbosity
from sdcli.commands.vae.per_file import FileResults
from sdcli.errors import ExitCode
from sdcli.workflows.decode_latents import LatentsDecoder

Files = Annotated[list[str], typer.Argument(metavar="LATENTS", help="Latents files.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="Model the latents belong to. Default: recorded in the file."
    ),
]
Tensor = Annotated[
    str | None,
    typer.Option("--tensor", help="Tensor to decode. Default: final, or the only one."),
]


def decode(
    files: Files,
    model: Model = None,
    vae: flags.Vae = None,
    force_vae: flags.ForceVae = False,
    vae_tiling: flags.VaeTiling = None,
    tensor: Tensor = None,
    variant: flags.Variant = None,
    dtype: flags.Dtype = None,
    device: flags.Device = "auto",
    out: flags.Out = "outputs",
    no_metadata: flags.NoMetadata = False,
    force: flags.Force = False,
    offline: flags.Offline = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> ExitCode:
    """Decode latents to images and print their paths.

    The model, VAE and dtype default to those recorded in the file, so that the final latents of a
    run give exactly its image.

    \b
    Examples:
      sdcli vae decode outputs/0001-a-cat-7.latents.safetensors
      sdcli vae decode cat.latents.safetensors --vae tiny -o tiny.png
    """
    overrides: dict[str, Any] = {
        "model": model,
        "vae": vae,
        "force_vae": force_vae,
        "dtype": parse_dtype(dtype),
        "variant": variant,
        "device": device,
        "offline": offline,
    }
    from sdcli.storage.images.destination import parse_destination

    destination = parse_destination(out, several=len(files) > 1, force=force, json=json)
    results = FileResults(
        "sdcli/vae-decode/1", "images", json=json, verbosity=parse_verbosity(quiet, verbose)
    )
    decoder = LatentsDecoder(overrides, vae_tiling, tensor, destination, metadata=not no_metadata)
    return results.run((Path(file).expanduser() for file in files), decoder.decode)
