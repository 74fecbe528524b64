"""Define `sdcli worker stop`."""

from __future__ import annotations

from typing import Annotated

import typer

from sdcli.commands.options import flags
from sdcli.terminal.console import Console
from sdcli.terminal.printing import print_document

Now = Annotated[bool, typer.Option("--now", help="Do not wait for the command that it is running.")]


def stop(now: Now = False, json: flags.Json = False, quiet: flags.Quiet = False) -> None:
    """Stop the warm worker after its current command.

    A command that loses its worker runs again without one if it had written nothing yet.

    \b
    Examples:
      sdcli worker stop
      sdcli worker stop --now
    """
    from sdcli.server.requests import stop_worker

    pid = stop_worker(now=now)
    if json:
        print_document({"schema": "sdcli/worker-stopped/1", "pid": pid}, json)
    elif not quiet:
        Console().summary("no worker is running" if pid is None else f"stopped process {pid}")
