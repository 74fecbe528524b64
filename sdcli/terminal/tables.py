"""Print tables on stdout: fitted to a terminal, aligned plain text anywhere else."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TextIO

from sdcli.storage import files
from sdcli.storage.text import one_line, printable
from sdcli.terminal.output import has_styles, print_text, write_line
from sdcli.terminal.output import print_lines as print_lines

_UNLIMITED = sys.maxsize
_MIN_BAR, _MAX_BAR = 6, 32
_MAX_LISTED = 5
_BLOCKS = " ▏▎▍▌▋▊▉█"
_NUMBER = re.compile(r"(-?[\d.]+(e[+-]?\d+)?%?|-|inf|nan)?")


def print_columns(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    stream: TextIO | None = None,
    *,
    bars: Sequence[float] = (),
) -> None:
    """Print rows under a header, by default on stdout.

    Columns of numbers are aligned to the right; None is printed as "-". `bars` has a value for
    each row, to be drawn behind it. In a terminal that is too narrow, bars are shortened or left
    out, then titles are wrapped, then the cells of a row are stacked. No cell is cut.
    """
    stream = stream or sys.stdout
    cells = [["-" if cell is None else one_line(str(cell)) for cell in row] for row in rows]
    titles = [one_line(title) for title in header]
    width = terminal_width() if stream.isatty() else _UNLIMITED
    heading, lines = _fit_table(titles, cells, width, bars)
    bold = has_styles(stream)
    text = [f"\x1b[1m{line}\x1b[0m" if bold else line for line in heading]
    with files.os_errors_as_output_errors("stdout"):
        write_line("\n".join([*text, *lines]), stream)


def _fit_table(
    titles: Sequence[str], cells: Sequence[Sequence[str]], width: int, bars: Sequence[float]
) -> tuple[list[str], list[str]]:
    """Return the lines of the header and of the rows, as they fit in so many columns."""
    right = [all(_NUMBER.fullmatch(row[i]) for row in cells) for i in range(len(titles))]
    for header in ([titles], _wrap_titles(titles, cells)):
        lines = align_rows([*header, *cells], right)
        widest = max(map(len, lines))
        if widest <= width:
            rows = _add_bars(lines[len(header) :], widest, bars, width - widest - 2)
            return lines[: len(header)], rows
    return [], _stack_rows(titles, cells, width)


def _wrap_titles(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """The lines of a header that is wrapped between words, above columns as wide as their cells."""
    columns = [
        textwrap.wrap(title, max([1, *(len(row[i]) for row in cells)]), break_long_words=False)
        for i, title in enumerate(titles)
    ]
    return list(zip_longest(*columns, fillvalue=""))


def _add_bars(lines: Sequence[str], start: int, bars: Sequence[float], space: int) -> list[str]:
    if not bars or space < _MIN_BAR:
        return list(lines)
    drawn = [text_bar(value, max(bars), min(space, _MAX_BAR)) for value in bars]
    return [f"{line:<{start}}  {bar}".rstrip() for line, bar in zip(lines, drawn, strict=True)]


def _stack_rows(titles: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> list[str]:
    """The first cell of each row, and below it the others with their titles, as many as fit."""
    lines = []
    for first, *others in cells:
        lines.append(first)
        below: list[str] = []
        wrapped = False
        for title, cell in zip(titles[1:], others, strict=True):
            fact = f"{title}: {cell}"
            if below and not wrapped and len(below[-1]) + len(fact) + 2 <= width:
                below[-1] += f"  {fact}"
                continue
            added = _wrap_fact(title, cell, width)
            # Behind the last line of a wrapped value, the next title would look like a part of it.
            wrapped = len(added) > 1
            below += added
        lines += below
    return lines


def _wrap_fact(name: str, value: str, width: int) -> list[str]:
    """A name and its value in lines of that width, a value that needs several below the name."""
    if len(name) + len(value) + 4 <= width:
        return [f"  {name}: {value}"]
    return [f"  {name}:", *(f"    {line}" for line in _wrap_words(value, width - 4))]


def terminal_width() -> int:
    """Columns of the terminal, else COLUMNS, else 80."""
    return shutil.get_terminal_size().columns


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


def fit_line(line: str, *, hanging: int) -> list[str]:
    """A line wrapped to the terminal that stdout is, with the rest indented, else unchanged."""
    return wrap_text(line, hanging=hanging) if sys.stdout.isatty() else [line]


def text_bar(value: float, largest: float, width: int = 32) -> str:
    """A bar of at most `width` characters, exact to an eighth of a character."""
    if not largest > 0 or not value > 0:
        return ""
    # The minimum first: the quotient of a very small `largest` is infinite.
    eighths = round(min(1.0, value / largest) * width * 8)
    return "█" * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def format_bytes(size: float) -> str:
    """Format a size in the unit that suits it: 4.27 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        # Rounded to three digits, more would be 1000.
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def shorten_list(names: Sequence[str]) -> str:
    """Join names, with the number of those after the fifth."""
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + more


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


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, without those that are None or empty."""
    rows = [
        (one_line(name), printable(str(value)))
        for name, value in facts.items()
        if value not in (None, "")
    ]
    if not sys.stdout.isatty():
        # Indented, the next lines of a value can't be taken for other names and values.
        print_text("\n".join(f"{n}: {v}".replace("\n", "\n  ") for n, v in rows))
        return
    with files.os_errors_as_output_errors("stdout"):
        write_line("\n".join(_fact_lines(rows, terminal_width())), sys.stdout)


def _fact_lines(rows: Sequence[tuple[str, str]], width: int) -> list[str]:
    """The names in a column and the values behind them, or below them where space is short."""
    column = max((len(name) for name, _ in rows), default=0) + 2
    lines = []
    for name, value in rows:
        first, *rest = value.split("\n")
        space = width - column
        wrapped = [_wrap_words(line, space) for line in (first, *rest)]
        parts = [part for line in wrapped for part in line]
        if max(map(len, parts)) <= space:
            lines.append(f"{name:<{column}}{parts[0]}".rstrip())
            lines += [f"{'':<{column}}{part}" for part in parts[1:]]
        else:
            lines.append(name)
            lines += [f"  {p}" for line in (first, *rest) for p in _wrap_words(line, width - 2)]
    return lines


def _wrap_words(text: str, width: int) -> list[str]:
    """Lines of that width, but for words that are longer: the terminal wraps those."""
    lines = textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False)
    return lines or [""]
