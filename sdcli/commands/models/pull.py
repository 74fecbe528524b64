"""Define `sdcli models pull`: download a model."""

from __future__ import annotations

from typing import Annotated

import typer

from sdcli.catalog.hub_names import hub_file
from sdcli.commands.options import flags
from sdcli.errors import UsageError
from sdcli.terminal.printing import print_path

Repo = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Hugging Face id of a model or a VAE: owner/name, or its address."
    ),
]
File = Annotated[
    str | None,
    typer.Option(
        "--file",
        metavar="NAME",
        help="Download only this file of the repository, e.g. v1-5-pruned-emaonly.safetensors.",
    ),
]


def pull(
    repo: Repo,
    variant: flags.Variant = None,
    file: File = None,
    json: flags.Json = False,
) -> None:
    """Download a model to the Hugging Face cache, and print its path.

    Only the files that sdcli loads are downloaded: the configurations, and one .safetensors file of
    each component. A download that broke off continues, and the hashes of new files are checked.

    \b
    Examples:
      sdcli models pull stable-diffusion-v1-5/stable-diffusion-v1-5 --variant fp16
      sdcli models pull madebyollin/taesd
      sdcli models pull owner/name --file model.safetensors
    """
    from sdcli.checkpoints.hub import pull_file, pull_model

    # The address of a file's page names both.
    if named := hub_file(repo):
        if file:
            raise UsageError(
                "--file has no effect with the address of a file",
                code="usage.file",
                hint="leave it out, or give owner/name",
            )
        repo, file = named
    if file and variant:
        raise UsageError(
            "--variant has no effect on a single file",
            code="usage.variant",
            hint="leave it out, or download the whole model",
        )
    path = pull_file(repo, file) if file else pull_model(repo, variant)
    print_path(str(path), json, schema="sdcli/pulled/1", model=repo)
