"""`schedulers compare --score`: the judge's scores are those of `score`."""

from __future__ import annotations

from pathlib import Path

from sdcli.errors import ExitCode
from tests.conftest import RunCli

PROMPT = "a red circle and a blue star on a yellow background"
COMPARE = ("schedulers", "compare", "--schedulers", "ddim,euler", "--reference-steps", "6")


def test_the_score_is_that_of_the_images(run_cli: RunCli, tmp_path: Path) -> None:
    run_cli("generate", PROMPT, "--seed", "3", "-s", "ddim,euler", "--steps", "1,5", "-o", "run")
    scored = run_cli("score", "run", "--json").document["images"]
    ran = run_cli(*COMPARE, PROMPT, "a unicorn", "--seed", "3", "--steps", "1,5", "--score", "-o", "g.png", "--json")  # fmt: skip  # noqa: E501
    assert ran.code == 0, ran.stderr
    assert "images without a score, because they cannot be judged: 1" in ran.stderr
    compared = [run["images"] for run in ran.document["runs"]]
    assert sorted(images[0]["prompt_match"] for images in compared) == sorted(
        round(row["prompt_match"], 15) for row in scored
    )
    assert {images[1]["prompt_match"] for images in compared} == {None}
    means = [run["prompt_match"] for run in ran.document["runs"]]
    assert means == [images[0]["prompt_match"] for images in compared]
    assert len(set(means)) > 1


def test_the_table_has_the_score_only_if_asked(run_cli: RunCli) -> None:
    argv = (*COMPARE, PROMPT, "--seed", "3", "--steps", "1", "--force", "-o", "g.png")
    header, first, *_ = run_cli(*argv, "--score").stdout.splitlines()
    assert header.split()[-2:] == ["prompt", "match"]
    assert 0 <= float(first.split()[-1]) <= 1
    assert "match" not in run_cli(*argv).stdout


def test_a_prompt_that_cannot_be_judged_is_refused_before_anything_is_drawn(
    run_cli: RunCli,
) -> None:
    for argv in (["a unicorn"], [PROMPT, "--size", "64x64"]):
        ran = run_cli(*COMPARE, *argv, "--score", "--steps", "1")
        assert (ran.code, ran.stdout) == (ExitCode.USAGE, "")
        assert "cannot be judged" in ran.stderr
        assert "128x128" in ran.stderr
