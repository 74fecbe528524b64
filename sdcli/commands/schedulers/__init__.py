"""`sdcli schedulers`: the catalogue, one of its entries, and several on one picture."""

from __future__ import annotations

import typer

from sdcli.commands.schedulers.compare import compare
from sdcli.commands.schedulers.listing import list_schedulers
from sdcli.commands.schedulers.showing import show
from sdcli.commands.values import Verb, Verbs

schedulers = typer.Typer(
    name="schedulers",
    cls=Verbs,
    help="List, show and compare schedulers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
schedulers.command(name="list", cls=Verb)(list_schedulers)
schedulers.command(cls=Verb)(show)
schedulers.command(cls=Verb)(compare)
