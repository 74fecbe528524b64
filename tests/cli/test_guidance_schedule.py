"""The guidance schedule at the command line: everything that an option of an image must do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import RunCli
from tests.image_files import pixels_of, record_of

QUICK = ("--device", "cpu", "--size", "64x64", "--steps", "4", "--seed", "7")
SCHEDULE = ("--guidance-schedule", "0:7.5,0.25:4,0.5:1")


def draw(run_cli: RunCli, *more: str, name: str = "drawn.png") -> np.ndarray:
    ran = run_cli("generate", "a cat", *QUICK, *more, "-o", name, "--force")
    assert ran.code == 0, ran.stderr
    return pixels_of(name)


def test_it_is_in_the_record_and_replayed(run_cli: RunCli) -> None:
    drawn = draw(run_cli, *SCHEDULE)
    assert not np.array_equal(drawn, draw(run_cli, name="whole.png"))
    request = record_of("drawn.png")["request"]
    assert (request["guidance_schedule"], request["guidance_scale"]) == ("0:7.5,0.25:4,0.5:1", 7.5)
    assert record_of("whole.png")["request"]["guidance_schedule"] is None
    parameters = run_cli("inspect", "drawn.png").stdout
    assert "0:7.5,0.25:4,0.5:1" in parameters
    assert run_cli("replay", "drawn.png", "--check").stdout == "drawn.png: identical\n"
    command = run_cli("inspect", "drawn.png", "--as-command").stdout
    assert "--guidance-schedule=0:7.5,0.25:4,0.5:1" in command
    line = json.loads(run_cli("inspect", "drawn.png", "--as-prompt-line").stdout)
    assert line["guidance_schedule"] == "0:7.5,0.25:4,0.5:1"


def test_it_is_swept_and_rows_have_their_own(run_cli: RunCli, tmp_path: Path) -> None:
    swept = run_cli(
        "generate", "a cat", *QUICK, "--guidance-schedule", "none,0:7,0.5:1,0:2", "-o", "swept"
    )
    assert swept.code == 0, swept.stderr
    images = [pixels_of(path) for path in swept.paths]
    assert len(images) == 3
    lines = [
        {"prompt": "a cat", "guidance_schedule": ["none", "0:7,0.5:1"]},
        {"prompt": "a cat", "guidance_schedule": "0:2"},
    ]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows = run_cli("batch", "rows.jsonl", *QUICK, "--batch-size", "1", "-o", "rows")
    assert rows.code == 0, rows.stderr
    for path, image in zip(sorted(rows.paths), images, strict=True):
        assert np.array_equal(pixels_of(path), image)
    Path("rows.csv").write_text('prompt,guidance_schedule\na cat,"0:7,0.5:1"\n')
    table = run_cli("batch", "rows.csv", *QUICK, "-o", "table")
    assert np.array_equal(pixels_of(table.paths[0]), images[1])


def test_a_resumed_run_keeps_it_to_the_bit(run_cli: RunCli) -> None:
    whole = draw(run_cli, *SCHEDULE, "--save-latents", "all")
    for step in ("1", "2", "3"):
        name = f"{step}.png"
        assert run_cli("latents", "resume", "drawn.png", "--from-step", step, "-o", name).code == 0
        assert np.array_equal(pixels_of(name), whole)


def test_the_trace_has_the_scale_of_each_step(run_cli: RunCli) -> None:
    draw(run_cli, *SCHEDULE, "--trace", "trace")
    found = [path for path in Path("trace").rglob("*.json") if "guidance_scale" in path.read_text()]
    steps = next(d["steps"] for d in (json.loads(p.read_text()) for p in found) if "steps" in d)
    assert [step["guidance_scale"] for step in steps] == [7.5, 4, None, None]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((*SCHEDULE, "-g", "3"), "3 has no effect with the guidance_schedule 0:7.5,0.25:4,0.5:1"),
        (("--guidance-schedule", "0:1"), "guidance_schedule has no effect at guidance 1"),
        (("--guidance-schedule", "0:1,0.9:5"), "no step has a guidance above 1 in 0:1,0.9:5"),
        (("--guidance-schedule", "0:5,0.2:x"), "is not a list of FRACTION:SCALE"),
        ((*SCHEDULE, "--guidance-from", "0.5"), "no step has a guidance above 1"),
    ],
)
def test_what_would_do_nothing_is_refused(
    run_cli: RunCli, options: Sequence[str], words: str
) -> None:
    ran = run_cli("generate", "a cat", *QUICK, *options)
    assert (ran.code, words in ran.stderr) == (2, True), ran.stderr


def test_and_needs_guidance_throughout(run_cli: RunCli) -> None:
    ran = run_cli("generate", "a cat AND a dog", *QUICK, *SCHEDULE)
    assert (ran.code, "AND needs guidance in the whole" in ran.stderr) == (2, True)
    kept = ("--guidance-schedule", "0:7,0.5:3", "-o", "and.png")
    assert run_cli("generate", "a cat AND a dog", *QUICK, *kept).code == 0
