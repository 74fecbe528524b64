"""Define `sdcli vae encode`: encode images to latents."""

from __future__ import annotations

from typing import Annotated

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import build_pipeline_spec, drawn_seed, parse_verbosity
from sdcli.commands.vae.per_file import FileResults
from sdcli.errors import ExitCode, UsageError
from sdcli.request import EMBEDDED

Images = Annotated[list[str], typer.Argument(metavar="IMAGE", help="Image files.")]
Out = Annotated[
    str,
    typer.Option(
        "--out", "-o", help="A folder, or a .safetensors file (numbered).", metavar="PATH"
    ),
]
Sample = Annotated[
    bool, typer.Option("--sample", help="Sample from the VAE's distribution. Default: its mean.")
]


def encode(
    files: Images,
    model: flags.Model = EMBEDDED,
    vae: flags.Vae = None,
    force_vae: flags.ForceVae = False,
    vae_tiling: flags.VaeTiling = None,
    sample: Sample = False,
    seed: flags.Seed = None,
    variant: flags.Variant = None,
    dtype: flags.Dtype = None,
    device: flags.Device = "auto",
    out: Out = "outputs",
    force: flags.Force = False,
    offline: flags.Offline = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> ExitCode:
    """Encode images to latents and print the files' paths.

    \b
    Examples:
      sdcli vae encode photo.png
      sdcli vae encode a.png b.jpg --sample --seed 7 -o latents
      sdcli vae encode photo.png --vae tiny -o photo.latents.safetensors
    """
    if seed is not None and not sample:
        raise UsageError(
            "--seed has no effect without --sample",
            code="usage.seed",
            hint="add --sample",
        )
    from sdcli.workflows.encode_images import ImageEncoder

    spec = build_pipeline_spec(model, vae, variant, dtype, device, offline, force_vae)
    results = FileResults(
        "sdcli/vae-encode/1", "latents", json=json, verbosity=parse_verbosity(quiet, verbose)
    )
    encoder = ImageEncoder(
        spec,
        out=out,
        several=len(files) > 1,
        force=force,
        seed=drawn_seed(seed) if sample else None,
        tiling=vae_tiling or "auto",
    )
    return results.run(enumerate(files), encoder.encode)
