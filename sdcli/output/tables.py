"""Facts for people on stdout: a table on a terminal, plain `name: value` lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from sdcli.storage import files
from sdcli.storage.text import printable


def print_facts(facts: Mapping[str, object]) -> None:
    """Print the facts in their order, without those that are None or empty."""
    rows = [
        (name, printable(str(value))) for name, value in facts.items() if value not in (None, "")
    ]
    with files.os_errors_as_output_errors("stdout"):
        if sys.stdout.isatty():
            _table(rows)
        else:
            print("\n".join(f"{name}: {value}" for name, value in rows), flush=True)


def _table(rows: list[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in rows:
        table.add_row(Text(name, style="bold"), Text(value))
    Console().print(table)
