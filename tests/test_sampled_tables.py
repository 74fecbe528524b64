"""The part of the suite that a run takes."""

from __future__ import annotations

from pathlib import Path

from tests import sampled_tables


def test_the_files_that_are_halved_are_there() -> None:
    folder = Path(__file__).parent
    missing = [name for name in sampled_tables._HALVED if not (folder / f"{name}.py").is_file()]
    assert missing == []


def test_runs_of_one_commit_draw_the_same() -> None:
    assert sampled_tables._half_seed() == sampled_tables._half_seed() != ""
