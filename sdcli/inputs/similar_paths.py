"""Suggest a path that exists in place of one that does not."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Final

from sdcli.errors import closest

_MAX_NAMES: Final = 2000
"""Names of a folder that are compared: each takes some microseconds."""


def similar_path_hint(path: Path | str) -> str | None:
    """Suggest a file or folder next to a path whose name is similar: "did you mean cat-2.png?"."""
    path = Path(path)
    try:
        files = list(islice(path.parent.iterdir(), _MAX_NAMES))
    except (OSError, ValueError):
        return None
    # Without the stems, a long suffix alone would make two names similar.
    names = sorted(file.name for file in files if closest(path.stem, [file.stem]))
    near = closest(path.name, names)
    return f"did you mean {path.parent / near}?" if near else None
