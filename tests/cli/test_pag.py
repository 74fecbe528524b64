"""`--pag` at the command line: records, replay, sweeps, rows, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.storage.images.codec import read_image_info
from tests.conftest import RunCli

QUICK = ("--size", "64x64", "--steps", "2", "--seed", "7")


def pixels(path: str | Path) -> str:
    return str(read_image_info(Path(path))["pixels_sha256"])


def test_it_is_recorded_replayed_swept_and_set_by_rows(run_cli: RunCli) -> None:
    ran = run_cli("generate", "a cat", *QUICK, "--pag", "3", "--save-latents", "all", "-o", "p.png")
    assert ran.code == 0, ran.stderr
    info = read_image_info(Path("p.png"))
    assert info["record"]["request"]["pag_scale"] == 3
    assert "PAG Scale: 3" in info["parameters"]
    assert run_cli("replay", "p.png", "--check").stdout == "p.png: identical\n"
    assert "--pag=3" in run_cli("inspect", "p.png", "--as-command").stdout
    swept = run_cli("generate", "a cat", *QUICK, "--pag", "0,3", "-o", "swept")
    without, guided = map(pixels, swept.paths)
    assert (guided, without != guided) == (pixels("p.png"), True)
    assert "PAG" not in read_image_info(Path(swept.paths[0]))["parameters"]
    Path("rows.csv").write_text("prompt,pag\na cat,3\na cat,\n")
    rows = run_cli("batch", "rows.csv", *QUICK, "--batch-size", "4", "-o", "rows")
    assert [pixels(path) for path in rows.paths] == [guided, without]
    resumed = run_cli("latents", "resume", "p.png", "--from-step", "1", "-o", "r.png")
    assert resumed.code == 0, resumed.stderr
    assert pixels("r.png") == guided


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("a cat", "--pag", "-1"), "is not between 0 and 100"),
        (("a cat", "--pag", "much"), "much"),
        (("a cat AND a dog", "--pag", "3"), "not supported with AND in the prompt"),
        (("a cat", "--pag", "3", "--steps", "9", "--feature-cache", "2"), "--feature-cache"),
        (("a cat", "--pag", "3", "--trace", "t"), "a part of the attention is perturbed"),
    ],
)
def test_what_cannot_be_is_refused(run_cli: RunCli, argv: tuple[str, ...], message: str) -> None:
    ran = run_cli("generate", *QUICK, *argv, "-o", "x.png")
    assert ran.code == 2
    assert message in ran.stderr


def test_a_model_without_attention_in_the_middle_is_refused(
    run_cli: RunCli, tmp_path: Path
) -> None:

    folder = Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "model"))
    config = folder / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "mid_block_type": None}))
    ran = run_cli("generate", "a cat", "-m", str(folder), "--pag", "3", *QUICK, "-o", "x.png")
    assert (ran.code, "middle block has no attention" in ran.stderr) == (2, True)
