"""Facts for people on stdout: a table on a terminal, plain `name: value` lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from sdcli.output import files
from sdcli.output.text import printable


def show(facts: Mapping[str, object]) -> None:
    """Print the facts in their order, without those that are None or empty."""
    rows = [
        (name, printable(str(value))) for name, value in facts.items() if value not in (None, "")
    ]
    with files.translated("stdout"):
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


def show_rows(rows: Sequence[Mapping[str, object]], stream: TextIO | None = None) -> None:
    """Print one line a row under the names of the columns; in a pipe they are kept apart by tabs.

    All rows have the keys of the first; None is shown as "-". The stream is stdout if left out.
    """
    stream = stream or sys.stdout
    cells = [["-" if v is None else printable(str(v)) for v in row.values()] for row in rows]
    names = list(rows[0]) if rows else []
    with files.translated("stdout"):
        if stream.isatty():
            _columns(names, cells, stream)
        else:
            lines = ["\t".join(line) for line in [names, *cells]]
            print("\n".join(lines), file=stream, flush=True)


def _columns(names: list[str], cells: list[list[str]], stream: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))
    Console(file=stream).print(table)
