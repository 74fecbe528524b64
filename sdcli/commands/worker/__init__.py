"""Define `sdcli worker`: show and stop the process that --warm starts."""

from __future__ import annotations

import typer

from sdcli.commands.options.converters import PlainCommand, PlainGroup
from sdcli.commands.worker.status import status
from sdcli.commands.worker.stop import stop

app = typer.Typer(
    cls=PlainGroup,
    help="Show or stop the background process that --warm starts.",
    add_completion=False,
    rich_markup_mode=None,
)
for command in (status, stop):
    app.command(cls=PlainCommand)(command)
