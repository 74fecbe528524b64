"""Pipes to tar, xargs, jq and head; and two ranks of torchrun."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sdcli.storage.images.codec import read_image_info
from tests.runner.conftest import hash_images, list_leftovers

ROOT = Path(__file__).parents[2]
TINY = "--steps 1 --size 64x64 --device cpu --seed 7"
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    "PYTHONWARNINGS": "ignore",
    "OMP_NUM_THREADS": "1",
}


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = command.replace("sdcli ", f"{sys.executable} -m sdcli ")
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True, text=True, cwd=folder, env=ENVIRONMENT, check=False,
    )  # fmt: skip


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"no {tool} here")


def test_stdout_can_be_a_tar_of_several_images(tmp_path: Path) -> None:
    ran = shell(f"sdcli generate 'a cat' 'a dog' {TINY} -o - --format tar | tar xv", tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.split() == ["0001-a-cat-7.png", "0002-a-dog-7.png"]
    assert len(hash_images(tmp_path)) == 2
    ran = shell("ls *.png | xargs -n 1 basename -s .png", tmp_path)
    assert ran.stdout.split() == ["0001-a-cat-7", "0002-a-dog-7"]


@needs("jq")
def test_jq_reads_events_and_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    made = f"printf 'a cat\\na dog\\n' | sdcli generate - {TINY} --jsonl"
    ran = shell(f"{made} | jq -r 'select(.event==\"image\") | .path'", tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert [Path(line).name for line in ran.stdout.split()] == [
        "0001-a-cat-7.png", "0002-a-dog-7.png",
    ]  # fmt: skip
    ran = shell(f"{made} | head -1", tmp_path)
    assert json.loads(ran.stdout)["event"] == "started"
    assert ran.stderr == ""


def test_two_ranks_make_the_images_of_one_process(tmp_path: Path) -> None:
    prompts = [f"a cat {i}" for i in range(5)] + ["a {red|blue} star --seed 3", "a dog --count 2"]
    (tmp_path / "prompts.txt").write_text("\n".join(prompts) + "\n")
    sdcli = [
        "-m",
        "sdcli",
        "batch",
        "prompts.txt",
        "--wildcard-mode",
        "random",
        "--batch-size",
        "1",
    ]
    sdcli += ["--seed", "7", "--steps", "1", "--size", "64x64", "--device", "cpu"]
    ran = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", *sdcli],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    told = [line for line in ran.stderr.splitlines() if "images made" in line]
    assert [line.split("sdcli: ")[1] for line in told] == ["4 images made"] * 2
    together = hash_images(tmp_path / "outputs")
    assert sorted(Path(path).name for path in ran.stdout.split()) == sorted(together)
    assert list_leftovers(tmp_path / "outputs") == []
    again = subprocess.run(
        [sys.executable, *sdcli], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert "8 done before" in again.stderr
    shutil.rmtree(tmp_path / "outputs")
    subprocess.run(
        [sys.executable, *sdcli], cwd=tmp_path, env=ENVIRONMENT, check=True, capture_output=True
    )
    assert hash_images(tmp_path / "outputs") == together


def test_prompts_from_a_pipe_are_generated_as_they_arrive(tmp_path: Path) -> None:
    """As in `tail -f prompts.txt | sdcli generate - | while read path`."""
    argv = [sys.executable, "-m", "sdcli", "generate", "-", *TINY.split(), "-o", "out"]
    process = subprocess.Popen(
        argv,
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for prompt in ("a cat", "a dog"):
        process.stdin.write(f"{prompt}\n")
        process.stdin.flush()
        path = process.stdout.readline().rstrip("\n")  # before the next prompt is there
        assert read_image_info(tmp_path / path)["record"]["request"]["prompt"] == prompt
    process.stdin.close()
    assert process.stdout.read() == ""
    process.stdout.close()
    assert process.wait() == 0
