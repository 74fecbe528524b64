"""Options that several verbs of `sdcli models` share."""

from __future__ import annotations

from typing import Annotated

import typer

ModelsDir = Annotated[
    list[str] | None,
    typer.Option(
        "--models-dir",
        metavar="FOLDER",
        help="Folder with single files of weights; may be repeated, or set in sdcli.toml.",
    ),
]
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A hub id in the cache, a file of --models-dir by its name, or an add-on such as "
        "embedded:flag.",
    ),
]
