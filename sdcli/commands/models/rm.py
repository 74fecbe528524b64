"""Define `sdcli models rm`: delete models from the cache."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sdcli.commands.options import flags
from sdcli.errors import UsageError
from sdcli.terminal.console import Console
from sdcli.terminal.printing import print_document
from sdcli.terminal.tables import format_bytes

Names = Annotated[
    list[str], typer.Argument(metavar="ID...", help="Hub ids of models in the cache.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")]


def rm(names: Names, yes: Yes = False, json: flags.Json = False) -> None:
    """Delete models from the Hugging Face cache.

    Other programs use the same cache. Your own files and folders are never deleted.

    \b
    Examples:
      sdcli models rm madebyollin/taesd
      sdcli models rm madebyollin/taesd stabilityai/sd-vae-ft-mse --yes
    """
    from sdcli.checkpoints.hub_cache import delete_cached, find_cached

    names = list(dict.fromkeys(names))
    found = [find_cached(name) for name in names]
    size = sum(model.bytes for model in found)
    if not yes:
        _confirm(f"delete {', '.join(names)} ({format_bytes(size)})?")
    freed = delete_cached(names)
    if json:
        print_document({"schema": "sdcli/deleted/1", "models": names, "bytes": freed}, json)
    else:
        Console().summary(f"deleted {', '.join(names)}: {format_bytes(freed)}")


def _confirm(question: str) -> None:
    """Ask on the terminal. Raises UsageError unless the answer is yes."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "nobody can be asked without a terminal", code="usage.confirm", hint="add --yes"
        )
    Console().summary(f"{question} [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was deleted", code="usage.confirm", hint="answer y, or add --yes")
