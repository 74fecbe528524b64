"""Vocabulary of an explanation: chapters of sentences whose numbers are measured."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Points = Sequence[tuple[float, float]]


def percent(share: float) -> str:
    """Write a share with two digits that count: "8.3 %"."""
    return f"{100 * share:.{0 if share >= 0.1 else 1}f} %"


class _Formatter(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "percent":
            return percent(value)
        if "|" in format_spec:
            singular, plural = format_spec.split("|")
            return f"{value:,} {singular if value == 1 else plural}"
        return str(super().format_field(value, format_spec))


@dataclass(frozen=True)
class Sentence:
    """A sentence with named places for its facts.

    `{name:percent}` writes a share, and `{name:word|words}` a number with its noun.
    """

    template: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The sentence as it is read."""
        return _Formatter().vformat(self.template, (), self.facts)


def say(template: str, **facts: Any) -> Sentence:
    """Return a sentence with its facts."""
    return Sentence(template, facts)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under a header; None is an empty cell."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Lines of points by their names; `log` makes the y axis logarithmic."""

    title: str
    x_label: str
    lines: Mapping[str, Points]
    log: bool = False


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels (height, width, 3) and the words below them."""

    label: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Chapter:
    """A part of an explanation: each of its paragraphs is a sequence of sentences."""

    title: str
    paragraphs: Sequence[Sequence[Sentence]]
    pictures: Sequence[Picture] = ()
    table: Table | None = None
    plots: Sequence[Plot] = ()

    @property
    def curves(self) -> list[Plot]:
        """The plots with a line to draw: a run of one step has only points."""
        return [p for p in self.plots if any(len(line) > 1 for line in p.lines.values())]

    @property
    def facts(self) -> dict[str, Any]:
        """The facts of all sentences by their names."""
        sentences = [sentence for paragraph in self.paragraphs for sentence in paragraph]
        return {name: value for sentence in sentences for name, value in sentence.facts.items()}

    @property
    def texts(self) -> list[str]:
        """The paragraphs as they are read."""
        return [" ".join(sentence.text for sentence in paragraph) for paragraph in self.paragraphs]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pictures for JSON."""
        table = self.table
        return {
            "title": self.title,
            "text": self.texts,
            "facts": self.facts,
            "table": table and {"header": list(table.header), "rows": [*map(list, table.rows)]},
            "plots": [
                {
                    "title": plot.title,
                    "lines": {n: [*map(list, line)] for n, line in plot.lines.items()},
                }
                for plot in self.plots
            ],
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Story:
    """An explanation, with the command that makes it again ("" if it is not known)."""

    title: str
    subtitle: str
    command: str
    chapters: Sequence[Chapter]
