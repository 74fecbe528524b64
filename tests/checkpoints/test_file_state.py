"""Results that are kept for as long as the files stay the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli.checkpoints.file_state import cache_by_files


@cache_by_files
def read(path: Path, prefix: str = "") -> str:
    return prefix + (path.read_text() if path.exists() else "")


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    assert read(path) == ""
    path.write_text("one")
    assert read(path) == "one"
    assert read(path, "number ") == "number one"
    path.write_text("three")
    assert read(path) == "three"


def test_arguments_with_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="positional arguments only"):
        read(tmp_path, prefix="a")
