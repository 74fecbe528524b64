"""`sdcli demo-files`: the example prompt files in any folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sdcli import docs
from tests.conftest import RunCli
from tests.test_startup import HEAVY, probe


def test_it_writes_every_example_and_prints_its_path(run_cli: RunCli) -> None:
    ran = run_cli("demo-files")
    assert ran.code == 0
    assert {path.relative_to("prompts").as_posix(): path.read_bytes() for path in ran.paths} == (
        docs.example_files()
    )
    again = run_cli("demo-files")
    assert (again.code, again.stdout) == (0, "")


def test_the_hint_is_a_command_that_works(run_cli: RunCli) -> None:
    ran = run_cli("demo-files", "my prompts")
    assert ran.stderr.rstrip().endswith("sdcli batch 'my prompts/demo.csv' --dry-run")
    assert run_cli("batch", "my prompts/demo.csv", "--dry-run").code == 0


@pytest.mark.parametrize("name", [name for name in docs.example_files() if "/" not in name])
def test_every_example_is_valid(run_cli: RunCli, name: str) -> None:
    run_cli("demo-files")
    wildcards = ["--wildcards", "prompts/wildcards"] if name == "wildcards.txt" else []
    assert run_cli("batch", f"prompts/{name}", *wildcards, "--dry-run").code == 0


def test_a_changed_file_is_only_overwritten_with_force(run_cli: RunCli) -> None:
    run_cli("demo-files", "here", "-q")
    Path("here/demo.csv").write_text("mine")
    Path("here/demo.txt").unlink()
    ran = run_cli("demo-files", "here")
    assert (ran.code, ran.stdout) == (5, "")
    assert Path("here/demo.csv").read_text() == "mine"
    assert not Path("here/demo.txt").exists()
    ran = run_cli("demo-files", "here", "--force", "--json")
    assert ran.document["paths"] == ["here/demo.csv", "here/demo.txt"]
    assert Path("here/demo.csv").read_bytes() == docs.example_files()["demo.csv"]


def _as_file(folder: Path) -> None:
    folder.write_text("")


def _with_folder_in_the_way(folder: Path) -> None:
    (folder / "demo.csv").mkdir(parents=True)


def _with_file_in_the_way(folder: Path) -> None:
    folder.mkdir()
    (folder / "wildcards").write_text("")


def _with_dangling_link(folder: Path) -> None:
    folder.mkdir()
    os.symlink("nowhere", folder / "demo.csv")


@pytest.mark.parametrize(
    "obstruct", [_as_file, _with_folder_in_the_way, _with_file_in_the_way, _with_dangling_link]
)
def test_what_is_in_the_way_is_an_output_error(
    run_cli: RunCli, obstruct: object, tmp_path: Path
) -> None:
    obstruct(tmp_path / "prompts")  # type: ignore[operator]
    ran = run_cli("demo-files")
    assert ran.code == 5
    assert ran.stderr.count("sdcli: error: ") == 1


def test_it_needs_no_heavy_library(tmp_path: Path) -> None:
    code, modules = probe("demo-files", "-q", cwd=tmp_path)
    assert code == 0
    assert not HEAVY & modules
