"""`sdcli batch --workers`: the same images as one process, whoever is killed meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.distributed.worker_pool import WorkerPool, worker_environments
from sdcli.storage.images.codec import read_image_info
from tests.processes import children, is_gone, read_line, wait_until

WORDS = ("a cat", "a dog", "a fish", "a star", "a pizza", "a whale", "a house", "grapes")
QUICK = ("--device", "cpu", "--seed", "1", "--size", "64x64", "--batch-size", "1", "-o", "out")
SECONDS = 240


def write_prompts(*lines: str) -> None:
    Path("prompts.txt").write_text("".join(f"{line}\n" for line in lines))


def pixels(folder: str = "out") -> dict[str, str]:
    """The hash of the pixels of every image, by its name."""
    paths = Path(folder).glob("*.png")
    return {path.name: str(read_image_info(path)["pixels_sha256"]) for path in paths}


def journal(folder: str = "out") -> list[dict]:
    lines = Path(folder, "sdcli-journal.jsonl").read_text().splitlines()
    return [event for line in lines if (event := json.loads(line))["event"] != "opened"]


@contextmanager
def started(*argv: str, **settings) -> Iterator[subprocess.Popen]:
    """A run of its own, which is gone at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sdcli", "batch", "prompts.txt", *QUICK, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_workers_make_what_one_process_makes(run_cli):
    write_prompts(*WORDS, "a cat", "a dog --steps 3")
    alone = run_cli("batch", "prompts.txt", *QUICK, "--steps", "2")
    expected, order = pixels(), [path.name for path in alone.paths]
    ran = run_cli("batch", "prompts.txt", *QUICK, "--steps", "2", "--workers", "2", "-o", "both")
    assert (ran.code, ran.messages) == (0, "sdcli: 10 images made\n")
    assert [path.name for path in ran.paths] == order
    assert pixels("both") == expected
    assert len(journal("both")) == 10
    again = run_cli("batch", "prompts.txt", *QUICK, "--steps", "2", "--workers", "2", "-o", "both")
    assert (again.code, again.paths) == (0, [])
    assert again.stderr == "sdcli: 0 images made, 10 done before\n"


def test_events_and_failures_are_those_of_one_process(run_cli):
    bad = Path(shutil.copytree(EMBEDDED_FOLDER, "bad"))
    unet = bad / "unet" / "diffusion_pytorch_model.safetensors"
    unet.write_bytes(unet.read_bytes()[:200_000])
    lines = [{"prompt": "a cat"}, {"prompt": "x", "model": "bad"}, {"prompt": "a dog"}]
    Path("prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ran = run_cli("batch", "prompts.jsonl", *QUICK, "--steps", "1", "--jsonl", "--workers", "1")
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.code == 9, ran.stderr
    assert events[0] == {"schema": "sdcli/started/1", "event": "started", "images": 3}
    images = [event for event in events if event["event"] == "image"]
    assert [event["prompt"] for event in images] == ["a cat", "a dog"]
    [failed] = [event for event in events if event["event"] == "failed"]
    assert (failed["indices"], failed["exit_code"]) == ([1], 7)
    assert (events[-1]["made"], events[-1]["failed"], events[-1]["exit_code"]) == (2, 1, 9)
    assert {event["event"] for event in events} == {"started", "step", "image", "failed", "done"}


def test_a_closed_pipe_ends_the_run_quietly(run_cli):
    del run_cli
    write_prompts(*WORDS)
    with started("--steps", "20", "--workers", "1", "-v") as process:
        assert read_line(process)
        workers = children(process.pid)
        assert process.stdout
        process.stdout.close()
        assert process.wait(SECONDS) == 141
        assert process.stderr
        with process.stderr as stream:
            errors = stream.read()
        process.stderr = process.stdout = None
    assert "Traceback" not in errors
    assert "sdcli: model embedded, device cpu" in errors
    assert all(map(is_gone, workers))
    assert not list(Path("out").glob(".sdcli-claims/*"))


def test_there_are_no_more_workers_than_images(run_cli, monkeypatch):
    started_with = []
    start = WorkerPool.__enter__
    monkeypatch.setattr(
        WorkerPool, "__enter__", lambda pool: started_with.append(len(pool.workers)) or start(pool)
    )
    write_prompts("a cat")
    ran = run_cli("batch", "prompts.txt", *QUICK, "--steps", "1", "--workers", "4")
    assert (ran.code, len(ran.paths), started_with) == (0, 1, [1])


def test_workers_make_prompts_of_a_stream(run_cli):
    argv = ("batch", "-", *QUICK, "--steps", "1", "--json", "--workers", "1")
    ran = run_cli(*argv, stdin="a cat\na whale\n")
    assert (ran.code, [image["prompt"] for image in ran.document["images"]]) == (
        0,
        ["a cat", "a whale"],
    )
    assert (ran.document["made"], ran.document["skipped"]) == (2, 0)


def test_the_jobs_of_a_dead_worker_go_on(run_cli):
    del run_cli  # for its folder
    write_prompts(*WORDS)
    with started("--steps", "30", "--workers", "2") as process:
        assert read_line(process)
        first, second = children(process.pid)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(children(process.pid)) == 2 and first not in children(process.pid))
        rest, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    assert len(rest.splitlines()) == len(WORDS) - 1
    assert "a worker process ended with SIGKILL" in errors
    assert len(pixels()) == len(WORDS)
    names = [event["name"] for event in journal()]
    assert sorted(names) == sorted(pixels())
    assert is_gone(second)


POISON = """
import os, sys
if "sdcli.distributed.worker_process" in sys.orig_argv:
    from sdcli.runner.batch_generator import BatchGenerator
    generate = BatchGenerator.generate
    def poisoned(self, batch):
        if any("poison" in job.prompt for job in batch):
            os.kill(os.getpid(), 9)
        return generate(self, batch)
    BatchGenerator.generate = poisoned
"""


def test_an_image_that_kills_its_workers_fails_alone(run_cli, monkeypatch, tmp_path):
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "sitecustomize.py").write_text(POISON)
    path = os.pathsep.join(filter(None, (str(tmp_path / "faults"), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    write_prompts("a cat", "poison", "a dog", "a fish")
    argv = ("batch", "prompts.txt", *QUICK, "--steps", "1", "--workers", "1")
    ran = run_cli(*argv, "--batch-size", "2")
    assert ran.code == 9, ran.stderr
    assert "'poison': 2 worker processes ended while they made this image" in ran.stderr
    assert len(pixels()) == 3
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert run_cli(*argv[:-2], "--retry-failed").code == 0
    assert len(pixels()) == 4


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([signal.SIGINT], 130),
        ([signal.SIGTERM], 130),
        ([signal.SIGINT, signal.SIGINT], 130),
        ([signal.SIGKILL], -signal.SIGKILL),
    ],
    ids=["ctrl-c", "term", "ctrl-c twice", "kill"],
)
def test_a_run_that_is_ended_goes_on_in_the_next(run_cli, signals, code):
    write_prompts(*WORDS)
    with started("--steps", "20", "--workers", "2") as process:
        assert read_line(process)
        workers = children(process.pid)
        for number in signals:
            process.send_signal(number)
            time.sleep(0.3)
        out, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == code, errors
    wait_until(lambda: all(map(is_gone, workers)))
    done = pixels()
    assert 1 <= len(done) < len(WORDS), errors
    if code == 130:
        assert errors.count("sdcli: error: interrupted; ") == 1
        # Those that are stopped at once may have written an image that nobody has heard of.
        printed = len(out.splitlines()) + 1
        assert printed <= len(done) if len(signals) == 2 else printed == len(done)
    ran = run_cli("batch", "prompts.txt", *QUICK, "--steps", "20")
    assert ran.code == 0, ran.stderr
    assert len(ran.paths) == len(WORDS) - len(done)
    assert done.items() <= pixels().items()
    assert len(pixels()) == len(WORDS)
    assert not list(Path("out").glob(".sdcli-claims/*"))


def test_a_vanished_output_ends_the_run(run_cli):
    del run_cli
    write_prompts(*WORDS)
    with started("--steps", "20", "--workers", "1") as process:
        assert read_line(process)
        Path("out").rename("gone")
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode in (5, 9), errors
    assert "Traceback" not in errors
    assert errors.count("sdcli: error:") == 1
    assert ".sdcli" not in errors


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--workers", "0"), "--workers"),
        (("--workers", "x"), "--workers"),
        (("--workers", "2", "-o", "-"), "--workers can't write to stdout"),
        (("--workers", "2", "--gpus", "all"), "--gpus can't be used with --workers"),
        (("--gpus", "first"), "--gpus: 'first' is not all or a list of numbers"),
        (("--gpus", "0,"), "--gpus: '0,' is not all or a list of numbers"),
        (("--gpus", "1,0,1"), "--gpus: '1,0,1' names a GPU twice"),
        (("--gpus", "0,00"), "--gpus: '0,00' names a GPU twice"),
        (("--gpus", ""), "--gpus: '' is not all"),
        (("--gpus", "0", "--device", "cpu"), "--gpus can't be used with --device cpu"),
        (("--gpus", "all", "--device", "cuda:1"), "--gpus can't be used with --device cuda:1"),
        (("--shard", "1/2", "-o", "-"), "a shard of a run can't be written to stdout"),
        (("--ray", "local", "--gpus", "0"), "--ray can't be used with --gpus"),
        (("--ray", "nowhere"), "--ray: 'nowhere' is not local, auto or HOST:PORT"),
        (("--ray", "ray://127.0.0.1:10001"), "is not local, auto or HOST:PORT"),
        (("--ray", "127.0.0.1:65536"), "is not local, auto or HOST:PORT"),
        (("--ray", "nowhere", "--dry-run"), "--ray: 'nowhere' is not local, auto or HOST:PORT"),
        (("--ray", ""), "--ray: '' is not local, auto or HOST:PORT"),
    ],
)
def test_workers_that_can_not_be(run_cli, argv, message):
    write_prompts("a cat")
    ran = run_cli("batch", "prompts.txt", *argv)
    assert ran.code == 2, ran.stderr
    assert message in ran.stderr
    assert not Path("outputs").exists()


def test_ranks_have_no_workers(run_cli, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    write_prompts("a cat")
    ran = run_cli("batch", "prompts.txt", "--workers", "2")
    assert (ran.code, "torchrun starts the processes itself" in ran.stderr) == (2, True)
    ran = run_cli("batch", "prompts.txt", "-o", "-", "--format", "tar")
    assert (ran.code, "can't be written to stdout" in ran.stderr) == (2, True)


def test_a_gpu_that_is_not_there(run_cli):
    write_prompts("a cat")
    ran = run_cli("batch", "prompts.txt", "--gpus", "9999")
    assert ran.code == 4
    assert "--gpus 9999: no such GPU on this machine" in ran.stderr


def test_each_worker_has_its_share_of_the_machine(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("RANK", "1")
    plain = worker_environments(3, cores=8)
    assert [environment["OMP_NUM_THREADS"] for environment in plain] == ["2", "2", "2"]
    assert not any("RANK" in environment for environment in plain)
    assert worker_environments(4, cores=2)[0]["OMP_NUM_THREADS"] == "1"
    gpus = worker_environments(2, ["0", "GPU-5ebe"], cores=8)
    assert [each["CUDA_VISIBLE_DEVICES"] for each in gpus] == ["0", "GPU-5ebe"]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert worker_environments(3, cores=8)[0]["OMP_NUM_THREADS"] == "5"
