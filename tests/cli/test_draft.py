"""`--draft`: the options that it chooses, what it leaves alone, and its record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sdcli.storage.images.codec import read_image_info
from tests.conftest import RunCli
from tests.image_files import pixels_of, record_of

QUICK = ("--device", "cpu", "--size", "64x64", "--steps", "8", "--seed", "7")

SECOND_PASS = ("--hires", "2x", "--hires-strength", "1", "--hires-steps", "9")


def plan(run_cli: RunCli, file: str, *options: str) -> tuple[list[dict[str, Any]], str]:
    planned = run_cli("batch", file, *QUICK, *options, "--dry-run", "--jsonl", "-o", "out")
    assert planned.code == 0, planned.stderr
    documents = map(json.loads, planned.stdout.splitlines())
    return [one for one in documents if one["schema"] == "sdcli/job/1"], planned.stderr


def test_it_is_recorded_as_the_options_that_it_chose(run_cli: RunCli) -> None:
    drawn = run_cli("generate", "a cat", *QUICK, "--draft", "-o", "draft.png")
    assert drawn.code == 0
    assert "--draft uses --feature-cache 3 --guidance-every 3" in drawn.stderr
    request = record_of("draft.png")["request"]
    assert (request["feature_cache"], request["guidance_every"]) == (3, 3)
    assert "draft" not in request
    assert run_cli("replay", "draft.png", "--check").stdout == "draft.png: identical\n"
    named = ("--feature-cache", "3", "--guidance-every", "3")
    assert run_cli("generate", "a cat", *QUICK, *named, "-o", "named.png").code == 0
    assert record_of("named.png")["job"] == record_of("draft.png")["job"]
    assert (pixels_of("named.png") == pixels_of("draft.png")).all()


def test_rows_and_settings_ask_for_it(run_cli: RunCli) -> None:
    Path("a.csv").write_text("prompt,draft\na cat,true\na cat,\n")
    jobs = plan(run_cli, "a.csv")[0]
    assert [job["guidance_every"] for job in jobs] == [3, 1]
    Path("sdcli.toml").write_text("draft = true\n")
    Path("a.csv").write_text("prompt\na cat\n")
    assert plan(run_cli, "a.csv")[0][0]["feature_cache"] == 3


@pytest.mark.parametrize(
    ("options", "expected", "said"),
    [
        ((), (3, 3), "--draft uses --feature-cache 3 --guidance-every 3"),
        (("--feature-cache", "1"), (1, 3), "--draft uses --guidance-every 3"),
        (("--guidance-every", "2"), (3, 2), "--draft uses --feature-cache 3"),
        (("--feature-cache", "2", "--guidance-every", "1"), (2, 1), "beyond the options that are"),
        (("--guidance", "1"), (3, 1), "--draft uses --feature-cache 3"),
        (("--pag", "3"), (1, 3), "--draft uses --guidance-every 3"),
        (("--steps", "5"), (1, 1), "saves time with 5 steps"),
        (("--steps", "5", *SECOND_PASS), (3, 3), "--draft uses --feature-cache 3 --guidance"),
    ],
)
def test_it_chooses_what_saves_something_and_can_be_used(
    run_cli: RunCli, options: tuple[str, ...], expected: tuple[int, int], said: str
) -> None:
    Path("a.txt").write_text("a cat\n")
    [job], stderr = plan(run_cli, "a.txt", *options, "--draft")
    assert (job["feature_cache"], job["guidance_every"]) == expected
    assert said in stderr


def test_errors_of_other_options_are_still_told(run_cli: RunCli) -> None:
    ran = run_cli("generate", "a cat", *QUICK, "--draft", "--guidance-from", "0.9",
                  "--guidance-to", "0.9")  # fmt: skip
    assert (ran.code, "no step lies between 0.9 and 0.9" in ran.stderr) == (2, True)
    ran = run_cli("generate", "a cat", *QUICK, "--draft", "--trace", "t")
    assert (ran.code, "with --draft, most layers" in ran.stderr) == (2, True)
    assert "leave --draft out, or use --guidance-every 3" in ran.stderr


def test_a_record_can_be_drawn_again_as_a_draft(run_cli: RunCli) -> None:
    assert run_cli("generate", "a cat", *QUICK, "-o", "whole.png").code == 0
    assert read_image_info(Path("whole.png"))["record"]["request"]["guidance_every"] == 1
    again = run_cli("replay", "whole.png", "--set", "draft=yes", "--set", "steps=9", "-o", "d.png")
    assert again.code == 0
    assert "--draft changes nothing" in again.stderr
