"""`sdcli batch --ray` on a real cluster of this machine. `make test-ray` installs what it needs."""

from __future__ import annotations

import json
import os
import pickle
import platform
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from sdcli.distributed.messages import WorkerSettings
from sdcli.runner.options import RunOptions
from sdcli.storage.images.codec import read_image_info
from sdcli.versions import __version__
from tests.processes import read_line

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        find_spec("ray") is None, reason="ray is not installed: make test-ray has its environment"
    ),
]

WORDS = ("a cat", "a dog", "a fish", "a star", "a pizza", "a whale", "a house", "grapes")
QUICK = ("--device", "cpu", "--seed", "1", "--size", "64x64", "--batch-size", "1")
LOCAL = ("--ray", "local", "--workers", "2")
SECONDS = 600


@pytest.fixture(autouse=True)
def prompts(run_cli) -> None:
    del run_cli  # for its folder
    Path("prompts.txt").write_text("".join(f"{word}\n" for word in WORDS))


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "sdcli", "batch", "prompts.txt", *QUICK, *argv]


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    # A process of its own: a cluster leaves threads and settings behind.
    return subprocess.run(
        command(*argv), capture_output=True, text=True, timeout=SECONDS, check=False
    )


def start(*argv: str) -> subprocess.Popen[str]:
    """Start a run, and wait for its first image."""
    process = subprocess.Popen(
        command(*argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert read_line(process)
    return process


def pixels(folder: str) -> dict[str, str]:
    paths = Path(folder).glob("*.png")
    return {path.name: str(read_image_info(path)["pixels_sha256"]) for path in paths}


def journaled(folder: str) -> list[str]:
    """The names of all images that were ever written to the folder."""
    lines = Path(folder, "sdcli-journal.jsonl").read_text().splitlines()
    events = map(json.loads, lines)
    return sorted(event["name"] for event in events if event["event"] == "image")


def lease_owners(folder: str) -> set[int]:
    """The processes that are making an image."""
    owners = set()
    for path in Path(folder, ".sdcli-claims").glob("*-*"):
        try:
            owners.add(int(json.loads(path.read_text())["pid"]))
        except (OSError, ValueError):
            continue  # just released
    return owners


def wait_for_owner(folder: str, but: frozenset[int] = frozenset()) -> int:
    deadline = time.monotonic() + SECONDS
    while not (owners := lease_owners(folder) - but):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return min(owners)


def test_two_actors_one_killed_make_every_image_once(run_cli):
    steps = ("--steps", "25")
    alone = run_cli("batch", "prompts.txt", *QUICK, *steps, "-o", "alone")
    assert alone.code == 0
    process = start(*steps, *LOCAL, "-o", "both")
    os.kill(wait_for_owner("both"), signal.SIGKILL)
    out, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    # Before it, a slow machine has lines about the progress, and Ray's core its own.
    assert errors.splitlines()[-1] == "sdcli: 8 images made"
    assert len(out.splitlines()) == len(WORDS) - 1
    assert pixels("both") == pixels("alone")
    assert journaled("both") == sorted(pixels("alone"))
    assert not Path("both", ".sdcli-claims").exists()
    again = run(*steps, *LOCAL, "-o", "both")
    assert (again.returncode, again.stderr) == (0, "sdcli: 0 images made, 8 done before\n")


def test_ctrl_c_finishes_the_images_in_progress(run_cli):
    many = ("--count", "8", "--steps", "6")
    images = 8 * len(WORDS)
    process = start(*many, *LOCAL, "-o", "out")
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, errors
    assert "finishing the images in progress" in errors
    assert errors.count("sdcli: error: interrupted") == 1
    done = pixels("out")
    assert 1 <= len(done) < images
    assert len(out.splitlines()) + 1 == len(done)
    ran = run_cli("batch", "prompts.txt", *QUICK, *many, "-o", "out")
    assert (ran.code, len(ran.paths)) == (0, images - len(done))
    assert done.items() <= pixels("out").items()


def test_a_killed_driver_is_no_loss(run_cli):
    process = start("--steps", "25", *LOCAL, "-o", "out")
    process.kill()
    process.communicate(timeout=SECONDS)
    ran = run_cli("batch", "prompts.txt", *QUICK, "--steps", "25", "-o", "out")
    assert ran.code == 0, ran.stderr
    assert len(pixels("out")) == len(WORDS)


POISON = """
import os, sys
if "default_worker" in " ".join(sys.orig_argv):
    from sdcli.runner.batch_generator import BatchGenerator
    generate = BatchGenerator.generate
    def poisoned(self, batch):
        if any("star" in job.prompt for job in batch):
            os.kill(os.getpid(), 9)
        return generate(self, batch)
    BatchGenerator.generate = poisoned
"""


def test_an_image_that_kills_its_actors_fails_alone(monkeypatch, tmp_path):
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "sitecustomize.py").write_text(POISON)
    path = os.pathsep.join(filter(None, (str(tmp_path / "faults"), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    ran = run("--steps", "1", *LOCAL, "-o", "out")
    assert ran.returncode == 9, ran.stderr
    assert "'a star': 2 worker processes ended while they made this image" in ran.stderr
    assert ran.stderr.count("sdcli: error:") == 1
    assert "ray.worker" not in ran.stderr
    assert len(pixels("out")) == len(WORDS) - 1


@pytest.mark.parametrize(
    ("version", "folder", "code"),
    [("0.0.1", ".", "ray.version"), (__version__, "./not-shared", "output.ray")],
)
def test_an_actor_that_can_not_begin_says_why(version, folder, code):
    from sdcli.distributed.ray_worker import RayWorker

    options = RunOptions(out="out", expected_images=1, journal=True)
    settings = WorkerSettings(options=options, batch_size=1, opening_serial=0, folder=folder)
    worker = RayWorker(pickle.dumps(settings), version, None)
    [answer] = worker({"jobs": [pickle.dumps([])]})["messages"]
    [failed] = pickle.loads(answer)
    assert (failed.indices, failed.code) == ((), code)
    assert platform.node() in failed.message


@pytest.mark.parametrize("address", ["127.0.0.1:9", "nowhere.invalid:6379"])
def test_a_cluster_that_is_not_there(address):
    ran = run("--steps", "1", "--ray", address, "-o", "out")
    assert ran.returncode == 4, ran.stderr
    assert ran.stderr.splitlines()[0].startswith(f"sdcli: error: --ray {address}: ")
    assert "Traceback" not in ran.stderr
    assert pixels("out") == {}
