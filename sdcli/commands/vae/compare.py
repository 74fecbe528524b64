"""`sdcli vae compare`: one picture, or one latent, through several VAEs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_dtype, parse_verbosity
from sdcli.commands.vae.decode import Model, Tensor
from sdcli.errors import ExitCode, UsageError
from sdcli.terminal.printing import print_document
from sdcli.workflows.compare_vaes import VaeComparison, summary_row

Target = Annotated[str, typer.Argument(metavar="LATENTS|IMAGE", help="What to put through them.")]
Vaes = Annotated[
    str,
    typer.Option("--vaes", help="Names of `sdcli vae list`, ids, folders, files.", metavar="A,B,…"),
]


def compare(
    target: Target,
    vaes: Vaes = "own,tiny",
    model: Model = None,
    force_vae: flags.ForceVae = False,
    vae_tiling: flags.VaeTiling = None,
    tensor: Tensor = None,
    variant: flags.Variant = None,
    dtype: flags.Dtype = None,
    device: flags.Device = "auto",
    out: flags.Out = "outputs",
    force: flags.Force = False,
    offline: flags.Offline = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> ExitCode:
    """Decode one latent with several VAEs, or send an image there and back through each.

    The table has seconds, memory, and the likeness (PSNR in dB, SSIM) to the image, or for latents
    to the first VAE's picture. Memory is what the work took at most, beyond the VAE itself.

    \b
    Examples:
      sdcli vae compare photo.png --vaes own,tiny
      sdcli vae compare cat.latents.safetensors --vaes own,tiny -o vaes.png
      sdcli vae compare photo.png --vaes sd-vae-ft-mse,taesd \\
        -m stable-diffusion-v1-5/stable-diffusion-v1-5
    """
    names = [name.strip() for name in vaes.split(",") if name.strip()]
    if not names:
        raise UsageError("--vaes: no VAE is named", code="usage.vaes", hint="as in own,tiny")
    asked: dict[str, Any] = {
        "model": model,
        "force_vae": force_vae,
        "dtype": parse_dtype(dtype),
        "variant": variant,
        "device": device,
        "offline": offline,
    }
    from sdcli.storage.images.destination import parse_destination
    from sdcli.storage.images.writer import write_bytes
    from sdcli.terminal.console import Console

    destination = parse_destination(out, several=False, force=force, json=json)
    compared = VaeComparison(Path(target).expanduser(), names, asked, vae_tiling or "auto", tensor)
    path = write_bytes(compared.sheet(), destination, compared.name)
    document = {"schema": "sdcli/vae-compare/1", "path": path, **compared.document}
    console = Console(verbosity=parse_verbosity(quiet, 0))
    for event in compared.events:
        console.warn(event)
    _print_comparison(document, json=json, quiet=quiet)
    return ExitCode.OK


def _print_comparison(document: dict[str, Any], *, json: bool, quiet: bool) -> None:
    if json:
        print_document(document, json)
        return
    import sys

    from sdcli.storage import files
    from sdcli.terminal.tables import print_columns

    if not quiet:
        lines = [summary_row(row) for row in document["vaes"]]
        print_columns(list(lines[0]), [list(line.values()) for line in lines], sys.stderr)
    if document["path"] != "-":
        with files.os_errors_as_output_errors("stdout"):
            print(document["path"], flush=True)
