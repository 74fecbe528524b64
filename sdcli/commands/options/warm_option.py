"""Add --warm to every command that loads a model.

No command is called with its value: before typer is imported, `server.warm_commands` has read it.
"""

from __future__ import annotations

from typing import Any

import typer

from sdcli.commands.options.typer_options import expand_groups
from sdcli.run_flags import WarmFlags
from sdcli.server.warm_commands import WARM_COMMANDS


def add_warm_option(command: Any, path: str) -> None:
    """Add the option to a command, or to those of a group, that have one."""
    for name, each in getattr(command, "commands", {}).items():
        add_warm_option(each, f"{path} {name}")
    if path in WARM_COMMANDS:
        option = _build_option()
        option.expose_value = False
        command.params.append(option)


def _build_option() -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(expand_groups(_only_warm))
    return typer.main.get_command(app).params[0]


def _only_warm(*, warm: WarmFlags) -> None:
    """Have the option and nothing else."""
