"""Define `sdcli models`: list, download, check, convert and delete models."""

from __future__ import annotations

import typer

from sdcli.commands.models.convert import convert
from sdcli.commands.models.list import list_models
from sdcli.commands.models.path import path
from sdcli.commands.models.pull import pull
from sdcli.commands.models.rm import rm
from sdcli.commands.models.verify import verify
from sdcli.commands.options.converters import PlainCommand, PlainGroup

app = typer.Typer(
    cls=PlainGroup,
    help="List, download, check, convert and delete models.",
    add_completion=False,
    rich_markup_mode=None,
)
app.command("list", cls=PlainCommand)(list_models)
for command in (pull, path, verify, convert, rm):
    app.command(cls=PlainCommand)(command)
