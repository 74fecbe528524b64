"""Write the results of benchmarks into a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdcli.bench.goals import markdown_table
from sdcli.bench.scenarios import Document
from sdcli.bench.speed import speed_table
from sdcli.storage.files import prepare_folder, write_atomic


def write_document(folder: Path, scenario: str, document: Document) -> None:
    """Write the document of a scenario, in place of an older one. Raises OutputError."""
    _write(folder / f"{scenario}.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def write_goals(
    folder: Path, goals: Sequence[Mapping[str, Any]], machine: Mapping[str, Any]
) -> None:
    """Write the goals as JSON, and as a table in Markdown for the manual. Raises OutputError."""
    write_document(folder, "goals", {"machine": machine, "goals": goals})
    _write(folder / "goals.md", markdown_table(goals, machine))


def write_speed(folder: Path, document: Document, machine: Mapping[str, Any]) -> None:
    """Write the speeds as a table in Markdown for the manual. Raises OutputError."""
    _write(folder / "speed.md", speed_table(document, machine))


def _write(path: Path, text: str) -> None:
    prepare_folder(path.parent)
    write_atomic(path, text.encode(), force=True)
