"""The path that a hint suggests in place of one that does not exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli.inputs.similar_paths import similar_path_hint


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    for name in (
        "cat-2.png",
        "demo.csv",
        "a-long-name.latents.safetensors",
        "out/0001-a-fish-7.png",
    ):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("cat-3.png", "did you mean cat-2.png?"),
        ("./cat2.png", "did you mean cat-2.png?"),
        ("dmo.csv", "did you mean demo.csv?"),
        ("out/0001-a-fish-1.png", "did you mean out/0001-a-fish-7.png?"),
        ("ouut", "did you mean out?"),
        ("gone/cat-2.png", None),
        ("cat-2.png/x", None),
        ("xyzzy.png", None),
        ("fla.latents.safetensors", None),
        ("", None),
        ("a\0b", None),
        ("\0/cat.png", None),
    ],
)
def test_a_similar_name_of_the_same_folder(folder: Path, typed: str, hint: str | None) -> None:
    assert similar_path_hint(typed) == hint


def test_a_whole_path_stays_whole(folder: Path) -> None:
    assert similar_path_hint(folder / "cat-9.png") == f"did you mean {folder / 'cat-2.png'}?"
