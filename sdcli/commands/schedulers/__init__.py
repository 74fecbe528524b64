"""`sdcli schedulers`: list, show and compare schedulers."""

from __future__ import annotations

import typer

from sdcli.commands.options.converters import PlainCommand, PlainGroup
from sdcli.commands.schedulers.compare import compare
from sdcli.commands.schedulers.list import list_schedulers
from sdcli.commands.schedulers.show import show

app = typer.Typer(
    cls=PlainGroup,
    help="List, show and compare schedulers.",
    add_completion=False,
    rich_markup_mode=None,
)
app.command(name="list", cls=PlainCommand)(list_schedulers)
app.command(cls=PlainCommand)(show)
app.command(cls=PlainCommand)(compare)
