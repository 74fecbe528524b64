"""The feature cache at the command line: everything that an option of an image must do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdcli.storage.images.codec import read_image_info
from tests.xl_models import write_xl_model

QUICK = ("--device", "cpu", "--size", "64x64", "--steps", "8", "--seed", "7")
CACHED = ("--feature-cache", "2")


def pixels(path: str | Path) -> str:
    return str(read_image_info(Path(path))["pixels_sha256"])


@pytest.fixture
def drawn(run_cli) -> Path:
    options = (*QUICK, *CACHED, "--save-latents", "all", "-o", "cached.png")
    assert run_cli("generate", "a cat", *options).code == 0
    return Path("cached.png")


def test_it_is_recorded_and_replayed(run_cli, drawn):
    info = read_image_info(drawn)
    assert info["record"]["request"]["feature_cache"] == 2
    assert "Feature cache: 2" in info["parameters"]
    assert run_cli("replay", str(drawn), "--check").stdout == "cached.png: identical\n"
    assert "--feature-cache=2" in run_cli("inspect", str(drawn), "--as-command").stdout
    line = json.loads(run_cli("inspect", str(drawn), "--as-prompt-line").stdout)
    assert line["feature_cache"] == 2


def test_it_is_swept_and_a_row_of_a_prompt_file_sets_it(run_cli, drawn):
    swept = run_cli("generate", "a cat", *QUICK, "--feature-cache", "1,2", "-o", "swept")
    whole, cached = map(pixels, swept.paths)
    assert (cached, whole != cached) == (pixels(drawn), True)
    assert "Feature cache" not in read_image_info(Path(swept.paths[0]))["parameters"]
    Path("a.csv").write_text("prompt,feature_cache\na cat,2\na cat,\n")
    rows = run_cli("batch", "a.csv", *QUICK, "--batch-size", "4", "-o", "rows")
    assert [pixels(path) for path in rows.paths] == [cached, whole]


def test_it_is_resumed_where_features_are_computed(run_cli, drawn):
    for step in (0, 2, 4, 6):
        resumed = run_cli("latents", "resume", str(drawn), "--from-step", str(step), "-o", "x.png",
                          "--force")  # fmt: skip
        assert resumed.code == 0, resumed.stderr
        assert pixels("x.png") == pixels(drawn)
    refused = run_cli("latents", "resume", str(drawn), "--from-step", "5", "-o", "y.png")
    assert refused.code == 2
    assert "step 6 used deep features of an earlier one (--feature-cache 2)" in refused.stderr
    assert "use --from-step 4, or --feature-cache 1 for another image" in refused.stderr
    other = run_cli("latents", "resume", str(drawn), "--from-step", "5", "-o", "y.png",
                    "--feature-cache", "1")  # fmt: skip
    assert other.code == 0, other.stderr
    record = read_image_info(Path("y.png"))["record"]
    assert record["request"]["feature_cache"] == 1
    assert any("feature_cache 2" in event for event in record["events"])


def test_a_journal_tells_it_from_the_whole_run(run_cli):
    Path("a.txt").write_text("a cat\n")
    assert len(run_cli("batch", "a.txt", *QUICK).paths) == 1
    assert len(run_cli("batch", "a.txt", *QUICK, "--feature-cache", "1").paths) == 0
    assert len(run_cli("batch", "a.txt", *QUICK, *CACHED).paths) == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--steps", "5"), "no effect with 5 steps: the first 3 and the last 2 compute everything"),
        (("--feature-cache", "0"), "0 is not between 1 and 100"),
        (("--feature-cache", "two"), "two"),
        (("--trace", "t"), "most layers of the UNet do not run at every step"),
    ],
)
def test_what_cannot_work_is_refused(run_cli, argv, message):
    ran = run_cli("generate", "a cat", *QUICK, *CACHED, *argv)
    assert (ran.code, message in ran.stderr) == (2, True), ran.stderr


def test_a_unet_of_other_blocks_is_refused(run_cli, tmp_path):
    folder = write_xl_model(tmp_path / "xl")
    path = folder / "unet" / "config.json"
    config = json.loads(path.read_text())
    config["down_block_types"][0] = "AttnDownBlock2D"
    path.write_text(json.dumps(config))
    ran = run_cli("generate", "a cat", "-m", str(folder), "--steps", "8", *CACHED)
    assert (ran.code, "its UNet does not begin and end with" in ran.stderr) == (2, True), ran.stderr
