"""Runs in a real worker: the same bytes and exit codes as without it, whatever happens to it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from tests.conftest import RunCli
from tests.processes import is_gone, wait_until
from tests.server import workers
from tests.server.workers import environment, status

CAT = ["generate", "a cat", "--seed", "7", "--steps", "2"]
LONG = ["generate", "a cat", "--seed", "7", "--steps", "900"]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A runtime folder, whose worker is stopped at the end."""
    folder = tmp_path_factory.mktemp("runtime")
    yield folder
    workers.stop(folder)


Warm = Callable[..., tuple[int, bytes, bytes]]


@pytest.fixture
def warm(runtime: Path, tmp_path: Path) -> Warm:
    """Run sdcli with --warm in a folder of its own."""
    folder = tmp_path / "warm"
    folder.mkdir()

    def run(*argv: str, **more: Any) -> tuple[int, bytes, bytes]:
        return workers.sdcli(runtime, *argv, "--warm", **{"cwd": folder, **more})

    return run


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, but for journals, which have times in them."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "journal" not in path.name
    }


def without_seconds(text: str | bytes) -> str:
    text = text.decode() if isinstance(text, bytes) else text
    text = re.sub(r'"seconds": (\{[^}]*\}|[\d.]+)', '"seconds": 0', text)
    return re.sub(r"\b\d+(\.\d+)? ?(s|ms|min)\b", "0 s", text)


@pytest.mark.sample(7)
@pytest.mark.parametrize(
    ("argv", "stdin", "code"),
    [
        ([*CAT, "-o", "cat.png"], "", 0),
        ([*CAT, "-o", "out", "--count", "2", "--sidecar", "--save-latents", "final"], "", 0),
        ([*CAT, "--jsonl", "-o", "cat.webp"], "", 0),
        (["generate", "-", "--steps", "2", "--seed", "1"], "a star\na fish\n", 0),
        (["batch", "-", "--steps", "2", "--seed", "1", "-v"], "a star\na fish\n", 0),
        ([*CAT, "-o", "no/such/x.jpg/y.gif"], "", 2),
        (["generate", "a cat", "--stpes", "2"], "", 2),
        (["generate", "a cat", "--steps", "0", "--json"], "", 2),
        (["generate", "a cat", "-m", "nowhere/model", "--offline"], "", 3),
        ([*CAT, "-o", "/proc/cat.png"], "", 5),
        (["replay", "missing.png"], "", 2),
        (["latents", "noise", "--help"], "", 0),
        (["attention", "a cat", "--seed", "7", "--steps", "2"], "", 0),
    ],
)  # fmt: skip
def test_a_warm_run_is_the_same_run(
    argv: list[str], stdin: str, code: int, run_cli: RunCli, warm: Warm, tmp_path: Path
) -> None:
    got, out, err = warm(*argv, input=stdin.encode())
    made = files(tmp_path / "warm")
    shutil.rmtree(tmp_path / "warm")
    cold = run_cli(*argv, stdin=stdin)
    assert without_seconds(err) == without_seconds(cold.stderr)
    assert without_seconds(out) == without_seconds(cold.stdout)
    assert (got, cold.code) == (code, code)
    assert made == files(tmp_path)


def test_an_image_on_stdout_is_the_same(warm: Warm, runtime: Path, tmp_path: Path) -> None:
    cold = workers.sdcli(runtime, *CAT, "-o", "-", cwd=tmp_path)
    assert cold[1].startswith(b"\x89PNG")
    assert warm(*CAT, "-o", "-") == cold


def test_the_client_imports_neither_typer_nor_torch(runtime: Path, tmp_path: Path) -> None:
    probe = (
        "import sys; sys.argv[0] = 'sdcli'\nfrom sdcli.__main__ import main\ncode = main()\n"
        "print(code, *{name.partition('.')[0] for name in sys.modules})"
    )
    ran = subprocess.run(
        [sys.executable, "-c", probe, *CAT, "-q", "--warm"], cwd=tmp_path, text=True,
        env=environment(runtime), capture_output=True, check=True,
    )  # fmt: skip
    path, words = ran.stdout.splitlines()
    code, *modules = words.split()
    assert (path, code) == ("outputs/0001-a-cat-7.png", "0")
    assert not {"typer", "torch", "numpy", "PIL", "rich", "dataclasses", "subprocess"} & set(
        modules
    )


def test_the_second_call_finds_the_worker_and_the_model(warm: Warm, runtime: Path) -> None:
    assert warm(*CAT)[0] == 0
    before = status(runtime)
    code, out, _ = warm(*CAT, "--json")
    after = status(runtime)
    assert before
    assert after
    assert code == 0
    assert (after["pid"], after["child"]) == (before["pid"], before["child"])
    assert after["calls"] == before["calls"] + 1
    assert after["models"] == ["embedded"]
    seconds = json.loads(out)["images"][0]["seconds"]
    assert (seconds["import"], seconds["load"]) == (0, 0)


def test_the_commands_of_the_worker(runtime: Path, warm: Warm, tmp_path: Path) -> None:
    warm(*CAT)
    code, out, _ = workers.sdcli(runtime, "worker", "status", "--json", cwd=tmp_path)
    document = json.loads(out)
    assert (code, document["schema"], document["running"]) == (0, "sdcli/worker/1", True)
    assert document["fits"]
    _, out, _ = workers.sdcli(runtime, "worker", "status", cwd=tmp_path)
    assert f"idle, process {document['pid']}" in out.decode()
    assert workers.sdcli(runtime, "worker", "stop", cwd=tmp_path) == (
        0, b"", f"sdcli: stopped process {document['pid']}\n".encode(),
    )  # fmt: skip
    wait_until(lambda: is_gone(document["pid"]))
    _, out, _ = workers.sdcli(runtime, "worker", "status", cwd=tmp_path)
    assert out == b"worker: not running\n"
    _, out, _ = workers.sdcli(runtime, "worker", "stop", "--json", cwd=tmp_path)
    assert json.loads(out) == {"schema": "sdcli/worker-stopped/1", "pid": None}


def test_a_setting_warms_every_drawing_command(runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "sdcli.toml").write_text("warm = true\n")
    calls = (status(runtime) or {"calls": 0})["calls"]
    assert workers.sdcli(runtime, *CAT, cwd=tmp_path)[0] == 0
    assert workers.sdcli(runtime, *CAT, "--no-warm", cwd=tmp_path)[0] == 0
    found = status(runtime)
    assert found
    assert found["calls"] == calls + 1


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_files_have_the_modes_of_the_client(warm: Warm, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        warm(*CAT, "-o", "cat.png")
    finally:
        os.umask(before)
    assert (tmp_path / "warm" / "cat.png").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.sample(1)
@pytest.mark.parametrize("redirected", [">&-", "2>&-", "<&-", "> /dev/full"])
def test_closed_and_full_streams(runtime: Path, tmp_path: Path, redirected: str) -> None:
    seen = []
    for switch in ("--warm", "--no-warm"):
        command = f"generate 'a cat' --steps 1 --seed 1 -o cat.png --force {switch} {redirected}"
        ran = subprocess.run(
            f"{sys.executable} -m sdcli {command}",
            shell=True, cwd=tmp_path, env=environment(runtime), capture_output=True, text=True,
        )  # fmt: skip
        seen.append((ran.returncode, ran.stdout, ran.stderr, (tmp_path / "cat.png").read_bytes()))
        (tmp_path / "cat.png").unlink()
    assert seen[0] == seen[1]


def test_a_closed_pipe_is_141(warm: Warm) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code, _, err = warm(*CAT, stdout=writer)
    os.close(writer)
    assert (code, err) == (141, b"")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk(warm: Warm, runtime: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    if subprocess.run(argv, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        (disk / "rest").write_bytes(b"x" * 60_000)
        code, _, err = warm(*CAT, "-o", str(disk / "cat.png"))
        assert code == 5
        assert b"No space left" in err
        assert warm(*CAT)[0] == 0
        # Nor is there room for a worker's socket: the run has none.
        pid = (status(runtime) or {})["pid"]
        (disk / "more").touch()
        with suppress(OSError):
            (disk / "more").write_bytes(b"x" * 60_000)
        ran = workers.sdcli(disk, *CAT, "--warm", "-o", "other.png", cwd=tmp_path)
        assert ran[0] == 0
        assert (status(runtime) or {})["pid"] == pid
    finally:
        workers.stop(disk)
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_ctrl_c_ends_the_run_and_not_the_worker(warm: Warm, runtime: Path, tmp_path: Path) -> None:
    warm(*CAT)
    pid = (status(runtime) or {})["pid"]
    process = workers.start(runtime, *LONG, "--warm", cwd=tmp_path)
    wait_until(lambda: (status(runtime) or {})["state"] == "busy")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=workers.SECONDS)
    assert (process.returncode, out) == (130, b"")
    # The count follows once the drawing has begun, which the worker may or may not have reached.
    counted = b"sdcli: error: interrupted; 0 images are finished\n"
    assert err in {b"sdcli: error: interrupted\n", counted}
    assert warm(*CAT)[0] == 0
    assert (status(runtime) or {})["pid"] == pid


def test_ctrl_c_finishes_the_image_in_progress_of_a_batch(
    warm: Warm, runtime: Path, tmp_path: Path
) -> None:
    warm(*CAT)
    (tmp_path / "prompts.txt").write_text("a cat\n" * 20)
    argv = ["batch", "prompts.txt", "--seed", "1..20", "--batch-size", "1", "--warm"]
    process = workers.start(runtime, *argv, "-o", "out", "--steps", "5", cwd=tmp_path)
    assert process.stdout
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=workers.SECONDS)
    assert process.returncode == 130
    assert b"finishing the images in progress" in err
    done = [first, *rest.splitlines()]
    assert len(done) < 400
    assert len(list((tmp_path / "out").glob("*.png"))) == len(done)
    assert not list((tmp_path / "out").glob(".sdcli-*.part"))


def test_ctrl_c_while_waiting_ends_at_once(warm: Warm, runtime: Path, tmp_path: Path) -> None:
    warm(*CAT)
    busy = workers.start(runtime, *LONG, "--warm", "-o", "a.png", cwd=tmp_path)
    wait_until(lambda: (status(runtime) or {})["state"] == "busy")
    process = workers.start(runtime, *LONG, "--warm", "--json", "-o", "b.png", cwd=tmp_path)
    wait_until(lambda: (status(runtime) or {})["waiting"] == 1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=workers.SECONDS)
    assert (process.returncode, err) == (130, b"")
    assert json.loads(out)["error"]["code"] == "interrupted"
    assert busy.poll() is None
    busy.send_signal(signal.SIGTERM)
    busy.communicate(timeout=workers.SECONDS)
    assert busy.returncode == 130


def test_a_killed_client_ends_its_run_only(warm: Warm, runtime: Path, tmp_path: Path) -> None:
    warm(*CAT)
    pid = (status(runtime) or {})["pid"]
    process = workers.start(runtime, *LONG, "--warm", "-o", "long.png", cwd=tmp_path)
    wait_until(lambda: (status(runtime) or {})["state"] == "busy")
    process.kill()
    process.communicate()
    wait_until(lambda: (status(runtime) or {})["state"] == "idle")
    assert warm(*CAT)[0] == 0
    assert (status(runtime) or {})["pid"] == pid
    assert sorted(p.name for p in tmp_path.iterdir()) == ["warm"]


def test_a_run_whose_process_is_killed_runs_again_without_worker(
    warm: Warm, runtime: Path, tmp_path: Path
) -> None:
    warm(*CAT, "-o", "cat.png")
    argv = [*CAT, "--steps", "300", "--size", "64x64", "--warm", "-o", "again.png"]
    process = workers.start(runtime, *argv, cwd=tmp_path)
    found = wait_until(lambda: (s := status(runtime)) and s["state"] == "busy" and s)
    # A child that ends before it has begun is replaced, and no client hears of it.
    time.sleep(1)
    os.kill(found["child"], signal.SIGKILL)
    out, err = process.communicate(timeout=workers.SECONDS)
    assert (process.returncode, out) == (0, b"again.png\n")
    assert err.startswith(b"sdcli: warning: the warm worker cannot be used: it ended unexpectedly")
    assert warm(*CAT)[0] == 0
    assert (status(runtime) or {})["pid"] == found["pid"]


def test_a_run_that_wrote_something_is_not_run_twice(runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\n" * 5)
    argv = ["batch", "prompts.txt", "--warm", "-o", "out", "--batch-size", "1", "--steps", "50"]
    process = workers.start(runtime, *argv, cwd=tmp_path)
    assert process.stdout
    assert process.stdout.readline()
    os.kill((status(runtime) or {})["child"], signal.SIGKILL)
    _, err = process.communicate(timeout=workers.SECONDS)
    assert process.returncode == 1
    assert err.decode().splitlines()[-2:] == [
        "sdcli: error: the warm worker ended before the command did",
        "sdcli: hint: images that are done are on disk; for the others, run the command again",
    ]


def test_a_killed_worker_is_replaced(warm: Warm, runtime: Path) -> None:
    warm(*CAT)
    pid = (status(runtime) or {})["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: status(runtime) is None)
    assert warm(*CAT)[0] == 0
    assert (status(runtime) or {})["pid"] != pid


@pytest.mark.sample(1)
@pytest.mark.parametrize("change", [{"OMP_NUM_THREADS": "2"}, {"HF_HUB_OFFLINE": "1"}])
def test_another_environment_has_another_worker(
    warm: Warm, runtime: Path, change: dict[str, str]
) -> None:
    warm(*CAT)
    pid = (status(runtime) or {})["pid"]
    assert warm(*CAT, env=change)[0] == 0
    assert (status(runtime) or {})["pid"] != pid


def test_fifty_clients_start_one_worker(runtime: Path, tmp_path: Path) -> None:
    workers.stop(runtime)
    argv = ["generate", "a cat", "--steps", "0", "--warm"]
    clients = [workers.start(runtime, *argv, cwd=tmp_path) for _ in range(50)]
    errors = {client.communicate(timeout=workers.SECONDS)[1].splitlines()[0] for client in clients}
    assert {client.returncode for client in clients} == {2}
    assert len(errors) == 1
    assert (status(runtime) or {})["calls"] == 50


def test_a_worker_that_cannot_be_started_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "sdcli").mkdir(mode=0o755)
    code, _, err = workers.sdcli(tmp_path / "run", *CAT, "--warm", cwd=tmp_path)
    assert code == 0
    assert err.startswith(b"sdcli: warning: the warm worker cannot be used: ")
    assert b"is not a folder of yours alone" in err


def test_a_wrong_time_is_a_warning(runtime: Path, tmp_path: Path) -> None:
    workers.stop(runtime)
    env = {"SDCLI_WORKER_IDLE": "soon"}
    argv = ("generate", "a cat", "--steps", "0", "--warm")
    code, _, err = workers.sdcli(runtime, *argv, cwd=tmp_path, env=env)
    assert (code, b"steps" in err) == (2, True)
    assert b"SDCLI_WORKER_IDLE: 'soon' is not a number of seconds" in err


def test_a_worker_ends_by_itself(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    env = {"SDCLI_WORKER_IDLE": "1"}
    try:
        assert workers.sdcli(tmp_path / "run", *CAT, "--warm", cwd=tmp_path, env=env)[0] == 0
        wait_until(lambda: not (tmp_path / "run" / "sdcli" / "worker.sock").exists())
        assert status(tmp_path / "run") is None
    finally:
        workers.stop(tmp_path / "run")


def test_a_model_that_changes_or_lies_elsewhere_is_loaded_again(
    warm: Warm, run_cli: RunCli, tmp_path: Path
) -> None:
    """A relative path, the same for two models: no cache of the worker takes one for the other."""
    paths = []
    for name in ("one", "two"):
        folder = tmp_path / name
        shutil.copytree(EMBEDDED_FOLDER, folder / "model")
        paths.append(folder)
    change(paths[1] / "model")
    argv = [*CAT, "-m", "./model", "--json", "-o", "cat.png", "--force"]
    seen = [digest(warm(*argv, cwd=path)[1]) for path in paths]
    change(paths[0] / "model")
    seen.append(digest(warm(*argv, cwd=paths[0])[1]))
    assert seen[0] != seen[1] == seen[2]
    cold = run_cli(*CAT, "-m", str(paths[1] / "model"), "--json", "-o", "cat.png")
    assert digest(cold.stdout) == seen[1]


def change(model: Path) -> None:
    [path] = (model / "unet").glob("*.safetensors")
    weights = load_file(path)
    weights["conv_out.bias"] = weights["conv_out.bias"] + 0.5
    save_file(weights, path)


def digest(stdout: str | bytes) -> str:
    found: str = json.loads(stdout)["images"][0]["pixels_sha256"]
    return found


def test_a_terminal_has_its_bar_and_its_width(runtime: Path, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 50, 0, 0))
    env = {"TERM": "xterm", "COLUMNS": "", "LINES": ""}
    argv = ["generate", "a cat", "--steps", "30", "--warm"]
    process = workers.start(runtime, *argv, cwd=tmp_path, stderr=slave, env=env)
    os.close(slave)
    seen = b""
    with suppress(OSError):  # how a terminal ends
        while part := os.read(master, 4096):
            seen += part
    process.communicate()
    os.close(master)
    lines = re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode()))
    assert process.returncode == 0
    assert any("30/30" in line or "%" in line for line in lines), lines
    assert max(map(len, lines)) <= 50
