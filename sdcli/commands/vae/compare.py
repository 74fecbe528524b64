"""Define `sdcli vae compare`: compare VAEs on one image or on the same latents."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_verbosity
from sdcli.commands.options.typer_options import expand_groups
from sdcli.commands.vae.options import OverrideFlags, Tensor
from sdcli.errors import ExitCode
from sdcli.inputs.lists import split_names
from sdcli.inputs.paths import expand_user
from sdcli.run_flags import OutputFlags, SheetFlags
from sdcli.terminal.printing import print_document, print_path
from sdcli.workflows.compare_vaes import VaeComparison, summary_row

Target = Annotated[
    str, typer.Argument(metavar="LATENTS|IMAGE", help="Image or latents file to compare them on.")
]
Vaes = Annotated[
    str,
    typer.Option(
        "--vaes",
        help="VAEs, separated by commas: names from `sdcli vae list`, hub ids, folders, files.",
        metavar="A,B,…",
    ),
]


@expand_groups
def compare(
    *,
    target: Target,
    vaes: Vaes = "own,tiny",
    loading: OverrideFlags,
    vae_tiling: flags.VaeTiling = None,
    tensor: Tensor = None,
    sheet: SheetFlags,
    output: OutputFlags,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> ExitCode:
    """Decode latents with several VAEs, or encode and decode an image with each.

    The table shows the time, the peak memory beyond the VAE itself, and the similarity (PSNR in
    dB, SSIM) to the image, or for latents to the first VAE's image.

    \b
    Examples:
      sdcli vae compare photo.png --vaes own,tiny
      sdcli vae compare cat.latents.safetensors --vaes own,tiny --scale 2 -o vaes.png
      sdcli vae compare photo.png --vaes sd-vae-ft-mse,taesd \\
        -m stable-diffusion-v1-5/stable-diffusion-v1-5
    """
    names = split_names(vaes, "--vaes")
    overrides = loading.overrides()
    from sdcli.storage.images.destination import parse_destination
    from sdcli.storage.images.writer import write_bytes
    from sdcli.terminal.console import Console

    destination = parse_destination(output.out, several=False, force=output.force, json=json)
    comparison = VaeComparison(expand_user(target), names, overrides, vae_tiling or "auto", tensor)
    path = write_bytes(comparison.contact_sheet(sheet), destination, comparison.name)
    console = Console(verbosity=parse_verbosity(quiet, 0))
    for event in comparison.events:
        console.warn(event)
    document = {"schema": "sdcli/vae-compare/1", "path": path, **comparison.document}
    _print_comparison(document, json=json, quiet=quiet)
    return ExitCode.OK


def _print_comparison(document: dict[str, Any], *, json: bool, quiet: bool) -> None:
    if json:
        print_document(document, json)
        return
    import sys

    from sdcli.terminal.tables import print_columns

    if not quiet:
        rows = [summary_row(row) for row in document["vaes"]]
        # stdout carries the path of the contact sheet.
        print_columns(list(rows[0]), [list(row.values()) for row in rows], sys.stderr)
    print_path(document["path"], json=False)
