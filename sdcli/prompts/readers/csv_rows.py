"""Read CSV and TSV files: a header row that names the fields, then one request per row."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from typing import Final

from sdcli.errors import UsageError
from sdcli.inputs.text_decoding import find_bad_character
from sdcli.prompts.columns import DEFAULT_COLUMNS, Columns
from sdcli.prompts.encoding import bad_character_error
from sdcli.prompts.entry import EntryIterator, PromptEntry, SourceLocation, located_error
from sdcli.prompts.fields import field_type
from sdcli.prompts.readers.csv_header import (
    DELIMITER_NAMES,
    check_header,
    is_separator_line,
    sniff_delimiter,
)

_QUOTED_CELL = re.compile(r'"[^"]*(?:""[^"]*)*("?)')
_DECIMAL_COMMA = re.compile(r"\s*[0-9]+,[0-9]+\s*")
_QUOTES_HINT: Final = "close a quoted cell with a quote, and double the quotes inside it"


def read_csv(lines: Iterable[str], file: str, columns: Columns = DEFAULT_COLUMNS) -> EntryIterator:
    """Read comma-separated columns, quoted as spreadsheets do. Empty cells set nothing."""
    return _read(lines, file, ",", columns)


def read_tsv(lines: Iterable[str], file: str, columns: Columns = DEFAULT_COLUMNS) -> EntryIterator:
    """Read tab-separated columns, quoted as spreadsheets do. Empty cells set nothing."""
    return _read(lines, file, "\t", columns)


def _read(lines: Iterable[str], file: str, delimiter: str, columns: Columns) -> EntryIterator:
    recorder = _LineRecorder(lines)
    table = _Table(file, delimiter, columns)
    rows = csv.reader(recorder, delimiter=delimiter, strict=True)
    while True:
        recorder.begin_row()
        try:
            cells, has_failed = next(rows), False
        except StopIteration:
            return
        except csv.Error:
            cells, has_failed = [], True
        row = recorder.row(file, table.delimiter)
        if not table.header and (other := table.sniff(row)):
            table.change_delimiter(other)
            if is_separator_line(row.text):
                yield None
            else:
                recorder.unread_row()
            rows = csv.reader(recorder, delimiter=other, strict=True)
            continue
        if has_failed:
            yield _row_error(row)
            if not table.header:
                return
            recorder.unread_rest()
            continue
        yield table.read_row(cells, row)
        if table.has_failed:
            return


class _Table:
    """The header of a file, and how its rows are read."""

    def __init__(self, file: str, delimiter: str, columns: Columns) -> None:
        self.delimiter = delimiter
        self._columns = columns
        self.header: list[str] = []
        self.has_failed = False
        self._file = file
        self._notes: tuple[str, ...] = ()
        self._has_decimal_note = False

    def sniff(self, row: _Row) -> str | None:
        """Return the delimiter of a header that is not that of the format, or None."""
        return sniff_delimiter(row.text, self.delimiter, self._columns)

    def change_delimiter(self, delimiter: str) -> None:
        """Use another delimiter than that of the format, and tell the user so."""
        if delimiter != self.delimiter:
            name = DELIMITER_NAMES.get(delimiter, repr(delimiter))
            self._notes = (f"{self._file}: its columns are separated by {name}",)
        self.delimiter = delimiter

    def read_row(self, cells: list[str], row: _Row) -> PromptEntry | UsageError | None:
        """Return the entry of a row, or the error; None for a blank row, a comment, the header."""
        if _is_blank(cells) or (not self.header and cells[0].startswith("#")):
            return None
        # Spreadsheets write empty columns that once had a cell.
        while not cells[-1].strip() and len(cells) > len(self.header or ("prompt",)):
            cells = cells[:-1]
        if self.header:
            return self._add_notes(_row_entry(self.header, cells, row, self._columns))
        if problem := _check_text(row) or check_header(cells, row.cell_location, self._columns):
            self.has_failed = True
            return problem
        self.header = [name.strip() for name in cells]
        return None

    def _add_notes(self, entry: PromptEntry | UsageError) -> PromptEntry | UsageError:
        if isinstance(entry, UsageError):
            return entry
        notes, self._notes = self._notes, ()
        if self.delimiter == ";" and not self._has_decimal_note:
            decimals = tuple(_decimal_commas(entry, self._columns))
            self._has_decimal_note = bool(decimals)
            notes += decimals
        return replace(entry, notes=notes) if notes else entry


def _decimal_commas(entry: PromptEntry, columns: Columns) -> Iterator[str]:
    """Yield a note for the first cell in which a comma may be meant as a decimal point."""
    for name, cell in entry.fields.items():
        if _DECIMAL_COMMA.fullmatch(str(cell)) and _is_fraction(columns.field_of(name)):
            first, _, last = str(cell).strip().partition(",")
            where = entry.location_of(name)
            yield f"{where}: {first},{last} is two values; write {first}.{last} for one"
            return


def _is_fraction(field: str | None) -> bool:
    return field is not None and field_type(field) == "float"


class _LineRecorder:
    """An iterator of lines that keeps those of the current row, for the locations of errors."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._unread: deque[str] = deque()
        self._row_lines: list[str] = []
        self._number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._unread.popleft() if self._unread else next(self._lines)
        self._number += 1
        self._row_lines.append(line)
        return line

    def begin_row(self) -> None:
        """Begin a new row with the next line."""
        self._row_lines = []

    def row(self, file: str, delimiter: str) -> _Row:
        """Return the current row."""
        first = self._number - len(self._row_lines) + 1
        return _Row("".join(self._row_lines), file, first, delimiter)

    def unread_row(self) -> None:
        """Push back the current row."""
        self._unread.extendleft(reversed(self._row_lines))
        self._number -= len(self._row_lines)
        self._row_lines = []

    def unread_rest(self) -> None:
        """Push back all lines of the current row but the first."""
        # A quote that is never closed takes all lines to the end of the file, most of them valid.
        lines = self._row_lines[1:]
        self._unread.extendleft(reversed(lines))
        self._number -= len(lines)


@dataclass(frozen=True)
class _Row:
    """The text of a row, of one or more lines, and the number of the first line."""

    text: str
    file: str
    line: int
    delimiter: str

    def location(self, offset: int) -> SourceLocation:
        """Return the location of an offset in the text."""
        before = self.text[:offset]
        column = offset - (before.rfind("\n") + 1) + 1
        return SourceLocation(self.file, self.line + before.count("\n"), column)

    def cell_location(self, index: int) -> SourceLocation:
        """Return the location of a cell."""
        return self.location(next(islice(self.cell_offsets(), index, None), 0))

    def cell_offsets(self) -> Iterator[int]:
        """Yield the offsets of the cells."""
        offset = 0
        while True:
            yield offset
            quoted = _QUOTED_CELL.match(self.text, offset)
            end = self.text.find(self.delimiter, quoted.end() if quoted else offset)
            if end < 0:
                return
            offset = end + 1


def _row_error(row: _Row) -> UsageError:
    """Build the error of a row that the csv module rejects, locating its wrong quote."""
    for start in row.cell_offsets():
        if not (cell := _QUOTED_CELL.match(row.text, start)):
            continue
        if not cell[1]:
            return located_error(row.location(start), "the quote is not closed", hint=_QUOTES_HINT)
        if row.text[cell.end() : cell.end() + 1] not in (row.delimiter, "\n", ""):
            end = row.location(cell.end())
            # The quote that closes the cell more likely opens another one, in a later line.
            if "\n" in cell[0]:
                message = f"the quote is closed only in line {end.line}, where more text follows"
                return located_error(row.location(start), message, hint=_QUOTES_HINT)
            return located_error(end, "text after the closing quote", hint=_QUOTES_HINT)
    # The other error of the csv module, now that all lines end with LF.
    message = f"a cell has more than {csv.field_size_limit():,} characters"
    return located_error(row.location(0), message, hint=_QUOTES_HINT)


def _is_blank(cells: Sequence[str]) -> bool:
    return not any(cell.strip() for cell in cells)


def _check_text(row: _Row) -> UsageError | None:
    column = find_bad_character(row.text)
    if column is None:
        return None
    location = row.location(column - 1)
    return bad_character_error(row.text[column - location.column :], location.column, location)


def _row_entry(
    header: Sequence[str], cells: Sequence[str], row: _Row, columns: Columns
) -> PromptEntry | UsageError:
    if problem := _check_text(row):
        return problem
    faults = []
    if len(cells) > len(header):
        message = f"{len(cells)} cells, but only {len(header)} named columns"
        hint = f"quote cells that contain {DELIMITER_NAMES[row.delimiter]}"
        faults = [located_error(row.cell_location(len(header)), message, hint=hint)]
    return PromptEntry(
        # Short rows are common: spreadsheets drop empty cells at the end.
        fields={
            name: cell
            for name, cell in zip_longest(header, cells[: len(header)], fillvalue="")
            if cell.strip() or (columns.extra == "keep" and columns.field_of(name) is None)
        },
        location=row.location(0),
        is_text=True,
        locate=lambda name: row.cell_location(header.index(name) if name in header else 0),
        faults=faults,
    )
