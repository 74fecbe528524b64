"""`sdcli batch --ray` on real clusters of this machine. `make test-ray` installs what it needs."""

from __future__ import annotations

import json
import os
import pickle
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.distributed.messages import WorkerSettings
from sdcli.runner.options import RunOptions
from sdcli.storage.images.codec import read_image_info
from sdcli.versions import __version__
from tests.processes import is_gone, read_line, wait_until

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        find_spec("ray") is None, reason="ray is not installed: make test-ray has its environment"
    ),
]

WORDS = ("a cat", "a dog", "a fish", "a star", "grapes", "a house", "a whale", "a castle")
QUICK = ("--device", "cpu", "--seed", "1", "--size", "64x64", "--batch-size", "1", "--steps", "2")
SECONDS = 600
TOKEN = "0123456789abcdef" * 4

# Of these prompts, the first try to draw one waits until its process is killed; Ray kills that of
# the first prompt.
WAITS = ("a fish", "a whale", "a pizza")

FAULTS = f"""
import os, sys, time
from pathlib import Path
if "default_worker" in " ".join(sys.orig_argv):
    from sdcli.runner.batch_generator import BatchGenerator
    generate = BatchGenerator.generate
    def wait(file):
        if not file.exists():
            file.write_text(str(os.getpid()))
            if file.name == {WAITS[0]!r}:
                import ray
                ray.kill(ray.get_runtime_context().current_actor, no_restart=False)
            cluster = os.getppid()
            while os.getppid() == cluster:
                time.sleep(0.1)
    def faulty(self, batch):
        for job in batch:
            if job.prompt == "poison":
                os.kill(os.getpid(), 9)
            if job.prompt == "elsewhere" and not Path("kept").exists():
                Path("copy").rename("kept")
            if job.prompt in {WAITS}:
                wait(Path(__file__).with_name(job.prompt))
        return generate(self, batch)
    BatchGenerator.generate = faulty
"""


@dataclass(frozen=True)
class Cluster:
    """A cluster with a token, and the folder of its faults."""

    address: str
    folder: Path

    def waiting(self, prompt: str) -> int:
        """The process that waits instead of drawing a prompt."""
        file = self.folder / prompt
        return int(wait_until(lambda: file.exists() and file.read_text(), SECONDS))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    # Of a short name, because it has the names of sockets.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    (folder / "sitecustomize.py").write_text(FAULTS)
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    host, _, port = address.partition(":")
    argv = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start"]
    argv += ["--head", "--block", f"--node-ip-address={host}", f"--port={port}", "--num-cpus=2"]
    argv += ["--include-dashboard=false", "--object-store-memory=80000000"]
    process = subprocess.Popen(
        [*argv, f"--temp-dir={folder}"],
        env={
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "PYTHONPATH": path,
            # Its workers would wait for everything else on a busy machine.
            "RAY_worker_niceness": "0",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        while "Ray runtime started" not in (line := read_line(process)):
            assert line, "the cluster did not start"
        yield Cluster(address, folder)
    finally:
        # All of its processes are in this group, and nothing of them is to be kept.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def on_cluster(cluster, monkeypatch) -> tuple[str, ...]:
    """The options of a run on the cluster, whose token is known."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    return ("--ray", cluster.address, "--workers", "2")


@pytest.fixture(autouse=True)
def prompts(run_cli) -> None:
    del run_cli  # for its folder
    write_prompts(*WORDS)


def write_prompts(*words: str) -> None:
    Path("prompts.txt").write_text("".join(f"{word}\n" for word in words))


def start(*argv: str) -> subprocess.Popen[str]:
    """Start a run in a process of its own: Ray leaves threads and settings behind."""
    return subprocess.Popen(
        [sys.executable, "-m", "sdcli", "batch", "prompts.txt", *QUICK, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*argv: str) -> tuple[int, str]:
    """The exit code of a run and its messages."""
    process = start(*argv)
    _, errors = process.communicate(timeout=SECONDS)
    return process.returncode, errors


def pixels(folder: str) -> dict[str, str]:
    paths = Path(folder).glob("*.png")
    return {path.name: str(read_image_info(path)["pixels_sha256"]) for path in paths}


def journaled(folder: str) -> list[str]:
    """The names of all images that were ever written to the folder."""
    lines = Path(folder, "sdcli-journal.jsonl").read_text().splitlines()
    events = map(json.loads, lines)
    return sorted(event["name"] for event in events if event["event"] == "image")


def test_actors_and_processes_are_killed_and_every_image_is_made_once(run_cli, cluster, on_cluster):
    alone = run_cli("batch", "prompts.txt", *QUICK, "-o", "alone")
    assert alone.code == 0
    # Ray ends an actor of the first run. The second one continues it, and its process is killed.
    summaries = {"a fish": "4 images made", "a whale": "4 images made, 4 done before"}
    for images, (prompt, summary) in zip((4, 8), summaries.items(), strict=True):
        process = start(*on_cluster, "-o", "both", "--limit", str(images))
        actor = cluster.waiting(prompt)
        if prompt == "a whale":
            os.kill(actor, signal.SIGKILL)
        out, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, errors
        # Before it, a slow machine has lines about the progress, and Ray's core its own.
        assert errors.splitlines()[-1] == f"sdcli: {summary}"
        assert len(out.splitlines()) == 4
        assert is_gone(actor)
    assert pixels("both") == pixels("alone")
    assert journaled("both") == sorted(pixels("alone"))
    assert not Path("both", ".sdcli-claims").exists()
    again = run_cli("batch", "prompts.txt", *QUICK, *on_cluster, "-o", "both")
    assert (again.code, again.stderr) == (0, "sdcli: 0 images made, 8 done before\n")


def test_a_killed_driver_is_no_loss(run_cli, cluster, on_cluster):
    write_prompts("a cat", "a pizza", "a dog")
    process = start(*on_cluster, "-o", "out")
    actor = cluster.waiting("a pizza")
    process.kill()
    process.communicate(timeout=SECONDS)
    # It waits for the image that the actor still has.
    ran = run_cli("batch", "prompts.txt", *QUICK, "-o", "out")
    assert ran.code == 0, ran.stderr
    assert is_gone(actor)
    assert len(pixels("out")) == 3
    assert journaled("out") == sorted(pixels("out"))


def test_an_image_that_kills_its_actors_fails_alone(on_cluster):
    write_prompts("a cat", "poison", "a dog")
    code, errors = run(*on_cluster, "-o", "out")
    assert code == 9, errors
    assert "'poison': 2 worker processes ended while they made this image" in errors
    assert errors.count("sdcli: error:") == 1
    assert "ray.worker" not in errors
    assert len(pixels("out")) == 2


def test_ctrl_c_finishes_the_images_in_progress(run_cli, monkeypatch):
    monkeypatch.setenv("RAY_worker_niceness", "0")
    many = ("--count", "25", "--steps", "6")
    process = start(*many, "--ray", "local", "--workers", "2", "-o", "out")
    assert read_line(process)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, errors
    assert "finishing the images in progress" in errors
    assert errors.count("sdcli: error: interrupted") == 1
    done = pixels("out")
    assert 1 <= len(done) < 200
    assert len(out.splitlines()) + 1 == len(done)
    plan = run_cli("batch", "prompts.txt", *QUICK, *many, "-o", "out", "--dry-run")
    assert plan.stdout.startswith(f"images: 200, {len(done)} done\n")


def test_an_actor_without_the_model_fails_its_images_alone(run_cli, on_cluster):
    shutil.copytree(EMBEDDED_FOLDER, "copy")
    write_prompts("a cat", "elsewhere --model copy", "a dog")
    code, errors = run(*on_cluster, "-o", "out", "--workers", "1")
    assert code == 9, errors
    assert "copy" in only_error(errors)
    assert len(pixels("out")) == 2
    shutil.copytree("kept", "copy")
    continued(run_cli, "out", "--retry-failed")
    assert len(pixels("out")) == 3


@contextmanager
def small_disk(folder: str, size: str) -> Iterator[Path]:
    """A disk of its own in a folder, which the cluster sees too."""
    disk = Path(folder)
    disk.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder]
    if subprocess.run(argv, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield disk
    finally:
        # Idle actors may still have files of it open.
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_ends_the_run_in_one_line_and_the_next_goes_on(run_cli, on_cluster):
    with small_disk("disk", "24k") as disk:
        code, errors = run(*on_cluster, "-o", "disk/out")
        assert code in (5, 9), errors
        assert only_error(errors).endswith("No space left on device")
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        continued(run_cli, "disk/out")
        assert len(pixels("disk/out")) == len(WORDS)
        assert journaled("disk/out") == sorted(pixels("disk/out"))


def test_a_vanished_output_ends_the_run_in_one_line_and_the_next_goes_on(run_cli, on_cluster):
    process = start(*on_cluster, "--workers", "1", "-o", "out", "--steps", "20")
    assert read_line(process)
    Path("out").rename("elsewhere")
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode in (5, 9), errors
    assert "out" in only_error(errors)
    shutil.rmtree("out", ignore_errors=True)
    Path("elsewhere").rename("out")
    before = pixels("out")
    assert before
    continued(run_cli, "out", "--steps", "20")
    assert before.items() <= pixels("out").items()
    assert len(pixels("out")) == len(WORDS)


def continued(run_cli, folder: str, *argv: str) -> None:
    """Continue a run in this process, which needs less time than a cluster."""
    ran = run_cli("batch", "prompts.txt", *QUICK, "-o", folder, *argv)
    assert ran.code == 0, ran.stderr


def only_error(errors: str) -> str:
    """The one error of a run, which is no bug."""
    assert "Traceback" not in errors
    [error] = [line for line in errors.splitlines() if line.startswith("sdcli: error:")]
    return error


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
def test_a_cluster_that_is_not_there(run_cli, address):
    ran = run_cli("batch", "prompts.txt", *QUICK, "--ray", address, "-o", "out")
    refused(ran.code, ran.stderr, address)


@pytest.mark.sample(1)
@pytest.mark.parametrize("token", ["fedcba9876543210" * 4, None])
def test_a_cluster_that_wants_another_token(cluster, monkeypatch, token):
    if token:
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    code, errors = run("--ray", cluster.address, "-o", "out")
    refused(code, errors, cluster.address)
    assert "the authentication token is missing or wrong" in errors


def refused(code: int, errors: str, address: str) -> None:
    """Assert that a run says in one line why it can't begin, and how to change that."""
    assert code == 4, errors
    assert "Traceback" not in errors
    # Ray's core has lines of its own.
    error, hint, _ = [line for line in errors.splitlines() if line.startswith("sdcli: ")]
    assert error.startswith(f"sdcli: error: --ray {address}: ")
    assert "RAY_AUTH_TOKEN" in hint
    assert pixels("out") == {}
