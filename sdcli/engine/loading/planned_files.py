"""Check that a file is still the one that a run was planned with."""

from __future__ import annotations

from pathlib import Path

from sdcli.errors import ModelError


def check_unchanged(label: str, path: Path, actual: str, *planned: str) -> None:
    """Raise ModelError, which begins with the label, if a file has none of the planned hashes."""
    # The record has the planned hash, so no other content may be used under it.
    if actual not in planned:
        raise ModelError(
            f"{label}: {path} has changed since this run was planned",
            code="model.changed",
            hint="run the command again",
        )
