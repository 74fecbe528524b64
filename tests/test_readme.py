"""The README says what the program says, and its tour runs as it is written."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from sdcli.cli import COMMANDS, app
from tests import tour
from tests.conftest import RunCli


def walk(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command as it is typed, and what typer makes of it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from walk(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def verbs() -> list[str]:
    return [path for path, _ in walk(typer.main.get_command(app))]


@pytest.mark.parametrize("verb", verbs())
def test_help_in_the_readme_is_the_programs(
    run_cli: RunCli, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = run_cli(*verb.split(), "--help").stdout.rstrip()
    assert f"$ sdcli {verb} --help\n{text}\n" in tour.README.read_text("utf-8")


def test_the_pictures_of_the_readme_are_there_and_small() -> None:
    names = list(tour.pictures())
    assert names
    for name in names:
        assert (tour.PICTURES / name).stat().st_size < 300_000
    assert {path.name for path in tour.PICTURES.iterdir()} == set(names)


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole tour was run."""
    folder = tmp_path_factory.mktemp("tour")
    tour.prepare(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in tour.commands():
            if "parallel" in line and not shutil.which("parallel"):
                continue
            if "jq" in line and not shutil.which("jq"):
                continue
            assert tour.run(line, folder) == 0, line
    return folder


@pytest.mark.timeout(1200)
def test_the_tour_runs_and_makes_the_pictures_that_are_shown(toured: Path) -> None:
    """Another processor rounds differently, and a label may hold seconds: near, not equal."""
    made = [name for name in tour.pictures() if (toured / name).exists()]
    assert len(made) >= 5
    for name in made:
        with Image.open(toured / name) as ours, Image.open(tour.PICTURES / name) as shown:
            assert ours.size == shown.size, name
            pair = [np.asarray(picture.convert("RGB"), np.float64) for picture in (ours, shown)]
        off = np.abs(pair[0] - pair[1])
        assert (off > 32).mean() < 0.02, name


def test_the_comparison_shown_is_what_the_command_prints(run_cli: RunCli) -> None:
    [line] = [line for line in tour.commands() if line.startswith("sdcli schedulers compare")]
    ran = run_cli(*shlex.split(line)[1:])
    [shown] = re.findall(
        r"^```text\n(scheduler .*?)^```", tour.README.read_text("utf-8"), re.M | re.S
    )
    ours, theirs = (
        [re.split(r" {2,}", row) for row in text.strip().splitlines()]
        for text in (tour.comparison(ran.stdout), shown)
    )
    assert ours[0] == theirs[0]
    assert [row[:3] for row in ours] == [row[:3] for row in theirs]
    for mine, other in zip(ours[1:], theirs[1:], strict=True):
        if len(mine) == 5:
            assert float(mine[3]) == pytest.approx(float(other[3]), rel=0.05, abs=1e-3)
            assert float(mine[4]) == pytest.approx(float(other[4]), abs=0.5)


def test_the_exit_codes_of_the_readme_are_the_programs() -> None:
    from sdcli.errors import ExitCode

    table = tour.README.read_text("utf-8").split("## Exit codes")[1].split("\n## ")[0]
    assert {int(code) for code in re.findall(r"\b(\d+)\b", table)} == {int(c) for c in ExitCode}


def fenced(language: str) -> str:
    [block] = re.findall(
        rf"^```{language}\n(.*?)^```", tour.README.read_text("utf-8"), flags=re.M | re.S
    )
    return str(block)


def test_the_python_of_the_readme_runs() -> None:
    names: dict[str, object] = {}
    exec(fenced("python"), names)
    assert names["result"].pixels.shape == (128, 128, 3)  # type: ignore[attr-defined]


def test_the_settings_of_the_readme_are_read(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "sdcli.toml").write_text(fenced("toml"))
    ran = run_cli("--profile", "draft", "doctor", "--json")
    assert [s["option"] for s in ran.document["settings"]] == ["model", "out", "steps"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says_of_itself(name: str) -> None:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    assert " ".join(command.help.split("\n\n")[0].split()) == COMMANDS[name]
