"""The README says what the program says, and its tour runs as it is written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from sdcli import docs
from sdcli.cli import COMMANDS, app
from tests import tour
from tests.conftest import RunCli
from tests.server.workers import warm_variables


def test_the_readme_is_short_and_shows_no_machinery() -> None:
    text = tour.README.read_text("utf-8")
    assert len(text.splitlines()) < 300
    assert "Not the `sdcli` of PyPI" in text
    assert "cog" not in text
    assert "|| true" not in text


def test_links_of_the_readme_lead_to_files() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", tour.README.read_text("utf-8"))
    assert targets
    assert not [target for target in targets if not (tour.ROOT / target).exists()]


def test_the_pictures_of_the_readme_are_there_and_small() -> None:
    names = list(tour.pictures())
    assert names
    for name in names:
        assert (tour.PICTURES / name).stat().st_size < 350_000
    assert {path.name for path in tour.PICTURES.iterdir()} == set(names)


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole tour was run."""
    folder = tmp_path_factory.mktemp("tour")
    with pytest.MonkeyPatch.context() as patch, warm_variables() as variables:
        patch.chdir(folder)
        for name, value in variables.items():
            patch.setenv(name, value)
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


def fenced(language: str, file: Path) -> str:
    [block] = re.findall(rf"^```{language}\n(.*?)^```", file.read_text("utf-8"), re.M | re.S)
    return str(block)


def test_the_python_of_the_readme_runs() -> None:
    names: dict[str, object] = {}
    exec(fenced("python", tour.README), names)
    assert names["result"].pixels.shape == (128, 128, 3)  # type: ignore[attr-defined]


def test_the_settings_of_the_manual_are_read(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "sdcli.toml").write_text(fenced("toml", docs.FOLDER / "options.md"))
    ran = run_cli("--profile", "draft", "doctor", "--json")
    assert [s["option"] for s in ran.document["settings"]] == ["model", "out", "steps"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says_of_itself(name: str) -> None:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    assert " ".join(command.help.split("\n\n")[0].split()) == COMMANDS[name]
