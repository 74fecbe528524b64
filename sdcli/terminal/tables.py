"""Print tables on stdout: fitted to a terminal, aligned plain text anywhere else."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TextIO

from sdcli.storage import files
from sdcli.storage.text import one_line, printable
from sdcli.terminal.output import print_lines as print_lines
from sdcli.terminal.output import print_text

_BLOCKS = " ▏▎▍▌▋▊▉█"
_NUMBER = re.compile(r"-?[\d.]+(e[+-]?\d+)?|-|inf|nan")


def print_columns(
    header: Sequence[str], rows: Sequence[Sequence[object]], stream: TextIO | None = None
) -> None:
    """Print rows under a header, by default on stdout.

    Columns of numbers are aligned to the right; None is printed as "-".
    """
    stream = stream or sys.stdout
    cells = [["-" if cell is None else one_line(str(cell)) for cell in row] for row in rows]
    right = [all(_NUMBER.fullmatch(row[i]) for row in cells) for i in range(len(header))]
    titles = [one_line(title) for title in header]
    if stream.isatty():
        with files.os_errors_as_output_errors("stdout"):
            _print_column_table(titles, cells, right, stream)
    else:
        print_lines(align_rows([titles, *cells], right), stream)


def wrap_text(text: str, indent: int = 0, *, hanging: int = 0) -> list[str]:
    """Wrap the text to the width of the terminal, else COLUMNS, else 80."""
    width = max(shutil.get_terminal_size().columns, indent + hanging + 20)
    return textwrap.wrap(
        one_line(text),
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_on_hyphens=False,
    )


def text_bar(value: float, largest: float, width: int = 32) -> str:
    """A bar of at most `width` characters, exact to an eighth of a character."""
    if not largest > 0 or not value > 0:
        return ""
    # The minimum first: the quotient of a very small `largest` is infinite.
    eighths = round(min(1.0, value / largest) * width * 8)
    return "█" * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def align_rows(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Align the cells in columns, with two spaces between them."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(right))]
    return [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]


def _print_column_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], stream: TextIO
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name, to_right in zip(header, right, strict=True):
        table.add_column(Text(name), justify="right" if to_right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(file=stream).print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, without those that are None or empty."""
    rows = [
        (one_line(name), printable(str(value)))
        for name, value in facts.items()
        if value not in (None, "")
    ]
    if sys.stdout.isatty():
        with files.os_errors_as_output_errors("stdout"):
            _print_fact_table(rows)
    else:
        print_text("\n".join(f"{name}: {value}" for name, value in rows))


def _print_fact_table(rows: list[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column()
    # A hash or a path must be whole, also where it is wider than the terminal.
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name, style="bold"), Text(value))
    Console().print(table)
