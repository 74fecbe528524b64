"""Define `sdcli models verify`: check downloaded models for damage."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from sdcli.commands.models.options import ModelsDir
from sdcli.commands.options import flags
from sdcli.errors import CorruptError, UsageError
from sdcli.terminal.printing import print_document

if TYPE_CHECKING:
    from sdcli.workflows.models import Checked

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...",
        help="Hub ids in the cache, names of files in --models-dir, or paths of files. "
        "Default: all.",
    ),
]
Sha256 = Annotated[
    str | None,
    typer.Option(
        "--sha256",
        metavar="HASH",
        help="Compare one file with this SHA-256, or its first digits, such as A1111's model hash.",
    ),
]


def verify(
    names: Names = None,
    models_dir: ModelsDir = None,
    sha256: Sha256 = None,
    json: flags.Json = False,
) -> None:
    """Compare models with the hashes that are known of them, and check that they are complete.

    These are the hub's, those in FILE.sha256 beside a file, and those of an earlier reading of a
    large file whose size and time are the same. Where there are none, damaged numbers cannot be
    told from sound ones, and the file is only said to be complete.

    Exits with code 7 if a file is damaged. Reads every byte, but no network is needed.

    \b
    Examples:
      sdcli models verify
      sdcli models verify madebyollin/taesd
      sdcli models verify ~/checkpoints/v1-5-pruned.safetensors --sha256 e1441589a6
    """
    from sdcli.workflows import models

    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{8,64}", sha256):
        raise UsageError("--sha256: not 8 to 64 hexadecimal digits", code="usage.sha256")
    results = []
    for result in models.verify(names or (), models_dir or (), sha256):
        results.append(result)
        if not json:
            _print(result)
    if json:
        files = [asdict(result) for result in results]
        print_document({"schema": "sdcli/verified/1", "files": files}, json)
    if failed := [result for result in results if result.problem]:
        raise CorruptError(
            f"{len(failed)} of {len(results)} files failed the check",
            code="model.damaged",
            hint=_hint(failed),
        )


def _hint(failed: list[Checked]) -> str:
    if cached := dict.fromkeys(result.model for result in failed if result.is_cached):
        names = " ".join(cached)
        return f"sdcli models rm {names}, then sdcli models pull {next(iter(cached))}"
    return "download the file again"


def _print(result: Checked) -> None:
    from sdcli.terminal.output import print_lines

    name = result.file if result.model in result.file else f"{result.model}: {result.file}"
    state = "failed" if result.problem else "ok" if result.compared_with else "complete"
    print_lines([f"{state:10}{name}"])
    if result.problem:
        print_lines([f"{'':10}{result.problem}"])
