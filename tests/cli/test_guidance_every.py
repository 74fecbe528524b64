"""`--guidance-every` at the command line: everything that an option of an image must do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdcli.storage.images.codec import read_image_info
from tests.conftest import RunCli

QUICK = ("--device", "cpu", "--size", "64x64", "--steps", "8", "--seed", "7")
KEPT = ("--guidance-every", "2")


def pixels(path: str | Path) -> str:
    return str(read_image_info(Path(path))["pixels_sha256"])


def test_it_is_recorded_replayed_swept_and_set_by_rows(run_cli: RunCli) -> None:
    assert run_cli("generate", "a cat", *QUICK, *KEPT, "-o", "kept.png").code == 0
    info = read_image_info(Path("kept.png"))
    assert info["record"]["request"]["guidance_every"] == 2
    assert "Guidance every: 2" in info["parameters"]
    assert run_cli("replay", "kept.png", "--check").stdout == "kept.png: identical\n"
    assert "--guidance-every=2" in run_cli("inspect", "kept.png", "--as-command").stdout
    line = json.loads(run_cli("inspect", "kept.png", "--as-prompt-line").stdout)
    assert line["guidance_every"] == 2
    swept = run_cli("generate", "a cat", *QUICK, "--guidance-every", "1,2", "-o", "swept")
    whole, kept = map(pixels, swept.paths)
    assert (kept, whole != kept) == (pixels("kept.png"), True)
    assert "Guidance every" not in read_image_info(Path(swept.paths[0]))["parameters"]
    Path("a.csv").write_text("prompt,guidance_every\na cat,2\na cat,\n")
    rows = run_cli("batch", "a.csv", *QUICK, "--batch-size", "4", "-o", "rows")
    assert [pixels(path) for path in rows.paths] == [kept, whole]


def test_it_is_resumed_where_guidance_is_computed(run_cli: RunCli) -> None:
    saved = ("--feature-cache", "3", "--save-latents", "all", "-o", "kept.png")
    assert run_cli("generate", "a cat", *QUICK, *KEPT, *saved).code == 0

    def resume(step: int, *more: str) -> object:
        return run_cli("latents", "resume", "kept.png", "--from-step", str(step), "-o", "x.png",
                       "--force", *more)  # fmt: skip

    for step in (0, 2, 6):
        assert resume(step).code == 0
        assert pixels("x.png") == pixels("kept.png")
    refused = resume(3)
    assert refused.code == 2
    assert "step 4 used deep features of an earlier one (--feature-cache 3)" in refused.stderr
    assert "use --from-step 2, or --feature-cache 1 --guidance-every 1 for" in refused.stderr
    refused = resume(5)
    assert "step 6 used differences of an earlier one (--guidance-every 2)" in refused.stderr
    assert resume(5, "--guidance-every", "1").code == 0
    record = read_image_info(Path("x.png"))["record"]
    assert any("guidance_every 2" in event for event in record["events"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--steps", "5"), "no effect with 5 steps: the first 3 and the last 2"),
        (("--guidance", "1"), "guidance_every has no effect at guidance 1\n"),
        (("--lora", "embedded:fast", "--steps", "9"), "at guidance 1, the default with this LoRA"),
        (("--guidance-every", "0"), "0 is not between 1 and 100"),
        (("--guidance-to", "0.3"), "guidance_every: no effect with 8 steps"),
    ],
)
def test_what_cannot_work_is_refused(run_cli: RunCli, argv: tuple[str, ...], message: str) -> None:
    ran = run_cli("generate", "a cat", *QUICK, *KEPT, *argv)
    assert (ran.code, message in ran.stderr) == (2, True), ran.stderr
