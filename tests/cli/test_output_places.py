"""Places for the images of a batch: URLs, and disks that vanish, fill up or can't be written to.

Whatever happens is told in one line, with the code of an output error, and the next run goes on.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from sdcli.storage.images.codec import read_image_info
from tests.processes import children, is_gone, read_line, wait_until

WORDS = ("a cat", "a dog", "a fish", "a star")
QUICK = ("--device", "cpu", "--size", "64x64", "--batch-size", "1", "--seed", "1")
SDCLI = (sys.executable, "-m", "sdcli", "batch", "prompts.txt", *QUICK)


@pytest.fixture(autouse=True)
def prompts(run_cli) -> None:
    del run_cli  # for its folder
    Path("prompts.txt").write_text("".join(f"{word}\n" for word in WORDS))


def batch(run_cli, *argv: str):
    return run_cli("batch", "prompts.txt", *QUICK, "--steps", "1", *argv)


def pixels(folder: str) -> dict[str, str]:
    paths = Path(folder).glob("*.png")
    return {path.name: str(read_image_info(path)["pixels_sha256"]) for path in paths}


def journaled(folder: str) -> list[str]:
    """The images that the journal of a store has, each as often as it has it."""
    paths = sorted(Path(folder, "sdcli-journal").glob("*.jsonl"))
    lines = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return sorted(line["name"] for line in lines if line["event"] == "image")


def test_a_store_is_a_folder_elsewhere(run_cli):
    batch(run_cli, "-o", "plain")
    url = "memory://bucket/run"
    ran = batch(run_cli, "-o", url, "--limit", "2")
    assert (ran.code, ran.messages) == (0, "sdcli: 2 images made\n")
    assert ran.stdout.splitlines()[0] == f"{url}/0001-a-cat-1.png"
    plan = batch(run_cli, "-o", url, "--dry-run")
    assert plan.stdout.startswith("images: 4, 2 done\n")
    ran = batch(run_cli, "-o", url, "--list-done", "--json")
    assert [image["path"].removeprefix(f"{url}/") for image in ran.document["images"]] == [
        *sorted(pixels("plain"))
    ]
    assert ran.messages == "sdcli: 2 images made, 2 done before\n"
    store = fsspec.filesystem("memory")
    for path in Path("plain").glob("*.png"):
        assert store.cat(f"/bucket/run/{path.name}") == path.read_bytes()
    store.rm("/bucket", recursive=True)


def test_a_url_of_a_file_is_a_path(run_cli):
    url = f"file://{Path.cwd()}/my%20run"
    ran = batch(run_cli, "-o", url, "--limit", "1")
    assert ran.paths == [Path.cwd() / "my run" / "0001-a-cat-1.png"]
    assert batch(run_cli, "-o", "my run", "--limit", "1").paths == []


def test_a_killed_run_of_workers_goes_on_in_a_store(run_cli):
    url = f"dir::file://{Path.cwd()}/store"
    # The path is that within the folder of the store.
    store = f"store/{Path.cwd()}/store"
    argv = [*SDCLI, "--steps", "12", "-o", url, "--sidecar", "--save-latents", "final"]
    process = subprocess.Popen([*argv, "--workers", "2"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline().startswith(url)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=240)
    # They may be writing an image, and a store has no locks.
    wait_until(lambda: all(map(is_gone, workers)))
    before = journaled(store)
    assert before
    ran = run_cli(*argv[3:])
    assert (ran.code, len(ran.paths) <= 4 - len(before)) == (0, True)
    assert len(journaled(store)) == len({*journaled(store)}) == 4
    assert {*journaled(store)} <= {*pixels(store)}
    assert run_cli(*argv[3:]).stderr == "sdcli: 0 images made, 4 done before\n"


WEB = ("http", "https", "git", "github", "data", "reference")

REFUSED = [
    ("generate a -o memory://b/x.png", "only sdcli batch writes to URLs"),
    ("batch prompts.txt -o memory://b/x --archive tar --shards-of 2", "--archive packs files"),
    ("batch prompts.txt -o memory://b/x --seed 1 --grid seed", "the grid is drawn from files"),
    ("batch prompts.txt -o memory://b/x --workers 2", "--workers can't write to memory://"),
    ("batch prompts.txt -o s3://b/x", "s3:// needs the package s3fs"),
    ("batch prompts.txt -o gs://b/x --dry-run", "gs:// needs the package gcsfs"),
    ("batch prompts.txt -o what://b/x", "what:// is not a known kind of store"),
    ("batch prompts.txt -o dir://b/x --dry-run", "can't write to dir:// by the URL alone"),
    ("batch prompts.txt -o file://host/x", "not a path of this machine"),
    ("batch prompts.txt --preview-out s3://b/x.png -o out", "a URL can't be used here"),
    ("merge memory://b/x -o all", "a URL can't be used here"),
    ("merge a -o memory://b/x", "a URL can't be used here"),
    ("gallery memory://b/x", "a URL can't be used here"),
    ("score memory://b/x", "a URL can't be used here"),
    ("batch s3://b/prompts.txt", "a URL can't be used here"),
    *((f"batch prompts.txt -o {scheme}://h/x", f"{scheme}:// can be read, but") for scheme in WEB),
    ("batch prompts.txt -o tar::s3://h/x", "tar:// can be read, but not written to"),
    ("batch prompts.txt -o sftp://h/x", "sftp:// needs the package paramiko"),
    ("batch prompts.txt -o ssh://h/x --dry-run", "ssh:// needs the package paramiko"),
    ("batch prompts.txt -o smb://h/x", "smb:// needs the package smbprotocol"),
    ("batch prompts.txt -o simplecache::az://h/x", "az:// needs the package adlfs"),
]

IMAGES = Path(__file__).parents[1] / "compat" / "v0_1_0" / "images"

# Each writes to a file or a folder, of which {} is the name.
WRITERS = (
    "batch prompts.txt -o {}",
    "batch prompts.txt -o {} --dry-run",
    "batch prompts.txt -o {} --workers 2",
    "batch prompts.txt -o {} --shard 1/2 --seed 1",
    "generate a -o {}",
    "generate a -o {}.png",
    "generate a -o out --trace {}",
    "generate a -o out --preview-out {}.png",
    "replay a.png -o {}",
    "merge a -o {}",
    "pick a --by sharpness -o {}",
    "gallery a -o {}.html",
    "explain a.png -o {}.html",
    "train-lora a -o {}.safetensors",
    "vae encode a.png -o {}",
    "vae decode a.latents.safetensors -o {}",
    "attention a -o {}.png",
    "models convert a.ckpt {}.safetensors",
    "demo-files {}",
    "bench start -o {}",
)


@pytest.mark.parametrize("command", WRITERS)
def test_a_url_never_becomes_a_folder(run_cli, command):
    Path("a").mkdir()
    [image, *_] = sorted(IMAGES.glob("*.png"))
    shutil.copy(image, "a.png")
    shutil.copy(image, "a")
    there = {path.name for path in Path.cwd().rglob("*")}
    for out in ("s3:/bucket", "memory:run", "https://host/run"):
        ran = run_cli(*command.format(out).split())
        assert (ran.code, ran.stdout) == (2, "")
        assert ran.stderr.startswith("sdcli: error: ")
        assert re.search("a URL has ://|write to the web|writes to URLs|can be read", ran.stderr)
        assert {path.name for path in Path.cwd().rglob("*")} - there <= {"out", "cache"}


def test_a_name_with_a_colon_is_a_folder_if_it_says_so(run_cli):
    for out in ("./memory:run", "a:b", "memory:run"):
        assert batch(run_cli, "-o", out, "--limit", "1").code == 0
    assert [*pixels("memory:run")] == [*pixels("a:b")] == ["0001-a-cat-1.png"]


@pytest.mark.parametrize(("command", "message"), REFUSED)
def test_commands_that_can_not_use_a_url_say_why(run_cli, command, message):
    ran = run_cli(*command.split())
    assert (ran.code, ran.stdout) == (2, "")
    assert message in ran.stderr
    assert ran.stderr.count("sdcli: error:") == 1
    assert {path.name for path in Path.cwd().iterdir()} <= {"prompts.txt", "cache", "out"}


@pytest.mark.sample(1)
@pytest.mark.parametrize("more", [("--workers", "1"), ("--archive", "tar", "--shards-of", "9")])
def test_a_folder_that_vanishes_ends_the_run_in_one_line(run_cli, more):
    argv = [*SDCLI, "--steps", "12", "-o", "out", "--jsonl", *more]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while '"event": "image"' not in read_line(process):
        assert process.poll() is None
    Path("out").rename("elsewhere")
    out, errors = process.communicate(timeout=240)
    failed = [json.loads(line) for line in out.splitlines() if '"event": "failed"' in line]
    # All may have been made before it vanished.
    assert process.returncode in ((9,) if failed else (0, 9)), errors
    assert {event["error"]["code"].split(".")[0] for event in failed} <= {"output"}
    assert len(failed) <= 1
    assert "Traceback" not in errors
    Path("out").exists() and shutil.rmtree("out")
    Path("elsewhere").rename("out")
    ran = run_cli(*argv[3:])
    done = json.loads(ran.stdout.splitlines()[-1])
    assert (ran.code, done["made"] + done["skipped"]) == (0, 4)
    assert done["skipped"] >= 1


ON_A_DISK = """
set -e
mkdir disk
mount -t tmpfs -o size=24k none disk
code=0
"$@" || code=$?
echo "code $code" >&2
mount -o remount,size=4m disk
"$@"
ls disk/out/*.png | wc -l
mount -o remount,ro disk
code=0
"$@" || code=$?
echo "code $code" >&2
"""


def test_a_disk_that_fills_up_or_is_read_only_ends_the_run_in_one_line(run_cli):
    del run_cli
    probe = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"]
    if not shutil.which("unshare") or subprocess.run(probe, check=False).returncode:
        pytest.skip("mounting needs privileges")
    argv = [*SDCLI, "--steps", "1", "-o", "disk/out"]
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", ON_A_DISK, "sh", *argv],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    errors = ran.stderr.splitlines()
    codes = [int(line.split()[1]) for line in errors if line.startswith("code ")]
    assert codes[0] in (5, 9)
    assert codes[1] == 5
    assert [line for line in errors if line.startswith("sdcli: error:")] == [
        line for line in errors if "No space left" in line or "Read-only file system" in line
    ]
    assert len([line for line in errors if line.startswith("sdcli: error:")]) == 2
    assert ran.stdout.splitlines()[-1].strip() == "4"
