"""CSV and TSV: the first row names the fields, every other row is a request."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from sdcli.errors import UsageError
from sdcli.prompts.entry import Entry, Place, Reading, fault, undecodable


def read_csv(lines: Iterable[str], file: str) -> Reading:
    """Columns between commas. An empty cell says nothing; quotes as every spreadsheet has them."""
    return _read(lines, file, ",")


def read_tsv(lines: Iterable[str], file: str) -> Reading:
    """Columns between tabs."""
    return _read(lines, file, "\t")


def _read(lines: Iterable[str], file: str, delimiter: str) -> Reading:
    source = _Counted(lines)
    rows = csv.reader(source, delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        source.begin()
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            place = Place(file, source.first)
            yield fault(place, f"not a row: {error}", hint="a quote inside quotes is doubled")
            continue
        place = Place(file, source.first)
        if not any(cell.strip() for cell in row) or (not header and row[0].startswith("#")):
            yield None
        elif not header:
            header = [name.strip() for name in row]
            if problem := _bad_header(header, place, source.columns(delimiter)):
                yield problem
                return
            yield None
        else:
            yield _entry(header, row, place, source.columns(delimiter))


class _Counted:
    """Lines that remember where the row they make began."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._taken: list[str] = []
        self._number = 0
        self.first = 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._number += 1
        self._taken.append(line)
        return line

    def begin(self) -> None:
        self.first, self._taken = self._number + 1, []

    def columns(self, delimiter: str) -> Callable[[int], tuple[int, int]]:
        """For the index of a cell, the line and the column at which it begins."""
        text, first = "".join(self._taken), self.first
        return lambda index: _cell_start(text, first, delimiter, index)


def _cell_start(text: str, line: int, delimiter: str, index: int) -> tuple[int, int]:
    starts, quoted = [0], False
    for position, char in enumerate(text):
        quoted ^= char == '"'
        if char == delimiter and not quoted:
            starts.append(position + 1)
    start = next(islice(starts, index, None), 0)
    before = text[:start]
    return line + before.count("\n"), start - (before.rfind("\n") + 1) + 1


def _bad_header(
    header: Sequence[str], place: Place, start: Callable[[int], tuple[int, int]]
) -> UsageError | None:
    for index, name in enumerate(header):
        here = Place(place.file, *start(index))
        if problem := undecodable(name, here):
            return problem
        if not name:
            return fault(here, "a column without a name")
        if name in header[:index]:
            return fault(here, f"the column {name!r} is there twice")
    return None


def _entry(
    header: Sequence[str], row: Sequence[str], place: Place, start: Callable[[int], tuple[int, int]]
) -> Entry | UsageError:
    if len(row) > len(header):
        return fault(
            Place(place.file, *start(len(header))),
            f"{len(row)} cells, but {len(header)} columns have a name",
            hint="a cell with a comma in it stands in quotes",
        )
    for index, cell in enumerate(row):
        if problem := undecodable(cell, Place(place.file, *start(index))):
            return problem

    def locate(name: str) -> Place:
        return Place(place.file, *start(header.index(name))) if name in header else place

    fields = {name: cell for name, cell in zip(header, row, strict=False) if cell.strip()}
    return Entry(fields=fields, place=place, is_text=True, locate=locate)
