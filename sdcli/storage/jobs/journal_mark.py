"""Tell whether another process, perhaps on another machine, sees the folder of a run."""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from sdcli.errors import OutputError
from sdcli.storage.jobs.journal import NAME


class JournalMark(NamedTuple):
    """What the journal of a run is known by: its whole path, and the entropy in it."""

    path: str
    entropy: str | None

    @classmethod
    def of_folder(cls, folder: Path) -> Self:
        """The mark of a journal that was opened."""
        path = os.path.abspath(folder / NAME)
        return cls(path, _read_entropy(path))

    def check(self) -> None:
        """Raise OutputError unless this process finds the same journal."""
        # A worker that opened the folder would create it, and nobody would look for images there.
        if self.entropy is None or _read_entropy(self.path) != self.entropy:
            raise OutputError(
                f"{platform.node()}: {os.path.dirname(self.path)} is not the folder of this run",
                code="output.not_shared",
                hint="was it moved or removed? All processes need the same folder, under one path",
            )


def _read_entropy(path: str) -> str | None:
    """The entropy of the first line that has one; None without a journal."""
    with suppress(OSError), open(path, "rb") as file:
        for line in file:
            with suppress(ValueError, KeyError, TypeError, RecursionError):
                return str(json.loads(line)["entropy"])
    return None
