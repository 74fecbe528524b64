"""The example prompt files of the package are those of the clone's `prompts` folder."""

from __future__ import annotations

from sdcli import docs
from tests.manual import ROOT


def test_the_packaged_prompt_files_are_those_of_the_clone() -> None:
    folder = ROOT / "prompts"
    paths = [path for path in folder.rglob("*") if path.is_file()]
    assert docs.example_files() == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in paths
    }
