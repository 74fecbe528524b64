"""Parse ranges of numbers: 1..4, 5..9:2, 0..1:0.25."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from sdcli.prompts.fields import field_error, field_type, parse_number, parse_whole_number

RANGE: Final = re.compile(
    r"(?P<first>[-+\d.eE]+?)\.\.(?P<last>[-+\d.eE]+?)(?::(?P<step>[-+\d.eE]+))?"
)
_MAX_VALUES: Final = 1_000_000


def range_values(name: str, match: re.Match[str]) -> Sequence[object]:
    """Return the numbers of a range that RANGE matches. Raises UsageError."""
    if field_type(name) == "int":
        return _whole_range(name, match)
    return fractions_in(name, match)


def fractions_in(name: str, match: re.Match[str]) -> list[float]:
    """Return the numbers of a range, with fractions. Raises UsageError."""
    first, last = (Decimal(str(parse_number(name, match[end]))) for end in ("first", "last"))
    step = Decimal(str(parse_number(name, match["step"] or "1")))
    _check_step(name, match[0], step)
    count = int(abs(last - first) / step) + 1
    check_length(name, match[0], count)
    direction = 1 if last >= first else -1
    return [float(first + direction * step * i) for i in range(count)]


def _whole_range(name: str, match: re.Match[str]) -> Sequence[object]:
    first, last, step = (
        parse_whole_number(name, match[part] or "1") for part in ("first", "last", "step")
    )
    _check_step(name, match[0], step)
    direction = 1 if last >= first else -1
    values = range(first, last + direction, direction * step)
    check_length(name, match[0], abs(last - first) // step + 1)
    return values


def _check_step(name: str, text: str, step: Decimal | int) -> None:
    if step <= 0:
        raise field_error(
            name, text, "has a step that is not above 0", hint="9..5:2 runs down: 9, 7, 5"
        )


def check_length(name: str, text: str, count: int) -> None:
    """Raise UsageError for more values than a sweep can have."""
    if count > _MAX_VALUES:
        raise field_error(name, text, f"is more than {_MAX_VALUES:,} values")
