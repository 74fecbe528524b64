"""The README says what the program says."""

from pathlib import Path

import pytest

from tests.conftest import RunCli

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("verb", ["generate", "inspect", "doctor"])
def test_help_in_the_readme_is_the_programs(
    run_cli: RunCli, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = run_cli(verb, "--help").stdout.rstrip()
    assert f"$ sdcli {verb} --help\n{text}\n" in README.read_text("utf-8")


def test_the_pictures_of_the_readme_are_there() -> None:
    for line in README.read_text("utf-8").splitlines():
        if line.startswith("!["):
            assert (README.parent / line.split("(")[1].rstrip(")")).is_file()
