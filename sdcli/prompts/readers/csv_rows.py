"""CSV and TSV: the first row names the fields, every other row is a request."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from sdcli.errors import UsageError
from sdcli.prompts.entry import (
    EntryIterator,
    PromptEntry,
    SourceLocation,
    invalid_utf8_offset,
    located_error,
    utf8_error,
)
from sdcli.prompts.readers.csv_header import check_header

_QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*("?)')
_QUOTES: Final = "a cell in quotes ends with one, and a quote inside of it is doubled"


def read_csv(lines: Iterable[str], file: str) -> EntryIterator:
    """Columns between commas. An empty cell says nothing; quotes as every spreadsheet has them."""
    return _read(lines, file, ",")


def read_tsv(lines: Iterable[str], file: str) -> EntryIterator:
    """Columns between tabs."""
    return _read(lines, file, "\t")


def _read(lines: Iterable[str], file: str, delimiter: str) -> EntryIterator:
    source = _Counted(lines)
    rows = csv.reader(source, delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        source.begin()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield _not_a_row(source.row(file, delimiter), error)
            if not header:
                return
            source.give_back()
            continue
        row = source.row(file, delimiter)
        if not any(cell.strip() for cell in cells) or (not header and cells[0].startswith("#")):
            yield None
        elif header:
            yield _entry(header, cells, row)
        elif problem := _broken(row) or check_header(cells, row.start, delimiter):
            yield problem
            return
        else:
            header = [name.strip() for name in cells]
            yield None


class _Counted:
    """Lines that remember those that make a row."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self._number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self._number += 1
        self._taken.append(line)
        return line

    def begin(self) -> None:
        self._taken = []

    def row(self, file: str, delimiter: str) -> _Row:
        """The lines since the beginning."""
        first = self._number - len(self._taken) + 1
        return _Row("".join(self._taken), file, first, delimiter)

    def give_back(self) -> None:
        """Take only the first line for the broken row: those after it may be good ones."""
        lines = self._taken[1:]
        self._again.extendleft(reversed(lines))
        self._number -= len(lines)


@dataclass(frozen=True)
class _Row:
    """The text of a row, which may have several lines, and the number of the first one."""

    text: str
    file: str
    line: int
    delimiter: str

    def place(self, offset: int) -> SourceLocation:
        """Where an offset of the text is in the file."""
        before = self.text[:offset]
        column = offset - (before.rfind("\n") + 1) + 1
        return SourceLocation(self.file, self.line + before.count("\n"), column)

    def start(self, index: int) -> SourceLocation:
        """Where a cell begins."""
        return self.place(next(islice(self.starts(), index, None), 0))

    def starts(self) -> Iterator[int]:
        """The offsets of the cells."""
        at = 0
        while True:
            yield at
            quoted = _QUOTED.match(self.text, at)
            at = self.text.find(self.delimiter, quoted.end() if quoted else at) + 1
            if not at:
                return


def _not_a_row(row: _Row, error: csv.Error) -> UsageError:
    """What is wrong with its quotes, which the parser does not place."""
    for start in row.starts():
        if not (cell := _QUOTED.match(row.text, start)):
            continue
        if not cell[1]:
            return located_error(row.place(start), "the quote is not closed", hint=_QUOTES)
        if row.text[cell.end() : cell.end() + 1] not in (row.delimiter, "\r", "\n", ""):
            end = row.place(cell.end())
            if "\n" in cell[0]:  # more likely the first line lacks a quote
                what = f"the quote is closed in line {end.line} only, and more text follows"
                return located_error(row.place(start), what, hint=_QUOTES)
            return located_error(end, "text after the closing quote", hint=_QUOTES)
    return located_error(row.place(0), f"not a row: {error}")


def _broken(row: _Row) -> UsageError | None:
    offset = invalid_utf8_offset(row.text)
    return None if offset is None else utf8_error(row.place(offset))


def _entry(header: Sequence[str], cells: Sequence[str], row: _Row) -> PromptEntry | UsageError:
    if problem := _broken(row):
        return problem
    faults = []
    if len(cells) > len(header):
        what = f"{len(cells)} cells, but {len(header)} columns have a name"
        hint = "a cell with a comma in it stands in quotes"
        faults = [located_error(row.start(len(header)), what, hint=hint)]
    return PromptEntry(
        fields={name: cell for name, cell in zip(header, cells, strict=False) if cell.strip()},
        location=row.place(0),
        is_text=True,
        locate=lambda name: row.start(header.index(name) if name in header else 0),
        faults=faults,
    )
