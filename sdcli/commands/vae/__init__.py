"""Define `sdcli vae`: encode, decode, and compare VAEs."""

from __future__ import annotations

import typer

from sdcli.commands.options.converters import PlainCommand, PlainGroup
from sdcli.commands.vae.compare import compare
from sdcli.commands.vae.decode import decode
from sdcli.commands.vae.encode import encode
from sdcli.commands.vae.list import list_vaes
from sdcli.commands.vae.show import show

app = typer.Typer(
    cls=PlainGroup,
    help="List, show and compare VAEs; encode images and decode latents.",
    add_completion=False,
    rich_markup_mode=None,
)
app.command("list", cls=PlainCommand)(list_vaes)
for command in (show, encode, decode, compare):
    app.command(cls=PlainCommand)(command)
