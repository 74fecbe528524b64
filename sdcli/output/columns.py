"""Rows of figures on stdout, aligned, the last column a bar where there is one to draw."""

from __future__ import annotations

from collections.abc import Sequence

from sdcli.output import files
from sdcli.output.text import one_line

_BLOCKS = " ▏▎▍▌▋▊▉█"


def show(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print the rows under their header, numbers to the right. A closed pipe passes."""
    table = [[one_line(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    with files.translated("stdout"):
        for row in table:
            cells = [
                cell.ljust(width) if cell[:1] in _BLOCKS[1:] and cell else cell.rjust(width)
                for cell, width in zip(row, widths, strict=True)
            ]
            print("  ".join(cells).rstrip(), flush=True)


def bar(value: float, largest: float, width: int = 32) -> str:
    """A bar of at most `width` characters, to an eighth of one."""
    if not largest > 0 or not value > 0:
        return ""
    eighths = min(round(value / largest * width * 8), width * 8)
    return "█" * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def say(text: str) -> None:
    """A sentence under the rows."""
    with files.translated("stdout"):
        print(one_line(text), flush=True)
