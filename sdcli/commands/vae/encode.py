"""Define `sdcli vae encode`: encode images to latents."""

from __future__ import annotations

from typing import Annotated

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_verbosity
from sdcli.commands.options.spec_flags import SpecFlags
from sdcli.commands.options.typer_options import expand_groups, to_option
from sdcli.commands.vae.per_file import FileResults
from sdcli.errors import ExitCode, UsageError
from sdcli.planning.resolve import random_seed
from sdcli.request import REQUEST_FIELDS
from sdcli.run_flags import MessageFlags

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

SampleSeed = Annotated[
    int | None,
    to_option(REQUEST_FIELDS["seed"], help="Image i is sampled with SEED + i. Default: random."),
]


@expand_groups
def encode(
    *,
    files: Images,
    loading: SpecFlags,
    vae_tiling: flags.VaeTiling = None,
    sample: Sample = False,
    seed: SampleSeed = None,
    out: Out = "outputs",
    force: flags.Force = False,
    json: flags.Json = False,
    messages: MessageFlags,
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

    verbosity = parse_verbosity(messages.quiet, messages.verbose)
    results = FileResults("sdcli/vae-encode/1", "latents", json=json, verbosity=verbosity)
    encoder = ImageEncoder(
        loading.spec(),
        out=out,
        several=len(files) > 1,
        force=force,
        seed=random_seed() if sample and seed is None else seed,
        tiling=vae_tiling or "auto",
    )
    return results.run(enumerate(files), encoder.encode)
