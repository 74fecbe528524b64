"""The guidance interval at the command line: everything that an option of an image must do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdcli.storage.images.codec import read_image_info

QUICK = ("--device", "cpu", "--size", "64x64", "--steps", "4", "--seed", "7")
INTERVAL = ("--guidance-from", "0.25", "--guidance-to", "0.75")


def pixels(path: str | Path) -> str:
    return str(read_image_info(Path(path))["pixels_sha256"])


def test_it_changes_the_image_and_is_in_its_record(run_cli):
    assert run_cli("generate", "a cat", *QUICK, *INTERVAL, "-o", "part.png").code == 0
    assert run_cli("generate", "a cat", *QUICK, "-o", "whole.png").code == 0
    assert pixels("part.png") != pixels("whole.png")
    info = read_image_info(Path("part.png"))
    request = info["record"]["request"]
    assert (request["guidance_from"], request["guidance_to"]) == (0.25, 0.75)
    assert "Guidance from: 0.25, Guidance to: 0.75" in info["parameters"]
    assert "Guidance from" not in read_image_info(Path("whole.png"))["parameters"]


def test_replay_and_the_printed_command_make_it_again(run_cli):
    run_cli("generate", "a cat", *QUICK, *INTERVAL, "-o", "part.png")
    assert run_cli("replay", "part.png", "--check").stdout == "part.png: identical\n"
    command = run_cli("inspect", "part.png", "--as-command").stdout
    assert "--guidance-from=0.25 --guidance-to=0.75" in command
    line = json.loads(run_cli("inspect", "part.png", "--as-prompt-line").stdout)
    assert (line["guidance_from"], line["guidance_to"]) == (0.25, 0.75)


def test_it_is_swept_and_a_row_of_a_prompt_file_sets_it(run_cli, tmp_path):
    swept = run_cli("generate", "a cat", *QUICK, "--guidance-to", "0.5,1", "-o", "swept")
    half, whole = map(pixels, swept.paths)
    Path(tmp_path, "a.csv").write_text("prompt,guidance_to\na cat,0.5\na cat,1\n")
    rows = run_cli("batch", "a.csv", *QUICK, "--batch-size", "4", "-o", "rows")
    assert rows.code == 0
    assert [pixels(path) for path in rows.paths] == [half, whole]


def test_a_resumed_run_keeps_it_to_the_bit(run_cli):
    run_cli("generate", "a cat", *QUICK, *INTERVAL, "--save-latents", "all", "-o", "part.png")
    for step in ("0", "1", "2", "3"):
        resumed = run_cli("latents", "resume", "part.png", "--from-step", step, "-o", f"{step}.png")
        assert resumed.code == 0
        assert pixels(f"{step}.png") == pixels("part.png")


def test_a_journal_tells_it_from_the_whole_run(run_cli, tmp_path):
    Path(tmp_path, "a.txt").write_text("a cat\n")
    assert len(run_cli("batch", "a.txt", *QUICK).paths) == 1
    assert len(run_cli("batch", "a.txt", *QUICK, "--guidance-to", "1").paths) == 0
    assert len(run_cli("batch", "a.txt", *QUICK, "--guidance-to", "0.5").paths) == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--guidance-from", "0.7", "--guidance-to", "0.3"), "no step lies between 0.7 and 0.3"),
        (("--guidance-from", "0.8"), "no step lies between 0.8 and 1"),
        (("--guidance-to", "1.5"), "'1.5' is not between 0 and 1"),
        (("--guidance", "1", "--guidance-to", "0.5"), "guidance_to has no effect at guidance 1"),
    ],
)
def test_what_would_do_nothing_is_refused(run_cli, argv, message):
    ran = run_cli("generate", "a cat", *QUICK, *argv)
    assert ran.code == 2
    assert message.replace("'1.5'", "1.5") in ran.stderr


def test_a_sweep_past_one_leaves_out_what_needs_guidance_there(run_cli):
    swept = run_cli("generate", "a cat", *QUICK, *INTERVAL, "-n", "a dog", "-g", "1,3", "-o", "x")
    assert swept.code == 0
    assert swept.stderr.count("no effect on the images of a guidance of 1 or less") == 1
    assert "negative_prompt (--negative), guidance_from, guidance_to have" in swept.stderr
    alone = run_cli("generate", "a cat", *QUICK, "-g", "1", "-o", "1.png")
    guided = run_cli(
        "generate", "a cat", *QUICK, *INTERVAL, "-n", "a dog", "-g", "3", "-o", "3.png"
    )
    assert [pixels(path) for path in swept.paths] == [
        pixels(path) for path in (*alone.paths, *guided.paths)
    ]
    request = read_image_info(Path(swept.paths[0]))["record"]["request"]
    assert request["guidance_from"] in (None, 0)


@pytest.mark.parametrize("scales", ["1", "0,1", "0.5"])
def test_guidance_that_no_image_has_is_an_error(run_cli, scales):
    ran = run_cli("generate", "a cat", *QUICK, *INTERVAL, "-g", scales)
    assert (ran.code, "has no effect at guidance" in ran.stderr) == (2, True)


def test_a_resumed_run_can_change_it(run_cli):
    save = ("--save-latents", "all", "-o", "whole.png")
    assert run_cli("generate", "a cat", *QUICK, "-g", "3", *save).code == 0
    resume = ("latents", "resume", "whole.png", "--from-step", "2")
    changed = run_cli(*resume, "--guidance-from", "0.5", "--guidance-to", "0.75", "-o", "part.png")
    assert changed.code == 0
    assert pixels("part.png") != pixels("whole.png")
    record = read_image_info(Path("part.png"))["record"]
    assert record["request"]["guidance_to"] == 0.75
    assert any("guidance_to" in event for event in record["events"])
    # Of the last two steps, the first is guided, as in the whole run.
    assert run_cli(*resume, "--guidance-from", "0.5", "-o", "same.png").code == 0
    assert pixels("same.png") == pixels("whole.png")
