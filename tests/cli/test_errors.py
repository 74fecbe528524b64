"""Every error that generate can meet, with its exit code and its two lines, through main()."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file, save_file

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import ExitCode
from tests.processes import start_fork

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": ""}
UNET = Path("unet") / "diffusion_pytorch_model.safetensors"


@pytest.fixture
def broken(tmp_path):
    """A copy of the embedded model to break."""
    return Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "broken"))


def assert_refused(ran, code, *words):
    """One error line with the words in it, perhaps one hint, no traceback, nothing on stdout."""
    assert ran.code == code
    assert ran.stdout == ""
    error, *hint = ran.stderr.splitlines()
    assert error.startswith("sdcli: error: ")
    for word in words:
        assert word in ran.stderr
    assert len(hint) <= 1
    assert all(line.startswith("sdcli: hint: ") for line in hint)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--stpes", "3"], ["--stpes", "did you mean", "--steps"]),
        (["--steps", "many"], ["--steps", "'many' is not a whole number"]),
        (["--steps", "0"], ["--steps", "0 is not between 1 and 1000"]),
        (["--guidance", "nan"], ["--guidance", "nan"]),
        (["--size", "12"], ["--size", "'12' is not WIDTHxHEIGHT", "--size 512x768"]),
        (["--size", "100x128"], ["100 is not a multiple of 8", "the nearest is 96"]),
        (["--size", "0x0"], ["--size"]),
        (["--batch-size", "0"], ["--batch-size", "auto"]),
        (["--dtype", "fp8"], ["dtype", "float16"]),
        (["--device", "gpu"], ["device", "cuda"]),
        (["--save-latents", "some"], ["--save-latents", "final, all"]),
        (["-s", "eulr"], ["eulr", "did you mean Euler?"]),
        (["-s", "Euler a Karras"], ["Karras", "ignore"]),
        (["-s", "Restart"], ["Restart", "nearest"]),
        (["--eta", "0.5", "-s", "Euler"], ["eta", "DDIM"]),
        (["-g", "1", "-n", "red"], ["negative", "guidance"]),
        (["--clip-skip", "50"], ["clip_skip"]),
        (["--json", "--jsonl", "-q"], None),
        (["-q", "-v"], ["--quiet"]),
        (["-o", "cat.gif"], ["gif", ".png"]),
        (["-o", "-", "--count", "2"], ["--out -", "one image"]),
        (["-o", "-", "--sidecar"], ["--out -", "the image alone"]),
    ],
)
def test_usage_errors(run_cli, tmp_path, argv, words):
    ran = run_cli("generate", "a cat", *argv)
    if words is None:  # --json errors are documents
        assert ran.code == 2
        assert ran.document["error"]["code"] == "usage.json"
    else:
        assert_refused(ran, ExitCode.USAGE, *words)
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], ["missing command", "sdcli --help"]),
        (["generat", "a cat"], ["generat", "generate"]),
        (["generate"], ["PROMPT", "sdcli generate --help"]),
        (["generate", "-", "a cat"], ["stdin"]),
        (["inspect", "nothing.png"], ["nothing.png"]),
    ],
)
def test_usage_errors_of_the_table(run_cli, argv, words):
    assert_refused(run_cli(*argv), ExitCode.USAGE, *words)


def test_a_bad_line_of_stdin_is_numbered(run_cli):
    ran = run_cli("generate", "-", stdin=b"\xff\n")
    assert_refused(ran, ExitCode.USAGE, "stdin:1")


def test_errors_as_json(run_cli):
    ran = run_cli("generate", "a cat", "-m", "./nowhere", "--json")
    assert ran.code == ExitCode.MODEL
    assert ran.document["error"]["code"] == "model.not_found"
    assert ran.document["error"]["hint"]
    assert ran.stderr == ""


@pytest.mark.parametrize("model", ["./nowhere", "/nowhere", "no such thing"])
def test_a_missing_model(run_cli, model):
    assert_refused(run_cli("generate", "a cat", "-m", model), ExitCode.MODEL, model)


def test_a_model_that_is_not_in_the_cache_offline(run_cli):
    ran = run_cli("generate", "a cat", "-m", "nobody/nothing", "--offline")
    assert_refused(ran, ExitCode.MODEL, "nobody/nothing", "not in the local cache")


def test_a_model_of_another_family(run_cli, broken):
    index = json.loads((broken / "model_index.json").read_text())
    index["_class_name"] = "StableDiffusion3Pipeline"
    (broken / "model_index.json").write_text(json.dumps(index))
    ran = run_cli("generate", "a cat", "-m", str(broken))
    assert_refused(ran, ExitCode.MODEL, "StableDiffusion3Pipeline")


def test_a_pickle_is_unsafe(run_cli, tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"\x80\x04.")
    assert_refused(run_cli("generate", "a cat", "-m", "model.ckpt"), ExitCode.UNSAFE, "pickle")


def test_truncated_weights(run_cli, broken):
    os.truncate(broken / UNET, (broken / UNET).stat().st_size // 2)
    ran = run_cli("generate", "a cat", "-m", str(broken), "--steps", "1")
    assert_refused(ran, ExitCode.CORRUPT, "unet")


def test_a_missing_key(run_cli, broken):
    """Diffusers loads this without a word, and leaves a parameter on the meta device."""
    tensors = load_file(broken / UNET)
    tensors.pop("conv_in.bias")
    save_file(tensors, broken / UNET)
    ran = run_cli("generate", "a cat", "-m", str(broken), "--steps", "1")
    assert_refused(ran, ExitCode.CORRUPT, "conv_in.bias")


def test_a_missing_device(run_cli):
    ran = run_cli("generate", "a cat", "--device", "cuda:7", "--steps", "1")
    assert_refused(ran, ExitCode.DEVICE, "cuda:7", "cpu")


def test_an_output_that_exists(run_cli, tmp_path):
    (tmp_path / "cat.png").write_bytes(b"mine")
    ran = run_cli("generate", "a cat", "-o", "cat.png", "--steps", "1")
    assert_refused(ran, ExitCode.OUTPUT, "cat.png", "--force")
    assert (tmp_path / "cat.png").read_bytes() == b"mine"
    assert run_cli("generate", "a cat", "-o", "cat.png", "--steps", "1", "--force").code == 0


def test_an_output_that_cannot_be_written(run_cli, tmp_path):
    (tmp_path / "file").write_text("in the way")
    ran = run_cli("generate", "a cat", "-o", "file/inside", "--steps", "1")
    assert_refused(ran, ExitCode.OUTPUT, "file")


def test_a_full_disk(run_cli, tmp_path):
    """A file larger than allowed is what a full disk is to a program, and needs no root."""
    code = (
        "import resource, signal, sys;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from sdcli.cli import main;"
        # Python itself leaves half a .pyc file where a write is cut short.
        "sys.dont_write_bytecode = True;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "sys.exit(main(sys.argv[1:]))"
    )
    argv = ["generate", "a cat", "a dog", "--steps", "1", "-o", "out"]
    ran = subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, env=ENV, cwd=tmp_path
    )
    assert ran.returncode == ExitCode.OUTPUT
    assert ran.stderr.startswith("sdcli: error: ")
    assert not list((tmp_path / "out").glob("*.png"))


def test_a_full_device_behind_stdout(tmp_path):
    with open("/dev/full", "wb") as full:
        argv = ("generate", "a cat", "--steps", "1", "-o", "-")
        process = start_fork(*argv, stdout=full, stderr=subprocess.PIPE, cwd=tmp_path)
    _, errors = process.communicate()
    assert process.returncode == ExitCode.OUTPUT
    assert errors.startswith("sdcli: error: ")
    assert "Traceback" not in errors


def start(tmp_path, *argv):
    return start_fork(
        "generate",
        *argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )


def test_a_closed_pipe_ends_the_run_quietly(tmp_path):
    process = start(tmp_path, "a cat", "--count", "50", "--steps", "1")
    assert process.stdout is not None
    assert process.stdout.readline().endswith(".png\n")
    process.stdout.close()
    assert process.wait(timeout=120) == ExitCode.CLOSED_PIPE
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    process.stdin.close()
    assert len(list((tmp_path / "outputs").glob("*.png"))) < 50


def test_a_reader_that_goes_away_leaves_no_latents(tmp_path):
    text = "".join(f"a cat {i}\n" for i in range(12))
    words = "generate - --steps 1 --size 64x64 --batch-size 2 -q -o o"
    ran = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m sdcli {words} | head -1"],
        input=text, cwd=tmp_path, env=ENV, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.stderr == ""
    assert {path.suffix for path in (tmp_path / "o").iterdir()} == {".png"}


@pytest.mark.sample(1)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_names_what_is_finished(tmp_path, number):
    """And a path is printed as soon as its file is whole, while stdin is still open."""
    process = start(tmp_path, "-", "--steps", "1")
    process.stdin.write("a cat\n")
    process.stdin.flush()
    path = tmp_path / process.stdout.readline().strip()
    assert path.read_bytes().startswith(b"\x89PNG")
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == ExitCode.INTERRUPTED
    assert out == ""
    assert "1 image is finished" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("option", ["-o", "-m", "--vae", "--wildcards", "--preview-out"])
def test_a_name_that_no_disk_takes_is_refused(run_cli, option):
    ran = run_cli("generate", "a cat", option, "x" * 300 + ".png")
    assert ran.code in (2, 3, 5)
    assert "Traceback" not in ran.stderr


def test_a_file_in_the_way_of_a_folder_is_told_as_such(run_cli, tmp_path):
    (tmp_path / "taken").write_text("mine")
    for out in ("taken", "taken/x.png"):
        ran = run_cli("generate", "a cat", "-o", out)
        assert_refused(ran, ExitCode.OUTPUT, "taken")
        assert "--force" not in ran.stderr


def test_more_steps_than_the_model_knows_are_refused(run_cli):
    for scheduler in ("ddim", "dpm++ 2m", "unipc", "ddpm"):
        ran = run_cli("generate", "a cat", "--steps", "1000", "-s", scheduler, "--size", "64x64")
        assert_refused(ran, ExitCode.USAGE, "1000 steps", "999")
    assert run_cli("schedulers", "show", "ddim", "--steps", "1000").code == 2


@pytest.mark.sample(1)
@pytest.mark.parametrize("redirected", ["2>&-", ">&-", "2>/dev/full"])
def test_streams_that_are_closed_or_full_stop_no_drawing(tmp_path, redirected):
    words = "generate 'a cat' --steps 1 --size 64x64 -o a.png -v"
    command = f"{sys.executable} -m sdcli {words} {redirected}"
    ran = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=ENV, check=False)
    assert ran.returncode == 0
    assert (tmp_path / "a.png").is_file()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [("generate 'a cat' --steps x", 2, "'x'"), ("schedulers list", 5, "No space left on device")],
)
def test_an_error_that_has_no_room_on_stdout_is_on_stderr(tmp_path, words, code, message):
    command = f"{sys.executable} -m sdcli {words} --json > /dev/full"
    ran = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=ENV, check=False, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr.startswith("sdcli: error: ")) == (code, True)
    assert message in ran.stderr


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_an_error_that_nobody_reads_keeps_its_code(tmp_path, options):
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "sdcli", "inspect", "nowhere.png", *options]
    try:
        for stderr in (writer, subprocess.PIPE):
            ran = subprocess.run(
                argv, cwd=tmp_path, env=ENV, check=False, stdout=writer, stderr=stderr
            )
            assert ran.returncode == 2
            assert b"Traceback" not in (ran.stderr or b"")
    finally:
        os.close(writer)


@pytest.mark.parametrize("lacks", [["tokenizer.json", "vocab.json"], ["*"]])
def test_a_model_without_a_tokenizer_is_incomplete(run_cli, broken, lacks):
    for pattern in lacks:
        for path in (broken / "tokenizer").glob(pattern):
            path.unlink()
    assert_refused(run_cli("generate", "a cat", "-m", str(broken)), ExitCode.MODEL, "tokenizer")


@pytest.mark.parametrize("option", [("--offload", "model"), ("--vram", "6")])
def test_options_of_a_gpu_are_refused_before_a_model_is_read(run_cli, broken, option):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    weights = broken / UNET
    weights.write_bytes(weights.read_bytes()[:200_000])
    argv = ("generate", "a cat", "-m", str(broken))
    assert run_cli(*argv).code == ExitCode.CORRUPT
    assert_refused(run_cli(*argv, *option), ExitCode.USAGE, "has no effect: on the CPU")
