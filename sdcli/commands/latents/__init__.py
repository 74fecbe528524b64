"""Define `sdcli latents`: inspect, compare and resume from saved latents."""

from __future__ import annotations

import typer

from sdcli.commands.latents.animate import animate
from sdcli.commands.latents.blend import blend
from sdcli.commands.latents.decode import decode
from sdcli.commands.latents.diff import diff
from sdcli.commands.latents.grid import grid
from sdcli.commands.latents.info import info
from sdcli.commands.latents.noise import noise
from sdcli.commands.latents.preview import preview
from sdcli.commands.latents.resume import resume
from sdcli.commands.latents.trajectory import path
from sdcli.commands.options.converters import PlainCommand, PlainGroup

app = typer.Typer(
    cls=PlainGroup,
    help="Inspect, compare and resume from saved latents.",
    add_completion=False,
    rich_markup_mode=None,
)
for command in (info, decode, preview, grid, animate, diff, path, blend, noise, resume):
    app.command(cls=PlainCommand)(command)
