"""Describe the row of a prompt file that a request comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, kw_only=True)
class Row:
    """The place of a request in a file, and the columns of its row that are not settings.

    None of it decides the pixels. `line` counts from 1; 0 means unknown. `extra` holds JSON values.
    `varied` names the fields that differ between the images of the row.
    """

    file: str = ""
    line: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)
    varied: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The place and the extra columns as JSON; None for what is unknown."""
        return {"file": self.file or None, "line": self.line or None, "extra": dict(self.extra)}


NO_ROW: Final = Row()
"""The row of a request that comes from no file."""
