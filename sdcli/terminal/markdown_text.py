"""Fit the manual's Markdown to the width of a terminal, as plain text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from sdcli.terminal.tables import align_rows

_LONGEST_LINE: Final = 100
"""Columns of prose in a wide terminal: longer lines are hard to read."""
_NARROWEST_COLUMN: Final = 16

_FENCE: Final = "```"
_HARD_SPACE: Final = "\xa0"
_ITEM = re.compile(r"(- |\d+\. )")
_HEREDOC = re.compile(r"<<'?(\w+)'?")
_SHELL_WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"(?:[^"\\]|\\.)*")+""")
_GAP = re.compile(r"^(\s*\S.*?\s{2,})\S")


def fit_markdown(text: str, width: int) -> list[str]:
    """Return the lines of a page, none wider than `width` unless a word or a string is.

    Paragraphs and lists are filled again, tables aligned, and their longest column wrapped. Long
    commands continue on the next line with a backslash, so that they can still be pasted.
    """
    lines: list[str] = []
    for block in _blocks(text.splitlines()):
        first = block[0]
        if first.startswith(_FENCE):
            lines += _fit_code(block, width)
        elif first.startswith("|"):
            lines += _fit_table(block, width)
        elif first.startswith("#") or not first:
            lines += block
        else:
            lines += _fill(block, min(width, _LONGEST_LINE))
    return lines


def fit_lines(lines: Sequence[str], width: int) -> list[str]:
    """Wrap lines that are wider, below the text of their last column: of help, for example."""
    return [part for line in lines for part in _wrap(line, width)]


def fit_help(text: str, width: int) -> str:
    """Fit the help of a command: examples continue with a backslash, other lines are wrapped."""
    lines: list[str] = []
    is_example = False
    for line in text.splitlines():
        is_example = line.strip() == "Examples:" or (is_example and bool(line.strip()))
        wrap = _wrap_command if is_example and len(line) > width else _wrap
        lines += wrap(line, width)
    return "\n".join(lines)


def _blocks(lines: Sequence[str]) -> Iterator[list[str]]:
    """Yield blocks: fenced code, tables, headings, empty lines, list items and paragraphs."""
    block: list[str] = []
    for line in lines:
        is_code = bool(block) and block[0].startswith(_FENCE)
        if is_code:
            block.append(line)
            if line == _FENCE:
                yield block
                block = []
            continue
        if block and not _continues(block, line):
            yield block
            block = []
        block.append(line)
    if block:
        yield block


def _continues(block: Sequence[str], line: str) -> bool:
    """Whether a line belongs to the block before it, which is no code."""
    first = block[0]
    if first.startswith("|"):
        return line.startswith("|")
    is_text = bool(first) and not first.startswith("#")
    return is_text and bool(line) and not line.startswith(("|", "#", _FENCE)) and not _item(line)


def _item(line: str) -> re.Match[str] | None:
    return _ITEM.match(line)


def _fill(block: Sequence[str], width: int) -> list[str]:
    marker = _item(block[0])
    return textwrap.wrap(
        " ".join(line.strip() for line in block),
        width,
        subsequent_indent=" " * len(marker[0]) if marker else "",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _fit_table(block: Sequence[str], width: int) -> list[str]:
    header, _, *rows = [_cells(line) for line in block]
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    longest = widths.index(max(widths))
    room = width - sum(widths) + widths[longest] - 2 * (len(widths) - 1)
    widths[longest] = min(widths[longest], max(room, _NARROWEST_COLUMN))
    rule = ["-" * column for column in widths]
    fitted = [line for row in rows for line in _wrap_row(row, longest, widths[longest])]
    titles = [header, rule] if any(header) else [rule]
    return align_rows([*titles, *fitted], [False] * len(header))


def _cells(line: str) -> list[str]:
    """The cells of a row: a vertical bar within one is written with a backslash."""
    parts = re.split(r"(?<!\\)\|", line)[1:-1]
    return [part.strip().replace("\\|", "|") for part in parts]


def _wrap_row(row: Sequence[str], longest: int, width: int) -> Iterator[list[str]]:
    parts = textwrap.wrap(row[longest], width, break_long_words=False, break_on_hyphens=False)
    for number, part in enumerate(parts or [""]):
        yield [part if i == longest else cell if number == 0 else "" for i, cell in enumerate(row)]


def _fit_code(block: Sequence[str], width: int) -> list[str]:
    fence, *code, end = block
    language = fence.removeprefix(_FENCE)
    is_shell = language in ("sh", "bash")
    lines = "\n".join(code).replace("\\\n", "\\\0").splitlines() if is_shell else code
    fitted: list[str] = []
    data_end = None
    for line in lines:
        if line == data_end:
            data_end = None
        # The text of a file, which must stay the same.
        if data_end is not None or max(map(len, line.split("\0"))) <= width:
            fitted += line.replace("\\\0", "\\\n").split("\n")
        elif is_shell or line.startswith("$ "):
            fitted += _wrap_command(line, width)
        else:
            # A name stays with its value.
            fitted += [
                part.replace(_HARD_SPACE, " ")
                for part in _wrap(line.replace('": ', f'":{_HARD_SPACE}'), width)
            ]
        if is_shell and (heredoc := _HEREDOC.search(line)):
            data_end = heredoc[1]
    return [fence, *fitted, end]


def _wrap_command(line: str, width: int) -> list[str]:
    """Break a command between its words, with backslashes; one in open quotes stays whole."""
    joined = re.sub(r"\s*\\\0\s*", " ", line)
    words = _SHELL_WORD.findall(joined)
    if re.sub(r"\s+", " ", joined.strip()) != " ".join(words):
        return line.replace("\\\0", "\\\n").split("\n")
    indent = joined[: len(joined) - len(joined.lstrip())]
    lines, current = [], indent + words[0]
    for word in _with_values(words[1:]):
        if len(current) + len(word) + 3 > width:
            lines.append(f"{current} \\")
            current = f"{indent}  {word}"
        else:
            current += f" {word}"
    return [*lines, current]


def _with_values(words: Sequence[str]) -> list[str]:
    """Join each option with the word after it, which is probably its value."""
    joined: list[str] = []
    for word in words:
        is_value = joined and re.fullmatch(r"-[\w-]+", joined[-1]) and word[0] not in "-|&;<>:"
        joined[-1:] = [f"{joined[-1]} {word}"] if is_value else [*joined[-1:], word]
    return joined


def _wrap(line: str, width: int) -> list[str]:
    """Wrap a line below its second column, or else below its indent and two spaces more."""
    if len(line) <= width:
        return [line]
    gap = _GAP.match(line)
    indent = len(line) - len(line.lstrip()) + 2
    hanging = len(gap[1]) if gap and len(gap[1]) <= width // 2 else indent
    first = line[:hanging] if gap and hanging == len(gap[1]) else line[: indent - 2]
    return textwrap.wrap(
        line[len(first) :],
        width,
        initial_indent=first,
        subsequent_indent=" " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
